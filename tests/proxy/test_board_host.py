"""The board behind the edge: a host of its own, where nothing of a seat is and no seat leads."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import lab as laboratory
import pytest
import secure
from lab import Lab, Limits, parse
from secure import HOST, Http2, SecureLab
from test_routing import BORDERS, CORPUS
from tests.ports import free_port

from workshop.proxy.routes import Edge, Route
from workshop.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARD = f"board.{HOST}"
SEATS = ("alice", "bob")
BODY = 1024 * 1024


@pytest.fixture(scope="module")
def everybody() -> Iterator[dict[str, int]]:
    """Run two apps and what stands for the board."""
    with laboratory.apps([*SEATS, "board"]) as ports:
        yield ports


def with_board(
    everybody: dict[str, int], directory: Path, limits: Limits = laboratory.GENEROUS
) -> Edge:
    """Describe an edge that leads to a board."""
    seats = {name: everybody[name] for name in SEATS}
    edge = laboratory.edge_for(seats, directory, limits)
    return replace(edge, board=f"127.0.0.1:{everybody['board']}", board_host=BOARD)


@pytest.fixture(scope="module", params=list(Routing))
def plain(
    everybody: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Lab]:
    """Run an edge in plain HTTP, whatever seats' addresses are."""
    directory = tmp_path_factory.mktemp("board")
    edge = replace(with_board(everybody, directory), routing=request.param)
    with laboratory.running(edge, directory) as started:
        yield started


@pytest.fixture(scope="module")
def safe(
    everybody: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureLab]:
    """Run an edge over HTTPS, with the port that leads there."""
    directory = tmp_path_factory.mktemp("safe")
    tls = secure.certificate(directory, HOST, BOARD, "localhost")
    edge = secure.secured(with_board(everybody, directory), directory, tls, redirect=True)
    with secure.running(edge, directory) as started:
        yield started


# -- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/me", "/events", "/alice/", "/healthz", "/v2/", "/deploy/", "/llm/v1/models"]
)
def test_every_path_of_the_host_is_the_boards(plain: Lab, path: str) -> None:
    """Neither a seat's path nor one of the edge's own is there."""
    assert plain.get(path, host=BOARD).body == f"board {path}".encode()
    assert plain.get(path, host=f"{BOARD.upper()}:8080").body == f"board {path}".encode()


@pytest.mark.parametrize("target", [t for t in CORPUS + BORDERS if b"://" not in t])
def test_odd_target_stays_with_the_board(plain: Lab, target: bytes) -> None:
    """The board gets every byte as it was sent, or the edge refuses."""
    reply = plain.get(target, host=BOARD)

    if reply.status == 200:
        assert reply.body == b"board " + target
    else:
        assert 400 <= reply.status < 500


@pytest.mark.parametrize("host", [HOST, f"alice.{HOST}", f"x.{BOARD}", f"board.alice.{HOST}"])
def test_no_other_host_leads_to_the_board(plain: Lab, host: str) -> None:
    """Its session is worth something at its own origin alone."""
    for path in ("/", "/me", "/board/", "/alice/"):
        assert not plain.get(path, host=host).body.startswith(b"board")


def test_board_is_told_who_asks_and_no_visitors_word_counts(plain: Lab) -> None:
    """It bounds guesses by address."""
    claims = [
        "X-Real-IP: 192.0.2.1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: gopher",
        "Forwarded: for=192.0.2.1",
    ]
    head = plain.get("/head", *claims, host=BOARD).body

    assert f"\r\nHost: {BOARD}\r\n".encode() in head
    assert b"\r\nX-Real-IP: 127.0.0.1\r\n" in head
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
    assert f"\r\nX-Forwarded-Host: {BOARD}\r\n".encode() in head
    assert b"\r\nX-Forwarded-Proto: http\r\n" in head
    for word in (b"192.0.2.1", b"evil", b"gopher", b"X-Forwarded-Prefix"):
        assert word not in head


def test_event_of_the_board_arrives_while_the_next_is_awaited(plain: Lab) -> None:
    """The wall is live: nothing is collected on the way."""
    with plain.connect() as connection:
        request = f"GET /pulse HTTP/1.1\r\nHost: {BOARD}\r\nX-Accel-Buffering: yes\r\n\r\n"
        connection.sendall(request.encode())
        received = b""
        while b"board 3" not in received:
            received += connection.recv(4096)

    # Had the edge waited to fill a buffer, some hundreds would have come at once.
    assert b"board 9" not in received
    assert parse(received.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").status == 200


def test_websocket_reaches_the_board(plain: Lab) -> None:
    """The participant's page tries one, to see whether apps' own would."""
    with plain.connect() as connection:
        words = f"GET /ws HTTP/1.1\r\nHost: {BOARD}\r\nUpgrade: websocket\r\n"
        connection.sendall(f"{words}Connection: Upgrade\r\n\r\n".encode())
        received = connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"ready")
        assert connection.recv(100) == b"READY"


