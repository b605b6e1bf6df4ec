"""What ``serve`` saw of the class, for the command: ``top``, ``metrics``.

Files are read and nobody is asked, neither the engine nor an app: a look costs the class nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop import deploying, ranking
from workshop.board import config, exposition, shown, wishes
from workshop.boarding import told
from workshop.errors import InputError, WorkshopError
from workshop.parts.board import KEPT, SHOWN
from workshop.ranking import ago

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.board.config import Config
    from workshop.board.shown import Seat, Shown
    from workshop.ranking import Need, Sort
    from workshop.workspace import Workspace

SERVER_LIVE = "live"
_PROVISION = "`workshop provision`"


@dataclass(frozen=True)
class Figures:
    """Everybody, as the control process saw them."""

    shown: Shown
    config: Config | None
    hands: Mapping[str, float]
    """Who raised a hand, and when, in seconds since 1970."""
    server: str
    """The control process by its sign of life: live, not answering or missing."""
    time: float
    """When this was read, in seconds since 1970."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Say what is wrong with the figures themselves, or with the platform."""
        found = list(self.shown.troubles)
        if self.server != SERVER_LIVE:
            age = ago(self.time - self.shown.time)
            found.insert(0, f"nobody watches: these figures are {age} old; {_PROVISION}")
        stopped = [
            f"{name} ({state})" for name, state in self.shown.parts if state != exposition.RUNNING
        ]
        if stopped:
            found.append(f"not running: {', '.join(stopped)}; `workshop status`")
        return tuple(found)

    def need(self, seat: Seat) -> Need:
        """Say why somebody should look at ``seat``."""
        return ranking.need(seat, self.hands.get(seat.name), self.time)

    def sorted(self, by: Sort) -> tuple[Seat, ...]:
        """Put the seats in order; seats that are alike stand by their names."""
        return ranking.ordered(self.shown.seats, self.hands, by)


def look(work: Workspace) -> Figures:
    """Read what was seen last.

    Raises:
        InputError: the roster is wrong, or switches the board off.
        WorkshopError: nobody has looked at this class yet.

    """
    _require_board(work)
    place = work.directories.board
    seen = shown.read(place / SHOWN)
    if seen is None:
        raise WorkshopError(
            "nothing has been seen of this class yet",
            hint=f"{_PROVISION} starts what watches it; `workshop status` says whether it runs",
        )
    return Figures(
        shown=seen,
        config=told(work),
        hands=wishes.read_hands(place / KEPT),
        server=deploying.server(work),
        time=time.time(),
    )


def metrics(work: Workspace) -> str:
    """Write what was seen last as Prometheus reads it.

    Raises:
        InputError: the roster is wrong, or switches the board off.
        WorkshopError: nobody has looked at this class yet.

    """
    seen = look(work)
    return exposition.text(seen.shown, seen.config, seen.hands)


def token(work: Workspace) -> str:
    """Read the word that the board's ``/metrics`` asks for.

    Raises:
        InputError: the roster is wrong, or switches the board off.
        WorkshopError: there is none yet.

    """
    _require_board(work)
    try:
        found = (work.state_directory / config.METRICS_TOKEN).read_text("ascii").strip()
    except (OSError, ValueError):
        found = ""
    if not found:
        raise WorkshopError("there is no token yet", hint=f"{_PROVISION} makes it")
    return found


def _require_board(work: Workspace) -> None:
    if work.roster.board is None:
        off = "the server of deploys" if work.roster.deploys is None else "the board"
        raise InputError(
            f"nobody watches this class: {work.roster_path.name} switches {off} off",
            hint=f"take that line out of the roster, then {_PROVISION}",
        )
