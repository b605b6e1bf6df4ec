"""Who needs the instructor first, and the other orders the class can stand in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop.board.exposition import used_of_budget
from workshop.board.shown import State
from workshop.intake.orders import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workshop.board.shown import Seat

NEARLY = 0.9
"""Share of a limit from which on somebody should look."""
_STATES = list(State)


class Sort(StrEnum):
    """What ``workshop top`` puts first."""

    NEEDS = "needs"
    NAME = "name"
    STATE = "state"
    REQUESTS = "requests"
    ERRORS = "errors"
    MEMORY = "memory"
    CPU = "cpu"
    TOKENS = "tokens"
    DEPLOY = "deploy"


@dataclass(frozen=True)
class Need:
    """Why the instructor should look at a seat."""

    rank: int
    """The lowest first."""
    words: str = ""


def need(seat: Seat, raised: float | None, now: float) -> Need:
    """Say why somebody should look at ``seat``: the first reason that holds.

    Args:
        seat: as it was seen.
        raised: when its participant raised a hand; ``None`` where that is not so.
        now: seconds since 1970.

    """
    reasons = (
        (raised is not None, f"hand up for {ago(now - (raised or now))}"),
        (seat.state.failed, seat.detail or seat.state.value),
        (_failed(seat), _cause(seat)),
        (seat.errors > 0, f"{seat.errors} of {seat.requests} requests failed"),
        (_is_near(seat.memory, seat.memory_limit), "memory near its limit"),
        ((used_of_budget(seat) or 0) >= NEARLY, "model budget nearly used"),
    )
    for rank, (holds, words) in enumerate(reasons):
        if holds:
            return Need(rank, words)
    return Need(len(reasons), seat.detail)


def ordered(seats: Iterable[Seat], hands: Mapping[str, float], by: Sort) -> tuple[Seat, ...]:
    """Put seats in order; those that are alike stand by their names."""
    keys: Mapping[Sort, Callable[[Seat], float]] = {
        Sort.NEEDS: lambda seat: need(seat, hands.get(seat.name), 0).rank,
        Sort.NAME: lambda _: 0,
        Sort.STATE: lambda seat: _STATES.index(seat.state),
        Sort.REQUESTS: lambda seat: -seat.requests,
        Sort.ERRORS: lambda seat: -seat.errors,
        Sort.MEMORY: lambda seat: -seat.memory,
        Sort.CPU: lambda seat: -seat.cpu,
        Sort.TOKENS: lambda seat: -seat.tokens,
        Sort.DEPLOY: lambda seat: -seat.deploy.received if seat.deploy else 0,
    }
    # Who has waited longest with a hand up comes first.
    waits = hands if by is Sort.NEEDS else {}
    return tuple(
        sorted(seats, key=lambda seat: (keys[by](seat), waits.get(seat.name, 0), seat.name))
    )


def ago(seconds: float) -> str:
    """Say how long something lasts, as short as a column is."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _failed(seat: Seat) -> bool:
    latest = seat.deploy
    return latest is not None and latest.stage in {Stage.FAILED, Stage.REFUSED}


def _cause(seat: Seat) -> str:
    if (latest := seat.deploy) is None:
        return ""
    number = f"deploy {latest.number}" if latest.number else "deploy"
    return f"{number} failed: {latest.cause}"


def _is_near(used: float, limit: float) -> bool:
    return bool(limit) and used / limit >= NEARLY
