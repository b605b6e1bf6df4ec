"""Which upstreams are worth asking: one that failed is left alone, then tried by one request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Breaker:
    """Remembers failures. Nothing is asked in the background; requests find out."""

    def __init__(self, down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = down
        self._clock = clock
        self._until: dict[str, float] = {}
        self._probing: set[str] = set()

    def up(self, name: str) -> bool:
        """Tell whether an upstream answered when it was last asked."""
        return name not in self._until

    def worth(self, name: str) -> bool:
        """Tell whether a request may stand in line for an upstream."""
        return self.up(name) or (name not in self._probing and self.wait(name) <= 0)

    def wait(self, name: str) -> float:
        """Tell for how many seconds an upstream is still left alone."""
        return self._until.get(name, 0.0) - self._clock()

    def begin(self, name: str) -> bool:
        """Ask leave to send a request; the first after a failure is the only one for a while."""
        if not self.worth(name):
            return False
        if not self.up(name):
            self._probing.add(name)
        return True

    def succeeded(self, name: str) -> None:
        """Remember that an upstream answered."""
        self._probing.discard(name)
        self._until.pop(name, None)

    def failed(self, name: str) -> None:
        """Remember that an upstream did not answer."""
        self._probing.discard(name)
        self._until[name] = self._clock() + self._seconds

    def undecided(self, name: str) -> None:
        """Take note that a request ended without showing how its upstream is."""
        self._probing.discard(name)
