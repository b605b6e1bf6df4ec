"""What the edge serves, as frozen data: the last allow-list before text becomes configuration.

The roster has checked the names already. They are checked again here because this is the one
place every value passes on its way into nginx.conf; ingress-nginx had a series of directive
injections (CVE-2021-25745, CVE-2025-1098, CVE-2026-24512) by escaping instead of refusing. Free
text (titles, display names) reaches only the HTML pages, where Jinja2 escapes it.
"""

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from workshop.routing import Place, Routing, place

NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
NAME_LENGTHS = range(2, 33)
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
NUMBERS = re.compile(r"[0-9.]+")
PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
DIGEST = re.compile(r"[0-9a-f]{8,64}")

EDGE_PATHS = frozenset({"deploy", "healthz", "llm", "v2"})
"""First path segments the edge answers itself, now or soon; no seat may be called so."""

SERVICES = ("gateway", "registry", "intake", "board")
"""Upstreams that are no seat; no seat's upstream is called so, as it begins with `seat-`."""

LOCAL_NAMES = ("localhost", "127.0.0.1")
DEFAULT_PORTS = {"http": 80, "https": 443}
HSTS_SECONDS = 86_400
"""How long a browser insists on HTTPS: the afternoon and its evening. What follows on this host may
be a workshop without a certificate."""


def _require(legal: object, where: str, found: object, expected: str) -> None:
    if not legal:
        raise ValueError(f"{where}: {found!r} is not {expected}")


def _legal_address(address: str) -> bool:
    """Accept unicast IPv4 only, and not link-local: cloud metadata lives there."""
    try:
        ip = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (ip.is_unspecified or ip.is_multicast or ip.is_link_local or ip.is_reserved)


def _legal_service(service: str) -> bool:
    """Accept `address:port`; a loopback address is one, for services on the edge's own host."""
    host, _, port = service.rpartition(":")
    return _legal_address(host) and port.isdecimal() and int(port) in range(1, 65536)


@dataclass(frozen=True)
class Route:
    """One seat: `/<name>/` is served by `address:port`, or by `green:port` while it is switched.

    An address is a number, never a host name: one name that does not resolve stops nginx from
    starting, for everybody.
    """

    name: str
    address: str
    port: int = 8000
    display_name: str = ""
    green: str = ""
    """The seat's second address, for its next version; empty where it has none."""

    def __post_init__(self) -> None:
        legal = NAME.fullmatch(self.name) and len(self.name) in NAME_LENGTHS
        _require(legal, "route name", self.name, "a lower-case slug of 2 to 32 characters")
        _require(self.name not in EDGE_PATHS, "route name", self.name, "free: the edge uses it")
        _require(_legal_address(self.address), "route address", self.address, "a unicast IPv4")
        legal = not self.green or _legal_address(self.green)
        _require(legal, "route green address", self.green, "a unicast IPv4")
        _require(self.port in range(1, 65536), "route port", self.port, "a TCP port")

    @property
    def upstream(self) -> str:
        """The name of the nginx upstream; the prefix keeps it apart from any real host name."""
        return f"seat-{self.name}"

    @property
    def places(self) -> tuple[str, ...]:
        """Every address and port which is this seat's own."""
        return tuple(f"{host}:{self.port}" for host in (self.address, self.green) if host)

    @property
    def label(self) -> str:
        """What people read on the landing page."""
        return self.display_name or self.name


