"""What the platform did, from all who write it down, in one time order: ``workshop journal``.

Sources are the record of commands and wishes (:mod:`workshop.journal`), the log of deploys, and
the logs of the platform's own containers. Seats' logs are no part of it: they belong to their
participants.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workshop import deploying, journal
from workshop.deploys.config import LOG
from workshop.errors import EngineError, EngineUnreachable
from workshop.labels import Role
from workshop.observed import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from workshop.intake.orders import Progress
    from workshop.observed import ObservedContainer
    from workshop.workspace import Workspace

ROLES = (Role.GATEWAY, Role.INTAKE, Role.SERVE, Role.BOARD)
COMMAND = "workshop"
"""Source of what commands, and ``serve`` for the board, did."""
DEPLOYS = "deploys"
SOURCES = (COMMAND, DEPLOYS, *(role.value for role in ROLES))
LINES_BACK = 10_000
"""Lines of each container that are looked through."""
_AGAIN = 100
"""Lines a log is read back when it is followed, so that none falls between two reads."""
_REQUEST = "request"
_FAILED = 400
_POLL_SECONDS = 0.3
_LOOK_SECONDS = 5.0
"""How often it is looked for containers that were replaced."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    time: float
    """Seconds since 1970."""
    source: str
    """One of :data:`SOURCES`."""
    event: str
    facts: Mapping[str, Any]

    @property
    def names(self) -> frozenset[str]:
        """Whom it is about."""
        said = [self.facts.get(key) for key in ("seat", "name", "actor")]
        for key in ("seats", "names"):
            more = self.facts.get(key)
            said += more if isinstance(more, list) else []
        return frozenset(name for name in said if isinstance(name, str))


@dataclass(frozen=True)
class Choice:
    """Which entries are wanted."""

    name: str = ""
    """A participant or a source; empty for all."""
    everything: bool = False
    """Requests that went well too."""

    def takes(self, entry: Entry) -> bool:
        """Whether it is wanted."""
        if self.name and self.name != entry.source and self.name not in entry.names:
            return False
        return self.everything or not _went_well(entry)


class Chronicle:
    """Reads all sources of one class."""

    def __init__(self, work: Workspace, choice: Choice) -> None:
        self._work, self._choice = work, choice
        self.troubles: list[str] = []
        """What could not be read, in plain words."""

    def last(self, count: int) -> list[Entry]:
        """Read the newest ``count`` entries, oldest first.

        Raises:
            InputError: the roster is wrong, or knows nobody of that name and nor does the record.

        """
        found = [_commanded(entry) for entry in journal.read(self._work.state_directory)]
        found += [_deployed(item) for item in self._deploys()]
        try:
            for item in self._containers():
                lines = self._work.engine.logs(item.id, tail=LINES_BACK)
                found += _said(item, lines)
        except (EngineError, EngineUnreachable) as exc:
            self.troubles.append(f"logs of the platform's containers: {exc.message}")
        found = sorted(filter(self._choice.takes, found), key=lambda entry: entry.time)
        if not found and self._choice.name and self._choice.name not in SOURCES:
            self._work.roster.participant(self._choice.name)
        return found[-count:]

    def follow(self) -> Iterator[Entry]:
        """Yield what happens from the first ``next`` on, for as long as somebody takes it."""
        arrived: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        record = journal.Follower(self._work.state_directory)
        tails = _Tails(self._work, self._containers, arrived.put)
        deploys = _NewDeploys(self._work.directories.shown / LOG, self._deploys)
        while True:
            tails.look()
            for entry in record.new():
                arrived.put(_commanded(entry))
            for item in deploys.new():
                arrived.put(_deployed(item))
            with contextlib.suppress(queue.Empty):
                batch = [arrived.get(timeout=_POLL_SECONDS)]
                while not arrived.empty():
                    batch.append(arrived.get())
                yield from sorted(filter(self._choice.takes, batch), key=lambda entry: entry.time)

    def _deploys(self) -> list[Progress]:
        return deploying.history(self._work) if self._work.roster.deploys is not None else []

    def _containers(self) -> list[ObservedContainer]:
        seen = self._work.engine.observe(self._work.roster.name)
        return [item for item in seen.containers if item.role in ROLES]


class _Tails:
    """Follows the logs of containers, each on a thread of its own, for such a read blocks."""

    def __init__(
        self,
        work: Workspace,
        containers: Callable[[], list[ObservedContainer]],
        put: Callable[[Entry], None],
    ) -> None:
        self._work, self._containers, self._put = work, containers, put
        self._began = time.time()
        self._due = 0.0
        self._running: dict[str, threading.Thread] = {}
        self._seen: dict[str, float] = {}

    def look(self) -> None:
        """Follow what is not followed yet."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _LOOK_SECONDS
        with contextlib.suppress(EngineError, EngineUnreachable):
            for item in self._containers():
                known = self._running.get(item.id)
                if item.state is State.RUNNING and (known is None or not known.is_alive()):
                    thread = threading.Thread(target=self._tail, args=(item,), daemon=True)
                    self._running[item.id] = thread
                    thread.start()

    def _tail(self, item: ObservedContainer) -> None:
        # What was said before is not new, though a log that broke off begins with it again.
        since = self._seen.get(item.id, self._began)
        with contextlib.suppress(EngineError, EngineUnreachable):
            for line in self._work.engine.logs(item.id, tail=_AGAIN, follow=True):
                for entry in _said(item, [line]):
                    if entry.time > since:
                        self._seen[item.id] = entry.time
                        self._put(entry)


class _NewDeploys:
    """Reads deploys that end from now on."""

    def __init__(self, path: Path, read: Callable[[], list[Progress]]) -> None:
        self._path, self._read = path, read
        self._size = self._now()
        self._known = {item.id for item in read()}

    def new(self) -> list[Progress]:
        """Read what ended since the last call."""
        if (size := self._now()) == self._size:
            return []
        self._size = size
        found = [item for item in self._read() if item.id not in self._known]
        self._known |= {item.id for item in found}
        return found

    def _now(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


def _went_well(entry: Entry) -> bool:
    status = entry.facts.get("status")
    return entry.event == _REQUEST and isinstance(status, int) and 0 < status < _FAILED


def _commanded(entry: journal.Entry) -> Entry:
    return Entry(entry.time, COMMAND, entry.event, entry.facts)


def _said(item: ObservedContainer, lines: Iterable[str]) -> list[Entry]:
    source = item.role.value if item.role else ""
    return [Entry(entry.time, source, entry.event, entry.facts) for entry in journal.parse(lines)]


def _deployed(item: Progress) -> Entry:
    facts = {
        "seat": item.seat,
        "by": item.actor,
        "what": item.what.value,
        **({"number": item.number} if item.number else {}),
        **({"cause": item.finding.cause} if item.finding else {}),
    }
    return Entry(item.ended or item.received, DEPLOYS, f"deploy {item.stage}", facts)
