"""The ways to deploy: what the registry and the intake are sent, and what the edge says itself."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab as laboratory
import pytest
from lab import GENEROUS
from test_routing import random_targets
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab, Reply

LOOPBACK = "127.86.8.1"
STATE = "_state=Ab-_%2Fx%3D%3D&digest=sha256%3A" + "ab" * 32
MB = 2**20
SERVED = re.compile(rb"(registry|intake) (\S*)")


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run the edge in front of stand-ins for both, on a loopback address of their own."""
    directory = tmp_path_factory.mktemp("ways")
    ports = {name: free_port() for name in ("registry", "intake")}
    with (
        laboratory.apps(["ada"]) as seats,
        laboratory.apps([f"{name}@{LOOPBACK}:{port}" for name, port in ports.items()]),
    ):
        edge = replace(laboratory.edge_for(seats, directory), **addresses(ports))
        with laboratory.running(edge, directory) as started:
            yield started


def addresses(ports: dict[str, int]) -> dict[str, Any]:
    """Where an edge finds the two."""
    return {name: f"{LOOPBACK}:{port}" for name, port in ports.items()}


def registry_error(reply: Reply) -> dict[str, str]:
    """Read an error in the words of a registry."""
    assert reply.header("content-type") == "application/json"
    assert reply.header("docker-distribution-api-version") == "registry/2.0"
    (found,) = json.loads(reply.body)["errors"]
    assert set(found) == {"code", "message"}
    return dict(found)


def plain_words(reply: Reply) -> str:
    """Read a sentence meant for a terminal."""
    assert reply.header("content-type") == "text/plain; charset=utf-8"
    assert reply.body.endswith(b".\n")
    return reply.body.decode()


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v2/", "registry"),
        (f"/v2/ada/app/manifests/sha256:{'ab' * 32}", "registry"),
        (f"/v2/ada/app/blobs/uploads/0f-1?{STATE}", "registry"),
        ("/v2/ada/app/blobs/uploads/?mount=sha256%3Aab&from=bob%2Fapp", "registry"),
        ("/v2/token/", "registry"),
        ("/v2/token", "intake"),
        ("/v2/token?service=x&scope=repository%3Aada%2Fapp%3Apush%2Cpull", "intake"),
        ("/deploy/", "intake"),
        ("/deploy/ada?follow=1&strict=1", "intake"),
        ("/deploy/ada/20261121-1", "intake"),
    ],
)
def test_request_arrives_as_it_was_sent(ways: Lab, path: str, service: str) -> None:
    """Every byte of path and query, the escapes of an upload's state included."""
    assert ways.get(path).body == f"{service} {path}".encode()


@pytest.mark.parametrize(
    "target",
    [
        "//v2/", "/v2//", "/v2/../v2/", "/v2/./", "/v2/?", "/%762/", "/v2%2f", "/V2/",
        "/v2/%61da/app", "/v2/ada%2Fapp/tags/list", "/v2/..%2fdeploy/", "/v2/x/..", "/v2/x#y",
        "/ada/../v2/", "/ada/..%2fv2/", "http://localhost/v2/../v2/",
        "/v2/tok%65n", "/v2/./token", "/v2//token", "/v2/x/../token", "/v2/token#x", "/token",
        "/deploy%2f", "/deploy/..", "/deploy/../v2/", "/deploy//ada", "/deploy/%61da", "/deploy/./x",
        "/Deploy/", "/deployx", "/deploy/%2e%2e/events", "/events", "/deploy/?", "/deploy/a\\b/../x",
    ],
)  # fmt: skip
def test_other_spelling_reaches_neither(ways: Lab, target: str) -> None:
    """What can be written in two ways would be checked in one and done in the other."""
    reply = ways.get(target)

    assert reply.status in {400, 404}
    assert not SERVED.match(reply.body)


@pytest.mark.parametrize("path", ["/v2/head", "/deploy/head"])
def test_absolute_target_names_the_host(ways: Lab, path: str) -> None:
    """RFC 9112, 3.2.2: a Host beside it is ignored, so it cannot enter an upload's address."""
    head = ways.get(f"http://localhost{path}", host="evil").body

    assert head.startswith(f"GET {path} HTTP/1.1".encode())
    assert b"\r\nHost: localhost\r\n" in head
    assert b"\r\nX-Forwarded-Host: localhost\r\n" in head


