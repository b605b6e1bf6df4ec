"""What the control process saw of the class: frozen data that ``serve`` writes and others read.

    shown/seats.json          everybody, replaced whole when something changed
    shown/logs/NAME.json      the last lines of one seat, while somebody looks at them
    shown/announcement.json   what the instructor last said to everybody
    shown/answers/ID.json     what became of a wish (:mod:`workshop.board.wishes`)

The board, ``workshop top`` and ``workshop metrics`` read the same files. Figures come from the
edge's log, the engine and the gateway's books; no app is ever asked for one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = 1
FILE = "seats.json"
LOGS = "logs"
ANSWERS = "answers"
ANNOUNCEMENT = "announcement.json"
LOG_LINES = 300
"""The most lines of a seat's log that are shown."""
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the classes that answers are counted in by their duration."""


class State(StrEnum):
    """How a seat fares, by what the engine and the edge's log say."""

    LIVE = "live"
    """Runs, and no visitor went without an answer lately."""
    SILENT = "silent"
    """Runs, but its latest visitors got no answer."""
    CRASHING = "crashing"
    """Ends again and again."""
    STOPPED = "stopped"
    """Ended, and is not started again by itself."""
    HELD = "held"
    """The instructor stopped it."""
    MISSING = "missing"
    """Has no container."""

    @property
    def failed(self) -> bool:
        """Whether somebody should look: what "restart all failed" restarts."""
        return self in {State.SILENT, State.CRASHING, State.STOPPED, State.MISSING}


@dataclass(frozen=True)
class Deploy:
    """One deploy of a seat; times are seconds since 1970."""

    id: str
    number: int
    what: str
    """push, source, image or version."""
    actor: str
    stage: str
    """As :class:`workshop.intake.orders.Stage`."""
    received: float
    ended: float | None = None
    version: str = ""
    cause: str = ""
    """A stable word for why it failed, and what the deploy doctor says to it."""
    message: str = ""
    evidence: tuple[str, ...] = ()
    next: str = ""
    escapes: int = 0
    """Addresses in the app that leave its prefix."""
    live: bool = False
    """Whether this is what runs now."""
    kept: bool = False
    """Whether one can go back to it."""


@dataclass(frozen=True)
class Totals:
    """What was counted since ``serve`` first counted; only ever grows within one of its lives."""

    requests: int = 0
    errors: int = 0
    """Answers with status 5xx, and visitors who got none."""
    seconds: float = 0.0
    """All answers together, streams included."""
    buckets: tuple[int, ...] = (0,) * len(BUCKETS)
    """How many answers took at most as long as each of :data:`BUCKETS`; each class holds those of
    the classes below it."""
    bytes: int = 0
    """Sent to visitors."""
    cpu_seconds: float = 0.0
    deploys: int = 0
    """That went live."""
    failed_deploys: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    llm_requests: int = 0


@dataclass(frozen=True)
class Seat:
    """One participant's seat at this moment."""

    name: str
    state: State
    detail: str = ""
    """The state in a few plain words, such as ``ends with exit code 1 again and again``."""
    since: float = 0.0
    """When the state began, in seconds since 1970."""
    version: str = ""
    restarts: int = 0
    requests: int = 0
    """In the last minute."""
    errors: int = 0
    """In the last minute: status 5xx, and visitors who got no answer."""
    memory: int = 0
    """Bytes in use, without what the kernel may drop at once."""
    memory_limit: int = 0
    cpu: float = 0.0
    """Cores in use."""
    cpu_limit: float = 0.0
    tokens: int = 0
    """Used in the running window of the budget."""
    tokens_limit: int | None = None
    money: int = 0
    """Billionths of the currency's unit, in the same window."""
    money_limit: int | None = None
    paused: bool = False
    """Whether this seat may ask the models nothing for now."""
    deploys: tuple[Deploy, ...] = ()
    """Newest first, at most ten; the first one may be under way."""
    totals: Totals = Totals()

    @property
    def deploy(self) -> Deploy | None:
        """The latest deploy."""
        return next(iter(self.deploys), None)


