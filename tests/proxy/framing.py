"""Requests whose ends two readers could see in two places, and what must hold for all of them.

Each is sent over a connection of its own with a marker request behind it. The law: what the seats saw
is what was answered; each answer comes from the seat its target names; nothing comes after the marker's
answer; and where a strict reader (h11) understands the bytes, the seats saw what it sees.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import json
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab import Lab

QUIET = 1.0
"""Seconds without a byte after which the edge is taken to wait for more of a body."""
PATIENCE = 60.0
CONNECTIONS = 48
SEATS = (b"alice", b"carl", b"carlos")
END = b"\r\n"
METHODS = [*[b"GET"] * 5, *[b"POST"] * 6, b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"]
ODD_METHODS = [
    b"TRACE",
    b"CONNECT",
    b"get",
    b"PROPFIND",
    b"",
    b"G ET",
    b"PRI",
    b"X" * 300,
    b"GET\0",
    b" GET",
]
VERSIONS = [
    *[b" HTTP/1.1"] * 20,
    b" HTTP/1.0",
    b" HTTP/1.0",
    b"",
    b" HTTP/0.9",
    b" HTTP/2.0",
    b" HTTP/1.10",
]
VERSIONS += [
    b" HTTP/1.1 ",
    b" http/1.1",
    b"  HTTP/1.1",
    b"\tHTTP/1.1",
    b" HTTP/1.",
    b" HTTP/11",
    b" HTTP/1.1\0",
]
ENDS = [*[END] * 60, b"\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\n", b"\x0b\r\n"]
LENGTHS = [b"%d"] * 60
LENGTHS += [
    b"+%d",
    b"-%d",
    b"0%d",
    b"%d.0",
    b"0x%x",
    b"%d ",
    b" %d",
    b"\t%d",
    b"%d\x0b",
    b"%d, %d",
    b"%d,%d",
]
LENGTHS += [
    b"%d\0",
    b"'%d'",
    b"1 %d",
    b"%d\r\n Content-Length: 1",
    b"99999999999999999999%d",
    b"%d;a",
    b"",
]
CODINGS = [b"chunked"] * 60
CODINGS += [
    b"Chunked",
    b"CHUNKED",
    b" chunked",
    b"chunked ",
    b"xchunked",
    b"identity",
    b"chunked, identity",
]
CODINGS += [
    b"identity, chunked",
    b"gzip, chunked",
    b"chunked, chunked",
    b"chunked;q=1",
    b"\x0bchunked",
    b"chunked\0",
]
CODINGS += [
    b'"chunked"',
    b"chunked,",
    b",chunked",
    b"chun\r\n ked",
    b"\r\n chunked",
    b"",
    b"deflate",
    b"trailers",
]
NAMES = [b"%b"] * 120
NAMES += [
    b"%b ",
    b" %b",
    b"%b\t",
    b"\t%b",
    b"%b\0",
    b"X: y\r%b",
    b"X: y\n%b",
    b"%b\r",
    b"%b\r\n",
    b"_%b",
    b"%b_",
]
EXTRAS = [
    b"Host: evil", b"Host: localhost", b"X-A: b\r\n folded", b"X-A: b\r\n\tfolded", b"X-A: a\rb", b"X-A: a\0b",
    b"X-A: a\nb", b"X-Long: " + b"a" * 9000, b"X-Huge: " + b"a" * 40000, b"Connection: close",
    b"Connection: keep-alive", b"Connection: Content-Length", b"Connection: Transfer-Encoding", b"Connection: Host",
    b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c",
    b"Expect: 100-continue", b"Expect: x", b"TE: trailers", b"Trailer: Content-Length", b"no colon", b": empty name",
    b"X-A : b", b" X-A: b", b"X-\xff: b", b"Proxy-Connection: keep-alive", b"Keep-Alive: timeout=0",
    b"Transfer_Encoding: chunked", b"Content_Length: 9", b"X-Content-Length: 9", b"Range: bytes=0-1", b"X-A: " + b"\t" * 20,
    b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /bob/x", b"X-Rewrite-URL: /bob/x", b"X-Accel-Redirect: /.pages/404.html",
]  # fmt: skip
HIDDEN = b"GET /carl/hidden-%d HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One attempt: bytes, and the marker that follows them."""

    number: int
    content: bytes

    @property
    def marker(self) -> bytes:
        """The target of the marker as its seat sees it."""
        return b"/marker-%d" % self.number

    @property
    def whole(self) -> bytes:
        """Everything that goes over the connection."""
        return self.content + b"GET /bob%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % self.marker