def test_random_targets_reach_them_only_as_they_are_written(ways: Lab) -> None:
    """Whoever is served asked for exactly that, in the one spelling there is."""
    words = [b"v2", b"deploy", b"token", b"v2/token"]
    swaps = dict(zip((b"alice", b"bob", b"carl", b"carlos"), words, strict=True))
    pattern = re.compile(b"|".join(sorted(swaps, key=len, reverse=True)))
    targets = [pattern.sub(lambda m: swaps[m[0]], t) for t in random_targets(4, 5_000)]
    replies = laboratory.Crowd(ways.port).ask(targets)
    served = [(t, m) for t, r in zip(targets, replies, strict=True) if (m := SERVED.match(r.body))]
    wrong = [(t, m[0]) for t, m in served if m[2] != t or m[1] != owner(t)]

    assert wrong == []
    assert len(served) > 200


def owner(target: bytes) -> bytes:
    """Say by its bytes alone whose a target is."""
    token = re.fullmatch(rb"/v2/token(\?.*)?", target)
    return b"intake" if token or target.startswith(b"/deploy/") else b"registry"


def test_page_to_deploy_from_is_found_without_the_slash(ways: Lab) -> None:
    """As people type it."""
    reply = ways.get("/deploy?name=ada")

    assert (reply.status, reply.header("location")) == (308, "/deploy/?name=ada")


@pytest.mark.parametrize("path", ["/v2/head", "/deploy/head", "/deploy/ada/head"])
def test_credential_arrives_and_who_asks_is_the_edges_word(ways: Lab, path: str) -> None:
    """A registry makes addresses from these headers; a visitor must not choose them."""
    spoofed = ("X-Real-IP: 6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Proto: gopher")
    reply = ways.get(path, "Authorization: Bearer k", *spoofed, host="localhost:81")
    head = reply.body.decode()

    for line in ("Authorization: Bearer k", "Host: localhost:81", "X-Forwarded-Host: localhost:81",
                 "X-Forwarded-Proto: http", "X-Real-IP: 127.0.0.1"):  # fmt: skip
        assert head.count(f"\r\n{line}\r\n") == 1
    assert not re.search("6.6.6.6|evil|gopher", head)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/v2/status", "/deploy/status"])
def test_their_own_errors_pass_untouched(ways: Lab, path: str, status: int) -> None:
    """They know better than the edge why they refuse."""
    reply = ways.get(f"{path}/{status}")

    assert (reply.status, reply.body) == (status, b"the app's own words")


