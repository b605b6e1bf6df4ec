"""HTTPS at the edge: who is shown the certificate, what plain HTTP leads to, what is kept."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import lab as laboratory
import pytest
import secure
from lab import Reply
from secure import HOST, Http2, SecureLab
from tests.ports import free_port
from tests.waiting import until

from workshop.proxy.render import fingerprint
from workshop.proxy.routes import Edge, Tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "zzcanaryzz"


@pytest.fixture(scope="module")
def safe(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureLab]:
    """Run an edge with a certificate, and a port that leads to it."""
    directory = tmp_path_factory.mktemp("safe")
    edge = laboratory.edge_for({**ports, "down": free_port()}, directory)
    tls = secure.certificate(directory, HOST, "localhost")
    with secure.running(secure.secured(edge, directory, tls, redirect=True), directory) as started:
        yield started


def plain(lab: SecureLab, port: int, target: str, host: str, method: str = "GET") -> Reply:
    """Ask in plain HTTP."""
    request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=laboratory.PATIENCE) as connection:
        connection.sendall(request.encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    return laboratory.parse(received)


def redirect_port(lab: SecureLab) -> int:
    """Find the port for plain HTTP."""
    assert lab.edge.tls is not None
    return lab.edge.tls.redirect_port


# -- the handshake --------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_both_protocols_are_negotiated(safe: SecureLab, protocol: str) -> None:
    """A client chooses; the seat's app answers in either."""
    with secure.connect(safe, "localhost", protocol) as connection:
        assert connection.selected_alpn_protocol() == protocol


def test_app_answers_over_http2_and_learns_of_https(safe: SecureLab) -> None:
    """The app sees an ordinary request, with the scheme people use."""
    with Http2(safe) as client:
        head = client.get("/alice/head").body

    assert head.startswith(b"GET /head HTTP/1.1\r\n")
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head


@pytest.mark.parametrize("name", ["evil.example", "alice.workshop.example", None])
def test_unknown_name_is_shown_no_certificate(safe: SecureLab, name: str | None) -> None:
    """The handshake is refused: a scan of addresses learns no host name."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        secure.connect(safe, name)


def test_foreign_host_behind_a_known_name_is_misdirected(safe: SecureLab) -> None:
    """Both protocols answer 421 with the right address, and nothing of the wrong one."""
    over_one = safe.get("/alice/x", host=f"{CANARY}.example")
    with Http2(safe) as client:
        over_two = client.get("/alice/x", host=f"{CANARY}.example".encode())

    for reply in (over_one, over_two):
        assert reply.status == 421
        assert CANARY.encode() not in reply.head + reply.body
        assert f"https://{HOST}:{safe.port}".encode() in reply.body


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_version_is_spoken(safe: SecureLab, version: ssl.TLSVersion) -> None:
    """Every browser of the last ten years is served, always with forward secrecy."""
    client = secure.context()
    client.minimum_version = client.maximum_version = version
    with secure.connect(safe, "localhost", client=client) as connection:
        cipher = connection.cipher()

    assert cipher is not None
    assert cipher[0].startswith(("ECDHE-", "TLS_"))


def test_old_version_is_refused(safe: SecureLab) -> None:
    """TLS 1.1 and its ciphers are broken."""
    client = secure.context()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match=r"TLSv1"):
        client.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match=r"TLSv1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        secure.connect(safe, "localhost", client=client)


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_cipher_without_secrecy_or_authentication_is_refused(safe: SecureLab, suite: str) -> None:
    """Each was offered alone: RSA key exchange and CBC have no place here."""
    client = secure.context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(f"{suite}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        secure.connect(safe, "localhost", client=client)


def test_no_ticket_is_handed_out(safe: SecureLab) -> None:
    """One key for tickets would last as long as nginx runs; sessions are remembered instead."""
    client = secure.context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    sessions = []
    for _ in range(2):
        session = sessions[0] if sessions else None
        with secure.connect(safe, "localhost", client=client, session=session) as connection:
            sessions.append(connection.session)
            resumed = connection.session_reused

    assert sessions[0] is not None
    assert not sessions[0].has_ticket
    assert resumed


# -- what plain HTTP leads to ---------------------------------------------------------------------


def test_plain_request_to_the_port_for_https_is_told_the_address(safe: SecureLab) -> None:
    """Somebody typed http:// by habit; the page says where to go."""
    reply = plain(safe, safe.port, f"/alice/{CANARY}", "localhost")

    assert reply.status == 421
    assert f"https://{HOST}:{safe.port}".encode() in reply.body
    assert CANARY.encode() not in reply.head + reply.body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    ("target", "host", "place"),
    [
        ("/alice/x?y=1", HOST, HOST),
        ("/alice/x?y=1", f"{HOST}:80", HOST),
        ("/alice/x?y=1", HOST.upper(), HOST),
        ("/", "localhost", "localhost"),
        ("/alice/%2e%2e/b?c=%0d", "127.0.0.1:8080", "127.0.0.1"),
        ("//evil.example/x", HOST, HOST),
        ("http://workshop.example/alice/", "evil.example", HOST),
    ],
)
def test_plain_http_leads_to_https(
    safe: SecureLab, method: str, target: str, host: str, place: str
) -> None:
    """The same path on the same host; 308 keeps the method and nobody keeps the answer."""
    reply = plain(safe, redirect_port(safe), target, host, method)
    path = target.removeprefix("http://workshop.example")

    assert reply.status == 308
    assert reply.header("location") == f"https://{place}:{safe.port}{path}"
    assert reply.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/", "evil.example"),
        ("/", f"{HOST}.evil.example"),
        ("/", f"alice.{HOST}"),
        ("/", f"evil.example@{HOST}"),
        ("http://evil.example/", HOST),
    ],
)
def test_foreign_host_is_led_nowhere(safe: SecureLab, target: str, host: str) -> None:
    """A redirect to whatever host was asked for would be anybody's to use."""
    reply = plain(safe, redirect_port(safe), target, host)

    assert reply.status in {400, 421}
    assert reply.header("location") is None
    assert b"evil.example" not in reply.head + reply.body