@dataclass(frozen=True, order=True)
class Seen:
    """One request as a seat saw it."""

    order: int
    seat: bytes
    method: bytes
    target: bytes
    body: int

    @classmethod
    def read(cls, noted: str) -> Seen:
        """Read what a seat noted."""
        order, _, facts = noted.partition(" ")
        seat, method, target, body = bytes.fromhex(facts).split(b" ")
        return cls(int(order), seat, method, target, int(body))

    @property
    def asked(self) -> tuple[bytes, bytes, int]:
        """What a reader of the raw bytes would call it."""
        return self.method, b"/" + self.seat + self.target, self.body


@dataclass
class Outcome:
    """What came back over one connection."""

    case: Case
    received: bytes = b""
    hung: bool = False
    """Whether the edge wanted more bytes than there were."""
    answered: list[Seen] = field(default_factory=list)


# -- making them ----------------------------------------------------------------------------------


def cases(seed: int, count: int) -> Iterator[Case]:
    """Make attempts; the same seed makes the same ones."""
    chance = random.Random(seed)
    for number in range(count):
        parts = [request(number, chance) for _ in range(chance.choice((1, 1, 1, 1, 2, 3)))]
        content = b"".join(parts)
        yield Case(number, spoilt(content, chance) if chance.random() < 0.12 else content)


def request(number: int, chance: random.Random) -> bytes:
    """Make one request, odd in none, one or several places."""
    odd = chance.random() < 0.12
    method = chance.choice(ODD_METHODS if odd and chance.random() < 0.3 else METHODS)
    version = chance.choice(VERSIONS) if odd else b" HTTP/1.1"
    lines = [method + b" " + target(number, chance) + version, *headers(chance)]
    body, framing = framed(number, chance)
    at = chance.randrange(1, len(lines) + 1)
    lines[at:at] = framing
    end = (lambda: chance.choice(ENDS)) if chance.random() < 0.15 else (lambda: END)
    return b"".join(line + end() for line in lines) + end() + body


def target(number: int, chance: random.Random) -> bytes:
    """Make a target, mostly one of a seat."""
    seat = chance.choice(SEATS)
    plain = b"/%b/f-%d" % (seat, number)
    if chance.random() < 0.8:
        return plain
    return chance.choice(
        [
            b"http://localhost" + plain, b"http://evil" + plain, b"HTTP://LOCALHOST:1" + plain, b"//evil" + plain,
            plain + b"#x", plain + b"?x=/../bob", plain + b"%0d%0aX:y", plain + b"/../../bob/x", plain + b" /bob/x",
            b"*", seat + b":80", b"/" + seat, b"", b"/", b"/healthz", plain + b"\x80", plain + b"?" + b"q" * 9000,
            plain + b"\\..\\bob", b"/%61lice/x", plain + b"\t", b"?" + plain, b"localhost" + plain,
        ]
    )  # fmt: skip


def headers(chance: random.Random) -> list[bytes]:
    """Make headers, the host's among them nearly always."""
    found = [b"Host: localhost"] if chance.random() < 0.95 else []
    if chance.random() < 0.25:
        found += chance.sample(EXTRAS, chance.choice((1, 1, 2, 4)))
    if chance.random() < 0.02:
        found += [b"X-%d: %b" % (number, b"v" * 90) for number in range(chance.choice((50, 400)))]
    return found


def framed(number: int, chance: random.Random) -> tuple[bytes, list[bytes]]:
    """Make a body and the headers that say, or do not say, where it ends."""
    kind = chance.random()
    if kind < 0.25:
        return b"", []
    body = chance.choice(
        [
            b"hello",
            b"a" * chance.randrange(3000),
            HIDDEN % number,
            b"0\r\n\r\n" + HIDDEN % number,
            b"",
        ]
    )
    length, coding = sized(body, chance), b"Transfer-Encoding"
    if kind < 0.55:
        found = [length] if chance.random() < 0.85 else [length, sized(body, chance)]
        return body, found
    transfer = named(coding, chance) + b": " + chance.choice(CODINGS)
    if kind < 0.93:
        return chunked(body, chance), [transfer]
    both = [transfer, length] if chance.random() < 0.5 else [length, transfer]
    return (chunked(body, chance) if chance.random() < 0.7 else body), both


