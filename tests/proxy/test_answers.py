"""What comes back: the edge's own pages, the apps' answers, streams, limits and the log."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import lab as laboratory
import pytest
from lab import Lab, Reply
from tests.ports import free_port
from tests.waiting import until

from workshop.proxy.render import fingerprint
from workshop.proxy.routes import Limits

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "zzcanaryzz"


def assert_page(reply: Reply, status: int) -> None:
    """Expect a page of ours: right type, right protection, nothing of the request in it."""
    assert reply.status == status
    assert reply.header("content-type") == "text/html; charset=utf-8"
    assert reply.header("x-content-type-options") == "nosniff"
    assert (
        reply.header("content-security-policy") == "default-src 'none'; style-src 'unsafe-inline'"
    )
    assert reply.body.startswith(b"<!doctype html>")
    assert CANARY.encode() not in reply.head + reply.body


def test_front_page_lists_the_seats(lab: Lab) -> None:
    """`/` is where people find their name."""
    reply = lab.get("/")

    assert_page(reply, 200)
    assert b'<a href="/alice/">Alice' in reply.body


def test_health_names_the_loaded_configuration(lab: Lab) -> None:
    """The publisher compares this with what it wrote."""
    reply = lab.get("/healthz")

    assert reply.header("content-type") == "application/json"
    assert json.loads(reply.body) == {
        "status": "ok",
        "config": fingerprint(lab.edge, laboratory.TEMPLATES),
    }


def test_robots_are_turned_away(lab: Lab) -> None:
    """A class is nobody's search result."""
    assert lab.get("/robots.txt").body == b"User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("target", ["/down/", f"/down/%20{CANARY}?{CANARY}"])
def test_seat_that_is_down_answers_503(lab: Lab, method: str, target: str) -> None:
    """Every method gets the page and a time to come back, by both ways."""
    request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    reply = lab.send(request.encode())

    assert reply.status == 503
    assert reply.header("retry-after") == "5"
    if method != "HEAD":
        assert_page(reply, 503)
        assert b'http-equiv="refresh" content="5"' in reply.body


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/nobody/<script>{CANARY}", 404),
        (f"/{CANARY}?{CANARY}", 404),
        (f"/alice/./{CANARY}", 400),
        (f"/alice/../{CANARY}", 404),
        (f"/alice/{CANARY}%00", 400),
        (f"/alice/{CANARY}%0aX", 400),
    ],
)
def test_refusal_reflects_nothing(lab: Lab, target: str, status: int) -> None:
    """An error page that repeats the request is somebody's phishing page."""
    reply = lab.get(target, f"Referer: http://{CANARY}", f"User-Agent: {CANARY}")

    if b"<hr><center>nginx</center>" not in reply.body:  # a target nginx cannot even parse
        assert_page(reply, status)
    assert reply.status == status
    assert CANARY.encode() not in reply.head + reply.body


@pytest.mark.parametrize(
    "line",
    [
        f"GET /alice/../{CANARY}/%3Cscript%3E HTTP/1.1",
        f"GET /{CANARY}<script>alert(1)</script>?{CANARY} HTTP/1.1",
        f"POST /nobody/{CANARY} HTTP/1.1",
        f"{CANARY.upper()} /alice/ HTTP/1.1",
        f"TRACE /alice/{CANARY} HTTP/1.1",
        f"CONNECT {CANARY}:80 HTTP/1.1",
        f"GET http://{CANARY}/alice/ HTTP/1.1",
        f"GET /alice/{CANARY}%00 HTTP/1.1",
        f"GET /down/{CANARY} HTTP/1.1",
        f"GET /alice/{CANARY} HTTP/{CANARY}",
        f"GET /alice/{CANARY}{'a' * 20_000} HTTP/1.1",
        f"GET /healthz/{CANARY} HTTP/1.1",
        f"GET /.pages/{CANARY} HTTP/1.1",
    ],
)
@pytest.mark.parametrize("host", ["localhost", f"{CANARY}.example", f"<script>{CANARY}"])
def test_edge_repeats_nothing_of_a_hostile_request(lab: Lab, line: str, host: str) -> None:
    """Whatever is wrong with method, path, host or headers, the answer has none of it."""
    headers = f"Host: {host}\r\nReferer: {CANARY}\r\nCookie: a={CANARY}\r\nConnection: close"
    reply = lab.send(f"{line}\r\n{headers}\r\n\r\n".encode())

    if not reply.body.startswith((b"alice ", CANARY.upper().encode())):
        assert reply.status == 0 or 400 <= reply.status <= 503
        assert CANARY.encode() not in (reply.head + reply.body).lower()


def test_huge_cookies_get_a_page_that_says_so(lab: Lab) -> None:
    """All seats share one origin in path mode, so cookies do pile up."""
    reply = lab.get("/alice/", "Cookie: " + "a" * 40_000)

    assert_page(reply, 400)
    assert b"too many cookies" in reply.body


