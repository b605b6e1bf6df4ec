"""An upstream under the tests' control: real sockets, OpenAI's dialect, and every way to misbehave.

``python tests/gateway/fake.py PORT`` serves it alone, for the benchmarks; ``GET /count`` tells what
it counted itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Behaviour = Callable[["Exchange"], Awaitable[None]]

PROMPT_TOKENS = 7


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """Parse the request."""
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class Exchange:
    """One request and the way to answer it."""

    seen: Seen
    writer: asyncio.StreamWriter
    fake: Fake
    keep: bool = True

    async def head(self, status: int, content_type: str, **headers: str) -> None:
        """Begin a chunked answer."""
        lines = [
            f"HTTP/1.1 {status} X",
            f"content-type: {content_type}",
            "transfer-encoding: chunked",
        ]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        await self.writer.drain()

    async def chunk(self, content: bytes) -> None:
        """Send a piece."""
        self.writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        await self.writer.drain()

    async def end(self) -> None:
        """End a chunked answer."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def whole(
        self, status: int, content: bytes, kind: str = "application/json", **headers: str
    ) -> None:
        """Answer in one piece."""
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self.writer.drain()


@dataclass
class Fake:
    """The upstream: what it saw, what it counted, and what it does next."""

    script: deque[Behaviour] = field(default_factory=deque)
    """What to do with the next requests; after that, ``default``."""
    default: Behaviour | None = None
    seen: list[Seen] = field(default_factory=list)
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    closed: int = 0
    """Connections that the other side closed while an answer was under way."""
    watching: bool = True
    """Whether to keep requests and to notice callers that leave; costs time."""
    port: int = 0
    _busy: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, port: int = 0) -> asyncio.Server:
        """Listen on a port of the loopback interface."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def count(self, output: int) -> dict[str, int]:
        """Count an answer, and write its usage."""
        self.input_tokens += PROMPT_TOKENS
        self.output_tokens += output
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": output,
            "total_tokens": PROMPT_TOKENS + output,
        }

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._busy.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._busy.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(head[0].split()[1], headers, raw)
        exchange = Exchange(seen, writer, self)
        if seen.path == "/count":
            counted = {
                "requests": self.requests,
                "input": self.input_tokens,
                "output": self.output_tokens,
            }
            await exchange.whole(200, json.dumps(counted).encode())
            return True
        self.requests += 1
        if self.watching:
            self.seen.append(seen)
        behaviour = self.script.popleft() if self.script else self.default or good()
        if not self.watching:
            await behaviour(exchange)
            return exchange.keep
        watcher, left = asyncio.create_task(_closed(reader)), False
        try:
            await behaviour(exchange)
        except ConnectionError:
            # Writing may find out before the watcher does.
            left = True
            raise
        finally:
            if left or watcher.done():
                self.closed += 1
                exchange.keep = False
            watcher.cancel()
        return exchange.keep

    async def stop(self, server: asyncio.Server) -> None:
        """Close everything."""
        server.close()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)


def piece(content: str | None, reason: str | None = None, **extra: object) -> bytes:
    """Write one event of a stream."""
    delta = {"content": content} if content is not None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return event(
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up",
            "choices": [choice],
            **extra,
        }
    )


def event(content: object) -> bytes:
    """Write one event."""
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def usage_event(usage: dict[str, int]) -> bytes:
    """Write the event at the end that holds only the usage."""
    return event(
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up",
            "choices": [],
            "usage": usage,
        }
    )


def good(tokens: int = 5, pause: float = 0.0, text: str = "tok ") -> Behaviour:
    """Answer as an upstream should."""

    async def behave(exchange: Exchange) -> None:
        body = exchange.seen.body
        if exchange.seen.path.split("?")[0].endswith("/embeddings"):
            inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [
                {"object": "embedding", "index": n, "embedding": [0.5, float(n)]}
                for n in range(len(inputs))
            ]
            usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
            exchange.fake.input_tokens += PROMPT_TOKENS
            await exchange.whole(
                200,
                json.dumps(
                    {"object": "list", "data": data, "model": "up", "usage": usage}
                ).encode(),
            )
            return
        if not body.get("stream"):
            await asyncio.sleep(pause * tokens)
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": text * tokens},
                "finish_reason": "stop",
            }
            answer = {
                "id": "c1",
                "object": "chat.completion",
                "created": 1,
                "model": "up",
                "choices": [choice],
            }
            await exchange.whole(
                200, json.dumps({**answer, "usage": exchange.fake.count(tokens)}).encode()
            )
            return
        await exchange.head(200, "text/event-stream")
        for _ in range(tokens):
            await exchange.chunk(piece(text))
            if pause:
                await asyncio.sleep(pause)
        await exchange.chunk(piece(None, "stop"))
        usage = exchange.fake.count(tokens)
        if body.get("stream_options", {}).get("include_usage"):
            await exchange.chunk(usage_event(usage))
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.end()

    return behave


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    """Answer with an error."""

    async def behave(exchange: Exchange) -> None:
        await exchange.whole(code, json.dumps({"error": {"message": message}}).encode(), **headers)

    return behave


def bytes_of(content: bytes, kind: str = "text/event-stream", code: int = 200) -> Behaviour:
    """Answer with just these bytes."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(code, kind)
        await exchange.chunk(content)
        await exchange.end()

    return behave


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await asyncio.sleep(30)