def sized(body: bytes, chance: random.Random) -> bytes:
    """Say how long a body is, perhaps wrongly, perhaps oddly."""
    size = (
        len(body) if chance.random() < 0.9 else max(0, len(body) + chance.choice((-5, -1, 1, 40)))
    )
    form = chance.choice(LENGTHS)
    return named(b"Content-Length", chance) + b": " + form % ((size,) * form.count(b"%"))


def named(name: bytes, chance: random.Random) -> bytes:
    """Spell the name of a header."""
    cased = chance.choice((name, name, name.lower(), name.upper()))
    return chance.choice(NAMES) % cased


def chunked(body: bytes, chance: random.Random) -> bytes:
    """Send a body in chunks, perhaps oddly."""
    odd = chance.random() < 0.3
    pieces, rest = [], body
    while rest:
        size = chance.randrange(1, len(rest) + 1)
        pieces.append(chunk(rest[:size], chance, odd=odd))
        rest = rest[size:]
    last = [b"0\r\n\r\n"] * 12
    if odd:
        last += [
            b"0\n\n",
            b"00\r\n\r\n",
            b"0;x=y\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"0 \r\n\r\n",
        ]
        last += [
            b"0\r\n",
            b"\r\n\r\n",
            b"0x0\r\n\r\n",
            b"-0\r\n\r\n",
            b"0\r\nTransfer-Encoding: x\r\n\r\n",
            b"0\r\n\r\n\r\n",
        ]
    return b"".join(pieces) + chance.choice(last)


