"""T17: whatever a seat answers, it harms nobody but its own visitors."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import lab as laboratory
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

OK = b"HTTP/1.1 200 OK\r\n"
OWN = b"Content-Length: 2\r\n\r\nhi"
FOREIGN = OK + b"Content-Length: 6\r\n\r\npoison"
ANSWERS = {
    "nothing": b"",
    "garbage": bytes(range(256)) * 40,
    "http-0.9": b"just a body",
    "tls": b"\x15\x03\x01\x00\x02\x02\x28",
    "half-a-line": b"HTTP/1.1 20",
    "no-end-of-head": OK + b"X-A: b\r\n",
    "status-99999": b"HTTP/1.1 99999 X\r\n" + OWN,
    "status-0": b"HTTP/1.1 0 X\r\n" + OWN,
    "status-negative": b"HTTP/1.1 -200 X\r\n" + OWN,
    "status-of-letters": b"HTTP/1.1 OK\r\n" + OWN,
    "http-9.9": b"HTTP/9.9 200 OK\r\n" + OWN,
    "endless-100": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100 + OK + OWN,
    "unasked-101": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbytes",
    "header-of-200-kilobytes": OK + b"X-A: " + b"a" * 200_000 + b"\r\n" + OWN,
    "headers-without-number": OK + b"X-A: b\r\n" * 50_000 + OWN,
    "nul-in-header": OK + b"X-A: a\0b\r\n" + OWN,
    "bare-cr-in-header": OK + b"X-A: a\rSet-Cookie: x=y\r\n" + OWN,
    "no-colon": OK + b"nonsense\r\n" + OWN,
    "folded": OK + b"X-A: a\r\n b\r\n" + OWN,
    "two-lengths": OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\nhi",
    "negative-length": OK + b"Content-Length: -1\r\n\r\nhi",
    "endless-length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    "length-and-chunked": OK
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "unknown-coding": OK + b"Transfer-Encoding: xchunked\r\n\r\nhi",
    "bad-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
    "endless-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nhi",
    "cut-off": OK + b"Content-Length: 999\r\n\r\nhi",
    "too-long": OK + OWN + b"more than was said",
    "second-answer": OK + OWN + FOREIGN,
    "second-answer-to-head-like": b"HTTP/1.1 304 Not Modified\r\n\r\n" + FOREIGN,
    "body-with-204": b"HTTP/1.1 204 No Content\r\n\r\n" + FOREIGN,
    "split-in-location": b"HTTP/1.1 302 X\r\nLocation: /x\r\n\r\n" + FOREIGN,
}
STEERING = b'Service-Worker-Allowed: /\r\nSet-Cookie: a=b; Path=/\r\nClear-Site-Data: "*"\r\n'
BARE = {
    f"bare-{number}": line + b"\r\n" + STEERING + OWN
    for number, line in enumerate(
        [
            b"HTTP/1.1 OK",
            b"HTTP/1.1",
            b"http/1.1 200 OK",
            b" HTTP/1.1 200 OK",
            b"\r\nHTTP/1.1 200 OK",
        ]
        + [
            b"xyzHTTP/1.1 200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1\t200 OK",
            b"HTTP/ 1.1 200 OK",
        ]
        + [
            b"HTTP/1 200 OK",
            b"HTTP/1.1 -1 OK",
            b"hTtP/1.1 ok",
            b"HTTPHTTP/1.1 200 OK",
            b"ICY 200 OK",
        ]
    )
}
"""Status lines which nginx does not understand, and some browsers do."""
PLAINLY_WRONG = tuple(ANSWERS)
ANSWERS |= BARE


@contextlib.contextmanager
def hostile_seat() -> Iterator[int]:
    """Listen as a seat which answers `/N` with the N-th of ANSWERS, then keeps the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = list(ANSWERS.values())

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError, IndexError):
            connection.settimeout(5)
            request = connection.recv(65536)
            connection.sendall(answers[int(request.split(b" ")[1][1:])])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    yield port
    listener.close()


@pytest.fixture(scope="module")
def room(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run an edge in front of a hostile seat and a decent one."""
    directory: Path = tmp_path_factory.mktemp("hostile")
    with hostile_seat() as port:
        edge = laboratory.edge_for({"alice": port, "bob": ports["bob"]}, directory)
        with laboratory.running(edge, directory) as found:
            yield found


@pytest.mark.parametrize("case", PLAINLY_WRONG)
def test_hostile_answer_harms_nobody_else(room: Lab, case: str) -> None:
    """Its own visitor gets an error or its own bytes; Bob's, asked right after, gets Bob's."""
    reply = room.get(f"/alice/{list(ANSWERS).index(case)}")

    assert (
        reply.status in {0, 200, 204, 302, 304, 502, 503}
        or reply.status < 200
        or reply.status > 599
    )
    assert reply.header("set-cookie") is None
    for _ in range(3):
        assert room.get("/bob/x").body == b"bob /x"


@pytest.mark.parametrize("form", ["/alice/{}", "http://localhost/alice/{}"])
@pytest.mark.parametrize("case", BARE)
def test_answer_that_nginx_cannot_read_is_none_for_a_browser_either(
    room: Lab, case: str, form: str
) -> None:
    """Else a seat would steer the whole origin by headers that nobody has looked at."""
    target = form.format(list(ANSWERS).index(case)).encode()
    with room.connect() as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b"hi") and (data := connection.recv(65536)):
            received += data

    head = received.partition(b"\r\n\r\n")[0] + b"\r\n"
    if re.match(rb"HTTP/1\.1 \d{3} ", head):
        assert b"Service-Worker-Allowed" not in head
        assert b"Path=/\r\n" not in head
    else:
        assert not re.search(rb"(?i)http|icy", received)


def test_second_answer_of_a_seat_is_given_to_nobody(room: Lab) -> None:
    """What a seat sends unasked must not become the answer to the next request, not even its own."""
    number = list(ANSWERS).index("second-answer")
    for _ in range(50):
        assert room.get(f"/alice/{number}").body == b"hi"
        assert room.get("/bob/x").body == b"bob /x"


def test_edge_is_the_same_process_after_all_of_them(room: Lab) -> None:
    """No answer ends a worker."""
    workers = Path(f"/proc/{room.process.pid}/task/{room.process.pid}/children")
    before = workers.read_text("ascii")
    for number in range(len(ANSWERS)):
        room.get(f"/alice/{number}")

    assert before
    assert workers.read_text("ascii") == before
