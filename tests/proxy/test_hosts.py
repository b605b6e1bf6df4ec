"""Seats on hosts of their own: `alice.HOST/`, alone or beside `HOST/alice/`.

The law: whoever asks `alice.HOST` gets Alice's app, which sees every byte of the target as it was
sent, or the edge's own refusal. Nothing in a path can change that.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import lab as laboratory
import pytest
import secure
from lab import SEATS, Lab, Limits
from secure import Http2
from test_answers import CANARY, assert_page
from test_routing import BORDERS, CORPUS, random_targets
from tests.ports import free_port

from workshop.proxy.routes import Edge
from workshop.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "workshop.example"
DOWN = "down"


def build(
    ports: dict[str, int], directory: Path, routing: Routing, limits: Limits = laboratory.GENEROUS
) -> Edge:
    """Describe an edge whose seats have hosts, and stand at their second address."""
    everybody = {**ports, DOWN: free_port()}
    edge = laboratory.edge_for(everybody, directory, limits)
    return laboratory.moved(replace(edge, routing=routing))


@pytest.fixture(scope="module", params=[Routing.SUBDOMAIN, Routing.BOTH])
def hosts(
    ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Lab]:
    """Run an edge whose seats have hosts of their own, with or without their paths."""
    directory = tmp_path_factory.mktemp("hosts")
    edge = build(ports, directory, request.param)
    with laboratory.running(edge, directory) as started:
        started.switch.settle(frozenset(route.name for route in edge.routes))
        yield started


@pytest.fixture(scope="module")
def alone(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run an edge whose seats have nothing but hosts."""
    directory = tmp_path_factory.mktemp("alone")
    edge = build(ports, directory, Routing.SUBDOMAIN)
    with laboratory.running(edge, directory) as started:
        started.switch.settle(frozenset(route.name for route in edge.routes))
        yield started