async def hang_after_head(exchange: Exchange) -> None:
    """Begin a stream and send nothing."""
    await exchange.head(200, "text/event-stream")
    await asyncio.sleep(30)


async def refuse(exchange: Exchange) -> None:
    """Close the connection instead of answering."""
    exchange.writer.transport.abort()
    exchange.keep = False


def cut(pieces: int) -> Behaviour:
    """Close the connection in the middle of a stream."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, "text/event-stream")
        for _ in range(pieces):
            await exchange.chunk(piece("tok "))
        exchange.writer.close()
        exchange.keep = False

    return behave


def ends_early(pieces: int) -> Behaviour:
    """End a stream properly for HTTP, in the middle for its reader."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, "text/event-stream")
        for _ in range(pieces):
            await exchange.chunk(piece("tok "))
        await exchange.end()

    return behave


def stall(pieces: int) -> Behaviour:
    """Fall silent in the middle of a stream."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, "text/event-stream")
        for _ in range(pieces):
            await exchange.chunk(piece("tok "))
        await asyncio.sleep(30)

    return behave


def drip(pause: float) -> Behaviour:
    """Stream for ever, a byte at a time between events."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, "text/event-stream")
        while True:
            await exchange.chunk(piece("tok "))
            await asyncio.sleep(pause)

    return behave


async def cut_whole(exchange: Exchange) -> None:
    """Promise more bytes than come."""
    exchange.writer.write(
        b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": ['
    )
    await exchange.writer.drain()
    exchange.writer.close()
    exchange.keep = False


async def _closed(reader: asyncio.StreamReader) -> None:
    # Looks for the end of the connection without taking a byte of the next request.
    while not reader.at_eof():  # noqa: ASYNC110 - a stream reader offers no event for it
        await asyncio.sleep(0.02)


class FakeThread:
    """Runs a fake beside a test, in a thread of its own."""

    def __init__(self) -> None:
        self.fake = Fake()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self.run(self.fake.serve())

    def run(self, work: Any) -> Any:
        """Run a coroutine in the fake's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def stop(self) -> None:
        """End the thread."""
        self.run(self.fake.stop(self._server))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


async def by_model(exchange: Exchange) -> None:
    """Answer like a quick upstream, or like a real one if the model is called ``slow``."""
    slow = exchange.seen.body["model"] == "slow"
    if slow:
        await asyncio.sleep(0.2)
    await good(tokens=20, pause=0.01 if slow else 0.002)(exchange)


async def main(port: int) -> None:
    """Serve alone, without keeping what was seen."""
    fake = Fake(watching=False, default=by_model)
    server = await fake.serve(port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
