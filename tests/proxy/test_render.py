"""What is rendered: golden text, and the structure every seat's location must have."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import crossplane
import jinja2
import lab
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workshop.proxy.render import fingerprint, render
from workshop.proxy.routes import EDGE_PATHS, Edge, Route, Tls
from workshop.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EDGE = Edge(
    title="Deploying Code",
    url="http://localhost:8080",
    routes=(
        Route("ada", "172.30.0.2", 8000, "Ada Lovelace", "172.30.1.2"),
        Route("grace", "172.30.0.3", 8000, "Grace <b>Hopper</b> & co"),
    ),
    gateway="172.30.0.1:8011",
    registry="127.86.8.1:5000",
    intake="127.86.8.1:8012",
)
SERVICES = {
    "^~ /llm/v1/": "http://gateway",
    "^~ /v2/": "http://registry",
    "= /v2/token": "http://intake",
    "^~ /deploy/": "http://intake",
}
MODELS = "^~ /llm/v1/"
HEADERS = {
    "Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Forwarded-Prefix", "X-Forwarded-Port", "Forwarded", "Proxy", "Upgrade", "Connection",
}  # fmt: skip
ACCEL = {"Redirect", "Expires", "Limit-Rate", "Buffering", "Charset"}


def tree(edge: Edge, directory: Path) -> list[dict[str, Any]]:
    """Parse the rendered configuration."""
    parsed = crossplane.parse(str(lab.write(edge, directory)), single=True, strict=False)
    assert parsed["status"] == "ok", parsed["errors"]
    http = next(item for item in parsed["config"][0]["parsed"] if item["directive"] == "http")
    block: list[dict[str, Any]] = http["block"]
    return block


def workshop_server(edge: Edge, directory: Path) -> list[dict[str, Any]]:
    """Find the server block which holds the seats."""
    servers = [item["block"] for item in tree(edge, directory) if item["directive"] == "server"]
    assert len(servers) == 2
    block: list[dict[str, Any]] = servers[1]
    return block


def locations(server: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Every location by its arguments."""
    return {" ".join(i["args"]): i["block"] for i in server if i["directive"] == "location"}


def args(block: list[dict[str, Any]], directive: str) -> list[list[str]]:
    """Find the arguments of each use of a directive, in order."""
    return [item["args"] for item in block if item["directive"] == directive]


