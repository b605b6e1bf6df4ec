"""Stand-in apps for the edge's tests: one raw echo server per name, told apart by what they say.

Runs as a program of its own (`python echo.py al alice`), so that the client's Python and the apps'
do not share one interpreter lock, and prints `{"al": 40001, ...}` once it listens. It reads requests
by hand: a library would normalise the very bytes under test.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import itertools
import json
import sys
from dataclasses import dataclass

HOSTILE = (
    b"X-Accel-Redirect: /.pages/landing.html\r\n"
    b"X-Accel-Expires: 3600\r\nX-Accel-Limit-Rate: 1\r\nX-Accel-Buffering: yes\r\n"
    b"X-Accel-Charset: utf-7\r\n"
    b'Service-Worker-Allowed: /\r\nAlt-Svc: h2=":9"\r\nClear-Site-Data: "*"\r\n'
    b"Strict-Transport-Security: max-age=9\r\nPublic-Key-Pins: x\r\nNEL: {}\r\nReport-To: {}\r\n"
    b'Reporting-Endpoints: x="/"\r\nServer: hostile\r\n'
    b"Accept-CH: Sec-CH-UA-Model\r\nAccept-CH-Lifetime: 9\r\nCritical-CH: Sec-CH-UA-Model\r\n"
    b"Origin-Agent-Cluster: ?0\r\nSet-Login: logged-out\r\nExpect-CT: enforce\r\n"
    b'Use-As-Dictionary: match="/*"\r\nSet-Cookie2: a=b\r\nPublic-Key-Pins-Report-Only: x\r\n'
    b'Secure-Session-Registration: (ES256);path="/"\r\n'
    b'Sec-Session-Registration: (ES256);path="/"\r\n'
    b"X-Frame-Options: DENY\r\nContent-Security-Policy: default-src 'self'\r\n"
    b"Referrer-Policy: no-referrer\r\nPermissions-Policy: camera=()\r\nLink: <x>; rel=preload\r\n"
    b"Refresh: 9\r\nCross-Origin-Opener-Policy: same-origin\r\n"
)


NUMBERS = itertools.count()
TALLY: list[str] = []
"""What arrived at any seat, in order; asking a seat itself for `/tally` reads and empties it."""


@dataclass(frozen=True)
class Request:
    """What arrived, untouched."""

    method: bytes
    target: bytes
    head: bytes
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request, its body included."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
    body = b""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            body = await reader.readexactly(int(value))
        elif name.lower() == b"transfer-encoding":
            body = await read_chunks(reader)
    return Request(method, target, head, body)


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def answer(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Build a whole answer."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send four events, a quarter of a second apart."""
    del reader
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for number in range(4):
        writer.write(b"data: %d\n\n" % number)
        await writer.drain()
        await asyncio.sleep(0.25)
    writer.close()


async def pulse(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send numbered events, ten a second, for as long as somebody reads."""
    del reader
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for number in itertools.count():
        writer.write(b"data: %b %d\n\n" % (name, number))
        await writer.drain()
        await asyncio.sleep(0.1)


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch protocols and send every byte back in capitals."""
    writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := await reader.read(1000):
        writer.write(data.upper())


async def talk(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection of the seat `name`; after `/fickle` the next request finds it closed."""
    while True:
        request = await read_request(reader)
        path = request.target.partition(b"?")[0]
        if path.endswith(b"/sse"):
            await stream(reader, writer)
            return
        if path == b"/ws" and b"upgrade: websocket" in request.head.lower():
            await tunnel(reader, writer)
            return
        if path == b"/ws-unasked":
            await tunnel(reader, writer)
            return
        if path == b"/pulse":
            await pulse(name, reader, writer)
            return
        writer.write(respond(name, request, path))
        if path == b"/fickle":
            await reader.read(1)
            return


def respond(name: bytes, request: Request, path: bytes) -> bytes:  # noqa: PLR0911 - a table
    """Answer by path; anything not listed is echoed."""
    match path.split(b"/")[1:]:
        case [b"hostile"]:
            return answer(b"own body", headers=HOSTILE)
        case [b"cookies"]:
            cookies = request.target.partition(b"?")[2].split(b"&")
            return answer(b"", headers=b"".join(b"Set-Cookie: a=b; %b\r\n" % c for c in cookies))
        case [*_, b"status", status]:
            return answer(b"the app's own words", b"%b Own" % status)
        case [b"huge-header"]:
            return answer(b"", headers=b"X-Huge: %b\r\n" % (b"x" * 200_000))
        case [b"redirect"]:
            return answer(b"", b"302 Found", b"Location: /elsewhere\r\n")
        case [*_, b"head"]:
            return answer(request.head + request.body)
        case [b"tally"]:
            seen = json.dumps(TALLY).encode()
            TALLY.clear()
            return answer(seen)
        case _:
            return echo(name, request)


def echo(name: bytes, request: Request) -> bytes:
    """Say back who was asked for what; the header holds what was noted of it."""
    facts = [name, request.method, request.target, b"%d" % binascii.crc32(request.body)]
    noted = f"{next(NUMBERS)} {b' '.join(facts).hex()}"
    TALLY.append(noted)
    said = answer(name + b" " + request.target, headers=b"X-Saw: %b\r\n" % noted.encode())
    return said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == b"HEAD" else said


async def serve(name: str) -> int:
    """Listen for one seat, anywhere or as in `name@address:port`; say on which port."""
    name, _, place = name.partition("@")
    address, _, at = place.partition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await talk(name.encode(), reader, writer)
        writer.close()

    server = await asyncio.start_server(
        connected, address or "127.0.0.1", int(at or 0), limit=2**20
    )
    port: int = server.sockets[0].getsockname()[1]
    return port


async def main(names: list[str]) -> None:
    """Serve every name until standard input closes."""
    ports = {name: await serve(name) for name in names}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