@pytest.fixture(scope="module")
def both(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run an edge whose seats have both, in front of apps that believe in the path."""
    directory = tmp_path_factory.mktemp("both")
    edge = build(ports, directory, Routing.BOTH)
    with laboratory.running(edge, directory) as started:
        started.switch.settle(frozenset(route.name for route in edge.routes))
        yield started


# -- routing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seat", SEATS)
@pytest.mark.parametrize("domain", [HOST, "localhost", HOST.upper()])
def test_host_leads_to_its_seat(hosts: Lab, seat: str, domain: str) -> None:
    """Every name, also those which begin like another, in either case, with or without a port."""
    assert hosts.get("/x?y", host=f"{seat}.{domain}").body == f"{seat} /x?y".encode()
    assert hosts.get("/", host=f"{seat}.{domain}:8080").body == f"{seat} /".encode()


@pytest.mark.parametrize("target", [t for t in CORPUS + BORDERS if b"://" not in t])
def test_odd_target_stays_at_its_host(alone: Lab, target: bytes) -> None:
    """A path names nobody here; what is served is Carl's, and the target is unchanged."""
    reply = alone.get(target, host=f"carl.{HOST}")

    if reply.status == 200:
        assert reply.body == b"carl " + target
    else:
        assert 400 <= reply.status < 500


def test_random_targets_stay_at_their_host(alone: Lab) -> None:
    """Seeded; whatever the target, the host decides."""
    targets = random_targets(77, 1500)
    replies = [alone.get(target, host=f"bob.{HOST}") for target in targets]
    served = [(t, r.body) for t, r in zip(targets, replies, strict=True) if r.status == 200]

    assert [pair for pair in served if pair[1] != b"bob " + pair[0]] == []
    assert {reply.status for reply in replies} <= {200, 400, 404}
    assert len(served) > 700


def test_absolute_target_names_the_host(alone: Lab) -> None:
    """RFC 9112: the target counts, the Host beside it does not, for routing and for the app."""
    reply = alone.get(f"http://alice.{HOST}/head", host=f"bob.{HOST}")

    assert reply.body.startswith(b"GET /head HTTP/1.1\r\n")
    assert f"\r\nHost: alice.{HOST}\r\n".encode() in reply.body
    assert b"bob" not in reply.body


@pytest.mark.parametrize(
    "host",
    [
        f"nobody.{HOST}", f"alic.{HOST}", f"alicex.{HOST}", f"x.alice.{HOST}", f"alice.bob.{HOST}",
        f"-.{HOST}", f"default.{HOST}", f"www.{HOST}", f"deploy.{HOST}", f"llm.{HOST}", f"v2.{HOST}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["/", f"/alice/{CANARY}", "/healthz", "/deploy/"])
def test_unknown_name_below_the_host_gets_the_friendly_page(
    hosts: Lab, host: str, target: str
) -> None:
    """A typing error ends in a page that leads to the list; it serves nothing else."""
    reply = hosts.get(target, host=host)

    assert_page(reply, 404)
    assert f'href="{hosts.edge.url}/"'.encode() in reply.body


@pytest.mark.parametrize(
    "host", ["alice.evil.example", f"alice{HOST}", f"alice.{HOST}.evil.example", "alice.127.0.0.1"]
)
def test_foreign_host_is_misdirected(hosts: Lab, host: str) -> None:
    """Only names below our own host are ours."""
    reply = hosts.get("/x", host=host)

    assert reply.status == 421
    assert b"evil" not in reply.head + reply.body


@pytest.mark.parametrize("seat", ["alice", "carl-2"])
def test_app_sees_the_hosts_root(alone: Lab, seat: str) -> None:
    """No prefix: the app stands at the root, and knows by which name it was called."""
    head = alone.get("/head", host=f"{seat}.{HOST}:8080").body

    assert f"\r\nHost: {seat}.{HOST}:8080\r\n".encode() in head
    assert f"\r\nX-Forwarded-Host: {seat}.{HOST}:8080\r\n".encode() in head
    assert b"X-Forwarded-Prefix" not in head


@pytest.mark.parametrize(
    "target",
    ["/.pages/404.html", "/x/../.pages/404.html", "/%2epages/404.html", "/.pages/", "/.pages"],
)
def test_edges_own_pages_cannot_be_asked_for(hosts: Lab, target: str) -> None:
    """The one internal location stays internal on a seat's host."""
    reply = hosts.get(target, host=f"alice.{HOST}")

    assert reply.status == 404 or reply.body.startswith(b"alice ")


def test_platforms_own_paths_are_not_on_seats_hosts(ports: dict[str, int], tmp_path: Path) -> None:
    """Keys are typed at HOST alone: a seat's host never leads to gateway, registry or intake."""
    service = f"127.0.0.1:{ports['bob']}"
    edge = build(ports, tmp_path, Routing.SUBDOMAIN)
    edge = replace(edge, gateway=service, registry=service, intake=service)
    with laboratory.running(edge, tmp_path) as lab:
        lab.switch.settle(frozenset(route.name for route in edge.routes))
        for target in (
            "/deploy/",
            "/deploy/alice",
            "/v2/",
            "/v2/token",
            "/llm/v1/models",
            "/healthz",
        ):
            assert lab.get(target, host=f"alice.{HOST}").body == f"alice {target}".encode()
            assert not lab.get(target, host=HOST).body.startswith(b"alice")


# -- the path, where seats have hosts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/alice/", "alice/"),
        ("/alice", "alice/"),
        ("/alice?a=%2F&b", "alice/?a=%2F&b"),
        ("/alice/x/y?z=1", "alice/x/y?z=1"),
        ("/carl/%2e%2e%2fbob", "carl/%2e%2e%2fbob"),
        ("/carlos//x", "carlos//x"),
        ("/alice/x#y", "alice/x"),
        ("http://workshop.example/bob/x", "bob/x"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_path_leads_to_the_seats_own_host(alone: Lab, target: str, place: str, method: str) -> None:
    """Old links go on working; 308 keeps the method, and nobody keeps the answer."""
    request = f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    reply = alone.send(request.encode())
    seat, _, rest = place.partition("/")

    assert reply.status == 308
    assert reply.header("location") == f"http://{seat}.{HOST}:{alone.port}/{rest}"
    assert reply.header("cache-control") == "no-store"


@pytest.mark.parametrize("target", [t for t in CORPUS + BORDERS if b"alice" in t])
def test_odd_path_leads_to_the_seat_named_first_or_nowhere(alone: Lab, target: bytes) -> None:
    """A redirect never names another seat, nor a host that is not ours."""
    reply = alone.get(target, host=HOST)
    location = reply.header("location")

    if location is not None:
        assert reply.status == 308
        seat = target.lower().removeprefix(b"http://localhost")[1:].split(b"/")[0]
        seat = seat.split(b"?")[0].split(b"#")[0]
        assert location.startswith(f"http://{seat.decode()}.{HOST}:{alone.port}/")
    else:
        assert reply.status in {200, 400, 404}
        assert not reply.body.startswith(b"alice")


@pytest.mark.parametrize("target", ["/nobody/", "/Alice/", "/alicex/", "/favicon.ico", "/deploy/"])
def test_unknown_path_leads_nowhere(alone: Lab, target: str) -> None:
    """Only a seat's path moves."""
    assert_page(alone.get(target, host=HOST), 404)


def test_front_page_lists_the_hosts(alone: Lab) -> None:
    """People find their name, and the address behind it is the right one."""
    reply = alone.get("/", host=HOST)

    assert_page(reply, 200)
    assert f'<a href="http://alice.{HOST}:{alone.port}/">Alice'.encode() in reply.body


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target", "seen"),
    [
        (HOST, "/alice/x?y", "/x?y"),
        (HOST, "/alice/%7Ex", "/%7Ex"),
        (f"alice.{HOST}", "/x?y", "/x?y"),
        (f"alice.{HOST}", "/alice/x?y", "/x?y"),
        (f"alice.{HOST}", "/alice/", "/"),
        (f"alice.{HOST}", "/alice/alice/x", "/alice/x"),
        (f"alice.{HOST}", "/alice//a%2Fb", "//a%2Fb"),
        (f"alice.{HOST}", "/alicex/", "/alicex/"),
        (f"alice.{HOST}", "/bob/x", "/bob/x"),
        (f"alice.{HOST}", "/al/x", "/al/x"),
        (f"alice.{HOST}", "/?next=/alice/", "/?next=/alice/"),
    ],
)
def test_both_addresses_lead_to_the_app_and_its_own_links_work(
    both: Lab, host: str, target: str, seen: str
) -> None:
    """The app writes links with its path; on its own host that path is taken off too."""
    assert both.get(target, host=host).body == f"alice {seen}".encode()


def test_app_is_told_of_its_path_at_both_addresses(both: Lab) -> None:
    """It was started with it, so it hears nothing else."""
    for host, target in ((HOST, "/alice/head"), (f"alice.{HOST}", "/head")):
        assert b"\r\nX-Forwarded-Prefix: /alice\r\n" in both.get(target, host=host).body


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", f"/%20{CANARY}?{CANARY}"])
def test_seat_that_is_down_answers_503_at_its_host(hosts: Lab, target: str) -> None:
    """The page that tries again, with a time to come back."""
    reply = hosts.get(target, host=f"{DOWN}.{HOST}")

    assert_page(reply, 503)
    assert reply.header("retry-after") == "5"


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ("Path=/", "a=b; Path=/"),
        ("Path=/deep/er", "a=b; Path=/deep/er"),
        (f"Domain={HOST}", "a=b; Domain="),
        (f"domain=.{HOST};Path=/", "a=b; domain=; Path=/"),
        (f"Domain={HOST};Domain=bob.{HOST}", "a=b; Domain=; Domain="),
        ("Secure;HttpOnly;SameSite=Lax", "a=b; Secure;HttpOnly;SameSite=Lax"),
    ],
)
def test_cookie_stays_at_the_host_that_set_it(alone: Lab, attributes: str, kept: str) -> None:
    """A cookie for the whole HOST would reach every neighbour; nothing else is touched."""
    (cookie,) = alone.get(f"/cookies?{attributes}", host=f"alice.{HOST}").all("set-cookie")

    assert cookie == kept


@pytest.mark.parametrize("target", ["/hostile", "/hostile?"])
def test_hostile_headers_do_nothing_at_a_host(hosts: Lab, target: str) -> None:
    """What would reach beyond the seat is removed here too."""
    reply = hosts.get(target, host=f"alice.{HOST}")

    assert reply.body == b"own body"
    for name in ("clear-site-data", "alt-svc", "strict-transport-security", "x-accel-redirect"):
        assert reply.header(name) is None, name


def test_events_arrive_one_by_one_at_a_host(alone: Lab) -> None:
    """A buffered stream would arrive all at once."""
    arrivals = []
    with alone.connect() as connection:
        connection.sendall(f"GET /sse HTTP/1.1\r\nHost: bob.{HOST}\r\n\r\n".encode())
        received = b""
        while b"data: 3" not in received:
            data = connection.recv(65536)
            assert data
            arrivals += [time.monotonic()] * data.count(b"data: ")
            received += data

    assert arrivals[-1] - arrivals[0] > 0.3


def test_websocket_passes_at_a_host(alone: Lab) -> None:
    """Both directions, after the switch."""
    head = (
        f"GET /ws HTTP/1.1\r\nHost: bob.{HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    with alone.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"hello")

        assert connection.recv(65536) == b"HELLO"


def test_switch_moves_a_host_between_two_versions(ports: dict[str, int], tmp_path: Path) -> None:
    """The same file as for the path: the next request goes to the other address."""
    port = free_port()
    route = laboratory.Route("ada", "127.0.0.4", port, green="127.0.0.5")
    edge = replace(laboratory.edge_for({}, tmp_path), routing=Routing.SUBDOMAIN, routes=(route,))
    apps = laboratory.apps([f"blue@127.0.0.4:{port}", f"green@127.0.0.5:{port}"])
    with apps, laboratory.running(edge, tmp_path) as lab:
        said = [lab.get("/x", host=f"ada.{HOST}").body]
        for green in (True, False):
            lab.switch.move("ada", green=green)
            said.append(lab.get("/x", host=f"ada.{HOST}").body)

    assert said == [b"blue /x", b"green /x", b"blue /x"]


def test_limits_are_the_seats_whatever_the_address(ports: dict[str, int], tmp_path: Path) -> None:
    """Path and host together fill one bucket, and a neighbour's is untouched."""
    edge = build(ports, tmp_path, Routing.BOTH, Limits(1, 3, 50))
    with laboratory.running(edge, tmp_path) as small:
        small.switch.settle(frozenset(route.name for route in edge.routes))
        asked = [(HOST, "/alice/a"), (f"alice.{HOST}", "/a")] * 4
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda it: small.get(it[1], host=it[0]), asked))
        refused = [reply for reply in replies if reply.status == 429]

        assert len(refused) in {3, 4}
        assert_page(refused[0], 429)
        assert small.get("/x", host=f"bob.{HOST}").body == b"bob /x"