def proxying(edge: Edge, directory: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every location which passes requests on."""
    for name, block in locations(workshop_server(edge, directory)).items():
        if args(block, "proxy_pass"):
            yield name, block


@pytest.mark.parametrize("name", sorted(render(EDGE, lab.TEMPLATES)))
def test_two_seats_render_the_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    """The whole text is the contract: a change of one character is seen in review."""
    golden(f"proxy/two-seats/{name}", render(EDGE, lab.TEMPLATES)[name])


def test_landing_switched_off_names_nobody(golden: Callable[[str, str], None]) -> None:
    """A class that does not want its list public gets a front page without it."""
    page = render(replace(EDGE, landing=False), lab.TEMPLATES)["pages/landing.html"]

    assert "Ada" not in page
    assert "/ada/" not in page
    golden("proxy/landing-off.html", page)


ENCRYPTED = replace(
    EDGE,
    url="https://class.example.org",
    listen=443,
    tls=Tls("/edge/tls/0123456789abcdef/fullchain.pem", "/edge/tls/0123456789abcdef/key.pem",
            "0123456789abcdef", 80),
    inner="127.86.8.1:8010",
)  # fmt: skip


BOARD = {"board": "127.86.8.1:8013", "board_host": "board.class.example.org"}


@pytest.mark.parametrize("name", ["nginx.conf", "pages/landing.html", "pages/404.html"])
def test_seats_on_hosts_of_their_own_over_tls_render_the_golden_file(
    name: str, golden: Callable[[str, str], None]
) -> None:
    """The form with the most in it; what differs from the plain one is all there is to read."""
    edge = replace(ENCRYPTED, routing=Routing.SUBDOMAIN, **BOARD)
    golden(f"proxy/hosts-tls/{name}", render(edge, lab.TEMPLATES)[name])


def servers(edge: Edge, directory: Path) -> list[list[dict[str, Any]]]:
    """Every server block."""
    return [item["block"] for item in tree(edge, directory) if item["directive"] == "server"]


@pytest.mark.parametrize("routing", list(Routing))
def test_every_server_listens_alike_and_the_platforms_way_in_is_plain(
    routing: Routing, tmp_path: Path
) -> None:
    """Options of one socket must agree; only the port for plain HTTP stands alone."""
    blocks = servers(replace(ENCRYPTED, routing=routing), tmp_path)
    listens = [args(block, "listen") for block in blocks]
    expected: list[list[list[str]]] = [
        [["443", "ssl", "http2", "default_server"], ["127.86.8.1:8010", "default_server"]],
        [["80", "default_server"]],
        *[[["443", "ssl", "http2"], ["127.86.8.1:8010"]]] * (1 + routing.by_host),
    ]

    assert listens == expected
    assert args(blocks[0], "ssl_reject_handshake") == [["on"]]


def test_number_as_host_cannot_reject_by_name(tmp_path: Path) -> None:
    """Nobody sends a name for a number, so the handshake must not depend on one."""
    blocks = servers(replace(ENCRYPTED, url="https://192.0.2.7"), tmp_path)

    assert args(blocks[0], "ssl_reject_handshake") == []


def test_another_certificate_is_another_configuration() -> None:
    """Paths alone would not always differ, and nginx reads files only when it is told to."""
    assert ENCRYPTED.tls is not None
    other = replace(ENCRYPTED, tls=replace(ENCRYPTED.tls, digest="fedcba9876543210"))

    assert fingerprint(ENCRYPTED, lab.TEMPLATES) != fingerprint(other, lab.TEMPLATES)


@pytest.mark.parametrize("routing", [Routing.SUBDOMAIN, Routing.BOTH])
def test_seats_hosts_are_one_server_that_leads_nowhere_else(
    routing: Routing, tmp_path: Path
) -> None:
    """One block for all: the seat comes from a list, and no path of the platform's is in it."""
    block = servers(replace(EDGE, routing=routing), tmp_path)[-1]
    found = locations(block)

    assert args(block, "server_name") == [["*.localhost"]]
    assert set(found) == {"/.pages/", "/"}
    assert found["/"][1]["args"] == ["$host_seat", "=", ""]
    assert args(found["/"], "set")[0] == ["$seat", "$host_seat"]
    assert args(found["/"], "proxy_pass")[0][0].startswith("http://seat-$host_seat$")
    assert {first for first, _ in args(found["/"], "proxy_set_header")} == HEADERS


def test_300_seats_on_hosts_of_their_own_are_accepted(tmp_path: Path) -> None:
    """The longest names below the longest host fit nginx's tables, without a warning."""
    label = "a" * 63
    host = f"{label}.{label}.{label}.example"
    routes = tuple(
        Route(f"{'x' * 28}{n:03d}", f"10.1.{n // 250}.{n % 250 + 1}") for n in range(300)
    )
    edge = replace(
        EDGE, url=f"http://{host}", routes=routes, routing=Routing.BOTH, scratch=str(tmp_path),
        directory=str(tmp_path), access_log=str(tmp_path / "access.log"),
    )  # fmt: skip
    verdict = lab.check(lab.write(edge, tmp_path))

    assert verdict.returncode == 0, verdict.stderr
    assert "warn" not in verdict.stderr


def test_rendering_twice_gives_the_same_bytes() -> None:
    """Otherwise every apply would reload the edge."""
    assert render(EDGE, lab.TEMPLATES) == render(EDGE, lab.TEMPLATES)


def test_display_name_with_markup_is_escaped() -> None:
    """A participant's free text never becomes part of the page's structure."""
    hostile = Route("eve", "10.0.0.1", 8000, "<script>alert('x')</script>\"&")
    page = render(replace(EDGE, routes=(hostile,), title="<i>T</i>"), lab.TEMPLATES)

    assert not any("<script" in text or "<i>T" in text for text in page.values())
    assert "&lt;script&gt;" in page["pages/landing.html"]


def test_free_text_never_reaches_the_configuration() -> None:
    """Titles and display names may hold anything, so nginx.conf holds neither."""
    odd = '};{ "$uri'
    routes = (replace(EDGE.routes[0], display_name=odd), EDGE.routes[1])
    strip = re.compile(r'"config":"[0-9a-f]+"')
    before = strip.sub("", render(EDGE, lab.TEMPLATES)["nginx.conf"])
    after = strip.sub(
        "", render(replace(EDGE, title=odd, routes=routes), lab.TEMPLATES)["nginx.conf"]
    )

    assert before == after


def test_template_with_an_unknown_variable_is_an_error(tmp_path: Path) -> None:
    """An empty string in a live configuration would be worse than no configuration."""
    (tmp_path / "nginx.conf.j2").write_text("{{ edge.nonsense }}", "utf-8")

    with pytest.raises(jinja2.UndefinedError):
        render(EDGE, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"routes": EDGE.routes[:1]},
        {"routes": (replace(EDGE.routes[0], address="172.30.0.9"), EDGE.routes[1])},
        {"routes": (replace(EDGE.routes[0], display_name="A."), EDGE.routes[1])},
        {"title": "Other"},
        {"landing": False},
        {"limits": replace(EDGE.limits, burst=201)},
        {"routes": (replace(EDGE.routes[0], green="172.30.1.9"), EDGE.routes[1])},
        {"gateway": "172.30.0.1:8012"},
        {"registry": "127.86.8.1:5001"},
        {"intake": "127.86.8.1:8013"},
        BOARD,
    ],
)
def test_any_changed_value_changes_the_fingerprint(change: dict[str, Any]) -> None:
    """The publisher believes the fingerprint, so nothing may change behind its back."""
    assert fingerprint(replace(EDGE, **change), lab.TEMPLATES) != fingerprint(EDGE, lab.TEMPLATES)


