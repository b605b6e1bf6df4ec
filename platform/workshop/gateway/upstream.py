"""The door to providers: one request over HTTP, nothing of the caller's but the request itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2

from workshop.gateway.config import Task
from workshop.gateway.doors import Patience, Reply
from workshop.gateway.errors import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from workshop.gateway.config import Model, Upstream
    from workshop.gateway.validate import Ask

_PATHS = {Task.CHAT: "/chat/completions", Task.EMBEDDING: "/embeddings"}


class Unreachable(UpstreamFailed):
    """The request did not get through; it may be sent again."""


class HttpDoor:
    """Holds the connections to all providers."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._client = httpx2.AsyncClient(
            follow_redirects=False,
            # Places in the queue bound the requests; a second bound here could only deadlock.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            timeout=httpx2.Timeout(
                connect=patience.connect,
                read=max(patience.first_byte, patience.between),
                write=patience.between,
                pool=None,
            ),
        )
        self._client.headers.clear()

    async def open(self, ask: Ask, upstream: Upstream, model: Model, key: str) -> Reply:
        """Send the request; return when the head of the answer is there."""
        request = self._client.build_request(
            "POST",
            address(upstream.base_url, _PATHS[ask.task]),
            headers=headers(upstream, key, stream=ask.stream),
            content=json.dumps(prepare(ask, upstream, model)).encode(),
        )
        try:
            async with asyncio.timeout(self._patience.first_byte):
                response = await self._client.send(request, stream=True)
        except (TimeoutError, httpx2.ReadTimeout) as exc:
            raise UpstreamFailed("no answer in time") from exc
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as exc:
            raise Unreachable(type(exc).__name__) from exc
        return Reply(
            response.status_code,
            response.headers.get("content-type", ""),
            _chunks(response),
            response.aclose,
            response.headers,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


async def _chunks(response: httpx2.Response) -> AsyncGenerator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx2.ReadTimeout as exc:
        raise UpstreamFailed("silence in the middle of the answer") from exc
    except (httpx2.HTTPError, OSError) as exc:
        raise UpstreamFailed("the answer was cut off") from exc


def prepare(ask: Ask, upstream: Upstream, model: Model) -> dict[str, Any]:
    """Write the request as this upstream wants it."""
    body = {**ask.body, "model": model.upstream_name}
    if ask.task is Task.CHAT:
        body[upstream.answer_limit] = ask.answer_tokens
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def headers(upstream: Upstream, key: str, *, stream: bool) -> dict[str, str]:
    """Name the only headers that are sent."""
    found = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        # Bytes are read on the side as they pass, so they must not be compressed.
        "accept-encoding": "identity",
        "user-agent": "workshop-gateway",
    }
    if key:
        bearer = upstream.key_header.lower() == "authorization"
        found[upstream.key_header] = f"Bearer {key}" if bearer else key
    return found


def address(base_url: str, path: str) -> str:
    """Put the call's path behind the base, before a query such as Azure's ``api-version``."""
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{query}"