def test_log_names_the_seat_of_a_host(ports: dict[str, int], tmp_path: Path) -> None:
    """The same line as for the path, and no query."""
    edge = build(ports, tmp_path, Routing.SUBDOMAIN)
    with laboratory.running(edge, tmp_path) as lab:
        lab.switch.settle(frozenset(route.name for route in edge.routes))
        lab.get(f"/a%20b?{CANARY}", host=f"alice.{HOST}")
        lab.get("/x", host=f"nobody.{HOST}")
        lines = [(line["seat"], line["path"], line["status"]) for line in lab.log()]

    assert lines == [("alice", "/a%20b", "200"), ("", "/x", "404")]


def test_hosts_are_served_over_tls_and_http2(ports: dict[str, int], tmp_path: Path) -> None:
    """One wildcard certificate; a browser may ask for two seats on one connection."""
    edge = build(ports, tmp_path, Routing.SUBDOMAIN)
    tls = secure.certificate(tmp_path, HOST, f"*.{HOST}", "localhost")
    edge = secure.secured(edge, tmp_path, tls, redirect=True)
    with secure.running(edge, tmp_path) as lab:
        lab.switch.settle(frozenset(route.name for route in edge.routes))
        with Http2(lab) as client:
            said = [client.get("/x", host=f"{n}.{HOST}".encode()).body for n in ("alice", "bob")]
            foreign = client.get("/x", host=b"alice.evil.example")
        with secure.connect(lab, f"alice.{HOST}") as connection:
            connection.sendall(f"GET /y HTTP/1.0\r\nHost: alice.{HOST}\r\n\r\n".encode())
            assert b"alice /y" in connection.recv(65536) + connection.recv(65536)
        assert edge.tls is not None
        leads = Lab(edge, edge.tls.redirect_port, tmp_path, lab.process).get(
            "/z", host=f"bob.{HOST}"
        )

    assert said == [b"alice /x", b"bob /x"]
    assert foreign.status == 421
    assert leads.header("location") == f"https://bob.{HOST}:{lab.port}/z"


@pytest.mark.parametrize("url", ["http://192.0.2.7", "http://192.0.2.7:8080"])
def test_hosts_below_a_number_are_refused(url: str) -> None:
    """An address has no names below it."""
    with pytest.raises(ValueError, match="edge url"):
        Edge("T", url, routing=Routing.SUBDOMAIN)
