"""One HTTP request of a visitor who trusts nothing: bounded in time, bytes and redirects.

h11 reads the answers; what it refuses is an error like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 64 * 1024
_LONGEST_HEAD = 32 * 1024
_CONNECT_SECONDS = 3.0
_AGENT = "workshop-proof"


class Unanswered(Exception):
    """No whole HTTP answer; the words say why."""


@dataclass(frozen=True)
class Reply:
    """The head of an answer and as much of the body as was wanted."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of one header."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str:
        """Take the first value of one header; empty when there is none."""
        return next(iter(self.all(name)), "")

    @property
    def type(self) -> str:
        """The media type without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Server:
    """Whom to ask, and under which name."""

    address: str
    port: int
    host: str

    async def get(self, target: str, *, most: int) -> Reply:
        """Fetch ``target`` with at most ``most`` bytes of its body.

        Raises:
            Unanswered: nobody answers, or not in HTTP.

        """
        async with self.ask("GET", target) as (reply, chunks):
            body = bytearray()
            async for chunk in chunks:
                body += chunk
                if len(body) >= most:
                    break
            return Reply(reply.status, reply.headers, bytes(body[:most]))

    @contextlib.asynccontextmanager
    async def ask(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """Send one request on a connection of its own; the body comes as it arrives.

        Raises:
            Unanswered: nobody answers, or not in HTTP.

        """
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self.address, self.port)
        except (OSError, TimeoutError) as exc:
            raise Unanswered("nothing answers") from exc
        try:
            fields = {
                "Host": self.host,
                "User-Agent": _AGENT,
                "Accept-Encoding": "identity",
                "Connection": "close",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            if body:
                fields["Content-Length"] = str(len(body))
            request = h11.Request(method=method, target=target, headers=list(fields.items()))
            for event in (request, *([h11.Data(body)] if body else []), h11.EndOfMessage()):
                writer.write(wire.send(event) or b"")
            chunks = _events(wire, reader)
            yield await _head(chunks), _bodies(chunks)
        except (OSError, EOFError) as exc:
            raise Unanswered("the connection breaks off") from exc
        except h11.ProtocolError as exc:
            raise Unanswered(f"the answer is not proper HTTP: {exc}") from exc
        finally:
            writer.transport.abort()


async def _events(wire: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[h11.Event]:
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(_CHUNK))
        elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return
        elif isinstance(event, h11.Event):
            yield event
            if isinstance(event, h11.EndOfMessage):
                return


async def _head(events: AsyncIterator[h11.Event]) -> Reply:
    async for event in events:
        if isinstance(event, h11.Response):
            headers = ((bytes(k), bytes(v)) for k, v in event.headers)
            pairs = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in headers)
            return Reply(event.status_code, pairs)
    raise EOFError


async def _bodies(events: AsyncIterator[h11.Event]) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, h11.Data):
            yield bytes(event.data)