def test_changed_template_changes_the_fingerprint(tmp_path: Path) -> None:
    """An upgrade of the platform reaches an edge whose routes stayed the same."""
    (tmp_path / "a.j2").write_text("one", "utf-8")
    before = fingerprint(EDGE, tmp_path)
    (tmp_path / "a.j2").write_text("two", "utf-8")

    assert fingerprint(EDGE, tmp_path) != before


def test_fingerprint_is_in_the_configuration() -> None:
    """`GET /healthz` says which configuration runs."""
    assert (
        f'"config":"{fingerprint(EDGE, lab.TEMPLATES)}"'
        in render(EDGE, lab.TEMPLATES)["nginx.conf"]
    )


def test_fingerprint_of_300_seats_takes_milliseconds() -> None:
    """An apply that changes nothing asks for it each time; the best of ten, for noisy machines."""
    edge = replace(EDGE, routes=many(300))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        fingerprint(edge, lab.TEMPLATES)
        times.append(time.perf_counter() - start)

    assert min(times) < 0.005


def many(count: int) -> tuple[Route, ...]:
    """Make a class."""
    return tuple(Route(f"p{n:03d}", f"10.1.{n // 250}.{n % 250 + 1}") for n in range(count))


def test_every_proxying_location_sets_every_header(tmp_path: Path) -> None:
    """Headers are not inherited beside a local one, so each location carries the whole set."""
    for name, block in proxying(EDGE, tmp_path):
        assert {first for first, _ in args(block, "proxy_set_header")} == HEADERS, name
        assert "$proxy_add_x_forwarded_for" not in str(block)


def test_plain_locations_pass_no_upgrade_and_their_own_prefix(tmp_path: Path) -> None:
    """Only @careful may upgrade; the prefix is a literal, so it cannot be steered."""
    for name, block in proxying(EDGE, tmp_path):
        headers = dict(args(block, "proxy_set_header"))
        if name not in {"@careful", *SERVICES}:
            assert headers["Upgrade"] == headers["Connection"] == ""
            assert name == f"^~ {headers['X-Forwarded-Prefix']}/"


