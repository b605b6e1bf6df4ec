"""Writes to the caller: one answer, the pieces of one, or an error in whichever form still fits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from workshop.gateway.calls import ClientLeft

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from workshop.gateway.errors import GatewayError

STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Delivery:
    """The way back to one caller."""

    def __init__(
        self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]], patience: float
    ) -> None:
        self._send = send
        self._patience = patience
        self.status = 0
        """Zero until the answer begins."""
        self.ended = False
        self.first_byte = 0.0
        """When the first byte of the answer was sent, by the monotonic clock."""

    async def start(self, headers: Mapping[str, str]) -> None:
        """Begin a stream."""
        await self._begin(200, {**STREAM, **headers})

    async def write(self, content: bytes, *, last: bool = False) -> None:
        """Send a piece of the stream.

        Raises:
            ClientLeft: the client has not read for a long time.

        """
        self.ended = last
        try:
            async with asyncio.timeout(self._patience):
                await self._send(
                    {"type": "http.response.body", "body": content, "more_body": not last}
                )
        except TimeoutError as exc:
            raise ClientLeft("the client does not read its answer") from exc

    def mark(self) -> None:
        """Remember when the answer's first byte goes out; what is said while waiting is none."""
        self.first_byte = self.first_byte or time.monotonic()

    async def whole(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Send an answer in one piece."""
        length = {"content-type": "application/json", "content-length": str(len(content))}
        await self._begin(status, {**length, **headers})
        await self.write(content, last=True)

    async def fail(self, error: GatewayError) -> None:
        """Tell of an error: as a status, or as the last event of a stream that has begun."""
        if self.ended:
            return
        if self.status:
            await self.write(error.event(), last=True)
        else:
            await self.whole(error.status, error.headers(), error.body())

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
