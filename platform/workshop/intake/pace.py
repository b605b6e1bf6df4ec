"""How often somebody may come, and be wrong about a key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workshop.intake.refusal import Refused
from workshop.serving import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable


class Guesses:
    """Wrong keys of one address.

    A right key always passes, because a whole class may share one address. Nobody guesses 256 bits;
    this spares the log and the processor.
    """

    PER_MINUTE = 30

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(clock)

    def count(self, peer: str) -> None:
        """Count one wrong key.

        Raises:
            Refused: there were many.

        """
        wait = self._buckets.take(peer, self.PER_MINUTE, self.PER_MINUTE)
        if wait:
            raise Refused(
                f"More than {self.PER_MINUTE} wrong keys came from {peer} within a minute. Wait a"
                " little, then try the key on your card.",
                429,
                retry_after=wait,
            )
