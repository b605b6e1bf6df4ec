"""What lives as long as the board: what it knows, who is logged in, and what is asked for."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workshop.board import config, shown, wishes
from workshop.board.guesses import Guesses
from workshop.board.refusal import Refused
from workshop.board.sessions import Sessions
from workshop.board.view import View
from workshop.board.wishes import Wish
from workshop.serving import Buckets, log_to

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from workshop.board.shown import LogTail
    from workshop.board.wishes import Answer, What
    from workshop.serving import Log

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a configuration that is missing or garbled raises."""
CLAIMED = "claimed.json"
"""Beside what is shown: whose claim codes were exchanged for keys, and when."""
STALE_SECONDS = 45.0
"""Without a word from the control process, which writes at least every 15."""
_MOST_WAITING = 100
"""Wishes that nobody has taken yet."""
_MOST_REMEMBERED = 5000
"""Wishes whose actors are kept in mind; their answers are gone long before."""
_WISHES_PER_MINUTE = 30
"""Of one participant."""
_RETRY = 10.0
"""Seconds until it may be tried again."""
_TOUCH_SECONDS = 2.0
"""Between two touches of a log that is looked at."""


@dataclass(frozen=True)
class Options:
    """How a board is started. Times are in seconds."""

    told: Path
    """Directory of the configuration and the one-time links, read only."""
    shown: Path
    """Directory of what the control process saw, read only."""
    kept: Path
    """Directory for wishes, hands and sessions."""
    look: float = 0.2
    """Between two looks at the files."""
    heartbeat: float = 15.0
    """Between two signs of life on a stream where nothing changes."""
    longest: float = 3600.0
    """How long one stream is kept open; browsers open the next by themselves."""