@dataclass(frozen=True)
class Limits:
    """How much one seat may take, whoever asks, and how much one client at the ways to deploy.

    Seats are keyed by seat, not by client: a class shares one public address.
    """

    requests_per_second: int = 50
    """Steady rate; a page with 100 assets fits into the burst."""
    burst: int = 200
    connections: int = 100
    """Requests in flight, open streams and WebSockets included."""
    body_bytes: int = 2 * 1024 * 1024
    push_bytes: int = 2 * 1024**3
    """The largest layer of an image."""
    upload_bytes: int = 20 * 1024**2
    """The largest upload of an app's source."""
    client_requests_per_second: int = 200
    """Of one client address at the registry, the intake and the board: a whole class may share
    it."""
    client_burst: int = 2000
    """A push asks some twenty questions within a second; a hundred people may push at once."""
    client_connections: int = 1000
    """In flight from one client address; Docker sends five layers at a time."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _require(isinstance(value, int) and value > 0, f"limits.{name}", value, "positive")


@dataclass(frozen=True)
class Upstream:
    """How the edge talks to every seat; times in seconds."""

    keepalive: int = 32
    """Idle connections kept per seat and worker: with 4 the throughput was half."""
    idle: int = 4
    """Shorter than uvicorn's 5, so that the edge, not the app, closes an idle connection and no
    POST is sent into a closing one."""
    connect: int = 2
    read: int = 3600
    """A quiet event stream or WebSocket lives this long."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _require(isinstance(value, int) and value > 0, f"upstream.{name}", value, "positive")


@dataclass(frozen=True)
class Tls:
    """The certificate the edge shows: paths as the edge's container sees them."""

    certificate: str
    """Certificate and what it is signed by, in one PEM file."""
    key: str
    digest: str
    """Of both files' content: another certificate is another configuration, so nginx reads it."""
    redirect_port: int = 0
    """Port on which plain HTTP leads to HTTPS; 0 where there is none."""

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key):
            _require(PATH.fullmatch(path), "tls path", path, "a plain absolute path")
        _require(DIGEST.fullmatch(self.digest), "tls digest", self.digest, "hexadecimal")
        legal = self.redirect_port in range(65536)
        _require(legal, "tls redirect", self.redirect_port, "a TCP port")


