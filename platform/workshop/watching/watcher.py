"""Watches the class from within ``serve`` and keeps what the board shows true.

Three threads: one waits for the engine's events, one for lines of the edge's log, and one looks at
everything else, four times a second at most.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import held
from workshop.board.shown import Shown
from workshop.deploys.current import SeatDeploys
from workshop.errors import WorkshopError
from workshop.watching import pages
from workshop.watching.books import Books
from workshop.watching.cgroups import Cgroups
from workshop.watching.containers import Containers
from workshop.watching.deploys import Deploys
from workshop.watching.edge_log import EdgeLog
from workshop.watching.files import make_open, mark
from workshop.watching.following import Follower
from workshop.watching.logs import Logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.board.shown import Seat
    from workshop.deploys.config import Config, DeploySeat
    from workshop.deploys.current import Current
    from workshop.engines.base import Engine, Event, Stream
    from workshop.watching.files import Mark

STEP_SECONDS = 0.25
"""Between two looks at files, and between two writings of the page."""
BEAT_SECONDS = 15.0
"""Between two writings while nothing changes; by their time others see that somebody watches."""
RETRY_SECONDS = 1.0
"""After a page could not be written."""
LOOKED_AT_SECONDS = 2.0
"""Between two readings of what containers use, while somebody may be looking at it."""
UNSEEN_SECONDS = 5.0
"""The same while nobody is logged in."""
SESSION_SECONDS = 12 * 3600
"""How long the board lets somebody be logged in."""
_WRITE_SECONDS = 0.24
"""A little less than a step, which may come a moment early."""
_NEVER_DEPLOYED = SeatDeploys()
_SESSIONS = "sessions.json"
_ENGINE = "the engine cannot be asked"
_EDGE = "the edge's log cannot be read"
_CGROUPS = (Path("/cgroup"), Path("/sys/fs/cgroup"))
"""Where the host's control groups are, in the container of ``serve`` and outside of one."""
_END_SECONDS = 5.0