def test_port_for_plain_http_tells_its_health_and_serves_no_seat(safe: SecureLab) -> None:
    """A watcher may ask it; everything else is led away."""
    port = redirect_port(safe)

    assert json.loads(plain(safe, port, "/healthz", "10.0.0.1").body)["status"] == "ok"
    assert plain(safe, port, "/alice/", HOST).status == 308
    assert plain(safe, port, "/.pages/404.html", HOST).status in {308, 404}


def test_answer_to_the_authority_is_served_in_plain_http(safe: SecureLab) -> None:
    """HTTP-01: a file named like the token, in either of the two places tools put it."""
    home = safe.directory / "acme"
    nested = home / ".well-known" / "acme-challenge"
    nested.mkdir(parents=True)
    (home / "tok-EN_1").write_text("tok-EN_1.abc", "utf-8")
    (nested / "other").write_text("other.abc", "utf-8")
    place = "/.well-known/acme-challenge/"
    replies = [
        plain(safe, redirect_port(safe), place + token, HOST) for token in ("tok-EN_1", "other")
    ]

    assert [reply.body for reply in replies] == [b"tok-EN_1.abc", b"other.abc"]
    assert replies[0].header("content-type") == "text/plain"


@pytest.mark.parametrize(
    "token",
    [
        "", "missing", "a.b", ".secret", "../secret", "..%2fsecret", "%2e%2e/secret", "sub/x",
        "link", "a%00b", "a?x", f"{'a' * 201}", "../acme/tok", "/etc/passwd",
    ],
)  # fmt: skip
def test_nothing_but_a_token_is_served_to_the_authority(safe: SecureLab, token: str) -> None:
    """No path, no dot, no link that leads out of the directory."""
    home = safe.directory / "acme"
    (home / "sub").mkdir(parents=True, exist_ok=True)
    for path in (safe.directory / "secret", home / ".secret", home / "sub" / "x", home / "a"):
        path.write_text(CANARY, "utf-8")
    if not (home / "link").is_symlink():
        (home / "link").symlink_to(safe.directory / "secret")
    reply = plain(safe, redirect_port(safe), f"/.well-known/acme-challenge/{token}", HOST)

    assert reply.status in {308, 400, 403, 404}
    assert CANARY.encode() not in reply.body


# -- the platform's own way in --------------------------------------------------------------------


def test_platform_asks_in_plain_http_and_the_app_sees_https(safe: SecureLab) -> None:
    """Same hosts, same routes, same configuration; only the wire differs."""
    address, port = safe.edge.asked_at
    health = plain(safe, port, "/healthz", HOST)
    head = plain(safe, port, "/alice/head", HOST).body

    assert address == "127.0.0.1"
    assert json.loads(health.body)["config"] == fingerprint(safe.edge, laboratory.TEMPLATES)
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head
    assert plain(safe, port, "/alice/..%2fbob/x", HOST).status == 400
    assert plain(safe, port, "/alice/", "evil.example").status == 421


