"""The class as rows of a table, as wide as the terminal allows. Nothing here prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop.board.exposition import used_of_budget
from workshop.board.shown import State
from workshop.cli.telling import plain
from workshop.limits import MIB
from workshop.ranking import NEARLY, ago

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workshop.board.shown import Seat
    from workshop.figures import Figures

_GAP = 2
"""Blanks between two columns, as the printer leaves them."""
_NARROWEST = 10
"""Below so many characters the last column says nothing; it is left out."""
_MANY = 1000
_WARNED = "yellow"
_FAILED = "red"
_STYLES = {
    State.LIVE: "green",
    State.SILENT: _WARNED,
    State.CRASHING: _FAILED,
    State.STOPPED: _FAILED,
    State.HELD: "cyan",
    State.MISSING: _FAILED,
}


@dataclass(frozen=True)
class Cell:
    """What stands in one place, and how it is coloured."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Column:
    """One column, its cells from the top down."""

    title: str
    cells: tuple[Cell, ...]
    right: bool = False
    leaves: int = 0
    """Which column goes first where the terminal is narrow: the one with the highest number; 0
    never goes."""

    @property
    def width(self) -> int:
        """Characters of the longest cell."""
        return max(len(self.title), *(len(cell.text) for cell in self.cells), 0)


def columns(figures: Figures, seats: Sequence[Seat], width: int) -> list[Column]:
    """Lay ``seats`` out in at most ``width`` characters, as far as name and state allow."""
    found = [
        _column("participant", (Cell(seat.name) for seat in seats)),
        _column("state", (Cell(seat.state.value, _STYLES[seat.state]) for seat in seats)),
        _column("req/min", map(_requests, seats), right=True, leaves=2),
        _column("errors", map(_errors, seats), right=True, leaves=3),
        _column("memory MB", map(_memory, seats), right=True, leaves=4),
        _column("cpu", map(_cpu, seats), right=True, leaves=5),
        _column("tokens", map(_tokens, seats), right=True, leaves=6),
        _column("deploy", (_deploy(figures, seat) for seat in seats), leaves=7),
        _column("detail", (Cell(plain(figures.need(seat).words)) for seat in seats), leaves=1),
    ]
    while _needed(found) > width and any(column.leaves for column in found):
        found.remove(max(found, key=lambda column: column.leaves))
    return [column if column.leaves != 1 else _cut(column, found, width) for column in found]


def summary(figures: Figures, hidden: int = 0) -> list[str]:
    """Say in few lines how the class fares, and what is wrong with the platform."""
    seats = figures.shown.seats
    counts = Counter(seat.state for seat in seats)
    states = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    hands = sum(seat.name in figures.hands for seat in seats)
    if hands:
        states.append(f"{hands} hand{'s' if hands > 1 else ''} up")
    requests, errors = (sum(getattr(seat, key) for seat in seats) for key in ("requests", "errors"))
    states.append(f"{requests:,} requests in the last minute, {errors:,} failed")
    more = [f"{hidden} more do not fit this terminal"] if hidden else []
    paused = ["models are paused: `workshop llm resume --all`"] if figures.shown.paused else []
    class_line = f"{figures.shown.workshop}: {', '.join(states)}"
    return [class_line, *paused, *(f"warning: {plain(text)}" for text in figures.troubles), *more]


def _column(title: str, cells: Iterable[Cell], *, right: bool = False, leaves: int = 0) -> Column:
    return Column(title, tuple(cells), right=right, leaves=leaves)


def _needed(found: Sequence[Column]) -> int:
    """Count the characters of columns side by side; the last one may be cut."""
    widths = [_NARROWEST if column.leaves == 1 else column.width for column in found]
    return sum(widths) + _GAP * (len(widths) - 1)


def _cut(column: Column, found: Sequence[Column], width: int) -> Column:
    room = max(_NARROWEST, width - _needed(found) + _NARROWEST)
    cells = (
        cell if len(cell.text) <= room else Cell(f"{cell.text[: room - 1]}…", cell.style)
        for cell in column.cells
    )
    return replace(column, cells=tuple(cells))


def _requests(seat: Seat) -> Cell:
    return Cell(f"{seat.requests:,}")


def _errors(seat: Seat) -> Cell:
    return Cell(f"{seat.errors:,}", _FAILED if seat.errors else "")


def _memory(seat: Seat) -> Cell:
    used = f"{seat.memory / MIB:.0f}"
    if not seat.memory_limit:
        return Cell(used)
    near = seat.memory >= NEARLY * seat.memory_limit
    return Cell(f"{used}/{seat.memory_limit / MIB:.0f}", _WARNED if near else "")


def _cpu(seat: Seat) -> Cell:
    if not seat.cpu_limit:
        return Cell(f"{seat.cpu:.2f}")
    share = seat.cpu / seat.cpu_limit
    return Cell(f"{share:.0%}", _WARNED if share >= NEARLY else "")


def _tokens(seat: Seat) -> Cell:
    used = seat.tokens
    text = f"{used / _MANY:,.0f}k" if used >= 10 * _MANY else f"{used:,}"
    if seat.paused:
        return Cell(f"{text} paused", _WARNED)
    share = used_of_budget(seat)
    if share is None:
        return Cell(text)
    return Cell(f"{text} {share:.0%}", _WARNED if share >= NEARLY else "")


def _deploy(figures: Figures, seat: Seat) -> Cell:
    latest = seat.deploy
    if latest is None:
        return Cell("")
    number = f"{latest.number} " if latest.number else ""
    if latest.ended is None:
        return Cell(f"{number}{plain(latest.stage)}", "cyan")
    style = "" if latest.stage == "live" else _FAILED
    return Cell(f"{number}{plain(latest.stage)}, {ago(figures.time - latest.ended)}", style)
