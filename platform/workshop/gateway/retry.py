"""One upstream, a few attempts: what is worth another, after what pause, and what the caller hears.

Attempts end before the first byte of an answer; what has begun is never asked for again.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from workshop.gateway.errors import SERVER, GatewayError, UpstreamFailed, scrub
from workshop.gateway.upstream import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from workshop.gateway.doors import Patience, Reply

TRIES = 3
_AGAIN = {408, 409, 429}
_REFUSED = {401, 403}
_CALLERS = {400, 404, 413, 422}
_LONGEST_ERROR = 64 * 1024


async def attempt(
    send: Callable[[], Awaitable[Reply]], name: str, key: str, patience: Patience, until: float
) -> Reply:
    """Ask an upstream until it begins an answer, a few times at most and not after ``until``.

    Raises:
        UpstreamFailed: it gave none.
        GatewayError: it refused the request itself, and another would too.

    """
    for number in range(TRIES):
        pause = random.uniform(0, patience.first_pause * 2**number)  # noqa: S311 - jitter, no secret
        try:
            reply = await send()
            if reply.status == 200:  # noqa: PLR2004 - the only status that is an answer
                return reply
            failure = await _refusal(reply, name, key, patience)
            pause = wanted_pause(reply.headers, time.time()) or pause
            if not (reply.status in _AGAIN or reply.status >= 500):  # noqa: PLR2004
                raise failure
        except Unreachable as exc:
            failure = exc
        too_late = time.monotonic() + pause > until
        if number == TRIES - 1 or pause > patience.longest_pause or too_late:
            break
        await asyncio.sleep(pause)
    raise failure


def wanted_pause(headers: Mapping[str, str], now: float) -> float | None:
    """Read ``Retry-After``, as seconds or as a date; ``None`` if there is none."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError):
        return None


async def _refusal(reply: Reply, name: str, key: str, patience: Patience) -> UpstreamFailed:
    said = await _said(reply, patience)
    if reply.status in _CALLERS:
        raise GatewayError(
            reply.status,
            f"{name} refused the request: {scrub(said, key) or 'it does not say why'}",
            code="upstream_refused",
        )
    if reply.status in _REFUSED:
        error = _server(
            502,
            f"The instructor's key was refused by {name}. Tell your instructor; nothing is wrong"
            " with yours.",
            "upstream_key_refused",
        )
        return UpstreamFailed(f"status {reply.status}: the key was refused", error=error)
    if reply.status == 429:  # noqa: PLR2004 - a provider's own limit
        error = _server(
            503,
            f"{name} takes no more requests for now: the class is faster than the instructor's"
            " account allows. Try again in a moment.",
            "upstream_rate_limited",
        )
        return UpstreamFailed("status 429", error=error, down=False)
    return UpstreamFailed(f"status {reply.status}")


async def _said(reply: Reply, patience: Patience) -> str:
    content = b""
    try:
        async with asyncio.timeout(patience.connect):
            async for chunk in reply.chunks:
                content += chunk
                if len(content) > _LONGEST_ERROR:
                    break
    except (TimeoutError, UpstreamFailed):
        pass
    finally:
        await reply.chunks.aclose()
        await reply.close()
    try:
        answer = json.loads(content)
        error = answer.get("error", answer)
        return str(error.get("message", "") if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        return ""


def _server(status: int, message: str, code: str) -> GatewayError:
    return GatewayError(status, message, code=code, type=SERVER, retry_after=5)
