"""How fast one seat may go: requests and tokens a minute.

Counted in minutes that begin with a seat's first request (the ``limits`` library). Tokens are taken
before the answer is known, at their upper bound, and what was not used is given back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from workshop.gateway.errors import RATE, GatewayError, in_words

if TYPE_CHECKING:
    from limits import RateLimitItem

    from workshop.gateway.config import Seat


_MINUTE = 60


@dataclass(frozen=True)
class Taken:
    """Tokens taken from one minute of a seat."""

    key: str
    tokens: int
    minute: float
    """When that minute ends; what is given back later than that is nobody's."""


class Pacer:
    """Every seat's running minute."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)

    async def take(self, seat: Seat, tokens: int) -> Taken:
        """Count one request of at most ``tokens``.

        Raises:
            GatewayError: the seat has to wait, or the request is too large for any minute.

        """
        requests = RateLimitItemPerMinute(seat.pace.requests_per_minute)
        budget = RateLimitItemPerMinute(seat.pace.tokens_per_minute)
        if tokens > budget.amount:
            raise GatewayError(
                429,
                f"This request may need {tokens} tokens, and you have {budget.amount} a minute."
                " Waiting will not help: send less text or ask for a shorter answer (max_tokens).",
                code="rate_limit_exceeded",
                type=RATE,
                final=True,
            )
        requests_key = requests.key_for("requests", seat.name)
        await self._begin_anew(requests_key)
        await self._begin_anew(budget.key_for("tokens", seat.name))
        if not await self._limiter.hit(requests, "requests", seat.name):
            await self._storage.decr(requests_key)
            raise await self._refusal(requests_key, requests, "requests")
        key = budget.key_for("tokens", seat.name)
        if not await self._limiter.hit(budget, "tokens", seat.name, cost=tokens):
            await self._storage.decr(key, tokens)
            await self._storage.decr(requests_key)
            raise await self._refusal(key, budget, "tokens")
        return Taken(key, tokens, await self._storage.get_expiry(key))

    async def _begin_anew(self, key: str) -> None:
        """Forget a minute whose end a clock that was set back has moved out of reach."""
        if await self._storage.get_expiry(key) > time.time() + _MINUTE:
            await self._storage.clear(key)

    async def give_back(self, taken: Taken, used: int) -> None:
        """Return what a request took and did not use, if its minute still runs."""
        unused = taken.tokens - used
        if unused > 0 and taken.minute == await self._storage.get_expiry(taken.key):
            await self._storage.decr(taken.key, unused)

    async def _refusal(self, key: str, item: RateLimitItem, unit: str) -> GatewayError:
        wait = max(1.0, await self._storage.get_expiry(key) - time.time())
        return GatewayError(
            429,
            f"You have used your {item.amount} {unit} of this minute. Go on {in_words(wait)}; a"
            " loop that sends requests without a pause is the usual cause.",
            code="rate_limit_exceeded",
            type=RATE,
            retry_after=wait,
        )
