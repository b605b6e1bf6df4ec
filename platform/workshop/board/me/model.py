"""What one participant is shown: frozen data, made from the view for one name alone.

Each part of the page that changes by itself is one class here. Two that are equal look the same, so
whoever streams them compares before it renders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.shown import State

if TYPE_CHECKING:
    from workshop.board import config, shown
    from workshop.board.view import View

TEMPLATE = "template"
"""What a wish to go back calls the version that the class began with."""
_UNDER_WAY = {
    "waiting": "Waiting for a turn",
    "fetching": "Fetching the image",
    "building": "Building",
    "starting": "Starting beside what is live",
    "proving": "Looking at its links",
}
_ENDED = {
    "live": "Was live",
    "failed": "Failed",
    "refused": "Refused",
    "superseded": "Overtaken by a newer one",
}
_WHAT = {"push": "docker push", "source": "upload", "image": "image", "version": "going back"}
_STATES = {
    State.LIVE: ("Live", "good", "Your app runs."),
    State.SILENT: (
        "No answer",
        "warn",
        "Its latest visitors got no answer. Read the log below; a restart helps if it hangs.",
    ),
    State.CRASHING: (
        "Crashing",
        "bad",
        "It ends again and again. The last lines of the log below say why.",
    ),
    State.STOPPED: (
        "Stopped",
        "bad",
        "It has ended. Read the log below, then restart it.",
    ),
    State.HELD: (
        "Held",
        "held",
        "Your instructor has stopped it for now, and can start it again.",
    ),
    State.MISSING: (
        "Not there",
        "bad",
        "Nothing runs here right now. If that lasts longer than a minute, raise your hand.",
    ),
}


@dataclass(frozen=True)
class App:
    """How the app fares."""

    word: str
    """The state in a word or two."""
    kind: str
    """good, warn, bad or held: how the page draws it."""
    words: str
    """What it means, and what helps."""
    detail: str
    """What the engine saw."""
    since: float
    """Seconds since 1970; 0 where that is not known."""
    version: str


@dataclass(frozen=True)
class Models:
    """What was asked of the class's models, against what may be."""

    tokens: int
    tokens_limit: int | None
    money: int
    """Billionths of the currency's unit."""
    money_limit: int | None
    currency: str
    paused: str
    """Who may ask nothing for now: ``you``, ``everybody`` or nobody."""

    @property
    def share(self) -> float | None:
        """How much of the tighter budget is used, from 0 to 1; ``None`` without a budget."""
        shares = [
            used / limit if limit else 1.0
            for used, limit in ((self.tokens, self.tokens_limit), (self.money, self.money_limit))
            if limit is not None
        ]
        return min(1.0, max(shares)) if shares else None

    @property
    def kind(self) -> str:
        """How the page draws it: good, warn from four fifths, bad when nothing is left."""
        share = self.share or 0.0
        return "bad" if share >= 1 else "warn" if share >= _NEARLY else "good"


_NEARLY = 0.8


@dataclass(frozen=True)
class Run:
    """One deploy."""

    id: str
    number: int
    word: str
    kind: str
    """good, bad, busy or held: how the page draws it."""
    what: str
    by: str
    """Who deployed, where that was not the participant."""
    received: float
    seconds: float | None
    """How long it took; ``None`` while it is under way."""
    version: str
    message: str
    evidence: tuple[str, ...]
    next: str
    escapes: int
    live: bool
    back: bool
    """Whether one can go back to it."""


@dataclass(frozen=True)
class Deploys:
    """The latest deploys, newest first."""

    runs: tuple[Run, ...]
    template: bool
    """Whether one can go back to what the class began with."""


@dataclass(frozen=True)
class Says:
    """What the instructor says to everybody; no text where that is nothing."""

    text: str = ""
    time: float = 0.0


@dataclass(frozen=True)
class Hand:
    """Whether the own hand is raised."""

    since: float | None = None
    """Seconds since 1970."""


@dataclass(frozen=True)
class Own:
    """Everything on one participant's page that changes by itself."""

    app: App
    deploys: Deploys
    models: Models | None
    """``None`` where the class has no models."""
    says: Says
    hand: Hand


def own(view: View, name: str) -> Own:
    """Show ``name`` the own seat."""
    seat = view.seat(name)
    said = view.announcement
    return Own(
        app=_app(seat),
        deploys=Deploys(
            tuple(_run(deploy, name) for deploy in seat.deploys),
            template=any(deploy.live for deploy in seat.deploys),
        ),
        models=_models(seat, view.config, everybody=view.shown.paused),
        says=Says(said.text, said.time) if said else Says(),
        hand=Hand(view.hands.get(name)),
    )


def versions(view: View, name: str) -> frozenset[str]:
    """Name the versions that ``name`` can go back to."""
    kept = (deploy.version for deploy in view.seat(name).deploys if deploy.kept)
    return frozenset({TEMPLATE, *kept})


def _app(seat: shown.Seat) -> App:
    word, kind, words = _STATES[seat.state]
    return App(word, kind, words, seat.detail, seat.since, seat.version)


def _models(seat: shown.Seat, told: config.Config, *, everybody: bool) -> Models | None:
    if not told.llm:
        return None
    return Models(
        tokens=seat.tokens,
        tokens_limit=seat.tokens_limit,
        money=seat.money,
        money_limit=seat.money_limit,
        currency=told.currency,
        paused="everybody" if everybody else "you" if seat.paused else "",
    )


def _run(deploy: shown.Deploy, name: str) -> Run:
    return Run(
        id=deploy.id,
        number=deploy.number,
        word=_word(deploy),
        kind=_kind(deploy),
        what=_WHAT.get(deploy.what, deploy.what),
        by="" if deploy.actor == name else deploy.actor,
        received=deploy.received,
        seconds=None if deploy.ended is None else max(0.0, deploy.ended - deploy.received),
        version=deploy.version,
        message=deploy.message,
        evidence=deploy.evidence,
        next=deploy.next,
        escapes=deploy.escapes,
        live=deploy.live,
        back=deploy.kept and not deploy.live and bool(deploy.version),
    )


def _word(deploy: shown.Deploy) -> str:
    if deploy.live:
        return "Live now"
    return _ENDED.get(deploy.stage) or _UNDER_WAY.get(deploy.stage, deploy.stage)


def _kind(deploy: shown.Deploy) -> str:
    if deploy.stage in {"failed", "refused"}:
        return "bad"
    if deploy.live:
        return "good"
    return "held" if deploy.stage in _ENDED else "busy"