def test_every_seat_checks_before_it_passes_on(tmp_path: Path) -> None:
    """The guard comes first and its upstream is the seat's own."""
    for name, block in proxying(EDGE, tmp_path):
        assert block[0 if name != "@careful" else 1]["directive"] == "if", name
        if name not in {"@careful", *SERVICES}:
            seat = name.removeprefix("^~ /").removesuffix("/")
            assert args(block, "set")[0] == ["$seat", seat]
            assert args(block, "proxy_pass") == [[f"http://seat-{seat}/"]]
            assert "!=" in block[0]["args"]
            assert args(block[0]["block"], "return") == [["418"]]


@pytest.mark.parametrize(("name", "upstream"), SERVICES.items())
def test_services_are_asked_only_where_the_path_can_be_read_in_one_way(
    name: str, upstream: str, tmp_path: Path
) -> None:
    """No escape or dot segment reaches a service; its upstream is nobody's seat."""
    block = locations(workshop_server(EDGE, tmp_path))[name]

    assert block[0]["args"] == ["$request_uri", "!=", "$uri$is_args$args"]
    assert args(block[0]["block"], "return") == [["404"]]
    assert args(block, "proxy_pass") == [[upstream]]
    assert dict(args(block, "proxy_set_header"))["X-Real-IP"] == "$remote_addr"


def test_class_without_models_has_no_way_to_a_gateway() -> None:
    """`llm: false` leaves no trace in the configuration."""
    text = render(replace(EDGE, gateway=""), lab.TEMPLATES)["nginx.conf"]

    assert "llm" not in text
    assert "gateway" not in text


def test_class_without_deploys_has_no_way_to_registry_or_intake() -> None:
    """Without the two, and without second addresses, no trace of them is in the configuration."""
    routes = tuple(replace(route, green="") for route in EDGE.routes)
    edge = replace(EDGE, routes=routes, registry="", intake="")
    lines = render(edge, lab.TEMPLATES)["nginx.conf"].splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))

    for word in ("registry", "intake", "/v2", "deploy", "client_requests", "green", "$slot"):
        assert word not in text


def test_seat_with_two_addresses_is_served_by_the_one_its_switch_names(tmp_path: Path) -> None:
    """The key is always set, as an empty one would send requests to both in turn."""
    server = locations(workshop_server(EDGE, tmp_path))
    for name, path in (("^~ /ada/", "ada"), ("@careful", "$careful_seat")):
        block = server[name]
        check = [i for i in block if i["directive"] == "if" and i["args"][0] == "-f"]

        assert ["$slot", "blue"] in args(block, "set"), name
        assert [i["args"] for i in check] == [["-f", f"/edge/green/{path}"]]
        assert args(check[0]["block"], "set") == [["$slot", "green1"]]
    assert "$slot" not in str(server["^~ /grace/"])


def test_protection_stands_once_and_is_overridden_nowhere(tmp_path: Path) -> None:
    """List directives are inherited whole unless a location has one of its own."""
    http = tree(EDGE, tmp_path)

    assert set(args(http, "proxy_ignore_headers")[0]) == {f"X-Accel-{name}" for name in ACCEL}
    assert args(http, "proxy_buffering") == args(http, "proxy_request_buffering") == [["off"]]
    assert args(http, "proxy_max_temp_file_size") == [["0"]]
    assert {"Service-Worker-Allowed", "Alt-Svc", "Clear-Site-Data"} < {
        first for (first,) in args(http, "proxy_hide_header")
    }
    own = {"proxy_ignore_headers", "proxy_hide_header", "proxy_buffering", "proxy_intercept_errors"}
    server = workshop_server(EDGE, tmp_path)
    for block in (server, *locations(server).values()):
        assert not own & {item["directive"] for item in block}


