"""What a tile of the wall says about one seat: words and whole numbers, made from figures.

Two tiles are equal when a reader could not tell them apart. That is what decides whether one is
sent again, so nothing in it is finer than what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.shown import State

if TYPE_CHECKING:
    from workshop.board import config, shown
    from workshop.board.view import View

_MIB = 1024 * 1024
_HIGH = 90
"""Per cent of a limit from which a bar is drawn as a warning."""
_THOUSAND = 1000
_TEN = 10

WORDS = {
    State.LIVE: "live",
    State.SILENT: "no answer",
    State.CRASHING: "crashing",
    State.STOPPED: "stopped",
    State.HELD: "held",
    State.MISSING: "missing",
}
"""What the board calls a state."""

STAGES = {
    "waiting": "waiting for its turn",
    "fetching": "fetching the image",
    "building": "building",
    "starting": "starting",
    "proving": "live, checking its links",
    "live": "live",
    "failed": "failed",
    "superseded": "replaced by a newer one",
    "refused": "refused",
}
"""What the board calls a deploy's stage (:class:`workshop.intake.orders.Stage`)."""
_RUNS = frozenset({State.LIVE, State.SILENT, State.CRASHING})
_OVER = frozenset({"live", "failed", "superseded", "refused"})
_BAD = frozenset({"failed", "refused"})


@dataclass(frozen=True)
class Bar:
    """How much of a limit is used."""

    title: str
    percent: int
    """0 to 100."""
    words: str
    brief: str
    """The same for a small tile."""

    @property
    def high(self) -> bool:
        """Whether little is left."""
        return self.percent >= _HIGH


@dataclass(frozen=True)
class Verdict:
    """One deploy, as far as a tile tells it."""

    number: int
    look: str
    """Its colour and shape: live, failed, refused, superseded or deploying."""
    words: str
    time: float
    """When it ended, or came; seconds since 1970."""
    message: str = ""
    """The deploy doctor's first words, where it failed."""


@dataclass(frozen=True)
class Tile:
    """One seat on the wall."""

    name: str
    person: str
    """Who sits there; empty where that is the name again."""
    state: State
    detail: str
    since: float
    version: str
    """What runs, where it is not the latest deploy."""
    deploy: Verdict | None
    requests: int
    errors: int
    bars: tuple[Bar, ...]
    paused: bool
    hand: float | None
    """Since when a hand is up, in seconds since 1970."""
    spare: bool
    deploys: int
    memory: int
    """MiB, to sort by."""
    tokens: int

    @property
    def word(self) -> str:
        """The state in a word."""
        return WORDS[self.state]

    @property
    def rank(self) -> int:
        """Who needs the instructor first: 0 is a hand, 4 is a spare seat that is well."""
        if self.hand is not None:
            return 0
        if self.state.failed:
            return 1
        if self.deploy and self.deploy.look in _BAD:
            return 2
        return 4 if self.spare else 3

    @property
    def needs(self) -> bool:
        """Whether somebody should look."""
        return self.rank < 3  # noqa: PLR2004 - see rank

    @property
    def marks(self) -> str:
        """Every filter that this tile belongs to, for the page's own script."""
        words = [self.state.value]
        words += ["needs"] if self.needs else []
        words += ["hand"] if self.hand is not None else []
        words += ["failed"] if self.deploy and self.deploy.look in _BAD else []
        words += ["deploying"] if self.deploy and self.deploy.look == "deploying" else []
        words += ["spare"] if self.spare else []
        return " ".join(words)

    @property
    def order(self) -> tuple[int, float, str]:
        """Sort the ones who need the instructor first; who waits with a hand up longest leads."""
        return (self.rank, self.hand or 0.0, self.name)


def tiles(view: View) -> list[Tile]:
    """Make the tile of every seat, those who need the instructor first."""
    return sorted((tile(view, person) for person in view.config.seats), key=lambda one: one.order)


def tile(view: View, person: config.Seat) -> Tile:
    """Make the tile of one seat."""
    seat = view.seat(person.name)
    deploy = seat.deploy
    return Tile(
        name=person.name,
        person=person.display_name if person.display_name != person.name else "",
        state=seat.state,
        detail=seat.detail,
        since=seat.since,
        version=seat.version if deploy and not deploy.live else "",
        deploy=verdict(deploy) if deploy else None,
        requests=seat.requests,
        errors=seat.errors,
        bars=tuple(bars(seat)) if seat.state in _RUNS else (),
        paused=seat.paused,
        hand=view.hands.get(person.name),
        spare=person.spare and person.name not in view.claimed,
        deploys=seat.totals.deploys,
        memory=seat.memory // _MIB,
        tokens=seat.tokens,
    )


def verdict(deploy: shown.Deploy) -> Verdict:
    """Say how one deploy went."""
    return Verdict(
        number=deploy.number,
        look=deploy.stage if deploy.stage in _OVER else "deploying",
        words=STAGES.get(deploy.stage, deploy.stage),
        time=deploy.ended or deploy.received,
        message=deploy.message if deploy.stage in _BAD else "",
    )


def bars(seat: shown.Seat) -> list[Bar]:
    """Compare what a seat uses with what it may use; no bar where there is no limit."""
    found = []
    if seat.memory_limit:
        used, limit = seat.memory // _MIB, seat.memory_limit // _MIB
        part = percent(seat.memory, seat.memory_limit)
        found.append(Bar("Memory", part, f"{used} of {limit} MB", f"{used}/{limit} MB"))
    if seat.cpu_limit:
        part = percent(seat.cpu, seat.cpu_limit)
        words = f"{seat.cpu:.2f} of {seat.cpu_limit:g} cores"
        found.append(Bar("CPU", part, words, f"CPU {part}%"))
    if seat.tokens_limit:
        part = percent(seat.tokens, seat.tokens_limit)
        words = f"{short(seat.tokens)} of {short(seat.tokens_limit)}"
        found.append(Bar("LLM tokens", part, words, f"LLM {part}%"))
    return found


def percent(used: float, limit: float) -> int:
    """How much of ``limit`` is used, from 0 to 100."""
    return max(0, min(100, round(100 * used / limit)))


def short(count: int) -> str:
    """Write a large number short, such as ``4.8k`` or ``64k``."""
    value, unit = float(count), ""
    for unit in ("", "k", "M", "G"):  # noqa: B007 - the last one is wanted
        if value < _THOUSAND:
            break
        value /= _THOUSAND
    digits = 1 if unit and value < _TEN else 0
    return f"{value:.{digits}f}".removesuffix(".0") + unit
