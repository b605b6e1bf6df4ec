"""How containers fare, by the engine's word: asked when it tells of something, and regularly."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.shown import State as Fares
from workshop.errors import NotFound, WorkshopError
from workshop.labels import Role
from workshop.limits import MIB
from workshop.observed import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workshop.engines.base import Engine, Event
    from workshop.observed import ObservedContainer, Uptime

LOOK_SECONDS = 15.0
"""At least so often the engine is asked, should an event be lost."""
SETTLE_SECONDS = 0.15
"""After an event, before the engine is asked: what ends is often started again at once."""
RETRY_SECONDS = 2.0
STEADY_SECONDS = 60.0
"""Whoever ends twice in this time ends again and again, even if it runs long in between."""
_ASKED_AT_ONCE = 25
"""Closer looks at single containers in one step: a whole class must not hold up the next."""
_STARVED_SECONDS = 10.0
"""Between the kernel's word that memory ran out and the end it brings, whichever is told first."""
_REST = 3.0
"""Between the beginnings of two looks, in times of what one takes."""
_PASSING = frozenset({Role.BUILD, Role.WALL})
"""Roles of containers that do one thing and are over."""
_EXIT_CODE = re.compile(r"\(([0-9]+)\)")
_YOUNG = re.compile(r"second|minute")
_TWICE = 2


@dataclass(frozen=True)
class Standing:
    """How one container fares."""

    id: str
    version: str
    fares: Fares
    """LIVE, CRASHING, STOPPED or MISSING: what the engine can know."""
    detail: str
    since: float = 0.0
    """Seconds since 1970; 0: not known better than when it was noticed."""
    restarts: int = 0


NOBODY = Standing("", "", Fares.MISSING, "has no container")


@dataclass
class Life:
    """What is known of a container beyond the engine's list. Times are seconds since 1970."""

    uptime: Uptime | None = None
    asked: float = 0.0
    """When the uptime was told."""
    stale: bool = True
    """Whether something has happened since."""
    ends: tuple[float, ...] = ()
    """When it was seen to have ended by itself, as far as that was a while ago at most."""
    exit_code: int | None = None
    """Of its latest end; ``None`` where nobody saw it."""
    died: float = 0.0
    starved: float = 0.0
    """When the kernel last killed a process in it for want of memory."""
    out_of_memory: bool = False
    """Whether that is what its latest end came from."""

    def note(self, event: Event, now: float) -> None:
        """Take in what the engine told."""
        self.stale = True
        if event.action == "oom":
            self.starved = now
            self.out_of_memory |= now - self.died < _STARVED_SECONDS
        elif event.action == "die":
            self.died, self.exit_code = now, event.exit_code
            self.out_of_memory = now - self.starved < _STARVED_SECONDS

    def learn(self, uptime: Uptime, item: ObservedContainer, now: float) -> None:
        """Take in what a closer look showed."""
        before, self.uptime, self.asked, self.stale = self.uptime, uptime, now, False
        if before is None:
            self.ends = (now,) if uptime.crashing else ()
        elif uptime.restarts > before.restarts:
            self.ends = (*self.ends, *(now,) * (uptime.restarts - before.restarts))[-_TWICE:]
        elif uptime.restarts < before.restarts:
            # Somebody started it anew.
            self.ends = ()
        self.out_of_memory |= uptime.out_of_memory and item.state is not State.RUNNING

    def crashing(self, now: float) -> bool:
        """Whether it ends again and again, although it may run at this moment."""
        return self._just_started_again(now) or self._recent_ends(now) >= _TWICE

    def _just_started_again(self, now: float) -> bool:
        if self.uptime is None:
            return False
        passed = max(now - self.asked, 0.0)
        return self.uptime.after(passed).crashing

    def _recent_ends(self, now: float) -> int:
        return sum(1 for end in self.ends if now - end < STEADY_SECONDS)


