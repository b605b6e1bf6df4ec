"""The allow-list in front of the renderer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workshop.proxy.routes import Edge, Limits, Route, Upstream

HOSTILE_NAMES = (
    "", "a", "Ada", "ada ", "ada\n", "-ada", "ada-", "a--b", "ada/bob", "../bob", "ada;", "ada{}",
    "$uri", 'ad"a', "ada\\", "ädä", "a" * 33, "deploy", "healthz", "llm", "v2", "1ada", "ada.bob", "ada_bob",
)  # fmt: skip
HOSTILE_ADDRESSES = (
    "", "localhost", "seat.example", "::1", "10.0.0.1;", "10.0.0.1:80", "10.0.0", "10.0.0.256",
    "010.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", " 10.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_route_with_an_illegal_name_is_refused(name: str) -> None:
    """Nothing but a slug reaches nginx.conf."""
    with pytest.raises(ValueError, match="route name"):
        Route(name, "10.0.0.1")


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_route_with_an_illegal_address_is_refused(address: str) -> None:
    """Only a unicast IPv4 address is an upstream; never a name, never the metadata service."""
    with pytest.raises(ValueError, match="route address"):
        Route("ada", address)


@pytest.mark.parametrize("address", [a for a in HOSTILE_ADDRESSES if a])
def test_route_with_an_illegal_green_address_is_refused(address: str) -> None:
    """The second address is held to the same rule; none at all is legal."""
    assert Route("ada", "10.0.0.1", green="").places == ("10.0.0.1:8000",)
    with pytest.raises(ValueError, match="route green address"):
        Route("ada", "10.0.0.1", green=address)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_route_with_an_illegal_port_is_refused(port: int) -> None:
    """A port is 1 to 65535."""
    with pytest.raises(ValueError, match="route port"):
        Route("ada", "10.0.0.1", port)


def test_route_named_like_an_nginx_keyword_is_legal() -> None:
    """The template must cope with these; they are ordinary slugs."""
    assert [Route(name, "10.0.0.1").name for name in ("default", "include", "volatile", "off")]


def test_edge_sorts_its_routes() -> None:
    """The order in which seats are found does not change the configuration."""
    ada, bob = Route("ada", "10.0.0.1"), Route("bob", "10.0.0.2")

    assert Edge("T", "http://t", (bob, ada)) == Edge("T", "http://t", (ada, bob))


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (Route("ada", "10.0.0.2"), "name"),
        (Route("bob", "10.0.0.1"), "address"),
        (Route("bob", "10.0.1.1"), "address"),
        (Route("bob", "10.0.0.2", green="10.0.1.1"), "address"),
        (Route("bob", "10.0.0.2", green="10.0.0.1"), "address"),
        (Route("bob", "10.0.0.2", green="10.0.0.2"), "address"),
    ],
)
def test_edge_with_two_seats_in_one_place_is_refused(second: Route, what: str) -> None:
    """A shared name or address would show one person's app under another's."""
    with pytest.raises(ValueError, match=what):
        Edge("T", "http://t", (Route("ada", "10.0.0.1", green="10.0.1.1"), second))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://ho st",
        "http://h/path",
        "http://h?x",
        "http://h;{",
    ],
)
def test_edge_with_an_illegal_url_is_refused(url: str) -> None:
    """The host of the URL becomes a server_name, so it is held to the same rule."""
    with pytest.raises(ValueError, match=r"edge (url|host)"):
        Edge("T", url)


@pytest.mark.parametrize(
    "change",
    [
        {"server_names": ("a b",)},
        {"server_names": ("a;",)},
        {"listen": 0},
        {"workers": -1},
        {"directory": "relative"},
        {"directory": "/a/../b"},
        {"directory": "/a;b"},
        {"scratch": "/a b"},
        {"access_log": "syslog:server=x"},
        {"switches": "/edge/green;"},
        {"switches": "green"},
        *(
            {service: address}
            for service in ("gateway", "registry", "intake")
            for address in ("registry:5000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:5000;", ":80")
        ),
    ],
)
def test_edge_with_an_illegal_setting_is_refused(change: dict[str, object]) -> None:
    """Every value which is printed into nginx.conf is held to an allow-list."""
    with pytest.raises(ValueError, match="edge"):
        replace(Edge("T", "http://t"), **change)  # type: ignore[arg-type]


def test_service_on_a_loopback_address_is_legal() -> None:
    """Registry and intake listen where seats cannot reach them."""
    edge = Edge("T", "http://t", registry="127.86.8.1:5000", intake="127.86.8.1:8012")

    assert edge.services == (("registry", "127.86.8.1:5000"), ("intake", "127.86.8.1:8012"))


@pytest.mark.parametrize("value", [0, -1])
def test_limit_that_would_switch_a_seat_off_is_refused(value: int) -> None:
    """Nginx reads 0 as no limit in one directive and as nothing at all in another."""
    with pytest.raises(ValueError, match="positive"):
        Limits(burst=value)
    with pytest.raises(ValueError, match="positive"):
        Upstream(read=value)


def test_edge_answers_to_its_public_and_local_names() -> None:
    """The operator's own machine must reach the edge, whatever the public name is."""
    edge = Edge("T", "https://class.example:8443", server_names=("10.0.0.9", "localhost"))

    assert edge.hosts == ("class.example", "10.0.0.9", "localhost", "127.0.0.1")
    assert edge.scheme == "https"