def test_answer_arrives_piece_by_piece(ways: Lab) -> None:
    """A deploy is followed while it happens."""
    with ways.connect() as connection:
        connection.sendall(b"GET /deploy/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"data: 0" not in received:
            received += connection.recv(4096)

    assert b"data: 3" not in received


@pytest.mark.parametrize("path", ["/v2/x/head", "/deploy/x/head"])
def test_client_that_waits_before_it_sends_is_told_to_go_on(ways: Lab, path: str) -> None:
    """Both curl and docker ask with `Expect: 100-continue` before a large body."""
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with ways.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        reply = laboratory.parse(connection.recv(65536))

    assert reply.status == 200
    assert reply.body.endswith(b"abc")


def put(path: str, length: int) -> bytes:
    """Announce a body and ask before sending it."""
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


def test_layer_over_the_limit_is_refused_before_it_is_sent(ways: Lab) -> None:
    """In the registry's form, so that docker shows the sentence."""
    reply = ways.send(put("/v2/ada/app/blobs/uploads/1", 2049 * MB))
    error = registry_error(reply)

    assert reply.status == 413
    assert error["code"] == "SIZE_INVALID"
    assert "2.0 GiB" in error["message"]


def test_upload_over_the_limit_is_refused_before_it_is_sent(ways: Lab) -> None:
    """With a browser's frame it may be a little larger than the limit that is shown."""
    reply = ways.send(put("/deploy/ada", 21 * MB))
    with ways.connect() as connection:
        connection.sendall(put("/deploy/ada", 20 * MB + 1000))
        fits = laboratory.parse(connection.recv(4096))

    assert reply.status == 413
    assert "at most 20.0 MiB" in plain_words(reply)
    assert fits.status == 100


def test_services_that_are_away_are_reported_in_plain_words(tmp_path: Path) -> None:
    """Docker tries again by itself; people read that nothing was lost."""
    edge = laboratory.edge_for({"ada": free_port()}, tmp_path)
    ports = {name: free_port() for name in ("registry", "intake")}
    with laboratory.running(replace(edge, **addresses(ports)), tmp_path) as away:
        of_registry = [away.get(path) for path in ("/v2/", "/v2/token?a=b")]
        of_intake = away.get("/deploy/ada")

    for reply in (*of_registry, of_intake):
        assert (reply.status, reply.header("retry-after")) == (503, "5")
    assert {registry_error(reply)["code"] for reply in of_registry} == {"UNAVAILABLE"}
    assert "what runs goes on running" in plain_words(of_intake)


def test_client_that_asks_without_end_is_slowed_and_others_words_fit(tmp_path: Path) -> None:
    """The limit is far above a class behind one address; here it is made small to be seen."""
    limits = replace(GENEROUS, client_requests_per_second=1, client_burst=3)
    with laboratory.apps([f"registry@{LOOPBACK}:0", f"intake@{LOOPBACK}:0"]) as ports:
        found = {name.partition("@")[0]: port for name, port in ports.items()}
        edge = laboratory.edge_for({"ada": found["intake"]}, tmp_path, limits)
        with laboratory.running(replace(edge, **addresses(found)), tmp_path) as small:
            replies = [small.get("/v2/") for _ in range(20)]
            upload = small.get("/deploy/")

    assert [reply.status for reply in replies[:4]] == [200] * 4
    assert replies[-1].status == upload.status == 429
    assert registry_error(replies[-1])["code"] == "TOOMANYREQUESTS"
    assert "Wait a moment" in plain_words(upload)


def test_class_without_deploys_has_nothing_there(ports: dict[str, int], tmp_path: Path) -> None:
    """Where there is no registry and no intake, the friendly page says so."""
    with laboratory.running(laboratory.edge_for(ports, tmp_path), tmp_path) as edge:
        replies = [edge.get(path) for path in ("/v2/", "/v2/token", "/deploy", "/deploy/ada")]

    assert {reply.status for reply in replies} == {404}
    assert all(b"There is nothing at this address" in reply.body for reply in replies)


def test_log_holds_no_query_of_an_upload(ways: Lab) -> None:
    """An upload's state and a token's scope are nobody else's business."""
    ways.get("/v2/ada/app/blobs/uploads/canary?_state=canary-state")
    ways.get("/deploy/canary?key=canary-key")
    ways.get("/v2//canary?key=canary-key")
    paths = {str(entry["path"]) for entry in ways.log()}

    assert {"/v2/ada/app/blobs/uploads/canary", "/deploy/canary", "/v2//canary"} <= paths
    assert not [path for path in paths if "canary-" in path]


@dataclass
class Taker:
    """A server that reads one request and says how much of it has arrived."""

    port: int
    received: int = 0
    enough: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)

    def take(self, listener: socket.socket) -> None:
        """Read a whole chunked request, then answer like a registry."""
        connection, _ = listener.accept()
        with connection:
            tail = b""
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                data = connection.recv(MB)
                self.received += len(data)
                tail = (tail + data)[-7:]
                if self.received >= self.enough:
                    self.arrived.set()
            connection.sendall(
                b"HTTP/1.1 202 Accepted\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
                b"Location: /v2/ada/app/blobs/uploads/1?_state=a%3D\r\nContent-Length: 0\r\n\r\n"
            )


@contextmanager
def taking(enough: int) -> Iterator[Taker]:
    """Listen for one upload."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        taker = Taker(listener.getsockname()[1], enough=enough)
        thread = threading.Thread(target=taker.take, args=[listener])
        thread.start()
        yield taker
        thread.join(laboratory.PATIENCE)


def open_files(nginx: int) -> list[str]:
    """Every file which nginx and its workers have open, those without a name included."""
    children = Path(f"/proc/{nginx}/task/{nginx}/children").read_text("ascii").split()
    found = [fd for pid in (nginx, *children) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return [str(fd.readlink()) for fd in found if fd.is_symlink()]


def test_layer_of_50_megabytes_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    """Half of it is with the registry before the other half is sent, and none on the edge's disk."""
    chunk = b"%x\r\n%b\r\n" % (MB, b"x" * MB)
    head = (
        f"PATCH /v2/ada/app/blobs/uploads/1?{STATE} HTTP/1.1\r\nHost: localhost\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    edge = laboratory.edge_for({"ada": free_port()}, tmp_path)
    with taking(24 * MB) as taker:
        edge = replace(edge, registry=f"{LOOPBACK}:{taker.port}")
        with laboratory.running(edge, tmp_path) as lab, lab.connect() as connection:
            connection.sendall(head.encode() + chunk * 25)
            assert taker.arrived.wait(laboratory.PATIENCE)
            spooled = [name for name in open_files(lab.process.pid) if "client_body" in name]
            connection.sendall(chunk * 25 + b"0\r\n\r\n")
            reply = laboratory.parse(connection.recv(65536))

    assert spooled == []
    assert taker.received > 50 * MB
    assert reply.status == 202
    assert reply.header("docker-distribution-api-version") == "registry/2.0"
    assert reply.header("location") == "/v2/ada/app/blobs/uploads/1?_state=a%3D"
