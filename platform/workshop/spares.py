"""A spare seat becomes somebody's: the roster is written back, and the board is told.

``workshop.spares`` keeps seats for latecomers. Whoever claims one is named in the roster, as
``workshop add`` would have done it, so that later commands know the person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workshop import rosterfile
from workshop.announcing import plain
from workshop.board import config as board
from workshop.errors import InputError
from workshop.roster import Participant
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 100
"""Characters of a latecomer's name."""


def give(roster: Path, told: Path, name: str, display_name: str) -> str:
    """Write into the roster whose the spare seat ``name`` is. Under the class's lock.

    Args:
        roster: the roster's file.
        told: what the board is told.
        name: of the seat; it stays, because container, address and key carry it.
        display_name: what the latecomer is called.

    Returns:
        The name as it is written.

    Raises:
        InputError: the name does not do, the roster is not right or cannot be written; nothing was
            changed then.

    """
    called = plain(display_name)
    if not called:
        raise InputError("say your name, please")
    if len(called) > LONGEST:
        raise InputError(f"a name of {len(called)} characters; at most {LONGEST}")
    rosterfile.add(roster, Participant(name, display_name=called))
    _tell(told / board.FILE, name, called)
    return called


def _tell(path: Path, name: str, display_name: str) -> None:
    """Change one seat in what the board is told; a file that is not right is left as it is."""
    try:
        told = board.load(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return
    seats = tuple(
        replace(seat, display_name=display_name, spare=False) if seat.name == name else seat
        for seat in told.seats
    )
    after = replace(told, seats=seats)
    if after != told:
        write_atomically(path, board.dump(after), 0o644)
