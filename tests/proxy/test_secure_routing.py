"""The law of `test_routing.py` over TLS, in HTTP/1.1 and in frames of HTTP/2 put together by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import lab as laboratory
import pytest
import secure
from secure import HOST, Http2, SecureLab, batches
from test_routing import BORDERS, CORPUS, crossing, random_targets
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEGITIMATE = [
    "/", "/a/b.c?d=e&f", "//a//", "/a%2Fb%20c?q=%2e%2e/", "/x?", "/%7Euser/%C3%A9", "/a;b=c/@d:e",
]  # fmt: skip


@pytest.fixture(scope="module")
def safe(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureLab]:
    """Run an edge with a certificate, whose seats have two addresses and stand at the second."""
    directory = tmp_path_factory.mktemp("frames")
    edge = laboratory.edge_for({**ports, "down": free_port()}, directory)
    edge = secure.secured(edge, directory, secure.certificate(directory, HOST, "localhost"))
    edge = laboratory.moved(edge)
    with secure.running(edge, directory) as started:
        started.switch.settle(frozenset(route.name for route in edge.routes))
        yield started


def test_corpus_stays_in_its_seat_over_http2(safe: SecureLab) -> None:
    """A path in a frame is not read word by word, so it may hold what a request line cannot."""
    targets = [*CORPUS, *BORDERS, b"", b"/alice/a b", b"/alice/\x00", b"/alice/x HTTP/1.1\r\nX: y"]
    with Http2(safe) as client:
        replies = client.ask(targets)
    faults = [(t, f) for t, r in zip(targets, replies, strict=True) if (f := crossing(t, r))]

    assert faults == []
    assert sum(reply.status == 200 for reply in replies) > len(targets) / 4


@pytest.mark.parametrize("target", CORPUS + BORDERS)
def test_corpus_stays_in_its_seat_over_tls(safe: SecureLab, target: bytes) -> None:
    """The same words in an encrypted connection."""
    assert crossing(target, safe.get(target)) is None


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(2_000, id="2000"),
        pytest.param(10_000, id="10000", marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_random_targets_cross_nowhere_over_http2(safe: SecureLab, count: int) -> None:
    """Seeded, so that a failure can be repeated; enough are served for the law to be tested."""
    targets = random_targets(30_000 + count, count)
    faults, served = [], 0
    for batch in batches(targets, 900):
        with Http2(safe) as client:
            replies = client.ask(batch)
        served += sum(reply.status == 200 for reply in replies)
        faults += [(t, f) for t, r in zip(batch, replies, strict=True) if (f := crossing(t, r))]

    assert faults == []
    assert served > count / 5


@pytest.mark.parametrize("target", LEGITIMATE)
def test_legitimate_target_arrives_unchanged_over_http2(safe: SecureLab, target: str) -> None:
    """The prefix goes, every other byte stays."""
    with Http2(safe) as client:
        assert client.get(f"/alice{target}").body == f"alice {target}".encode()


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ("/alice/a/b.c?d=e&f", True),
        ("/alice/", True),
        ("/alice//a", True),
        ("/alice/%7Eada", False),
        ("/alice/x?", False),
    ],
)
def test_request_over_http2_is_plain_when_its_line_is_its_normal_form(
    ports: dict[str, int], tmp_path: Path, target: str, *, plain: bool
) -> None:
    """Only what is not plain is treated with care: the log of the two forms tells them apart."""
    edge = laboratory.edge_for(ports, tmp_path)
    edge = secure.secured(edge, tmp_path, secure.certificate(tmp_path, HOST, "localhost"))
    configuration = laboratory.write(edge, tmp_path)
    careful = configuration.read_text("utf-8").replace(
        "location @careful {", "location @careful {\n            return 409;"
    )
    configuration.write_text(careful, "utf-8")
    with laboratory.running_at(edge, tmp_path) as lab, Http2(lab) as client:
        assert client.get(target).status == (200 if plain else 409)


@pytest.mark.parametrize(
    "header",
    [
        (b"upgrade", b"websocket"),
        (b"upgrade", b"h2c"),
        (b"connection", b"upgrade"),
        (b"transfer-encoding", b"chunked"),
        (b"http2-settings", b"AAMA"),
        (b"proxy-connection", b"keep-alive"),
    ],
)
def test_header_of_a_connection_is_not_forwarded_from_http2(
    safe: SecureLab, header: tuple[bytes, bytes]
) -> None:
    """In HTTP/2 there are no upgrades, and an app is never asked for one."""
    with Http2(safe) as client:
        reply = client.get("/alice/head", header)
    lines = reply.body.lower().split(b"\r\n")

    assert reply.status in {200, 400}
    assert not [line for line in lines if line.startswith((b"upgrade:", b"connection:"))]


def test_app_that_switches_protocols_unasked_harms_nobody(safe: SecureLab) -> None:
    """A 101 in the middle of a multiplexed connection would carry other seats' bytes."""
    with Http2(safe) as client:
        switched = client.get("/alice/ws-unasked", (b"upgrade", b"websocket"))
        after = client.get("/bob/x")

    assert switched.status in {200, 400, 503}
    assert after.body == b"bob /x"


@pytest.mark.parametrize(
    ("authority", "status"),
    [(b"localhost", 200), (HOST.encode(), 200), (b"evil.example", 421), (b"", 400)],
)
def test_authority_is_the_host(safe: SecureLab, authority: bytes, status: int) -> None:
    """What HTTP/2 calls the authority is held to the same list."""
    with Http2(safe) as client:
        assert client.get("/alice/x", host=authority).status == status


def test_two_hosts_are_refused(safe: SecureLab) -> None:
    """An authority and another Host beside it could each be meant."""
    with Http2(safe) as client:
        assert client.get("/alice/head", (b"host", b"bob.example")).status == 400


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"get"])
def test_odd_method_is_refused_over_http2(safe: SecureLab, method: bytes) -> None:
    """As over HTTP/1.1."""
    with Http2(safe) as client:
        assert client.get("/alice/x", method=method).status in {400, 405}


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
)
def test_identity_header_of_a_client_is_overwritten_over_http2(safe: SecureLab, name: str) -> None:
    """Nobody says for themselves where they come from."""
    with Http2(safe) as client:
        head = client.get("/alice/head", (name.encode(), b"198.51.100.66")).body

    assert b"198.51.100.66" not in head


def test_health_is_told_over_http2(safe: SecureLab) -> None:
    """The edge's own answers need no care."""
    with Http2(safe) as client:
        assert json.loads(client.get("/healthz").body)["status"] == "ok"
