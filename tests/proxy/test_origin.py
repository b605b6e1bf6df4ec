"""What a browser keeps apart: seats that share one origin, and seats with an origin each.

A real Chromium in front of the real edge. With paths, all seats are one origin to a browser, and
several tests show what that means; they document a limit, and must change when it goes.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import lab as laboratory
import pytest

from workshop.proxy.routes import Edge, Route
from workshop.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.browser

HOST = "workshop.example"
PEOPLE = ("ada", "bob")


@dataclass
class App:
    """A seat's app: it sends what headers it is asked for, and remembers the cookies it was sent."""

    server: ThreadingHTTPServer
    cookies: dict[str, str]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])


@contextlib.contextmanager
def app(name: str) -> Iterator[App]:
    """Run the app of one seat."""
    seen: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            seen[parts.path] = self.headers.get("Cookie", "")
            script = parts.path.endswith(".js")
            body = b"self.addEventListener('fetch', () => {})" if script else f"{name}'s".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if script else "text/html")
            self.send_header("Content-Length", str(len(body)))
            for header, value in parse_qsl(parts.query):
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield App(server, seen)
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Room:
    """An edge, the apps behind it, and a browser in front of it."""

    edge: Edge
    apps: dict[str, App]
    page: Any

    def url(self, name: str, target: str = "/") -> str:
        """Give an address in a seat's app, as the landing page would."""
        return self.edge.place(name).url.rstrip("/") + target

    def open(self, name: str, target: str = "/") -> None:
        """Look at a page of a seat's app."""
        self.page.get(self.url(name, target))

    def run(self, script: str, *values: object) -> Any:
        """Run a script in the page and wait for what it comes to; an error comes as its name."""
        return self.page.execute_async_script(
            "const [...values] = arguments; const done = values.pop();"
            f"(async () => {{ {script} }})().then(done, (e) => done(e.name));",
            *values,
        )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start one Chromium to which every name of the workshop is this machine."""
    import shutil

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.fail("no chromium or chromedriver; scripts/ensure-test-tools installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
        f"--host-resolver-rules=MAP {HOST} 127.0.0.1, MAP *.{HOST} 127.0.0.1",
        # Clear-Site-Data and service workers are for secure origins; here the name stands for one.
        f"--unsafely-treat-insecure-origin-as-secure=http://{HOST}",
    ):  # fmt: skip
        options.add_argument(flag)
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.set_script_timeout(20)
    yield started
    started.quit()


@pytest.fixture
def enter(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Room]]:
    """Open a room by routing and host; every room is a new origin, as it has a new port."""
    with contextlib.ExitStack() as stack:

        def opened(routing: Routing, host: str = "localhost") -> Room:
            apps = {name: stack.enter_context(app(name)) for name in PEOPLE}
            directory = tmp_path_factory.mktemp("origin")
            edge = laboratory.edge_for({}, directory)
            routes = tuple(Route(name, "127.0.0.1", item.port) for name, item in apps.items())
            url = f"http://{host}:{edge.listen}"
            edge = replace(edge, url=url, routes=routes, routing=routing)
            stack.enter_context(laboratory.running(edge, directory))
            # Cookies know no ports: those of the room before would be there still.
            chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
            return Room(edge, apps, chromium)

        yield opened


# -- one origin for all: what is, and what is not kept apart --------------------------------------


def test_with_paths_a_neighbour_reads_what_an_app_stores(enter: Callable[..., Room]) -> None:
    """Documents the limit: storage belongs to the origin, and the origin is everybody's."""
    room = enter(Routing.PATH)
    room.open("bob")
    room.run("localStorage.setItem('note', 'of Bob')")
    room.open("ada")

    assert room.run("return localStorage.getItem('note')") == "of Bob"


def test_with_paths_a_neighbour_asks_an_app_as_its_visitor(enter: Callable[..., Room]) -> None:
    """Documents the limit: a page may fetch whatever is on its origin, with its visitor's cookies."""
    room = enter(Routing.PATH)
    room.open("bob", "/?Set-Cookie=session%3Dsecret")
    room.open("ada")
    said = room.run("return (await fetch(values[0])).text()", room.url("bob", "/mine"))

    assert said == "bob's"
    assert room.apps["bob"].cookies["/mine"] == "session=secret"


@pytest.mark.parametrize("script", ["/sw.js", "/sw.js?Service-Worker-Allowed=/"])
@pytest.mark.parametrize(
    ("scope", "outcome"),
    [
        ("/", "SecurityError"),
        ("/bob/", "SecurityError"),
        ("/ada/", "registered"),
        ("/ada", "SecurityError"),
    ],
)
def test_with_paths_a_service_worker_stays_in_its_seat(
    enter: Callable[..., Room], script: str, scope: str, outcome: str
) -> None:
    """A worker for `/` would answer for every neighbour; the header that allows it is stripped."""
    room = enter(Routing.PATH)
    room.open("ada")
    said = room.run(
        "await navigator.serviceWorker.register(values[0], {scope: values[1]}); return 'registered'",
        f"/ada{script}",
        scope,
    )

    assert said == outcome


