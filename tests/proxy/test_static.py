"""Two readers that are not nginx look at the rendered configuration.

crossplane shows the structure that every configuration must have, whatever it was rendered from.
gixy (gixy-ng) finds mistakes others have made. What it says of ours is accepted place by place, each
with the reason; anything else is new, and fails.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crossplane
import lab
import pytest
from test_render import EDGE, HEADERS

from workshop.proxy.routes import Edge, Limits, Tls
from workshop.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator

TLS = Tls(
    "/edge/tls/0123456789abcdef/fullchain.pem",
    "/edge/tls/0123456789abcdef/key.pem",
    "0123456789abcdef",
    80,
)
SECURE = replace(EDGE, url="https://class.example", listen=443, tls=TLS, inner="127.86.8.1:8080")
EDGES = {
    "path": EDGE,
    "bare": Edge("T", "http://localhost:8080", EDGE.routes),
    "empty": Edge("T", "http://localhost:8080"),
    "tls": SECURE,
    "subdomain": replace(EDGE, url="http://class.example:8080", routing=Routing.SUBDOMAIN),
    "both": replace(SECURE, routing=Routing.BOTH),
    "board": replace(SECURE, board="127.86.8.1:8013", board_host="board.class.example"),
}

SEAT = r"(?:\^~ /(?:ada|grace)/|/|@careful|@ada|@grace)"
ACCEPTED = {
    "ssrf": (
        r"@careful: proxy_pass http://seat-\$careful_seat\$raw_rest|: ~\^.*|: default.*",
        (
            "The host is the fixed prefix seat- and a name out of the map of seats; what a visitor wrote follows"
            " only after the first slash. tests/proxy/test_routing.py tries to move it."
        ),
    ),
    "http_splitting": (
        r".*\$raw_rest|.*\$request_uri.*|: ~\^.*|: default.*",
        "Raw bytes of the request line: nginx refuses line ends there, and an encoded one stays encoded.",
    ),
    "host_spoofing": (
        r"\^~ /(?:llm/v1|ada|grace)/: proxy_set_header (?:Host|X-Forwarded-Host) \$http_host|/: proxy_set_header (?:Host|X-Forwarded-Host) \$http_host",
        "A server answers to listed hosts alone, so the header is one of them; it keeps the port of a tunnel.",
    ),
    "if_is_evil": (
        rf"{SEAT}: set \$slot green1",
        (
            "Only rewrite directives stand in the block and nothing inherits from it; how nginx reads it is"
            " measured in docs/adr/0009 and tried in tests/proxy/test_switch.py."
        ),
    ),
    "missing_resolver": (
        r".*proxy_pass http://seat-.*",
        "The variable names an upstream of this file; addresses are numbers and no name is ever resolved.",
    ),
    "try_files_is_evil_too": (
        r"= /: try_files /landing\.html =404|\^~ /\.well-known/acme-challenge/: try_files /\$acme_token \$uri =404",
        "An authority's question lives for seconds. The front page, asked once per visitor; a cache of open files would serve the page before a publish.",
    ),
    "add_header_redefinition": (
        r"(?:= /healthz|@(?:deploy|llm|registry)_[a-z_]+): add_header .*|: add_header Strict-Transport-Security .*",
        (
            "Browsers keep the word for the whole host: the front page and every page of a seat says it. What is"
            " left out are answers to programs."
        ),
    ),
    "hsts_header": (
        r": add_header Strict-Transport-Security max-age=86400 always",
        "A day, not a year: tomorrow the host may be a workshop without a certificate.",
    ),
    "proxy_pass_normalized": (
        r"(?:\^~ /(?:ada|grace)/|/): proxy_pass http://seat-(?:ada|grace)/",
        "Reached only by requests whose line is its own normal form; all others go to @careful, raw.",
    ),
}
"""By gixy's name of the check: where it may speak up (location: directive), and why that is right."""