class Containers:
    """The containers of one workshop. :meth:`note` may be called from any thread."""

    def __init__(self, engine: Engine, workshop: str) -> None:
        self._engine = engine
        self._workshop = workshop
        self._lock = threading.Lock()
        self._due = self._rested = 0.0
        self._listed: dict[str, ObservedContainer] = {}
        self._lives: dict[str, Life] = {}
        self._crashing: set[str] = set()

    # -- taking in ----------------------------------------------------------------------------

    def note(self, event: Event, now: float) -> bool:
        """Take in what the engine tells; whether the next look is due sooner for it."""
        if event.role is None or event.role in _PASSING:
            return False
        with self._lock:
            self._lives.setdefault(event.container, Life()).note(event, now)
            due = max(now + SETTLE_SECONDS, self._rested)
            sooner, self._due = due < self._due, min(due, self._due)
        return sooner

    def look_soon(self) -> None:
        """Ask the engine at the next step: events may have been missed."""
        with self._lock:
            self._due = 0.0

    def wait(self, now: float) -> float:
        """Say in how many seconds the next look is due."""
        # A clock that was set back must not put it off for hours.
        return min(max(self._due - now, 0.0), LOOK_SECONDS)

    def step(self, now: float) -> bool:
        """Look if that is due; whether anything may have changed.

        Raises:
            WorkshopError: the engine cannot be asked.

        """
        if self._due <= now or self._due > now + LOOK_SECONDS:
            with self._lock:
                self._due = now + LOOK_SECONDS
            began = time.monotonic()
            try:
                self._look(now)
            except WorkshopError:
                self._due = now + RETRY_SECONDS
                raise
            # A class that starts anew tells of every single container.
            self._rested = now + _REST * (time.monotonic() - began)
            self._time_passed(now)
            return True
        return self._time_passed(now)

    def _time_passed(self, now: float) -> bool:
        """Whether somebody is no longer crashing, because nothing happened for long enough."""
        with self._lock:
            crashing = {
                key for key, life in self._lives.items() if life.ends and life.crashing(now)
            }
        changed, self._crashing = crashing != self._crashing, crashing
        return changed

    def _look(self, now: float) -> None:
        listed = self._engine.containers(self._workshop)
        names = {item.name: item for item in listed if item.role not in _PASSING}
        with self._lock:
            held = {item.id: self._lives.get(item.id) or Life() for item in names.values()}
            self._listed, self._lives = names, held
        self._ask_closely(now)

    def _ask_closely(self, now: float) -> None:
        """Ask for what the list does not tell, of those that something happened to."""
        asked = sorted(
            (item for item in self._listed.values() if self._to_be_asked(item)),
            key=lambda item: (item.state is State.RUNNING, not _YOUNG.search(item.status)),
        )
        for item in asked[:_ASKED_AT_ONCE]:
            with self._lock:
                life = self._lives[item.id]
                life.stale = False
            try:
                uptime = self._engine.uptime(item.id)
            except NotFound:
                # It went after the list was made.
                self._due = min(self._due, now + RETRY_SECONDS)
                continue
            except WorkshopError:
                life.stale = True
                raise
            with self._lock:
                life.learn(uptime, item, now)
        if len(asked) > _ASKED_AT_ONCE:
            self.look_soon()

    def _to_be_asked(self, item: ObservedContainer) -> bool:
        return item.role is Role.SEAT and self._lives[item.id].stale

    # -- telling ------------------------------------------------------------------------------

    def standing(self, name: str, memory: int, now: float) -> Standing:
        """Say how the container called ``name`` fares; ``memory`` is its limit in bytes."""
        with self._lock:
            item = self._listed.get(name)
            if item is None:
                return NOBODY
            return _standing(item, self._lives[item.id], memory, now)

    def ids(self, names: Iterable[str], *, running: bool = False) -> dict[str, str]:
        """Map names to the ids of those containers that are there, or that run."""
        found = ((name, self._listed.get(name)) for name in names)
        return {
            name: item.id
            for name, item in found
            if item and (item.state is State.RUNNING or not running)
        }

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The platform's own containers and their states, in the engine's words."""
        own = (item for item in self._listed.values() if item.role not in {Role.SEAT, None})
        return tuple(sorted((item.key, item.state.value) for item in own))

    @property
    def edge(self) -> str:
        """Id of the edge that runs; empty where none does."""
        running = (
            item.id
            for item in self._listed.values()
            if item.role is Role.EDGE and item.state is State.RUNNING
        )
        return next(running, "")


def _standing(item: ObservedContainer, life: Life, memory: int, now: float) -> Standing:
    since = life.uptime.since if life.uptime else 0.0
    restarts = life.uptime.restarts if life.uptime else 0
    if item.state is State.RUNNING and not life.crashing(now):
        return Standing(item.id, item.version, Fares.LIVE, "runs", since, restarts)
    if item.state in {State.RUNNING, State.RESTARTING}:
        words = _ends_again(item, life, memory)
        return Standing(item.id, item.version, Fares.CRASHING, words, 0.0, restarts)
    if item.state is State.REMOVING:
        return Standing(item.id, item.version, Fares.MISSING, "is being removed")
    words = _WORDS.get(item.state) or _ended(item, life, memory)
    return Standing(item.id, item.version, Fares.STOPPED, words, since, restarts)


_WORDS: Mapping[State, str] = {
    State.CREATED: "was made, and not started yet",
    State.PAUSED: "is frozen; a start lets it go on",
}


def _ended(item: ObservedContainer, life: Life, memory: int) -> str:
    if life.out_of_memory:
        return f"killed: used more than its {memory // MIB} MB"
    code = _exit_code(item, life)
    return "ended" if code is None else f"ended with exit code {code}"


def _ends_again(item: ObservedContainer, life: Life, memory: int) -> str:
    if life.out_of_memory:
        return f"killed again and again: used more than its {memory // MIB} MB"
    code = _exit_code(item, life)
    how = "" if code is None else f" with exit code {code}"
    return f"ends{how} again and again"


def _exit_code(item: ObservedContainer, life: Life) -> int | None:
    """Read it from the engine's sentence, such as ``Exited (137) 3 minutes ago``."""
    if found := _EXIT_CODE.search(item.status):
        return int(found[1])
    return life.exit_code
