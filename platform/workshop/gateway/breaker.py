"""Which upstreams are worth asking: one that failed is left alone, then tried by one request.

One request that fails proves little: its own words may be what the upstream cannot bear, and
nobody's prompt may take a model away from the class. So an upstream counts as down when it cannot
be reached, or when it fails requests of two seats within a short time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DOUBT_SECONDS = 10.0
"""How long a failure for one seat waits for another seat's to confirm it."""


class Breaker:
    """Remembers failures. Nothing is asked in the background; requests find out."""

    def __init__(self, down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = down
        self._clock = clock
        self._until: dict[str, float] = {}
        self._probing: set[str] = set()
        self._doubts: dict[str, tuple[str, float]] = {}

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
        self._doubts.pop(name, None)

    def failed(self, name: str, seat: str, *, certain: bool) -> None:
        """Remember that an upstream did not answer a seat's request.

        Args:
            name: the upstream.
            seat: whose request it was.
            certain: whether the upstream could not be reached at all.

        """
        self._probing.discard(name)
        doubter, since = self._doubts.get(name, (seat, 0.0))
        confirmed = doubter != seat and self._clock() - since < DOUBT_SECONDS
        if certain or confirmed or not self.up(name):
            self._until[name] = self._clock() + self._seconds
        if doubter == seat or not confirmed:
            self._doubts[name] = (seat, self._clock())

    def undecided(self, name: str) -> None:
        """Take note that a request ended without showing how its upstream is."""
        self._probing.discard(name)
