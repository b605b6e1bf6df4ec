"""Requests as nobody decent sends them: framing, headers, hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab import Lab

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"


def raw(line: bytes, *headers: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """Put a request together without correcting it."""
    return line + b"\r\n" + host + CLOSE + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


POST = b"POST /alice/head HTTP/1.1"
GET = b"GET /alice/head HTTP/1.1"

FRAMING = {
    "content-length-and-chunked": (
        raw(POST, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), {400},
    ),
    "two-content-lengths": (raw(POST, b"Content-Length: 1", b"Content-Length: 2", body=b"ab"), {400}),
    "two-equal-content-lengths": (raw(POST, b"Content-Length: 1", b"Content-Length: 1", body=b"a"), {400}),
    "negative-content-length": (raw(POST, b"Content-Length: -1"), {400}),
    "content-length-list": (raw(POST, b"Content-Length: 1, 1", body=b"a"), {400}),
    "content-length-hex": (raw(POST, b"Content-Length: 0x1", body=b"a"), {400}),
    "unknown-transfer-encoding": (raw(POST, b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), {400, 501}),
    "identity-then-chunked": (
        raw(POST, b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"), {400, 501},
    ),
    "two-transfer-encodings": (
        raw(POST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        {400, 501},
    ),
    "chunked-in-http-1.0": (
        raw(b"POST /alice/head HTTP/1.0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), {400},
    ),
    "bad-chunk-size": (raw(POST, b"Transfer-Encoding: chunked", body=b"zz\r\n\r\n"), {400}),
    "folded-header": (raw(GET, b"X-A: b", b" folded"), {200, 400}),
    "space-before-colon": (raw(GET, b"Content-Length : 5"), {200, 400}),
    "nul-in-header": (raw(GET, b"X-A: a\0b"), {400}),
    "nul-in-target": (raw(b"GET /alice/\0 HTTP/1.1"), {400}),
    "space-in-target": (raw(b"GET /alice/a b HTTP/1.1"), {400}),
    "tab-in-target": (raw(b"GET /alice/a\tb HTTP/1.1"), {400}),
    "two-hosts": (raw(GET, b"Host: evil"), {400}),
    "no-host": (raw(GET, host=b""), {400}),
    "trace": (raw(b"TRACE /alice/ HTTP/1.1"), {405}),
    "connect": (raw(b"CONNECT alice:80 HTTP/1.1"), {400, 405}),
    "lower-case-method": (raw(b"get /alice/ HTTP/1.1"), {400}),
    "http-2.0-by-name": (raw(b"GET /alice/ HTTP/2.0"), {400, 505}),
    "http-3.1": (raw(b"GET /alice/ HTTP/3.1"), {400, 505}),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "64-kilobytes-of-header": (raw(GET, b"X-A: " + b"a" * 65536), {400, 431}),
    "many-headers": (raw(GET, *[b"X-A%d: %s" % (n, b"b" * 500) for n in range(100)]), {400, 431}),
    "16-kilobytes-of-target": (raw(b"GET /alice/" + b"a" * 16384 + b" HTTP/1.1"), {414}),
    "body-over-the-limit": (raw(POST, b"Content-Length: 3000000"), {413}),
    "chunked-body-over-the-limit": (
        raw(POST, b"Transfer-Encoding: chunked", body=b"300000\r\n" + b"a" * 0x300000), {413},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FRAMING)
def test_malformed_request_is_refused_or_made_harmless(lab: Lab, case: str) -> None:
    """Where one request ends and the next begins is never left to two opinions."""
    request, allowed = FRAMING[case]
    reply = lab.send(request)

    assert reply.status in allowed
    assert b"folded" not in reply.body
    assert b"\nContent-Length : " not in reply.body


def test_bare_line_feeds_are_not_forwarded_bare(lab: Lab) -> None:
    """Nginx accepts them; the app must see proper line ends."""
    reply = lab.send(b"GET /alice/head HTTP/1.1\nHost: localhost\nConnection: close\nX-A: b\n\n")

    assert reply.status == 200
    assert b"X-A: b\r\n" in reply.body
    assert b"\n" not in reply.body.replace(b"\r\n", b"")


def test_second_request_in_a_body_is_not_a_request(lab: Lab) -> None:
    """The body of one seat's request cannot become a request to another seat."""
    inner = b"GET /bob/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    reply = lab.send(raw(POST, b"Content-Length: %d" % len(inner), body=inner))

    assert reply.status == 200
    assert reply.body.endswith(inner)
    assert reply.body.count(b"HTTP/1.1 200") == 0


