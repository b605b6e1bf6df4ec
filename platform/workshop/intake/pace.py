"""How often somebody may come: a bucket that holds a few and fills steadily."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

_FORGET = 4096
"""Buckets before the full ones are forgotten."""
_MINUTE = 60.0


class Buckets:
    """One bucket each, named by whoever it belongs to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def take(self, name: str, per_minute: int, burst: int) -> float:
        """Take one; return 0, or the seconds until there is one again."""
        now, step = self._clock(), _MINUTE / per_minute
        full_at = max(self._full_at.get(name, now), now) + step
        wait = full_at - now - step * burst
        # Rounding must not cost anybody the last of a burst.
        if wait > step / 1000:
            return wait
        self._full_at[name] = full_at
        if len(self._full_at) > _FORGET:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return 0.0


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
