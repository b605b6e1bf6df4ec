"""What lives as long as the gateway: its view of the configuration, its books, its connections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.gateway import ledger as ledgers
from workshop.gateway import replay
from workshop.gateway.account import Accountant
from workshop.gateway.breaker import Breaker
from workshop.gateway.budget import Budgets, Cost, start_of
from workshop.gateway.calls import Calls
from workshop.gateway.config import FILE, SECRETS, Window
from workshop.gateway.doors import Patience
from workshop.gateway.echo import EchoDoor
from workshop.gateway.forward import Forwarder
from workshop.gateway.ledger import Ledger, LedgerError
from workshop.gateway.metrics import Metrics
from workshop.gateway.pace import Pacer
from workshop.gateway.queue import FairQueue
from workshop.gateway.upstream import HttpDoor
from workshop.gateway.view import UNREADABLE, View, read_view
from workshop.serving import log_to

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from workshop.serving import Log


@dataclass(frozen=True)
class Options:
    """How a gateway is started."""

    config: Path
    """Directory of the configuration, read only."""
    data: Path
    """Directory of the books."""
    own: Container[str] = frozenset()
    """Addresses of this machine: whoever calls from one of them is the edge."""
    patience: Patience = field(default_factory=Patience)
    look: float = 0.25
    """Seconds between two looks at the configuration, and between two flushes of the ledger."""


class Service:
    """The parts of one gateway."""

    def __init__(self, options: Options, log: Log | None = None) -> None:
        self.options = options
        self.log = log or log_to()
        self.view = read_view(options.config)
        self.calls = Calls()
        self.pacer = Pacer()
        self.budgets = Budgets()
        self.ledger = Ledger(options.data / ledgers.FILE)
        self.metrics = Metrics()
        self.kept = replay.Replay(options.data / replay.FILE)
        self.accountant = Accountant(self.ledger, self.metrics, self.kept, self.log)
        self.http = HttpDoor(options.patience)
        self.forwarder = Forwarder(
            http=self.http,
            echo=EchoDoor(),
            kept=self.kept,
            queue=FairQueue(),
            breaker=Breaker(options.patience.down),
            patience=options.patience,
            log=self.log,
        )
        self._seeded = False
        self._seen = self._look()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fault(self) -> str:
        """Tell why nothing may be spent; empty while all is well."""
        return self.ledger.fault or ("" if self._seeded else "what was used is not known yet")

    async def start(self) -> None:
        """Open the books, then watch the configuration."""
        self._tell_missing(self.view)
        await self._keep_books()
        self._tasks = [
            asyncio.create_task(self._watch_config()),
            asyncio.create_task(self._watch_ledger()),
        ]

    async def stop(self) -> None:
        """Write the rest and let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.accountant.finish()
        await asyncio.to_thread(self.ledger.close)
        self.kept.close()
        await self.http.close()

    def upstreams(self) -> dict[str, bool]:
        """Tell which upstreams answered when they were last asked."""
        return {u.name: self.forwarder.breaker.up(u.name) for u in self.view.config.upstreams}

    async def _watch_config(self) -> None:
        while True:
            await asyncio.sleep(self.options.look)
            if (seen := self._look()) != self._seen:
                self._seen = seen
                await self._reload()

    async def _reload(self) -> None:
        try:
            view = await asyncio.to_thread(read_view, self.options.config)
        except UNREADABLE as exc:
            self.log("configuration refused, the old one stays", error=type(exc).__name__)
            return
        self.view = view
        self.calls.recheck(view)
        self.log("configuration", fingerprint=view.fingerprint)
        self._tell_missing(view)

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        directory = self.options.config
        found = []
        for path in (directory / FILE, *sorted((directory / SECRETS).glob("*"))):
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    async def _watch_ledger(self) -> None:
        while True:
            await asyncio.sleep(self.options.look)
            if self.ledger.pending or self.fault:
                await self._keep_books()

    async def _keep_books(self) -> None:
        before = self.ledger.fault
        try:
            await asyncio.to_thread(self.ledger.flush)
            if not self._seeded:
                self.budgets.seed(await asyncio.to_thread(self._sums))
                self._seeded = True
        except LedgerError as exc:
            if str(exc) != before:
                self.log("the ledger cannot be written, nobody is answered", error=str(exc))

    def _sums(self) -> dict[Window, dict[str, Cost]]:
        path, now = self.options.data / ledgers.FILE, self.budgets.now()
        return {
            window: {
                seat: Cost(*used)
                for seat, used in ledgers.sums(path, start_of(window, now)).items()
            }
            for window in Window
        }

    def _tell_missing(self, view: View) -> None:
        for name in view.missing:
            self.log("no key for an upstream", upstream=name)
