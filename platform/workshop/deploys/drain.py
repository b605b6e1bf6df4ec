"""Let versions that are no longer live finish what they began, then remove them."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import WorkshopError

if TYPE_CHECKING:
    from workshop.engines.base import Engine

HANDS = 4
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 1.0
"""A request that had just chosen the old address must have arrived there."""
_ESTABLISHED = "01"
_TABLE = Path("/proc/net/tcp")


@dataclass(frozen=True)
class Draining:
    """One container on its way out."""

    container: str
    address: str
    earliest: float
    latest: float


class Drainer:
    """Removes containers once nobody talks to them any more, or their time is over.

    Connections are counted in the kernel's table: the edge is on this machine's own network, so
    every visitor of a seat is a connection from here to the seat's address. A few threads do the
    removing, because a container may take seconds to stop.
    """

    def __init__(self, engine: Engine, hands: int = HANDS) -> None:
        self._engine = engine
        self._held: dict[str, Draining] = {}
        self._going: set[str] = set()
        self._changed = threading.Condition()
        for number in range(hands):
            threading.Thread(target=self._work, name=f"drain-{number}", daemon=True).start()

    def add(self, container: str, address: str = "", seconds: float = 0) -> None:
        """Remove ``container`` when it is quiet, after ``seconds`` in any case."""
        now = time.monotonic()
        with self._changed:
            earliest = now + min(SETTLE_SECONDS, seconds)
            self._held[container] = Draining(container, address, earliest, now + seconds)
            self._changed.notify()

    def remove(self, container: str) -> None:
        """Remove a container now and return when it is gone; gone already is no error."""
        with self._changed:
            self._held.pop(container, None)
            if container in self._going:
                self._changed.wait_for(lambda: container not in self._going)
                return
            self._going.add(container)
        self._remove(container)

    def _work(self) -> None:
        while True:
            with self._changed:
                container = self._due()
                if container is None:
                    self._changed.wait(LOOK_SECONDS)
                    continue
                del self._held[container]
                self._going.add(container)
            self._remove(container)

    def _due(self) -> str | None:
        now = time.monotonic()
        ready = [item for item in self._held.values() if now >= item.earliest]
        if not ready:
            return None
        busy = established()
        quiet = (item for item in ready if now >= item.latest or item.address not in busy)
        return next((item.container for item in quiet), None)

    def _remove(self, container: str) -> None:
        try:
            # An engine that is away is asked again when the server starts the next time.
            with contextlib.suppress(WorkshopError):
                self._engine.remove(container)
        finally:
            with self._changed:
                self._going.discard(container)
                self._changed.notify_all()


def established(table: Path = _TABLE) -> frozenset[str]:
    """List the IPv4 addresses this machine has open connections to.

    Source: proc_pid_net(5), ``/proc/net/tcp``: addresses are little-endian hexadecimal.
    """
    found = set()
    for line in table.read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED:
            raw = bytes.fromhex(fields[2].partition(":")[0])[::-1]
            found.add(".".join(map(str, raw)))
    return frozenset(found)