def test_no_location_is_a_regular_expression_and_nothing_rewrites(tmp_path: Path) -> None:
    """Regex locations are tried one by one; regex rewrites had CVE-2026-42945 and CVE-2026-9256."""
    server = workshop_server(EDGE, tmp_path)

    assert not [name for name in locations(server) if name.startswith("~")]
    assert "rewrite" not in {item["directive"] for item in server}
    assert not any(args(block, "rewrite") for block in locations(server).values())


def test_only_internal_location_is_the_pages(tmp_path: Path) -> None:
    """A seat could reach an internal location only by X-Accel-Redirect; there is nothing there."""
    found = locations(workshop_server(EDGE, tmp_path))

    assert [name for name, block in found.items() if args(block, "internal")] == ["/.pages/"]


def test_upstreams_are_kept_alive_and_bounded(tmp_path: Path) -> None:
    """Without keepalive every request opens a connection; without a bound one seat takes all."""
    http = tree(EDGE, tmp_path)
    upstreams = [i for i in http if i["directive"] == "upstream"]
    names = ["seat-ada", "seat-grace", "gateway", "registry", "intake"]

    assert [i["args"] for i in upstreams] == [[name] for name in names]
    for upstream in upstreams:
        assert args(upstream["block"], "keepalive") == [["32"]]
    assert "max_conns=100" in args(upstreams[1]["block"], "server")[0]
    assert args(workshop_server(EDGE, tmp_path), "limit_conn") == [["seat_connections", "100"]]


def test_seat_with_two_addresses_has_each_twice_and_none_is_ever_full(tmp_path: Path) -> None:
    """A full server, or a second try elsewhere, would show a version that is not live."""
    http = tree(EDGE, tmp_path)
    ada = next(i["block"] for i in http if i["args"] == ["seat-ada"])

    assert args(ada, "server") == [
        *[["172.30.1.2:8000", "max_fails=0"]] * 2,
        *[["172.30.0.2:8000", "max_fails=0"]] * 2,
    ]
    assert args(ada, "hash") == [["$slot"]]
    assert args(http, "proxy_next_upstream_tries") == [["1"]]


def test_log_holds_no_secret() -> None:
    """A query string, a cookie or a credential may be somebody's key."""
    text = render(EDGE, lab.TEMPLATES)["nginx.conf"]
    formats = "\n".join(re.findall(r"log_format .*?;\n", text, re.DOTALL))

    assert formats.count('"seat":"$seat"') == 2
    for secret in (
        "request_uri",
        '$request"',
        "args",
        "query",
        "cookie",
        "authorization",
        "referer",
    ):
        assert secret not in formats


part = st.sampled_from(["a", "al", "ali", "alice", "carl", "carlos", "default", "include", "x1"])
slug = st.lists(part, min_size=1, max_size=4).map("-".join)
slugs = st.sets(
    st.one_of(slug, st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)).filter(
        lambda name: 2 <= len(name) <= 32 and name not in EDGE_PATHS
    ),
    max_size=40,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=slugs)
def test_any_set_of_names_gives_exactly_the_expected_tree(names: set[str], tmp_path: Path) -> None:
    """Names which are prefixes of one another, or nginx keywords, change nothing but the list."""
    routes = tuple(
        Route(name, f"10.0.0.{n + 1}", green=f"10.0.1.{n + 1}" if n % 2 else "")
        for n, name in enumerate(sorted(names))
    )
    edge = replace(
        EDGE,
        routes=routes,
        gateway="",
        registry="",
        intake="",
        scratch=str(tmp_path),
        directory=str(tmp_path),
    )
    edge = replace(edge, access_log=str(tmp_path / "access.log"))
    found = set(locations(workshop_server(edge, tmp_path)))
    fixed = {"/.pages/", "/", "= /", "= /healthz", "= /robots.txt", "@careful"}
    seats = {f"= /{name}" for name in names} | {f"^~ /{name}/" for name in names}
    verdict = lab.check(tmp_path / "nginx.conf")

    assert found == fixed | seats
    assert verdict.returncode == 0, verdict.stderr
    assert "warn" not in verdict.stderr