def findings(edge: Edge, directory: Path) -> Iterator[tuple[str, str]]:
    """Let gixy read a configuration: its check, and each place it names."""
    gixy = Path(sys.executable).with_name("gixy")
    command = [str(gixy), "-f", "json", str(lab.write(edge, directory))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode in {0, 1}, ran.stderr
    for found in json.loads(ran.stdout):
        places = list(leaves(found["config"])) or [found["reason"]]
        yield from ((found["plugin"], place) for place in places)


def leaves(config: str) -> Iterator[str]:
    """Name each directive gixy shows by the location it stands in."""
    location = ""
    for line in map(str.strip, config.splitlines()):
        if match := re.fullmatch(r"location (.*) \{", line):
            location = match[1]
        elif line == "server {":
            location = ""
        elif line.endswith(";") and not line.startswith("server_name"):
            yield f"{location}: {line[:-1]}"


@pytest.mark.parametrize("name", EDGES)
def test_gixy_finds_nothing_new(name: str, tmp_path: Path) -> None:
    """Each finding has been looked at where it stands, and its reason written down."""
    new = [
        f"{check}: {place}"
        for check, place in findings(EDGES[name], tmp_path)
        if check not in ACCEPTED or not re.fullmatch(ACCEPTED[check][0], place)
    ]

    assert new == []


def test_gixy_would_find_a_mistake(tmp_path: Path) -> None:
    """A careless line is noticed, so silence means something."""
    text = lab.write(EDGE, tmp_path).read_text("utf-8")
    careless = text.replace(
        "server_tokens off;",
        "server_tokens off;\n    server { location /i { alias /srv/; proxy_pass http://$arg_x; } }",
        1,
    )
    (tmp_path / "careless").mkdir()
    (tmp_path / "careless" / "nginx.conf").write_text(careless, "utf-8")
    gixy = Path(sys.executable).with_name("gixy")
    command = [str(gixy), "-f", "json", str(tmp_path / "careless" / "nginx.conf")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)

    assert {"alias_traversal", "ssrf"} <= {item["plugin"] for item in found}


# -- structure ------------------------------------------------------------------------------------

Block = list[dict[str, Any]]


def parsed(edge: Edge, directory: Path) -> Block:
    """Parse strictly: a directive crossplane does not know in its place is an error."""
    found = crossplane.parse(str(lab.write(edge, directory)), single=True)
    assert found["status"] == "ok", found["errors"]
    block: Block = found["config"][0]["parsed"]
    return block


def walk(
    block: Block, inside: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every directive with the names of the blocks around it."""
    for item in block:
        yield inside, item
        if "block" in item:
            yield from walk(item["block"], (*inside, " ".join([item["directive"], *item["args"]])))


@pytest.fixture(params=EDGES)
def configuration(request: pytest.FixtureRequest, tmp_path: Path) -> Block:
    """Render one of the shapes."""
    return parsed(EDGES[request.param], tmp_path)


ALLOWED = frozenset(
    [
        "absolute_redirect",
        "access_log",
        "add_header",
        "alias",
        "client_body_temp_path",
        "client_body_timeout",
        "client_header_timeout",
        "client_max_body_size",
        "default_type",
        "disable_symlinks",
        "error_log",
        "error_page",
        "events",
        "fastcgi_temp_path",
        "hash",
        "http",
        "http2",
        "if",
        "internal",
        "keepalive",
        "keepalive_requests",
        "keepalive_timeout",
        "large_client_header_buffers",
        "limit_conn",
        "limit_conn_status",
        "limit_conn_zone",
        "limit_rate",
        "limit_req",
        "limit_req_status",
        "limit_req_zone",
        "listen",
        "location",
        "log_format",
        "map",
        "map_hash_bucket_size",
        "map_hash_max_size",
        "merge_slashes",
        "pcre_jit",
        "pid",
        "proxy_buffer_size",
        "proxy_buffering",
        "proxy_connect_timeout",
        "proxy_cookie_domain",
        "proxy_cookie_flags",
        "proxy_cookie_path",
        "proxy_headers_hash_bucket_size",
        "proxy_headers_hash_max_size",
        "proxy_hide_header",
        "proxy_http_version",
        "proxy_ignore_headers",
        "proxy_max_temp_file_size",
        "proxy_next_upstream_tries",
        "proxy_pass",
        "proxy_read_timeout",
        "proxy_redirect",
        "proxy_request_buffering",
        "proxy_send_timeout",
        "proxy_set_header",
        "proxy_temp_path",
        "recursive_error_pages",
        "request_pool_size",
        "reset_timedout_connection",
        "return",
        "root",
        "scgi_temp_path",
        "send_timeout",
        "server",
        "server_name",
        "server_names_hash_bucket_size",
        "server_names_hash_max_size",
        "server_tokens",
        "set",
        "ssl_certificate",
        "ssl_certificate_key",
        "ssl_ciphers",
        "ssl_ecdh_curve",
        "ssl_prefer_server_ciphers",
        "ssl_protocols",
        "ssl_reject_handshake",
        "ssl_session_cache",
        "ssl_session_tickets",
        "ssl_session_timeout",
        "sub_filter",
        "sub_filter_once",
        "sub_filter_types",
        "try_files",
        "types",
        "underscores_in_headers",
        "uninitialized_variable_warn",
        "upstream",
        "uwsgi_temp_path",
        "worker_connections",
        "worker_processes",
        "worker_rlimit_nofile",
        "worker_shutdown_timeout",
    ]
)
"""Every directive the templates use. One that runs code, loads a module or reads another file is none."""


def test_only_known_directives_are_used(configuration: Block) -> None:
    """No include, no module, no code, no resolver: what could be injected would be one of those."""
    used = {item["directive"] for inside, item in walk(configuration) if not _is_data(inside)}

    assert used <= ALLOWED


def _is_data(inside: tuple[str, ...]) -> bool:
    """Whether what stands here is a key of a map, not a directive."""
    return bool(inside) and inside[-1].split(" ")[0] in {"map", "types"}


def test_nothing_is_proxied_to_a_name(configuration: Block) -> None:
    """Every proxy_pass leads to an upstream of this file, and every upstream's servers are numbers."""
    upstreams = {i["args"][0] for _, i in walk(configuration) if i["directive"] == "upstream"}
    servers = [
        i["args"][0]
        for inside, i in walk(configuration)
        if inside[-1:] and inside[-1].startswith("upstream ") and i["directive"] == "server"
    ]
    passes = {i["args"][0] for _, i in walk(configuration) if i["directive"] == "proxy_pass"}

    assert all(re.fullmatch(r"\d+\.\d+\.\d+\.\d+:\d+", server) for server in servers)
    for target in passes:
        host = re.sub(r"^http://", "", target).split("/")[0].split("$")[0]
        assert host in upstreams or (
            host == "seat-" and re.search(r"seat-\$(?:careful|host)_seat\$", target)
        ), target


def test_every_proxying_location_has_the_whole_set_of_headers(configuration: Block) -> None:
    """Headers are not inherited beside a local one."""
    for inside, item in walk(configuration):
        if item["directive"] == "location" and any(
            i["directive"] == "proxy_pass" for i in item["block"]
        ):
            found = {i["args"][0] for i in item["block"] if i["directive"] == "proxy_set_header"}
            assert found == HEADERS, (inside, item["args"])


def test_no_internal_location_can_be_reached_by_a_seat(configuration: Block) -> None:
    """Whatever is internal holds the edge's own pages, and X-Accel-Redirect is ignored everywhere."""
    http = next(i["block"] for i in configuration if i["directive"] == "http")
    ignored = [
        i["args"] for inside, i in walk(configuration) if i["directive"] == "proxy_ignore_headers"
    ]
    internal = {inside[-1] for inside, i in walk(configuration) if i["directive"] == "internal"}

    assert len(ignored) == 1
    assert "X-Accel-Redirect" in ignored[0]
    assert any(i["directive"] == "proxy_ignore_headers" for i in http)
    assert internal <= {"location /.pages/"}


def test_every_server_with_seats_has_limits(configuration: Block) -> None:
    """Rate, connections and body are bounded for each seat."""
    http = next(i["block"] for i in configuration if i["directive"] == "http")
    assert any(i["directive"] == "client_max_body_size" for i in http)
    for server in (i["block"] for i in http if i["directive"] == "server"):
        text = str(server)
        if "http://seat-" in text:
            assert "zone=seat_requests" in text
            assert "seat_connections" in text


def test_answers_without_a_status_line_are_struck_everywhere(configuration: Block) -> None:
    """The guard stands once, for all servers; a location with its own sub_filter would drop it."""
    found = [inside for inside, i in walk(configuration) if i["directive"] == "sub_filter"]

    assert found == [("http",), ("http",)]


@pytest.mark.parametrize("text", ['};{ "$uri', "a;\n}\nserver {", "${x}", "\\", "'", "#"])
def test_free_text_changes_no_directive(text: str, tmp_path: Path) -> None:
    """T05: titles and display names reach pages only, in every shape."""
    for name, edge in EDGES.items():
        odd = replace(
            edge, title=text, routes=tuple(replace(r, display_name=text) for r in edge.routes)
        )
        shapes = []
        for one, place in ((edge, tmp_path / name), (odd, tmp_path / f"{name}-odd")):
            place.mkdir(exist_ok=True)
            shapes.append(
                [
                    (inside, i["directive"], [a for a in i["args"] if '"config"' not in a])
                    for inside, i in walk(parsed(one, place))
                ]
            )

        assert shapes[0] == shapes[1]


def test_numbers_are_the_only_thing_limits_change(tmp_path: Path) -> None:
    """The same tree, other numbers."""
    other = replace(
        EDGE, limits=Limits(requests_per_second=7, burst=9, connections=3, body_bytes=11)
    )

    def shape(edge: Edge, place: Path) -> list[Any]:
        place.mkdir()
        return [
            (i["directive"], re.sub(r"\d+", "N", str(i["args"])))
            for _, i in walk(parsed(edge, place))
            if '"config"' not in str(i["args"])
        ]

    assert shape(EDGE, tmp_path / "a") == shape(other, tmp_path / "b")
