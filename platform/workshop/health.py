"""Whether a seat answers, and whether it is the right one: HTTP from the host, never an exec.

A check that runs inside the container costs a process each time; 300 seats would start ten a
second for ever. A connection from outside costs a tenth of a millisecond and sees what a visitor
sees.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Protocol

from workshop.errors import NotReady

LOCAL = "127.0.0.1"
_LONGEST_ANSWER = 64 * 1024
_CALL_SECONDS = 5.0
_FIRST_PAUSE = 0.02
_LAST_PAUSE = 0.15
_NOT_FOUND = 404
_SERVER_ERROR = 500
_OK = 200


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as far as a check needs it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """Read the body as JSON; ``None`` when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Probe(Protocol):
    """The checks an apply makes; tests bring their own."""

    async def ready(self, address: str, port: int, seconds: float) -> None:
        """Return once the app at ``address`` answers; raise :class:`NotReady` after ``seconds``."""
        ...

    async def get(self, port: int, path: str, host: str, address: str = LOCAL) -> Answer:
        """Fetch ``path`` from the edge on this machine."""
        ...

    async def ask(self, address: str, port: int, path: str) -> Answer:
        """Fetch ``path`` from one of the platform's own parts."""
        ...


class HttpProbe:
    """The real checks, over real sockets."""

    async def ready(self, address: str, port: int, seconds: float) -> None:
        """Ask ``/healthz`` until it is answered.

        The pause grows with the wait: a start of one second is noticed within 50 ms, and thirty
        apps that import for ten seconds are not slowed down by being asked.
        """
        started = time.monotonic()
        last = "nothing listens on it"
        while (waited := time.monotonic() - started) < seconds:
            try:
                answer = await fetch(address, port, "/healthz")
            except (OSError, EOFError, TimeoutError, ValueError) as exc:
                last = _reason(exc)
            else:
                # Somebody's own app need not have /healthz; that it answers is enough.
                if answer.status == _OK or answer.status == _NOT_FOUND:  # noqa: PLR1714 - two reasons
                    return
                last = f"/healthz answers {answer.status}"
            await asyncio.sleep(min(max(waited / 20, _FIRST_PAUSE), _LAST_PAUSE))
        raise NotReady(f"does not answer on port {port} after {seconds:.0f} s: {last}")

    async def get(self, port: int, path: str, host: str, address: str = LOCAL) -> Answer:
        """Fetch ``path`` from the edge over loopback, under the name visitors use."""
        return await fetch(address, port, path, host)

    async def ask(self, address: str, port: int, path: str) -> Answer:
        """Fetch ``path`` from where a part listens."""
        return await fetch(address, port, path)


async def fetch(address: str, port: int, path: str, host: str = "") -> Answer:
    """Make one GET request on a connection of its own.

    Raises:
        OSError, EOFError, TimeoutError, ValueError: no whole HTTP answer within five seconds.

    """
    async with asyncio.timeout(_CALL_SECONDS):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {host or address}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode("ascii"))
            head = await reader.readuntil(b"\r\n\r\n")
            status, headers = _parse_head(head)
            length = min(int(headers.get("content-length", _LONGEST_ANSWER)), _LONGEST_ANSWER)
            body = await _read_body(reader, length)
            return Answer(status, headers, body)
        finally:
            writer.close()


async def _read_body(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as exc:
        return exc.partial


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise ValueError("does not speak HTTP")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return int(rest[:3]), {key.strip().lower(): value.strip() for key, _, value in pairs}


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return "nothing listens on it"
    if isinstance(exc, TimeoutError):
        return "no answer"
    if isinstance(exc, ValueError):
        return str(exc)
    return "the connection breaks off"


def identity_problem(answer: Answer, participant: str, version: str) -> str | None:
    """Say how the app behind a name proves to be the wrong one; ``None`` when it does not.

    An app without ``/whoami`` (somebody's own) is identified by its container alone.
    """
    if answer.status >= _SERVER_ERROR:
        return f"answers {answer.status} through the edge"
    said = answer.json() if answer.status == _OK else None
    if not isinstance(said, dict) or "participant" not in said:
        return None
    if said["participant"] != participant:
        return f"leads to the seat of {said['participant']!r}"
    if said.get("version", version) != version:
        return f"runs version {said['version']!r} instead of {version!r}"
    return None