class Watcher:
    """Sees how everybody fares and writes it down.

    Args:
        home: the state directory; the board's is below it.
        config: tells who is in the class; another object when that has changed.
        engine: who runs the class.
        everybody: tells what is deployed; another object when that has changed.
        cgroups: the host's control groups; ``None`` looks where they usually are.

    """

    def __init__(
        self,
        home: Path,
        config: Callable[[], Config],
        engine: Engine,
        everybody: Callable[[], Current],
        cgroups: Path | None = None,
    ) -> None:
        self._home = home
        self._board = home / "board"
        self._config = config
        self._engine = engine
        self._everybody = everybody
        self._workshop = config().owner.workshop
        self._containers = Containers(engine, self._workshop)
        self._edge_log = EdgeLog()
        self._cgroups = Cgroups(cgroups or next(filter(Path.is_dir, _CGROUPS), _CGROUPS[0]))
        self._books = Books(home)
        self._deploys = Deploys(home / "deploys" / "shown", everybody)
        make_open(self._board / "shown")
        self._logs = Logs(self._board, engine)
        self._writer = pages.Writer(self._board / "shown")
        self._told: tuple[Config, Current] | None = None
        self._live: dict[str, str] = {}
        self._held_mark: Mark | None = None
        self._held: frozenset[str] = frozenset()
        self._seats: dict[str, Seat] = {}
        self._last: Shown | None = None
        self._dirty = True
        self._used = -UNSEEN_SECONDS
        self._next_write = 0.0
        self._unwritten = ""
        self._troubles: dict[str, str] = {}
        self._started = time.time()
        self._ended = threading.Event()
        self._sooner = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._followers: tuple[Follower[Event], Follower[tuple[str, str]]] = (
            Follower("watch-events", self._open_events, self._note),
            Follower("watch-edge", self._open_edge, self._edge_log.take),
        )

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()
        for follower in self._followers:
            follower.start()

    def stop(self) -> None:
        """End, and wait for the threads."""
        self._ended.set()
        self._sooner.set()
        for follower in self._followers:
            follower.stop()
        self._thread.join(_END_SECONDS)

    # -- threads ------------------------------------------------------------------------------

    def _run(self) -> None:
        next_step = 0.0
        while not self._ended.is_set():
            pause = min(next_step - time.monotonic(), self._containers.wait(time.time()))
            if self._sooner.wait(max(pause, 0.0)):
                self._sooner.clear()
                continue
            next_step = time.monotonic() + STEP_SECONDS
            try:
                self.step(time.time())
            except Exception:  # noqa: BLE001 - an accident of one look must not end the watch
                traceback.print_exc(file=sys.stderr)

    def _open_events(self) -> Stream[Event]:
        stream = self._engine.events(self._workshop)
        # What happened before is told to nobody.
        self._containers.look_soon()
        return stream

    def _note(self, event: Event) -> None:
        if self._containers.note(event, time.time()):
            self._sooner.set()

    def _open_edge(self) -> Stream[tuple[str, str]] | None:
        edge = self._containers.edge
        if not edge:
            return None
        return self._engine.follow(edge, self._edge_log.begin(edge, time.time()))

    # -- looking ------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Look at all that is due, and write what has changed. ``now``: seconds since 1970."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            self._read_told()
        changed = [
            self._try(_ENGINE, lambda: self._containers.step(now)),
            self._edge_log.step(now),
            self._books.step(now),
            self._try("deploys cannot be read", self._deploys.step),
        ]
        ids = self._containers.ids(self._live.values())
        by_seat = {name: ids[item] for name, item in self._live.items() if item in ids}
        self._try("logs of seats cannot be read", lambda: self._logs.step(by_seat, now))
        changed.append(self._read_use(now))
        troubles = self._all_troubles()
        if not self._writer.path.exists():
            self._last = None
        due = self._last is None or now - self._last.time >= BEAT_SECONDS
        self._dirty |= any(changed) or due or troubles != (self._last and self._last.troubles)
        # A clock that was set back must not put it off for hours.
        if self._dirty and not now < self._next_write < now + 2 * RETRY_SECONDS:
            self._compose(troubles, now)

    def _try(self, words: str, look: Callable[[], bool]) -> bool:
        try:
            changed = look()
        except (WorkshopError, OSError) as exc:
            message = exc.message if isinstance(exc, WorkshopError) else str(exc)
            self._troubles[words] = f"{words}: {message}"
            return False
        self._troubles.pop(words, None)
        return changed

    def _read_told(self) -> None:
        """Read who is in the class, whose seats are held, and which container each name means."""
        config, current = self._config(), self._everybody()
        found = mark(self._home / held.FILE)
        if found != self._held_mark:
            self._held_mark, self._held, self._dirty = found, held.load(self._home), True
        if self._told and self._told[0] is config and self._told[1] is current:
            return
        self._told, self._dirty = (config, current), True
        self._live = {item.spec.key: _live(item, current) for item in config.seats}

    def _read_use(self, now: float) -> bool:
        clock = time.monotonic()
        if clock - self._used < (LOOKED_AT_SECONDS if self._may_be_seen(now) else UNSEEN_SECONDS):
            return False
        self._used = clock
        running = self._containers.ids(self._live.values(), running=True)
        by_seat = {name: running[item] for name, item in self._live.items() if item in running}
        return self._cgroups.look(by_seat, clock)

    def _may_be_seen(self, now: float) -> bool:
        """Whether anybody may be logged in to the board."""
        written = mark(self._board / "kept" / _SESSIONS)[0] / 1e9
        return now - written < SESSION_SECONDS

    def _all_troubles(self) -> tuple[str, ...]:
        events, edge = (item.trouble for item in self._followers)
        found = dict(self._troubles)
        if events:
            found.setdefault(_ENGINE, f"{_ENGINE}: {events}")
        if edge and _ENGINE not in found:
            found[_EDGE] = f"{_EDGE}: {edge}"
        return tuple(filter(None, (*found.values(), self._cgroups.trouble, self._books.trouble)))

    # -- telling ------------------------------------------------------------------------------

    def _compose(self, troubles: tuple[str, ...], now: float) -> None:
        if self._told is None:
            return
        seats = {item.spec.key: self._seat(item, now) for item in self._told[0].seats}
        found = Shown(
            workshop=self._workshop,
            time=self._last.time if self._last else 0.0,
            started=round(self._started, 3),
            seats=tuple(seats.values()),
            paused=self._books.paused,
            parts=self._containers.parts,
            troubles=troubles,
        )
        self._seats, self._dirty = seats, False
        if found == self._last and now - found.time < BEAT_SECONDS:
            return
        found = Shown(**{**vars(found), "time": round(now, 3)})
        self._dirty = not self._write(found, now)
        if not self._dirty:
            self._last = found

    def _write(self, found: Shown, now: float) -> bool:
        """Write the page; where the disk is full it stays due, and is said once."""
        try:
            self._writer.write(found)
        except OSError as exc:
            self._next_write = now + RETRY_SECONDS
            if str(exc) != self._unwritten:
                sys.stderr.write(f"the board's page cannot be written: {exc}\n")
            self._unwritten = str(exc)
            return False
        self._next_write, self._unwritten = now + _WRITE_SECONDS, ""
        return True

    def _seat(self, item: DeploySeat, now: float) -> Seat:
        name = item.spec.key
        seen = pages.Seen(
            name=name,
            limits=item.spec.limits,
            standing=self._containers.standing(self._live[name], item.spec.limits.memory, now),
            held=name in self._held,
            visits=self._edge_log.of(name),
            use=self._cgroups.of(name),
            spent=self._books.of(name),
            history=self._deploys.of(name),
        )
        return pages.seat(seen, self._seats.get(name), now)


def _live(item: DeploySeat, current: Current) -> str:
    """Name the container that visitors of a seat are led to; a second one is not that yet."""
    return item.spec.placed(current.get(item.spec.key, _NEVER_DEPLOYED), item.green).name