@dataclass(frozen=True)
class Shown:
    """Everybody, as of ``time``."""

    workshop: str
    time: float
    """When it was written, in seconds since 1970: at a change, and every 15 seconds without one."""
    started: float
    """When ``serve`` began to count."""
    seats: tuple[Seat, ...] = ()
    paused: bool = False
    """Whether nobody may ask the models anything for now."""
    parts: tuple[tuple[str, str], ...] = ()
    """The platform's own containers and their states: running, or the engine's word."""
    troubles: tuple[str, ...] = ()
    """What the control process cannot see right now, in plain words."""

    def seat(self, name: str) -> Seat | None:
        """Find one participant's seat."""
        return next((seat for seat in self.seats if seat.name == name), None)


@dataclass(frozen=True)
class Announcement:
    """What the instructor said to everybody."""

    text: str
    time: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class LogTail:
    """The last lines of one seat, oldest first."""

    name: str
    time: float
    lines: tuple[str, ...] = ()


def dump(shown: Shown) -> str:
    """Write ``shown`` as JSON; equal data give equal text."""
    return json.dumps({"schema": SCHEMA, **asdict(shown)}, separators=(",", ":")) + "\n"


class Reader:
    """Reads what is shown again and again; a seat that did not change stays the same object.

    300 seats with their deploys are half a megabyte, and seldom does more than one of them change.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, Seat]] = {}

    def load(self, text: str) -> Shown:
        """Read what :func:`dump` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is not such a text.

        """
        raw = json.loads(text)
        if raw.pop("schema") != SCHEMA:
            raise ValueError("figures of another version of the platform")
        known = {item["name"]: (item, self._seat(item)) for item in raw["seats"]}
        shown = Shown(
            **{
                **raw,
                "seats": tuple(seat for _, seat in known.values()),
                "parts": tuple((name, state) for name, state in raw["parts"]),
                "troubles": tuple(raw["troubles"]),
            }
        )
        self._known = known
        return shown

    def read(self, directory: Path) -> Shown | None:
        """Read what is shown in ``directory``; ``None`` where nothing readable is."""
        try:
            return self.load((directory / FILE).read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _seat(self, raw: Mapping[str, Any]) -> Seat:
        known = self._known.get(raw["name"])
        return known[1] if known and known[0] == raw else _seat(raw)


def load(text: str) -> Shown:
    """Read what :func:`dump` wrote, once.

    Raises:
        ValueError, KeyError, TypeError: it is not such a text.

    """
    return Reader().load(text)


def read(directory: Path) -> Shown | None:
    """Read what is shown in ``directory``, once; ``None`` where nothing readable is."""
    return Reader().read(directory)


def read_announcement(directory: Path) -> Announcement | None:
    """Read what the instructor last said; ``None`` where that is nothing."""
    try:
        raw = json.loads((directory / ANNOUNCEMENT).read_text("utf-8"))
        return Announcement(str(raw["text"]), float(raw["time"])) if raw["text"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_log(directory: Path, name: str) -> LogTail | None:
    """Read the last lines of a seat; ``None`` where nobody has looked at them yet."""
    try:
        raw = json.loads((directory / LOGS / f"{name}.json").read_text("utf-8"))
        return LogTail(name, float(raw["time"]), tuple(map(str, raw["lines"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seat(raw: Mapping[str, Any]) -> Seat:
    totals = raw["totals"]
    return Seat(
        **{
            **raw,
            "state": State(raw["state"]),
            "deploys": tuple(
                Deploy(**{**item, "evidence": tuple(item["evidence"])}) for item in raw["deploys"]
            ),
            "totals": Totals(**{**totals, "buckets": tuple(totals["buckets"])}),
        }
    )
