"""How often somebody may be wrong about a word, a key or a claim code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workshop.board.refusal import Refused
from workshop.serving import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable

PER_PEER = 30
"""Wrong ones of one address within a minute."""
OVERALL = 300
"""Wrong ones of all addresses within a minute."""


class Guesses:
    """Wrong words, keys and codes.

    Nobody guesses the 256 bits of a word or a key: there, wrong ones are only counted, and a right
    one always passes, because a whole class may share one address. A claim code has 40 bits, so
    :meth:`check` comes before it is looked at: with 300 of them, a year of wrong ones at this pace
    hits one with a probability of 4 %.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._wrong = Buckets(clock)

    def count(self, peer: str) -> None:
        """Count a wrong one.

        Raises:
            Refused: there were many.

        """
        # One address that guesses on uses up its own tries, and no more of everybody's.
        _refuse(self._wrong.take(f"peer {peer}", PER_PEER, PER_PEER))
        _refuse(self._wrong.take("all", OVERALL, OVERALL))

    def check(self, peer: str) -> None:
        """See that one more guess is allowed.

        Raises:
            Refused: there were many wrong ones.

        """
        _refuse(self._wrong.wait(f"peer {peer}", PER_PEER, PER_PEER))
        _refuse(self._wrong.wait("all", OVERALL, OVERALL))


def _refuse(wait: float) -> None:
    if wait:
        raise Refused(
            429,
            "There were many wrong tries within a minute. Wait a little, then try again.",
            retry_after=wait,
        )