def test_too_large_upload_gets_a_page(lab: Lab) -> None:
    """413 names the limit."""
    reply = lab.get("/alice/", "Content-Length: 9999999")

    assert_page(reply, 413)
    assert b"2.0 MiB" in reply.body


@pytest.mark.parametrize(
    "status", [b"400", b"404", b"418", b"421", b"429", b"500", b"502", b"503", b"504"]
)
def test_app_error_passes_untouched(lab: Lab, status: bytes) -> None:
    """An app's own words, whatever their status; 418 is the edge's internal word only inside."""
    reply = lab.get(b"/alice/status/" + status)

    assert (reply.status, reply.body) == (int(status), b"the app's own words")
    assert reply.header("retry-after") is None


def test_huge_header_breaks_only_its_own_seat(lab: Lab) -> None:
    """What one app does wrong, its neighbours never see."""
    assert_page(lab.get("/alice/huge-header"), 503)
    assert lab.get("/bob/x").body == b"bob /x"


@pytest.mark.parametrize(
    "target", ["/alice/hostile", "/alice/hostile?", "http://localhost/alice/hostile"]
)
def test_hostile_headers_do_nothing(lab: Lab, target: str) -> None:
    """X-Accel-* steers nothing and what would reach beyond the seat is removed, by both ways."""
    reply = lab.get(target)

    assert reply.body == b"own body"
    for name in (
        "service-worker-allowed", "alt-svc", "clear-site-data", "strict-transport-security",
        "public-key-pins", "nel", "report-to", "reporting-endpoints", "x-accel-redirect",
        "x-accel-expires", "x-accel-limit-rate", "x-accel-buffering", "x-accel-charset",
        "public-key-pins-report-only", "expect-ct", "accept-ch", "accept-ch-lifetime",
        "critical-ch", "origin-agent-cluster", "set-login", "use-as-dictionary", "set-cookie2",
        "secure-session-registration", "sec-session-registration",
    ):  # fmt: skip
        assert reply.header(name) is None, name
    # These hold for one document only, so they are the app's own business.
    for name in (
        "x-frame-options", "content-security-policy", "referrer-policy", "permissions-policy",
        "link", "refresh", "cross-origin-opener-policy",
    ):  # fmt: skip
        assert reply.header(name) is not None, name
    assert reply.header("server") == "nginx"


@pytest.mark.parametrize(
    ("path", "scoped"),
    [
        ("Path=/", "/alice/"),
        ("Path=/bob/", "/alice/"),
        ("path=/alice", "/alice/"),
        ("Path=/alice/", "/alice/"),
        ("Path=/alice/sub", "/alice/sub"),
        ("Path=/alicex", "/alice/"),
        ('Path="/"', "/alice/"),
    ],
)
@pytest.mark.parametrize("target", ["/alice/cookies", "http://localhost/alice/cookies"])
def test_cookie_path_stays_in_the_seat(lab: Lab, target: str, path: str, scoped: str) -> None:
    """A cookie meant for everybody is kept at home; one that is at home stays where it is."""
    (cookie,) = lab.get(f"{target}?{path}").all("set-cookie")

    assert cookie.split("=")[-1] == scoped


def test_every_cookie_of_an_answer_is_scoped(lab: Lab) -> None:
    """The second path of one cookie and the second cookie of one answer count too."""
    reply = lab.get("/alice/cookies?Path=/;Path=/bob/&Path=/carl/")

    assert reply.all("set-cookie") == ["a=b; Path=/alice/; Path=/alice/", "a=b; Path=/alice/"]


def test_redirect_of_an_app_passes_untouched(lab: Lab) -> None:
    """The app knows its prefix; rewriting would double it."""
    assert lab.get("/alice/redirect").header("location") == "/elsewhere"


def test_events_arrive_one_by_one(lab: Lab) -> None:
    """A buffered stream would arrive all at once, at the end."""
    arrivals = []
    with lab.connect() as connection:
        connection.sendall(b"GET /alice/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"data: 3" not in received:
            data = connection.recv(65536)
            assert data
            arrivals += [time.monotonic()] * data.count(b"data: ")
            received += data

    assert len(arrivals) == 4
    assert min(b - a for a, b in itertools.pairwise(arrivals)) > 0.1


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket"])
def test_websocket_passes(lab: Lab, upgrade: str) -> None:
    """Both directions, after the switch."""
    request = f"GET /alice/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: {upgrade}\r\nConnection: Upgrade\r\n\r\n"
    with lab.connect() as connection:
        connection.sendall(request.encode())
        received = connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"hello")

        assert connection.recv(65536) == b"HELLO"


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "tls/1.0", "foo"])
def test_other_upgrades_are_not_forwarded(lab: Lab, upgrade: str) -> None:
    """An h2c tunnel would carry requests the edge never sees."""
    headers = (f"Upgrade: {upgrade}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMA")
    head = lab.get("/alice/head", *headers).body.lower()

    assert head.startswith(b"get /head")
    assert b"\r\nupgrade:" not in head
    assert b"\r\nconnection:" not in head


