"""What lives as long as the intake: its view of the configuration, and who came how often."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.intake.announcements import Heard
from workshop.intake.config import CERTIFICATE, EVENTS_SECRET, FILE, SIGNING_KEY
from workshop.intake.pace import Guesses
from workshop.intake.uploads import Doorway, sweep
from workshop.intake.view import UNREADABLE, read_view
from workshop.intake.watch import Book
from workshop.serving import Buckets, log_to

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.intake.orders import Progress
    from workshop.serving import Log

_FILES = (FILE, SIGNING_KEY, CERTIFICATE, EVENTS_SECRET)


@dataclass(frozen=True)
class Options:
    """How an intake is started. Times are in seconds."""

    config: Path
    """Directory of the configuration, read only."""
    deploys: Path
    """Directory with the progress of orders and the log, read only."""
    inbox: Path
    """Directory for orders."""
    storage: Path
    """The registry's storage, read only."""
    look: float = 0.25
    """Between two looks at the configuration."""
    poll: float = 0.05
    """Between two looks at an order's progress."""
    silent: float = 5.0
    """Until whoever waits hears that nobody takes the order."""
    appear: float = 5.0
    """How long whoever asks for the newest deploy waits for one to appear."""
    heartbeat: float = 15.0
    """Between two signs of life while nothing changes."""
    longest: float = 900.0
    """How long one order is followed."""
    idle: float = 30.0
    """How long a client may be silent in the middle of its upload."""


class Service:
    """The parts of one intake."""

    def __init__(self, options: Options, log: Log | None = None) -> None:
        self.options = options
        self.log = log or log_to()
        self.view = read_view(options.config)
        self.guesses = Guesses()
        self.paces = Buckets()
        self.heard = Heard()
        self.doorway = Doorway()
        self._book = Book(options.deploys, options.inbox)
        self._reading = asyncio.Lock()
        self._seen = self._look()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Clear up after a killed predecessor, then watch the configuration."""
        sweep(self.options.inbox)
        self._watching = asyncio.create_task(self._watch_config())

    async def stop(self) -> None:
        """Let go of everything."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self.doorway.hands.shutdown(wait=False, cancel_futures=True)

    async def last(self, seat: str) -> list[Progress]:
        """List the deploys of ``seat``, newest first."""
        async with self._reading:
            return await asyncio.to_thread(self._book.last, seat)

    async def ended(self, order_id: str) -> Progress | None:
        """Tell how an order ended, where only the log knows."""
        async with self._reading:
            return await asyncio.to_thread(self._book.ended, order_id)

    async def _watch_config(self) -> None:
        while True:
            await asyncio.sleep(self.options.look)
            if (seen := self._look()) != self._seen:
                self._seen = seen
                await self._reload()

    async def _reload(self) -> None:
        try:
            self.view = await asyncio.to_thread(read_view, self.options.config)
        except UNREADABLE as exc:
            self.log("configuration refused, the old one stays", error=type(exc).__name__)
            return
        self.log("configuration", fingerprint=self.view.fingerprint)

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        found = []
        for name in _FILES:
            try:
                stat = (self.options.config / name).stat()
            except OSError:
                continue
            found.append((name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)
