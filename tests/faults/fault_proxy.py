"""A proxy in front of an engine's socket that does everything an engine in trouble does.

One connection carries one request, so a rule sees each of them: by method, path and how many have
come before. What no rule names passes through untouched, raw connections of ``exec`` included.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

T = TypeVar("T")

_CHUNK = 64 * 1024
_LONGEST_HEAD = 256 * 1024


@dataclass(frozen=True)
class Stall:
    """Accept the request and never answer it."""


@dataclass(frozen=True)
class Slow:
    """Let the engine answer, later."""

    seconds: float


@dataclass(frozen=True)
class CutAnswer:
    """Let the engine do it, and break off after so many bytes of its answer."""

    after: int = 0


@dataclass(frozen=True)
class CutRequest:
    """Break off after so many bytes of the request's body."""

    after: int = 0


@dataclass(frozen=True)
class Drop:
    """Break off before the engine has heard anything."""


@dataclass(frozen=True)
class Reply:
    """Answer in the engine's place; ``done`` lets the engine do it all the same."""

    status: int
    message: str
    done: bool = False


@dataclass(frozen=True)
class Raw:
    """Answer with these very bytes."""

    answer: bytes


MALFORMED = Raw(
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[{"Id": 1'
)
TRUNCATED = Raw(
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'40\r\n[{"Id": "'
)
IN_PROGRESS = Reply(409, "removal of container abc is already in progress")
BUSY_NETWORK = Reply(403, "error while removing network: network n id i has active endpoints")
BROKEN = Reply(500, "the proxy was told to say this")

Fault = Stall | Slow | CutAnswer | CutRequest | Drop | Reply | Raw


@dataclass
class Rule:
    """Which requests a fault befalls."""

    fault: Fault
    method: str = "[A-Z]+"
    path: str = ".*"
    """Found anywhere in the path, which begins with the API's version."""
    times: int | None = 1
    """How many requests, or all of them."""
    skip: int = 0
    """How many of those that fit pass before."""
    chance: float = 1.0
    """How likely one that fits is befallen."""

    def fits(self, method: str, path: str) -> bool:
        """Say whether a request is one of those meant."""
        return bool(re.fullmatch(self.method, method) and re.search(self.path, path))


@dataclass
class FaultProxy:
    """Listens at ``socket`` while the block lasts, and leads to ``engine``."""

    engine: Path
    socket: Path
    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    befallen: list[str] = field(default_factory=list)
    """Each request that met a fault, and which."""
    requests: list[str] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop, repr=False)
    _open: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @property
    def endpoint(self) -> str:
        """What to set ``DOCKER_HOST`` to."""
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        self._chance = random.Random(self.seed)
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self) -> None:
        """Take connections."""
        self.socket.unlink(missing_ok=True)
        self._server = self._call(
            asyncio.start_unix_server(self._accept, self.socket, limit=_LONGEST_HEAD)
        )

    def refuse(self) -> None:
        """Take no more connections: the socket is there and nobody listens."""
        self._loop.call_soon_threadsafe(self._server.close)

    def befall(self, *rules: Rule) -> None:
        """Forget what was, and let ``rules`` hold from now on."""
        self.befallen.clear()
        self.requests.clear()
        self.rules = list(rules)

    def _call(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    # -- one request --------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = head.decode("latin-1").split(" ")[:2]
        fault = self._pick(method, path)
        if isinstance(fault, Stall):
            await reader.read()
            return
        if isinstance(fault, Drop):
            return
        if isinstance(fault, Raw) or (isinstance(fault, Reply) and not fault.done):
            await _body(head, reader)
            await _say(writer, fault)
            return
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.seconds)
        await self._forward(head, reader, writer, fault)

    def _pick(self, method: str, path: str) -> Fault | None:
        self.requests.append(f"{method} {path}")
        for rule in self.rules:
            if rule.times == 0 or not rule.fits(method, path):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if self._chance.random() >= rule.chance:
                continue
            if rule.times is not None:
                rule.times -= 1
            self.befallen.append(f"{method} {path}: {rule.fault}")
            return rule.fault
        return None

    async def _forward(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> None:
        answers, engine = await asyncio.open_unix_connection(self.engine)
        try:
            engine.write(_for_one_request(head))
            if isinstance(fault, CutRequest):
                engine.write(await reader.read(fault.after) if fault.after else b"")
                await engine.drain()
                return
            asking = asyncio.ensure_future(_copy(reader, engine))
            try:
                if isinstance(fault, Reply):
                    await answers.read()
                    await _say(writer, fault)
                elif isinstance(fault, CutAnswer):
                    writer.write((await answers.read())[: fault.after])
                    await writer.drain()
                else:
                    await _copy(answers, writer)
                    writer.write_eof()
            finally:
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await asking
        finally:
            engine.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _say(writer: asyncio.StreamWriter, fault: Raw | Reply) -> None:
    if isinstance(fault, Raw):
        writer.write(fault.answer)
    else:
        body = f'{{"message": "{fault.message}"}}'.encode()
        writer.write(
            f"HTTP/1.1 {fault.status} Told\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
    await writer.drain()
    writer.write_eof()


async def _body(head: bytes, reader: asyncio.StreamReader) -> None:
    """Read a request to its end, so that its sender comes to hear the answer."""
    if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        await reader.readexactly(int(length[1]))
    elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        tail = b""
        while not tail.endswith(b"0\r\n\r\n") and (data := await reader.read(_CHUNK)):
            tail = (tail + data)[-8:]


def _for_one_request(head: bytes) -> bytes:
    """Ask the engine to close after its answer; raw connections are left as they are."""
    if re.search(rb"(?i)\r\nupgrade:", head):
        return head
    plain = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
    return plain[:-2] + b"Connection: close\r\n\r\n"