@pytest.mark.parametrize(
    "attributes", ["", "; Path=/", "; Path=/bob/", "; path=/", ';Path="/"', "; Path=", "; Path=bob",
                   "; Path =/", "; Path=/; Path=/bob/", f"; Domain={HOST}; Path=/", "; Path=/;Path"],
)  # fmt: skip
def test_with_paths_a_cookie_goes_home_alone(enter: Callable[..., Room], attributes: str) -> None:
    """However the path is written: Ada's app gets her cookie back, Bob's and the front never do."""
    room = enter(Routing.PATH, HOST)
    cookie = f"session=ada{attributes}".replace(";", "%3B").replace("=", "%3D").replace(" ", "%20")
    room.open("ada", f"/?Set-Cookie={cookie}")
    room.open("ada", "/again")
    room.open("bob", "/visit")

    assert room.apps["ada"].cookies["/again"] == "session=ada"
    assert room.apps["bob"].cookies["/visit"] == ""


def test_with_paths_a_cookie_for_the_host_itself_is_not_kept(enter: Callable[..., Room]) -> None:
    """`__Host-` asks for the path `/`; the edge narrows it, and the browser refuses the result."""
    room = enter(Routing.PATH)
    room.open("ada", "/?Set-Cookie=__Host-a%3Db%3B%20Path%3D/%3B%20Secure")
    room.open("ada", "/again")

    assert room.apps["ada"].cookies["/again"] == ""


def test_with_paths_a_script_sets_a_cookie_for_a_neighbour(enter: Callable[..., Room]) -> None:
    """Documents the limit: narrowing guards against accidents, not against a neighbour's script."""
    room = enter(Routing.PATH)
    room.open("ada")
    room.run("document.cookie = 'tossed=1; path=/bob/'")
    room.open("bob", "/visit")

    assert room.apps["bob"].cookies["/visit"] == "tossed=1"


@pytest.mark.parametrize("routing", [Routing.PATH, Routing.SUBDOMAIN])
def test_app_clears_nobodys_site_data(enter: Callable[..., Room], routing: Routing) -> None:
    """The header would empty the whole origin, and the cookies of every host below the domain."""
    room = enter(routing)
    room.open("bob", "/?Set-Cookie=session%3Dbob")
    room.run("localStorage.setItem('note', 'of Bob')")
    room.open("ada", "/?Clear-Site-Data=%22*%22")
    room.open("bob", "/again")

    assert room.run("return localStorage.getItem('note')") == "of Bob"
    assert room.apps["bob"].cookies["/again"] == "session=bob"


# -- an origin each -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", HOST])
def test_with_hosts_storage_is_a_seats_own(enter: Callable[..., Room], host: str) -> None:
    """The same script as with paths finds nothing."""
    room = enter(Routing.SUBDOMAIN, host)
    room.open("bob")
    room.run("localStorage.setItem('note', 'of Bob')")
    room.open("ada")

    assert room.run("return localStorage.getItem('note')") is None
    room.open("bob")
    assert room.run("return localStorage.getItem('note')") == "of Bob"


def test_with_hosts_a_neighbours_answer_is_not_readable(enter: Callable[..., Room]) -> None:
    """Another origin: the browser refuses what no header allows."""
    room = enter(Routing.SUBDOMAIN)
    room.open("ada")

    assert room.run("return (await fetch(values[0])).text()", room.url("bob")) == "TypeError"


@pytest.mark.parametrize("attributes", ["", "; Path=/", f"; Domain={HOST}", f"; Domain=.{HOST}; Path=/",
                                        f"; domain={HOST}", f"; Domain={HOST}; Domain=.{HOST}"])  # fmt: skip
def test_with_hosts_a_cookie_stays_at_its_host(enter: Callable[..., Room], attributes: str) -> None:
    """A cookie for the whole domain would reach every neighbour and the front page."""
    room = enter(Routing.SUBDOMAIN, HOST)
    cookie = f"session=ada{attributes}".replace(";", "%3B").replace("=", "%3D").replace(" ", "%20")
    room.open("ada", f"/?Set-Cookie={cookie}")
    room.open("ada", "/again")
    room.open("bob", "/visit")

    assert room.apps["ada"].cookies["/again"] == "session=ada"
    assert room.apps["bob"].cookies["/visit"] == ""


def test_with_hosts_a_script_sets_a_cookie_for_the_domain(enter: Callable[..., Room]) -> None:
    """Documents the limit: only a domain on the public suffix list keeps scripts from this."""
    room = enter(Routing.SUBDOMAIN, HOST)
    room.open("ada")
    room.run(f"document.cookie = 'tossed=1; domain={HOST}'")
    room.open("bob", "/visit")

    assert room.apps["bob"].cookies["/visit"] == "tossed=1"


def test_with_hosts_a_worker_answers_for_its_own_host(enter: Callable[..., Room]) -> None:
    """The root is the seat's own, so a worker may have all of it, and nothing of Bob's."""
    room = enter(Routing.SUBDOMAIN)
    room.open("ada")
    said = room.run("const r = await navigator.serviceWorker.register('/sw.js'); return r.scope")
    other = room.run("await navigator.serviceWorker.register(values[0])", room.url("bob", "/sw.js"))

    assert said == room.url("ada")
    assert other == "SecurityError"


@pytest.mark.parametrize("routing", list(Routing))
def test_platform_sets_no_cookie_and_needs_none(
    enter: Callable[..., Room], routing: Routing
) -> None:
    """Nobody logs in on the seats' origin: there is nothing of the platform's to steal there."""
    room = enter(routing)
    lab = laboratory.Lab(room.edge, room.edge.listen, None, None)  # type: ignore[arg-type]
    targets = ("/", "/healthz", "/robots.txt", "/ada", "/nobody/", "/ada/./x", "/deploy/", "/v2/")

    assert [t for t in targets if lab.get(t).header("set-cookie") is not None] == []
    room.page.get(room.edge.url)
    assert room.page.get_cookies() == []
