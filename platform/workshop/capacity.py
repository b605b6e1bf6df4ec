"""Room on the engine's disk: what a class takes, told before it begins, and what a change takes.

A disk that fills up in the middle of a change ends in an error too, but by then an old container
may be gone. So what certainly does not fit is not begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import disk
from workshop.errors import WorkshopError
from workshop.limits import MIB
from workshop.plan import Action
from workshop.specs import ContainerSpec, ImageSpec

if TYPE_CHECKING:
    from workshop.disk import Room
    from workshop.plan import Plan
    from workshop.roster import Roster


@dataclass(frozen=True)
class Need:
    """Bytes and files."""

    size: int = 0
    files: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.size + other.size, self.files + other.files)

    def __mul__(self, count: int) -> Need:
        return Need(self.size * count, self.files * count)

    def __str__(self) -> str:
        return f"{self.size / MIB:,.1f} MiB and {self.files:,} files"

    def fits(self, room: Room) -> bool:
        """Whether there is so much room, and so many files may still be made."""
        return self.size <= room.free and (self.files <= room.files or not room.most_files)


IMAGES = Need(1024 * MIB, 60_000)
"""All images of a class, the base they stand on included."""
SEAT = Need(4 * MIB, 100)
"""What a seat may fill: two log files of 1 MB each and the engine's own records."""
LITTLE = 2
"""A class needs once what :func:`of_class` says; below so many times that, a change may not fit."""
_NEW_IMAGE = Need(16 * MIB, 200)
"""Less than that holds no app with its source on the way; most are larger."""
_NEW_CONTAINER = Need(MIB, 50)
"""Its empty layer and the engine's records of it; logs come later."""
_MAKES = frozenset({Action.BUILD, Action.FETCH, Action.CREATE, Action.REPLACE})


def of_class(roster: Roster) -> Need:
    """Say what a class of that size takes of an empty engine."""
    return IMAGES + SEAT * len(roster.participants)


def refuse(plan: Plan, root: str) -> None:
    """Stop before anything is touched when the engine's disk cannot take what is to be made.

    Raises:
        WorkshopError: it is full, and how full.

    """
    room = disk.room(Path(root))
    need = _of_plan(plan)
    if room is None or need.fits(room):
        return
    raise WorkshopError(
        f"there is no room on the engine's disk: {root} has {room}; at least {need} are needed; "
        "nothing was touched",
        hint="`docker system df` shows what lies there; make room, then run the same command again",
    )


def _of_plan(plan: Plan) -> Need:
    targets = [step.target for step in plan.steps if step.action in _MAKES]
    images = sum(isinstance(target, ImageSpec) for target in targets)
    containers = sum(isinstance(target, ContainerSpec) for target in targets)
    return _NEW_IMAGE * images + _NEW_CONTAINER * containers