def chunk(data: bytes, chance: random.Random, *, odd: bool) -> bytes:
    """Write one chunk."""
    forms = [b"%x\r\n%b\r\n"] * 20
    if odd:
        forms += [
            b"%X\r\n%b\r\n",
            b"000%x\r\n%b\r\n",
            b"%x;a=b\r\n%b\r\n",
            b'%x;a="\r\n"\r\n%b\r\n',
            b"%x\n%b\r\n",
            b"%x\r\n%b\n",
        ]
        forms += [
            b"%x \r\n%b\r\n",
            b" %x\r\n%b\r\n",
            b"0x%x\r\n%b\r\n",
            b"+%x\r\n%b\r\n",
            b"%x\r\n%b",
            b"%x\r%b\r\n",
        ]
        forms += [
            b"ffffffffffffffff%x\r\n%b\r\n",
            b"10000000000000000%x\r\n%b\r\n",
            b"%x;" + b"a" * 5000 + b"\r\n%b\r\n",
        ]
        forms += [b"%x\r\n%bX\r\n", b"%x;\n%b\r\n", b"%x\0\r\n%b\r\n"]
    return chance.choice(forms) % (len(data), data)


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """Change a few bytes anywhere."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(found))
        kind = chance.randrange(3)
        if kind == 0:
            found[at] = chance.choice(b"\0\t\n\v\r :;,\x7f\x80\xff0Aa/")
        elif kind == 1:
            del found[at]
        else:
            found[at:at] = chance.choice([b"\r\n", b"\n", b"\r", b" ", b"\0", b":", b"\t"])
        found = found or bytearray(b"\n")
    return bytes(found)


# -- sending them ---------------------------------------------------------------------------------


def send_all(port: int, attempts: Sequence[Case]) -> list[Outcome]:
    """Send every attempt over a connection of its own, many at a time."""

    async def run() -> list[Outcome]:
        turns = asyncio.Semaphore(CONNECTIONS)

        async def one(case: Case) -> Outcome:
            async with turns, asyncio.timeout(PATIENCE):
                return await _send(port, case)

        return await asyncio.gather(*map(one, attempts))

    return asyncio.run(run())


async def _send(port: int, case: Case) -> Outcome:
    found = Outcome(case)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(case.whole)
        await writer.drain()
        while True:
            try:
                async with asyncio.timeout(QUIET):
                    data = await reader.read(65536)
            except TimeoutError:
                if found.hung:
                    break
                found.hung = True
                writer.write_eof()
                continue
            if not data:
                break
            found.received += data
            if found.received.endswith(b"bob " + case.marker):
                break
    writer.close()
    found.answered = [
        Seen.read(noted.decode())
        for noted in re.findall(rb"\r\nX-Saw: ([0-9]+ [0-9a-f]+)\r\n", found.received)
    ]
    return found


def tally(lab: Lab) -> list[Seen]:
    """Ask the seats, past the edge, what they have seen since somebody asked last."""
    import socket

    with socket.create_connection(("127.0.0.1", lab.edge.routes[0].port), 10) as connection:
        connection.sendall(b"GET /tally HTTP/1.1\r\n\r\n")
        received = b""
        while True:
            head, end, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if end and length and len(body) >= int(length[1]):
                return [Seen.read(noted) for noted in json.loads(body)]
            received += connection.recv(1 << 20)


# -- judging them ---------------------------------------------------------------------------------


def faults(outcomes: Sequence[Outcome], seen: Sequence[Seen]) -> list[str]:
    """Say what breaks the law."""
    found = [
        f"{o.case.number}: {fault}: {o.case.content[:400]!r}"
        for o in outcomes
        for fault in judge(o)
    ]
    answered = {item for outcome in outcomes for item in outcome.answered}
    first = min((item.order for item in seen), default=0)
    invented = [item for item in answered if item not in set(seen) and item.order >= first]
    found += [f"answered, yet no seat saw it: {item}" for item in invented]
    lost = [item for item in seen if item not in answered and not _without_header(item, outcomes)]
    return found + [f"a seat saw it, and nobody was answered: {item}" for item in lost]


def _without_header(item: Seen, outcomes: Sequence[Outcome]) -> bool:
    """Whether it was answered in HTTP/0.9, which has no headers, or its client was gone by then."""
    word = item.seat + b" " + item.target
    return any(
        outcome.received.startswith(word) or (outcome.hung and item.target in outcome.case.whole)
        for outcome in outcomes
    )


def judge(outcome: Outcome) -> Iterator[str]:
    """Say what is wrong with the answers of one connection."""
    raw, answered = outcome.case.whole, outcome.answered
    if answered != sorted(answered):
        yield "answers out of order"
    for item in answered:
        if b"/" + item.seat + item.target not in raw:
            yield f"answered by {item.seat!r} for {item.target!r}"
    marks = [at for at, item in enumerate(answered) if item.target == outcome.case.marker]
    if marks and (marks != [len(answered) - 1] or answered[marks[0]].seat != b"bob"):
        yield "the marker's answer is not the last"
    if not outcome.received and not outcome.hung and not _silent(outcome):
        yield "closed without a word"
    if re.search(rb"(?:^|\r\n)HTTP/1\.1 5\d\d ", outcome.received) and not _refused_in_own_words(
        outcome
    ):
        yield f"a fault of the edge's own: {outcome.received[:60]!r}"
    expected = strictly(raw)
    if expected is not None and not _is_part(answered, expected):
        yield f"a strict reader sees {expected}, the seats saw {[i.asked for i in answered]}"


def _silent(outcome: Outcome) -> bool:
    """Nginx says nothing to what begins with line ends alone and to a reset connection."""
    return not outcome.case.content.strip()


def _refused_in_own_words(outcome: Outcome) -> bool:
    """501 and 505 say that a coding or a version is not known here."""
    return re.findall(rb"HTTP/1\.1 (5\d\d) ", outcome.received)[:1] in ([b"501"], [b"505"])


def _is_part(answered: Sequence[Seen], expected: Sequence[tuple[bytes, bytes, int]]) -> bool:
    """Whether what the seats saw is what was asked, refusals left out."""
    rest = iter(expected)
    return all(any(item.asked == one for one in rest) for item in answered)


def strictly(raw: bytes) -> list[tuple[bytes, bytes, int]] | None:
    """Read bytes as h11 does: method, target and body of each request; ``None`` where it refuses.

    Whether a connection is closed after a request is the edge's own choice, so reading goes on there.
    """
    found: list[tuple[bytes, bytes, int]] = []
    while raw:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(raw)
        connection.receive_data(b"")
        try:
            event = connection.next_event()
            if not isinstance(event, h11.Request):
                return found
            body = b"".join(_body(connection))
        except h11.ProtocolError:
            return None
        found.append((event.method, _path(event.target), binascii.crc32(body)))
        raw = connection.trailing_data[0]
    return found


def _body(connection: h11.Connection) -> Iterator[bytes]:
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise h11.RemoteProtocolError("the body does not end")
        yield bytes(event.data)


def _path(target: bytes) -> bytes:
    """Take the host off an absolute target, and what follows a number sign: neither is forwarded."""
    return re.sub(rb"^[A-Za-z]+://[^/?#]*", b"", target)