# -- HSTS -----------------------------------------------------------------------------------------


def test_unusual_port_gets_no_word_that_outlives_the_class(safe: SecureLab) -> None:
    """HSTS holds for every port of a host; a seat cannot set it either."""
    for target in ("/", "/alice/hostile", "/alice/x", "/nobody/"):
        assert safe.get(target).header("strict-transport-security") is None


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("https://class.example.org", 86_400),
        ("https://class.example.org:8443", 0),
        ("https://localhost", 0),
        ("https://192.0.2.7", 0),
    ],
)
def test_insisting_on_https_lasts_a_day_at_most(url: str, seconds: int) -> None:
    """The next workshop on this host may have no certificate."""
    tls = Tls("/edge/c.pem", "/edge/k.pem", "0123456789abcdef")

    assert Edge("T", url, tls=tls, inner="127.86.8.1:8010").hsts == seconds
    assert Edge("T", url).hsts == 0


def test_platform_alone_insists_on_https(ports: dict[str, int], tmp_path: Path) -> None:
    """On the usual port everybody hears the platform's word once, and no seat's."""
    edge = laboratory.edge_for(ports, tmp_path)
    tls = secure.certificate(tmp_path, HOST, "localhost")
    edge = replace(secure.secured(edge, tmp_path, tls), url=f"https://{HOST}")
    with secure.running(edge, tmp_path) as lab:
        for target in ("/", "/alice/hostile", "/alice/hostile?", "/nobody/", "/alice/./x"):
            assert lab.get(target).all("strict-transport-security") == ["max-age=86400"], target


# -- a new certificate ----------------------------------------------------------------------------


def shown(lab: SecureLab) -> bytes:
    """Look at the certificate the edge shows."""
    with secure.connect(lab) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_renewed_certificate_is_another_configuration_and_one_reload_shows_it(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """The digest changes the fingerprint; a request under way ends where it began."""
    edge = laboratory.edge_for(ports, tmp_path)
    old, new = (secure.certificate(tmp_path, HOST, "localhost") for _ in range(2))
    edge = secure.secured(edge, tmp_path, old)
    renewed = replace(edge, tls=new)
    wanted = fingerprint(renewed, laboratory.TEMPLATES)
    with secure.running(edge, tmp_path) as lab:
        before = shown(lab)
        stream = lab.connect()
        stream.sendall(b"GET /alice/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = stream.recv(1000)
        laboratory.write(renewed, tmp_path)
        lab.process.send_signal(signal.SIGHUP)
        until(lambda: json.loads(lab.get("/healthz").body)["config"] == wanted)
        # Until nginx has told its old workers to end, they take connections beside the new ones.
        until(lambda: shown(lab) != before)
        rest = first
        while data := stream.recv(1000):
            rest += data
        stream.close()

    assert wanted != fingerprint(edge, laboratory.TEMPLATES)
    assert rest.count(b"data: ") == 4


@pytest.mark.parametrize(
    "change",
    [
        {"tls": Tls("/edge/c.pem", "/edge/k.pem", "0123456789abcdef")},
        {"inner": "localhost:8010"},
        {"acme": "/a;b"},
        {"url": "http://h", "tls": Tls("/e/c", "/e/k", "01234567"), "inner": "127.0.0.1:1"},
        {"tls": Tls("/e/c", "/e/k", "01234567", 8080), "inner": "127.0.0.1:1"},
    ],
)
def test_edge_with_an_illegal_tls_setting_is_refused(change: dict[str, object]) -> None:
    """TLS needs an https address, a way in for the platform, and a port of its own."""
    with pytest.raises(ValueError, match="edge"):
        replace(Edge("T", "https://t"), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("certificate", "key", "digest", "port"),
    [
        ("c.pem", "/k.pem", "01234567", 0),
        ("/c.pem", "/k.pem;", "01234567", 0),
        ("/c.pem", "/../k.pem", "01234567", 0),
        ("/c.pem", "/k.pem", "", 0),
        ("/c.pem", "/k.pem", "01234567;", 0),
        ("/c.pem", "/k.pem", "01234567", 65_536),
    ],
)
def test_illegal_certificate_is_refused(certificate: str, key: str, digest: str, port: int) -> None:
    """Every value is printed into nginx.conf."""
    with pytest.raises(ValueError, match="tls"):
        Tls(certificate, key, digest, port)