class Service:
    """The parts of one board. They belong to the event loop: nothing here is for other threads."""

    def __init__(self, options: Options, log: Log | None = None) -> None:
        self.options = options
        self.log = log or log_to()
        for name in (wishes.WISHES, wishes.WANTED):
            # The control process, another user, takes files out of them.
            directory = options.kept / name
            directory.mkdir(exist_ok=True)
            with suppress(PermissionError):
                directory.chmod(0o777)
        self._reader = shown.Reader()
        self._stamps = self._look()
        view = View(**self._read(self._stamps))
        self.view = self._mended(view, wishes.read_hands(options.kept))
        self.sessions = Sessions(options.kept, options.told)
        self.guesses = Guesses()
        self.stopping = False
        self._paces = Buckets()
        self._actors: dict[str, str] = {}
        self._touched: dict[str, float] = {}
        self._logs: dict[str, tuple[Stamp, LogTail | None]] = {}
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch the files."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Let go of everything."""
        self.end_streams()
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def end_streams(self) -> None:
        """Let whoever waits for a change find that the board stops."""
        self.stopping = True
        self._tell()

    async def changed(self, number: int, seconds: float) -> View:
        """Wait until the view is another one than ``number``, or ``seconds`` are over."""
        if self.view.number == number and not self.stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        return self.view

    # -- what people ask for --------------------------------------------------------------------

    def is_claimed(self, name: str) -> bool:
        """Whether a seat's claim code was used; the file knows it before the view does."""
        return name in _claimed(self.options.shown)

    def wish(self, actor: str, what: What, seats: Sequence[str] = (), text: str = "") -> str:
        """Hand a wish over and return its id.

        Raises:
            Refused: it has not the form of one, there are many, or it cannot be written.

        """
        self._pace(actor)
        wish = Wish(wishes.new_id(), what, actor, tuple(seats), text)
        if not wish.sound:
            raise Refused(400, "That is not something you can ask for here.")
        directory = self.options.kept / wishes.WISHES
        if len(wishes.waiting(directory)) >= _MOST_WAITING:
            raise Refused(
                503,
                "Nothing that was asked for lately has been carried out. The control process may"
                " not be running: `workshop status` on the server tells.",
                retry_after=_RETRY,
            )
        try:
            wishes.place(directory, wish)
        except OSError as exc:
            raise self._unwritten(exc) from exc
        self._actors[wish.id] = actor
        if len(self._actors) > _MOST_REMEMBERED:
            del self._actors[next(iter(self._actors))]
        self.log("wish", id=wish.id, what=what, actor=actor, seats=len(wish.seats))
        return wish.id

    def answer(self, wish_id: str, actor: str) -> Answer | None:
        """Tell what became of a wish; ``None`` while nothing is known.

        Raises:
            Refused: ``actor`` wished for no such thing since the board was started.

        """
        if self._actors.get(wish_id) != actor:
            raise Refused(404, "Nothing is known of this wish any more.")
        return wishes.read_answer(self.options.shown / shown.ANSWERS, wish_id)

    def hand(self, name: str, *, up: bool) -> None:
        """Raise a participant's hand, or lower it.

        Raises:
            Refused: there is no such participant, they did so many times, or it cannot be kept.

        """
        self._known(name)
        if up == (name in self.view.hands):
            return
        if up:
            self._pace(name)
        hands = {other: since for other, since in self.view.hands.items() if other != name}
        if up:
            hands[name] = time.time()
        try:
            wishes.save_hands(self.options.kept, hands)
        except OSError as exc:
            raise self._unwritten(exc) from exc
        self.log("hand", seat=name, up=up)
        self._show(self.view, hands)

    # -- logs -----------------------------------------------------------------------------------

    def want_log(self, name: str) -> None:
        """Ask for the log of a seat for the next seconds; to be said again while one looks at it.

        Raises:
            Refused: there is no such participant.

        """
        self._known(name)
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        self._touched[name] = now
        try:
            (self.options.kept / wishes.WANTED / name).touch(mode=0o666)
        except OSError as exc:
            self.log("log not wanted", error=type(exc).__name__)

    def log_tail(self, name: str) -> LogTail | None:
        """Give the last lines of a seat; ``None`` until there are any.

        Raises:
            Refused: there is no such participant.

        """
        self._known(name)
        stamp = _stamp(self.options.shown / shown.LOGS / f"{name}.json")
        held = self._logs.get(name)
        # One who looks asks several times a second; the file changes once.
        if held is None or held[0] != stamp:
            held = (stamp, shown.read_log(self.options.shown, name))
            self._logs[name] = held
        return held[1]

    # -- inside ---------------------------------------------------------------------------------

    def _known(self, name: str) -> None:
        if self.view.person(name) is None:
            raise Refused(404, "There is no such seat in this workshop.")

    def _unwritten(self, exc: OSError) -> Refused:
        self.log("not written", error=type(exc).__name__, number=exc.errno)
        words = "This could not be written down: the server's disk may be full."
        return Refused(503, words, retry_after=_RETRY)

    def _pace(self, actor: str) -> None:
        if actor == wishes.INSTRUCTOR:
            return
        wait = self._paces.take(actor, _WISHES_PER_MINUTE, _WISHES_PER_MINUTE)
        if wait:
            raise Refused(
                429, "You asked for many things within a minute. Wait a little.", retry_after=wait
            )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.options.look)
            stamps = self._look()
            new = [part for part, stamp in stamps.items() if stamp != self._stamps[part]]
            if new:
                self._stamps = stamps
                await self._reload(new)
            stale = 0 < self.view.shown.time < time.time() - STALE_SECONDS
            if stale != self.view.stale:
                self._show(replace(self.view, stale=stale), self.view.hands)

    async def _reload(self, parts: Collection[str]) -> None:
        try:
            found = await asyncio.to_thread(self._read, parts)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with a file, the next one is read
            self.log("files refused, what was known stays", error=type(exc).__name__)
            return
        # People may have raised hands meanwhile, so the view is taken as it is now.
        view = replace(self.view, **found)
        if "config" in parts:
            self.log("configuration", fingerprint=view.fingerprint)
        self._show(view, self.view.hands)

    def _read(self, parts: Collection[str]) -> dict[str, Any]:
        """Read some parts of the view anew.

        Raises:
            OSError, ValueError, KeyError, TypeError, AttributeError: there is no usable
                configuration (:data:`UNREADABLE`). Where the control process wrote nothing usable,
                nothing was seen.

        """
        here = self.options.shown
        reads: dict[str, Callable[[], Any]] = {
            "config": lambda: config.load((self.options.told / config.FILE).read_text("utf-8")),
            "shown": lambda: self._reader.read(here) or shown.Shown("", 0.0, 0.0),
            "announcement": lambda: shown.read_announcement(here),
            "claimed": lambda: _claimed(here),
        }
        return {part: reads[part]() for part in parts}

    def _show(self, view: View, hands: Mapping[str, float]) -> None:
        self.view = self._mended(view, hands, self.view.number + 1)
        self._tell()

    @staticmethod
    def _mended(view: View, hands: Mapping[str, float], number: int = 1) -> View:
        """Put raised hands into what was read; who has left the class has none."""
        here = {name: since for name, since in hands.items() if view.person(name)}
        return replace(view, hands=here, number=number)

    def _tell(self) -> None:
        old, self._news = self._news, asyncio.Event()
        old.set()

    def _look(self) -> dict[str, Stamp]:
        here = self.options.shown
        paths = {
            "config": self.options.told / config.FILE,
            "shown": here / shown.FILE,
            "announcement": here / shown.ANNOUNCEMENT,
            "claimed": here / CLAIMED,
        }
        return {part: _stamp(path) for part, path in paths.items()}


Stamp = tuple[int, int, int]
"""Inode, time of change in nanoseconds and size of a file; zeros where there is none."""


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _claimed(directory: Path) -> frozenset[str]:
    try:
        return frozenset(map(str, json.loads((directory / CLAIMED).read_text("utf-8"))))
    except (OSError, ValueError, TypeError):
        return frozenset()