def test_chunked_body_arrives(lab: Lab) -> None:
    """A stream of unknown length reaches the app without being stored first."""
    reply = lab.send(
        raw(POST, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    )

    assert reply.body.endswith(b"abcde")


def test_body_of_an_unplain_request_arrives(lab: Lab) -> None:
    """The jump to @careful loses neither the method nor the body."""
    reply = lab.send(raw(b"POST /alice/%68ead HTTP/1.1", b"Content-Length: 3", body=b"abc"))
    careful = lab.send(
        raw(b"POST http://localhost/alice/head HTTP/1.1", b"Content-Length: 3", body=b"abc")
    )

    assert reply.body == b"alice /%68ead"
    assert careful.body.startswith(b"POST /head HTTP/1.1\r\n")
    assert careful.body.endswith(b"abc")


SPOOFED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "666",
    "Forwarded": "for=6.6.6.6",
    "Proxy": "evil",
    "x-forwarded-for": "6.6.6.6",
    "X_Forwarded_For": "6.6.6.6",
    "X_User": "evil6.6.6.6",
    "Upgrade": "h2c6.6.6.6",
    "HTTP2-Settings_": "6.6.6.6",
}


@pytest.mark.parametrize("target", ["/alice/head", "http://localhost/alice/head"])
@pytest.mark.parametrize("name", SPOOFED)
def test_spoofed_header_never_reaches_the_app(lab: Lab, name: str, target: str) -> None:
    """Overwritten, not appended to, by both ways a request can take."""
    body = lab.get(target, f"{name}: {SPOOFED[name]}").body

    assert body.startswith(b"GET /head")
    assert SPOOFED[name].encode() not in body.partition(b"\r\n")[2]


@pytest.mark.parametrize("target", ["/alice/head", "http://localhost:81/alice/head"])
def test_app_is_told_who_asks_and_where_it_lives(lab: Lab, target: str) -> None:
    """The whole set, the same by both ways."""
    head = lab.get(target, host="localhost:81").body

    for line in (
        b"Host: localhost:81", b"X-Real-IP: 127.0.0.1", b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Proto: http", b"X-Forwarded-Host: localhost:81", b"X-Forwarded-Prefix: /alice",
    ):  # fmt: skip
        assert head.count(b"\r\n" + line + b"\r\n") == 1
    assert b"\r\nConnection:" not in head


def test_connection_header_cannot_remove_what_the_edge_sets(lab: Lab) -> None:
    """Naming a header in Connection must not make it disappear on the way (CVE-2022-31813)."""
    head = lab.get("/alice/head", "Connection: close, X-Forwarded-For, X-Real-IP").body

    assert b"X-Forwarded-For: 127.0.0.1" in head


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/alice/x", "evil"),
        ("/", "evil"),
        ("/alice/x", "localhost.evil"),
        ("/alice/x", "10.1.2.3:8080"),
        ("http://evil/alice/x", "localhost"),
        ("/%61lice/x", "evil"),
    ],
)
def test_unknown_host_is_told_the_right_address(lab: Lab, target: str, host: str) -> None:
    """421 with a page that names the URL; nothing is served under a name that is not ours."""
    reply = lab.get(target, host=host)

    assert reply.status == 421
    assert lab.edge.url.encode() in reply.body
    assert b"evil" not in reply.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:99", "workshop.example"])
def test_known_host_is_served(lab: Lab, host: str) -> None:
    """By its public name, and locally through any tunnel's port."""
    assert lab.get("/alice/x", host=host).body == b"alice /x"


def test_absolute_target_overrides_the_host_header(lab: Lab) -> None:
    """RFC 9112, 3.2.2: the received Host is ignored, so it cannot poison the app's links."""
    head = lab.get("http://localhost/alice/head", host="evil").body

    assert b"\r\nHost: localhost\r\n" in head
    assert b"evil" not in head