def test_seat_over_its_rate_answers_429_and_neighbours_serve(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """The limit is the seat's: by both ways together, and nobody else's."""
    edge = laboratory.edge_for(ports, tmp_path, Limits(1, 3, 50))
    with laboratory.running(edge, tmp_path) as small:
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(small.get, ("/alice/a", "/alice/%61") * 4))
        refused = [reply for reply in replies if reply.status == 429]

        assert len(refused) in {3, 4}
        assert_page(refused[0], 429)
        assert refused[0].header("retry-after") == "1"
        assert small.get("/bob/x").body == b"bob /x"
        assert small.get("/nobody").status == 404


def test_refusal_for_too_many_requests_takes_its_time(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """Who floods a seat waits for each refusal; refusing at full speed would be the edge's end."""
    edge = laboratory.edge_for(ports, tmp_path, Limits(1, 1, 50))
    with laboratory.running(edge, tmp_path) as small:
        begun = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(small.get, ["/alice/a"] * 20))
        took = time.monotonic() - begun
        refused = [reply for reply in replies if reply.status == 429]

        assert len(refused) >= 17
        assert all(reply.body == refused[0].body for reply in refused)
        assert took >= 0.9
        others = []
        for _ in range(5):
            begun = time.monotonic()
            assert small.get("/nobody").status == 404
            others.append(time.monotonic() - begun)
        assert min(others) < 0.9


def test_seat_over_its_connections_answers_429_and_neighbours_serve(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """Held streams fill their own seat only."""
    edge = laboratory.edge_for(ports, tmp_path, Limits(100, 100, 2))
    with laboratory.running(edge, tmp_path) as small:
        held = [small.connect() for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /alice/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(10)

        assert_page(small.get("/alice/x"), 429)
        assert small.get("/bob/x").body == b"bob /x"
        for connection in held:
            connection.close()


def test_log_tells_the_seat_and_no_secret(ports: dict[str, int], tmp_path: Path) -> None:
    """One JSON object a line: the raw path, the seat it belongs to, never a query."""
    edge = laboratory.edge_for({**ports, "down": free_port()}, tmp_path)
    secret = "s3cr3t"  # noqa: S105 - a canary
    cases = {
        f'/alice/a"b?{secret}': ('/alice/a"b', "alice", "200"),
        f"/alice/%20x?{secret}": ("/alice/%20x", "alice", "200"),
        f"/alice?{secret}": ("/alice", "alice", "308"),
        f"/alice/../bob/?{secret}": ("/alice/../bob/", "", "400"),
        f"/bob/..%2falice/x?{secret}": ("/bob/..%2falice/x", "", "400"),
        f"/down/x?{secret}": ("/down/x", "down", "503"),
        f"/down/%20?{secret}": ("/down/%20", "down", "503"),
        f"/nobody/x?{secret}": ("/nobody/x", "", "404"),
        f"/nobody/%20?{secret}": ("/nobody/%20", "", "404"),
        f"/?{secret}": ("/", "", "200"),
    }
    with laboratory.running(edge, tmp_path) as small:
        for target in cases:
            small.get(target, f"Cookie: {secret}", f"Authorization: {secret}", f"Referer: {secret}")
        lines = small.log()

    assert [(line["path"], line["seat"], line["status"]) for line in lines] == list(cases.values())
    assert secret not in (tmp_path / "access.log").read_text("utf-8")


def test_candidate_is_tested_where_it_lies_and_serves_after_the_swap(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """`nginx -t` in the release's own directory, then the link moves, then HUP: /healthz follows."""
    edge = laboratory.edge_for(ports, tmp_path / "current")
    edge = type(edge)(
        **{**vars(edge), "scratch": str(tmp_path), "access_log": str(tmp_path / "log")}
    )
    one, two = tmp_path / "one", tmp_path / "two"
    laboratory.write(edge, one)
    (tmp_path / "current").symlink_to("one")
    changed = type(edge)(**{**vars(edge), "title": "Renamed"})
    with laboratory.running_at(edge, tmp_path / "current") as small:
        candidate = laboratory.write(changed, two)
        assert laboratory.check(candidate).returncode == 0
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "current")
        small.process.send_signal(1)
        wanted = fingerprint(changed, laboratory.TEMPLATES)
        until(lambda: json.loads(small.get("/healthz").body)["config"] == wanted)
        # Until nginx has told its old workers to end, they take connections beside the new ones.
        until(lambda: b"Renamed" in small.get("/nobody").body)


def test_nginx_says_nothing_on_standard_error(lab: Lab) -> None:
    """No warning about hashes, duplicates or deprecated directives, by start and by `-t`."""
    verdict = laboratory.check(lab.directory / "nginx.conf")

    assert verdict.returncode == 0
    assert "[" not in verdict.stderr
    assert lab.process.poll() is None