@dataclass(frozen=True)
class Edge:
    """Everything the templates may know. Two equal edges render to equal bytes."""

    title: str
    url: str
    """How people reach the workshop: scheme, host and perhaps a port."""
    routes: tuple[Route, ...] = ()
    landing: bool = True
    """Whether `/` lists the seats."""
    listen: int = 8080
    server_names: tuple[str, ...] = ()
    """More hosts the workshop answers to, beside the one in `url` and the local ones."""
    limits: Limits = Limits()
    upstream: Upstream = Upstream()
    workers: int = 0
    """Worker processes; 0 means one per core."""
    directory: str = "/edge/current"
    """Where the rendered files are found once live; pages are opened there at request time."""
    scratch: str = "/tmp"  # noqa: S108 - the only writable place in the edge's read-only container
    access_log: str = "/dev/stdout"
    gateway: str = ""
    """Address and port of the class's models; empty where there are none."""
    registry: str = ""
    """Address and port of the class's registry; empty where there is none."""
    intake: str = ""
    """Address and port of what gives tokens and takes uploads; empty where there is none."""
    board: str = ""
    """Address and port of the board; empty where the edge does not lead to it."""
    board_host: str = ""
    """The host that is the board's alone."""
    switches: str = "/edge/green"
    """Where a file named like a seat moves its requests to the seat's green address."""
    tls: Tls | None = None
    """What HTTPS is answered with; ``None`` where the edge speaks plain HTTP alone."""
    inner: str = ""
    """With TLS, where the platform itself asks in plain HTTP: a loopback address and a port."""
    routing: Routing = Routing.PATH
    acme: str = "/edge/acme"
    """Where answers to an authority's questions lie while it asks them."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        legal = parts.scheme in {"http", "https"} and parts.path in {"", "/"} and not parts.query
        _require(legal, "edge url", self.url, "http(s)://host[:port]")
        for host in self.hosts:
            _require(HOST.fullmatch(host), "edge host", host, "a host name or IPv4 address")
        _require(self.listen in range(1, 65536), "edge listen", self.listen, "a TCP port")
        _require(self.workers in range(257), "edge workers", self.workers, "0 to 256")
        for name, address in self.services:
            legal = _legal_service(address)
            _require(legal, f"edge {name}", address, "a unicast IPv4 and a TCP port")
        self._check_tls()
        self._check_board()
        for path in (self.directory, self.scratch, self.access_log, self.switches, self.acme):
            _require(PATH.fullmatch(path), "edge path", path, "a plain absolute path")
        object.__setattr__(self, "routes", tuple(sorted(self.routes, key=lambda r: r.name)))
        self._require_unique("name", [route.name for route in self.routes])
        self._require_unique("address", [place for r in self.routes for place in r.places])

    def _check_tls(self) -> None:
        legal = self.tls is None or (self.scheme == "https" and self.inner)
        _require(legal, "edge tls", self.url, "an https address, and somewhere to be asked at")
        legal = not self.inner or _legal_service(self.inner)
        _require(legal, "edge inner", self.inner, "a unicast IPv4 and a TCP port")
        taken = self.tls is not None and self.tls.redirect_port == self.listen
        _require(not taken, "edge redirect", self.listen, "another port than the one for HTTPS")
        legal = not self.routing.by_host or not NUMBERS.fullmatch(self.hosts[0])
        _require(legal, "edge url", self.url, "a name: seats have hosts below it")

    def _check_board(self) -> None:
        host = self.board_host
        _require(bool(self.board) == bool(host), "edge board", host, "given with its address")
        if host:
            legal = HOST.fullmatch(host) and not NUMBERS.fullmatch(host)
            _require(legal, "edge board host", host, "a host name")
            taken = {*self.hosts, *(name for name, _ in self.seat_hosts)}
            _require(host not in taken, "edge board host", host, "a host of its own")

    @staticmethod
    def _require_unique(what: str, values: list[str]) -> None:
        """Two seats with one name or one address would show one person's app as another's."""
        twice = sorted(value for value, times in Counter(values).items() if times > 1)
        _require(not twice, f"routes: {what}", twice, "used once")

    @property
    def scheme(self) -> str:
        """The scheme people use; TLS may end in front of the edge."""
        return urlsplit(self.url).scheme

    @property
    def asked_at(self) -> tuple[str, int]:
        """Address and port at which the platform itself asks the edge in plain HTTP."""
        address, _, port = self.inner.rpartition(":")
        return (address, int(port)) if self.tls else (LOCAL_NAMES[1], self.listen)

    @property
    def origin(self) -> str:
        """The public address without a slash."""
        return self.url.rstrip("/")

    @property
    def port_suffix(self) -> str:
        """What follows a host in the public address: nothing, or the port."""
        port = urlsplit(self.url).port
        return f":{port}" if port and port != DEFAULT_PORTS[self.scheme] else ""

    @property
    def hsts(self) -> int:
        """For how many seconds browsers shall insist on HTTPS; 0 where they shall not.

        It covers every port of a host: on the operator's own machine it would reach beyond the
        workshop, and an unusual port would be asked in the wrong tongue.
        """
        usual = self.tls is not None and not self.port_suffix
        return HSTS_SECONDS if usual and self.names and self.hosts[0] != "localhost" else 0

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the hosts that are names: the public one first, if it is one."""
        public = NUMBERS.fullmatch(self.hosts[0])
        found = tuple(host for host in self.hosts if not NUMBERS.fullmatch(host))
        return () if public else found

    def place(self, name: str) -> Place:
        """Say where visitors find a seat."""
        return place(self.origin, self.routing, name)

    @property
    def seat_hosts(self) -> tuple[tuple[str, str], ...]:
        """Each host that is a seat's own, and the seat."""
        if not self.routing.by_host:
            return ()
        return tuple((f"{r.name}.{host}", r.name) for host in self.names for r in self.routes)

    @property
    def services(self) -> tuple[tuple[str, str], ...]:
        """The platform's own services behind the edge: name and `address:port`."""
        found = {name: getattr(self, name) for name in SERVICES}
        return tuple((name, address) for name, address in found.items() if address)

    @property
    def switched(self) -> bool:
        """Whether any seat has a second address."""
        return any(route.green for route in self.routes)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every Host the edge answers to, the public one first."""
        public = urlsplit(self.url).hostname or ""
        return tuple(dict.fromkeys((public, *self.server_names, *LOCAL_NAMES)))
