"""Whose turn is it? One pool of places per upstream, shared fairly between seats.

A free place goes to the waiting seat that was served longest ago, so a seat in a loop waits for the
others and not they for it. And no seat holds more than half of a pool: with one place less than all
for the loop, the others together would have to live on the last one.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.gateway.errors import RATE, SERVER, GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONGEST_LINE = 16
"""Requests of one seat that may wait for one upstream."""
PATIENCE = 0.5
"""Seconds after which a caller is first told about its place."""
REPEAT = 1.0
"""Seconds between two such words, so that nobody takes the silence for a broken connection."""
CHANGE = 0.3
"""Least seconds between two words about a place that changed."""
TRY_AGAIN = 5.0


@dataclass(eq=False)
class Turn:
    """One request's place: waiting, then held, then left."""

    pool: Pool
    seat: str
    most: int
    """Places the seat may hold over all pools."""
    granted: bool = False
    left: bool = False
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def rung(self, seconds: float) -> bool:
        """Wait for the turn to come, for some time."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return self.granted
        return True

    def ring(self) -> None:
        """Say that the turn has come."""
        self.granted = True
        self._bell.set()


@dataclass(eq=False)
class Pool:
    """The places of one upstream, and who waits for one."""

    slots: int
    held: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, deque[Turn]] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Count the places nobody holds."""
        return self.slots - self.held.total()


class FairQueue:
    """All pools. Every method but :meth:`wait` is one step without a pause."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._held: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._grants = 0

    def enter(self, name: str, slots: int, seat: str, most: int) -> Turn:
        """Stand in line for the upstream ``name``; the turn may have come at once.

        Raises:
            GatewayError: too many of this seat's requests wait already.

        """
        pool = self.pools.setdefault(name, Pool(slots))
        pool.slots = max(1, slots)
        line = pool.waiting.setdefault(seat, deque())
        if len(line) >= LONGEST_LINE:
            raise GatewayError(
                429,
                f"{LONGEST_LINE} of your requests wait for their turn already. Wait for their"
                " answers before you send more.",
                code="rate_limit_exceeded",
                type=RATE,
                retry_after=TRY_AGAIN,
            )
        turn = Turn(pool, seat, most)
        line.append(turn)
        self._serve(pool)
        return turn

    def leave(self, turn: Turn) -> None:
        """Give up a place, held or waited for; a second time changes nothing."""
        if turn.left:
            return
        turn.left = True
        if turn.granted:
            _subtract(turn.pool.held, turn.seat)
            _subtract(self._held, turn.seat)
            # The seat may wait in another pool for having held too much in this one.
            for pool in self.pools.values():
                self._serve(pool)
        else:
            line = turn.pool.waiting[turn.seat]
            line.remove(turn)
            if not line:
                del turn.pool.waiting[turn.seat]

    def ahead(self, turn: Turn) -> int:
        """Count the requests that go before this one, as things stand."""
        if turn.granted or turn.left:
            return 0
        rounds = turn.pool.waiting[turn.seat].index(turn)
        order = sorted(turn.pool.waiting, key=self._rank)
        mine = order.index(turn.seat)
        return rounds + sum(
            min(len(turn.pool.waiting[seat]), rounds + (place < mine))
            for place, seat in enumerate(order)
            if seat != turn.seat
        )

    def length(self) -> int:
        """Count the requests that wait, over all pools."""
        return sum(len(line) for pool in self.pools.values() for line in pool.waiting.values())

    async def wait(
        self, turn: Turn, longest: float, say: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """Wait until the turn has come; ``say`` hears now and then how many go before.

        Raises:
            GatewayError: it took longer than ``longest`` seconds.

        """
        if turn.granted:
            return
        loop = asyncio.get_running_loop()
        start = loop.time()
        said, said_at = -1, -math.inf
        while not await turn.rung(min(CHANGE if said_at > 0 else PATIENCE, longest)):
            now = loop.time()
            if now - start >= longest:
                raise _too_long(longest)
            ahead = self.ahead(turn)
            if say and (ahead != said or now - said_at >= REPEAT - CHANGE / 2):
                said, said_at = ahead, now
                await say(ahead)

    def _serve(self, pool: Pool) -> None:
        while pool.free > 0 and (seat := self._next(pool)) is not None:
            line = pool.waiting[seat]
            turn = line.popleft()
            if not line:
                del pool.waiting[seat]
            pool.held[seat] += 1
            self._held[seat] += 1
            self._grants += 1
            self._served[seat] = self._grants
            turn.ring()

    def _next(self, pool: Pool) -> str | None:
        share = (pool.slots + 1) // 2
        ready = [
            seat
            for seat, line in pool.waiting.items()
            if self._held[seat] < line[0].most and pool.held[seat] < share
        ]
        return min(ready, key=self._rank, default=None)

    def _rank(self, seat: str) -> int:
        return self._served.get(seat, 0)


def _subtract(counter: Counter[str], seat: str) -> None:
    counter[seat] -= 1
    if not counter[seat]:
        del counter[seat]


def _too_long(seconds: float) -> GatewayError:
    return GatewayError(
        503,
        f"The model is busy: your turn did not come within {seconds:g} s. Try again in a moment.",
        code="queue_timeout",
        type=SERVER,
        retry_after=TRY_AGAIN,
    )