def test_cookie_of_the_board_is_passed_on_untouched(plain: Lab) -> None:
    """``__Host-`` asks for the path ``/`` and no domain."""
    cookie = "__Host-workshop-board=x; Secure; HttpOnly; SameSite=Strict; Path=/"
    reply = plain.get(f"/cookies?{cookie.partition('; ')[2].replace(' ', '')}", host=BOARD)

    assert reply.all("set-cookie") == ["a=b; Secure;HttpOnly;SameSite=Strict;Path=/"]


# -- what is refused ------------------------------------------------------------------------------


def test_body_over_a_megabyte_is_refused_in_words(plain: Lab) -> None:
    """Nothing that the board takes is large."""
    length = f"Content-Length: {BODY + 1}"
    reply = plain.send(f"POST /wishes HTTP/1.1\r\nHost: {BOARD}\r\n{length}\r\n\r\n".encode())

    assert reply.status == 413
    assert b"too much for the board" in reply.body


def test_flood_is_refused_and_another_client_is_not(
    everybody: dict[str, int], tmp_path: Path
) -> None:
    """The bound is each client's own; a seat's rules do not hold."""
    limits = Limits(client_requests_per_second=1, client_burst=5, requests_per_second=1, burst=1)
    with laboratory.running(with_board(everybody, tmp_path, limits), tmp_path) as lab:
        replies = [lab.get("/", host=BOARD) for _ in range(12)]
        with socket.create_connection(
            ("127.0.0.1", lab.port), 5, source_address=("127.0.0.9", 0)
        ) as other:
            other.sendall(f"GET / HTTP/1.0\r\nHost: {BOARD}\r\n\r\n".encode())
            answered = other.recv(100)

    assert [reply.status for reply in replies[:5]] == [200] * 5
    assert replies[-1].status == 429
    assert b"Wait a moment" in replies[-1].body
    assert b" 200 " in answered.split(b"\r\n")[0]


def test_board_that_is_away_is_told_from_a_seat_that_is(
    everybody: dict[str, int], tmp_path: Path
) -> None:
    """What runs goes on running, and so it is said."""
    edge = replace(with_board(everybody, tmp_path), board=f"127.0.0.1:{free_port()}")
    with laboratory.running(edge, tmp_path) as lab:
        reply = lab.get("/", host=BOARD)
        seat = lab.get("/alice/x")

    assert (reply.status, reply.header("retry-after")) == (503, "5")
    assert b"All apps go on running" in reply.body
    assert seat.body == b"alice /x"


def test_requests_of_the_board_are_nobodys_in_the_log(plain: Lab) -> None:
    """A seat's figures are made from its own lines."""
    plain.get("/noted?word=secret", host=BOARD)
    lines = [line for line in plain.log() if line["path"] == "/noted"]

    assert lines
    assert {line["seat"] for line in lines} == {""}
    assert "secret" not in json.dumps(plain.log())


# -- over TLS -------------------------------------------------------------------------------------


def test_board_is_reached_over_https_in_both_versions(safe: SecureLab) -> None:
    """With the class's certificate, which names it too."""
    assert safe.get("/me", host=BOARD).body == b"board /me"
    with Http2(safe) as client:
        assert client.get("/me", host=BOARD.encode()).body == b"board /me"
    head = safe.get("/head", host=BOARD).body
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head


def test_plain_http_leads_to_the_boards_https(safe: SecureLab) -> None:
    """Whoever types the bare name arrives."""
    assert safe.edge.tls is not None
    with socket.create_connection(("127.0.0.1", safe.edge.tls.redirect_port), 5) as connection:
        connection.sendall(f"GET /me HTTP/1.0\r\nHost: {BOARD}\r\n\r\n".encode())
        reply = parse(b"".join(iter(lambda: connection.recv(4096), b"")))

    assert reply.status == 308
    assert reply.header("location") == f"https://{BOARD}:{safe.edge.listen}/me"


# -- what an edge may be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"board": "127.86.8.1:8013"},
        {"board_host": "board.example"},
        {"board": "board:8013", "board_host": "board.example"},
        {"board": "127.86.8.1:8013", "board_host": "board example"},
        {"board": "127.86.8.1:8013", "board_host": "b;}"},
        {"board": "127.86.8.1:8013", "board_host": "192.0.2.1"},
        {"board": "127.86.8.1:8013", "board_host": "class.example"},
        {"board": "127.86.8.1:8013", "board_host": "localhost"},
        {
            "board": "127.86.8.1:8013",
            "board_host": "ada.class.example",
            "routing": Routing.SUBDOMAIN,
        },
    ],
)
def test_board_that_stands_in_anothers_place_is_no_edge(changes: dict[str, object]) -> None:
    """The last look before text becomes configuration."""
    with pytest.raises(ValueError, match="edge board"):
        replace(Edge("T", "http://class.example", (Route("ada", "10.0.0.2"),)), **changes)


def test_class_without_a_boards_host_has_no_way_to_it(tmp_path: Path) -> None:
    """Not one line of the configuration knows of a board."""
    edge = Edge("T", "http://class.example", (Route("ada", "10.0.0.2"),))
    laboratory.write(edge, tmp_path)

    assert "board" not in (tmp_path / "nginx.conf").read_text("utf-8")
