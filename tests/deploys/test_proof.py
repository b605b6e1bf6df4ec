"""What leaves a prefix is found, what stays is not reported, and no app holds a visit up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.ports import free_port
from workshop.deploys.proof.addresses import leaves
from workshop.deploys.proof.escapes import (
    in_cookie,
    in_css,
    in_html,
    in_redirect,
    in_script,
)
from workshop.deploys.proof.visit import visit
from workshop.routing import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from workshop.intake.orders import Escape, Proof

sys.path.insert(0, str(Path(__file__).parents[1] / "proxy"))

URL, PREFIX = "http://class.example.org/ada/", "/ada/"
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~", min_size=1, max_size=12)
SEGMENTS = st.lists(WORD.filter(lambda word: word.strip(".")), min_size=1, max_size=4)
RELATIVE = SEGMENTS.map("/".join).flatmap(
    lambda path: st.sampled_from([path, f"./{path}", f"{path}?x=/y", f"?next=/{path}", f"#/{path}"])
)
OUTSIDE = SEGMENTS.filter(lambda parts: parts[0] != "ada").map(lambda parts: "/" + "/".join(parts))

HTML_FORMS = (
    '<a href="{}">x</a>',
    "<a href='{}'>x</a>",
    "<A HREF={}>x</A>",
    '<form action="{}"></form>',
    '<button formaction="{}">x</button>',
    '<img src="{}">',
    '<img srcset="{} 2x, small.png 1x">',
    '<script src="{}"></script>',
    '<link rel="stylesheet" href="{}">',
    '<link rel="manifest" href="{}">',
    '<video poster="{}"></video>',
    '<base href="{}">',
    '<meta http-equiv="refresh" content="3; url={}">',
    '<p style="background: url({})">x</p>',
    "<style>p {{ background: url('{}') }}</style>",
    '<iframe src="{}"></iframe>',
    "<script>fetch('{}')</script>",
    "<button onclick=\"fetch('{}')\">x</button>",
    '<div hx-get="{}"></div>',
)
SCRIPT_FORMS = (
    'fetch("{}")',
    "fetch('{}', {{method: 'POST'}})",
    "await fetch(`{}`)",
    'new EventSource("{}")',
    'new WebSocket("{}")',
    'axios.get("{}")',
    'axios.post( "{}", body)',
    'request.open("GET", "{}")',
    'request.open("POST", "{}", true)',
    'import chat from "{}"',
    'import "{}"',
    'const m = await import("{}")',
    'location.href = "{}"',
    'window.location = "{}"',
    'location.assign("{}")',
    'navigator.sendBeacon("{}")',
    'new WebSocket("wss://" + location.host + "{}")',
    "new WebSocket(`wss://${{location.host}}{}`)",
    'history.pushState(null, "", "{}")',
    'picture.src = "{}"',
    'navigator.serviceWorker.register("{}")',
)
CSS_FORMS = (
    "p {{ background: url({}) }}",
    'p {{ background: url("{}") }}',
    "@import '{}';",
    "@import url({});",
)


# -- what is an escape ------------------------------------------------------------------------


@pytest.mark.parametrize("form", HTML_FORMS)
@given(outside=OUTSIDE, relative=RELATIVE)
@settings(max_examples=30)
@example(outside="/adam", relative="chat")
@example(outside="/", relative="./")
def test_html_form_is_reported_when_it_leaves(form: str, outside: str, relative: str) -> None:
    """In each form, a root-absolute address outside is reported always, a relative one never."""
    assert [item.value for item in in_html(form.format(outside), URL, PREFIX)] == [outside]
    assert in_html(form.format(relative), URL, PREFIX) == []
    assert in_html(form.format(f"/ada{outside}"), URL, PREFIX) == []


@pytest.mark.parametrize("form", SCRIPT_FORMS)
@given(outside=OUTSIDE, relative=RELATIVE)
@settings(max_examples=30)
def test_script_form_is_reported_when_it_leaves(form: str, outside: str, relative: str) -> None:
    """The same for every way in which a script asks for something."""
    assert [item.value for item in in_script(form.format(outside), URL, PREFIX)] == [outside]
    assert in_script(form.format(relative), URL, PREFIX) == []
    assert in_script(form.format(f"/ada{outside}"), URL, PREFIX) == []


@pytest.mark.parametrize("form", CSS_FORMS)
@given(outside=OUTSIDE, relative=RELATIVE)
@settings(max_examples=30)
def test_css_form_is_reported_when_it_leaves(form: str, outside: str, relative: str) -> None:
    """The same for style sheets."""
    assert {item.value for item in in_css(form.format(outside), URL, PREFIX)} == {outside}
    assert in_css(form.format(relative), URL, PREFIX) == []
    assert in_css(form.format(f"/ada{outside}"), URL, PREFIX) == []


@pytest.mark.parametrize(
    "value",
    [
        "https://elsewhere.example.org/x",
        "http://class.example.org:81/x",
        "//cdn.example.org/x.js",
        "///cdn.example.org/x.js",
        "\\\\cdn.example.org/x.js",
        "#top",
        "",
        "data:image/png;base64,AAAA",
        "mailto:ada@example.org",
        "javascript:void(0)",
        "blob:http://class.example.org/x",
        "/ada",
        "/ada/",
        "/ada?x",
        "/ada/chat",
        "chat",
        "./chat",
        "http://class.example.org/ada/chat",
        "HTTP://class.example.org/ada/chat",
        "http://[broken",
    ],
)
def test_address_that_stays_or_is_somebody_elses_is_no_escape(value: str) -> None:
    """Other hosts, fragments, other schemes and the prefix itself are as they should be."""
    assert not leaves(value, URL, PREFIX)


@pytest.mark.parametrize(
    "value",
    [
        "/",
        "/adam",
        "/ada2/x",
        "../bob",
        "/ada/../bob",
        "\\chat",
        " /chat",
        "/\tchat",
        "http://class.example.org/chat",
        "/Ada/",
    ],
)
def test_address_in_disguise_is_an_escape(value: str) -> None:
    """A browser's view counts, not how it is spelt."""
    assert leaves(value, URL, PREFIX)


def test_lines_and_better_addresses_are_named() -> None:
    """Each escape says where it stands and what to write instead."""
    text = (
        "<html>\n<head><style>\np { color: red }\nb { background: url(/img/b.png) }\n</style>\n"
        '<script>\n// fetch("/old")\nconst a = 1;\nfetch("/chat", {})\n</script>\n</head>\n'
        '<a\n  href="/about?x=1">about</a>\n</html>'
    )
    found = [
        (item.kind, item.where, item.value, item.better)
        for item in in_html(text, f"{URL}docs/page", PREFIX)
    ]

    assert found == [
        ("asset", "/ada/docs/page, line 4", "/img/b.png", "../img/b.png"),
        ("fetch", "/ada/docs/page, line 9", "/chat", "chat"),
        ("link", "/ada/docs/page, line 12", "/about?x=1", "../about?x=1"),
    ]


@pytest.mark.alone
def test_long_script_and_picture_are_read_to_their_end() -> None:
    """Pages of one file hold all they need: what comes after that is still looked at."""
    text = (
        f'<img src="data:image/png;base64,{"A" * 500_000}">\n'
        f"<script>{'let a = 1; // b < c </b>' * 20_000}</script>\n"
        '<a href="/end">end</a>'
    )

    assert [item.where for item in in_html(text, URL, PREFIX)] == ["/ada/, line 3"]


def test_redirect_and_cookie_are_judged_like_a_browser_does() -> None:
    """A cookie without a path stays; one for the whole server, or for a neighbour, does not."""
    assert in_redirect("login", URL, PREFIX) == []
    assert in_redirect("https://login.example.org/", URL, PREFIX) == []
    (login,) = in_redirect("/login", URL, PREFIX)
    assert (login.kind, login.where, login.better) == ("redirect", "/ada/", "login")

    assert in_cookie("a=1; HttpOnly", URL, PREFIX) == []
    assert in_cookie("a=1; Path=/ada", URL, PREFIX) == []
    assert in_cookie("a=1; path=/ada/x", URL, PREFIX) == []
    (cookie,) = in_cookie("session=secret; Path=/; HttpOnly", URL, PREFIX)
    assert (cookie.value, cookie.better) == ("session; Path=/", "session; Path=/ada/")
    assert in_cookie("a=1; Path=/ada; Path=/bob", URL, PREFIX)


@given(st.text(max_size=500))
def test_any_text_is_searched(text: str) -> None:
    """No text is too strange, and nothing strange is handed on."""
    found: list[Escape] = [
        *in_html(text, URL, PREFIX),
        *in_html(f'<a href="/{text}">', URL, PREFIX),
        *in_css(text, URL, PREFIX),
        *in_script(text, URL, PREFIX),
        *in_redirect(text, URL, PREFIX),
        *in_cookie(text, URL, PREFIX),
    ]
    for item in found:
        assert item.value.isprintable()
        assert item.better.isprintable()


@pytest.mark.parametrize(
    "unit",
    ["<", "<a ", "<!", "<!--", "</", "<a href=", '<a href="', "&", "&#", "<![", "<?", "<script>",
     "<script></", "<a b='", "<style>url(", "<a href=/x>", "\\", "fetch( ", "url(", "new URL(   ",
     ".pushState(,", "<img srcset='/,", "'\"`", "location.host + ", "<svg><a/"],
)  # fmt: skip
def test_page_made_to_be_slow_is_given_up(unit: str) -> None:
    """A megabyte of the worst takes four seconds of the processor at most, in every search."""
    text = unit * (1_000_000 // len(unit))
    for search in (in_html, in_css, in_script):
        started = time.thread_time()
        search(text, URL, PREFIX)
        assert time.thread_time() - started < 4, search.__name__


# -- a visit ----------------------------------------------------------------------------------

Handler = Any


class Scene:
    """An app on a thread of its own, and the real edge in front of it."""

    def __init__(self, answers: Callable[[str, str], Awaitable[bytes] | bytes]) -> None:
        self.requests: list[bytes] = []
        self.open = 0
        self._answers = answers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        begun = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)
        self._server = begun.result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _begin(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                method, target, _ = head.decode("latin-1").split(" ", 2)
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line[15:]))
                answer = self._answers(method, target)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)  # type: ignore[operator]
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def close(self) -> None:
        """End the app."""

        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def reply(body: str | bytes, kind: str = "text/html", status: int = 200, *headers: str) -> bytes:
    """Write an answer."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers]
    return f"HTTP/1.1 {status} OK\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def page(*bodies: str) -> str:
    """Write a page."""
    return "<!doctype html>\n" + "\n".join(bodies)


@contextlib.contextmanager
def behind_edge(
    directory: Path, answers: Callable[[str, str], Any]
) -> Iterator[tuple[Scene, Callable[..., Proof]]]:
    """Run an app behind the real nginx; yields it, and how to visit it."""
    import lab

    scene = Scene(answers)
    try:
        edge = lab.edge_for({"ada": scene.port}, directory)
        with lab.running(edge, directory) as running:

            def go(seconds: float = 10) -> Proof:
                return visit(
                    place=Place("http", f"workshop.example:{running.port}", "/ada"),
                    edge=("127.0.0.1", running.port),
                    address="127.0.0.1",
                    port=scene.port,
                    seconds=seconds,
                )

            yield scene, go
    finally:
        scene.close()


def escaping(method: str, target: str) -> Any:
    """Leave the prefix in every way."""
    if method == "POST":
        return stream
    answers = {
        "/": reply(
            page(
                '<link rel="stylesheet" href="style.css"><script src="app.js"></script>',
                '<a href="/about">about</a> <a href="more">more</a> <a href="move">move</a>',
                '<img src="/logo.png"><form action="/ask"></form><a href="gone">gone</a>',
                '<script>new EventSource("/events")</script><a href="/ada/fine">fine</a>',
                '<a href="https://example.org/">elsewhere</a><a href="delete?all=1">!</a>',
            ),
            "text/html; charset=utf-8",
            200,
            "Set-Cookie: session=secret; Path=/; HttpOnly",
            "Set-Cookie: mine=1",
        ),
        "/style.css": reply("p {\n background: url(/paper.png) }", "text/css"),
        "/app.js": reply("\n\nfetch('/chat')", "text/javascript"),
        "/more": reply(page('<meta http-equiv="refresh" content="0; url=/start">')),
        "/move": reply("", "text/plain", 302, "Location: /login"),
        "/fine": reply(page("fine")),
    }
    return answers.get(target, reply("no", "text/plain", 404))


async def stream(writer: asyncio.StreamWriter) -> None:
    """Answer with events: a comment at once, the first event later, and then for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
    await asyncio.sleep(0.3)
    while True:
        writer.write(b"event: token\ndata: {}\n\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def test_app_that_escapes_in_every_way_is_told_of_each(tmp_path: Path) -> None:
    """Links, assets, scripts, redirects and cookies are found through the real edge, with lines."""
    with behind_edge(tmp_path, escaping) as (scene, go):
        proof = go()
        asked = [request.split(b" ")[1].decode() for request in scene.requests]

    assert {(item.kind, item.where, item.value, item.better) for item in proof.escapes} == {
        ("link", "/ada/, line 3", "/about", "about"),
        ("asset", "/ada/, line 4", "/logo.png", "logo.png"),
        ("link", "/ada/, line 4", "/ask", "ask"),
        ("fetch", "/ada/, line 5", "/events", "events"),
        ("asset", "/ada/style.css, line 2", "/paper.png", "paper.png"),
        ("fetch", "/ada/app.js, line 3", "/chat", "chat"),
        ("link", "/ada/more, line 2", "/start", "start"),
        ("redirect", "/ada/move", "/login", "login"),
        ("cookie", "/ada/ (the edge narrowed it)", "session; Path=/", "session; Path=/ada/"),
    }
    assert proof.problem == ""
    assert proof.pages == 7
    assert proof.first_event is not None
    assert 0.25 < proof.first_event < 2
    assert set(asked) == {"/", "/style.css", "/app.js", "/more", "/move", "/gone", "/fine", "/chat"}
    assert not any(b"\r\ncookie:" in request.lower() for request in scene.requests)


def test_app_as_it_should_be_has_no_escapes(tmp_path: Path) -> None:
    """Relative addresses all the way; without a chat there is no first event, and no complaint."""

    def answers(method: str, target: str) -> bytes:
        if method == "POST":
            return reply("no", "text/plain", 404)
        return reply(page('<a href="./more">more</a><script src="static/app.js"></script>'))

    with behind_edge(tmp_path, answers) as (_, go):
        proof = go()

    assert (proof.escapes, proof.first_event, proof.problem) == ((), None, "")
    assert proof.pages > 1


def test_big_site_is_looked_at_in_part(tmp_path: Path) -> None:
    """Twenty requests are enough, whatever is linked."""

    def answers(method: str, target: str) -> bytes:
        links = (f'<a href="{target.strip("/") or "p"}{number}">x</a>' for number in range(50))
        return reply(page(*links)) if method == "GET" else reply("no", "text/plain", 405)

    with behind_edge(tmp_path, answers) as (_, go):
        proof = go()

    assert proof.pages == 20


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a page a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"<")
        await writer.drain()
        await asyncio.sleep(0.1)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    """Never come to the end of the header."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def endless(writer: asyncio.StreamWriter) -> None:
    """Send a page without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"<p>hello</p>\n" * 1000)
        await writer.drain()


async def hush(writer: asyncio.StreamWriter) -> None:
    """Say nothing at all."""
    del writer
    await asyncio.sleep(3600)


async def comments(writer: asyncio.StreamWriter) -> None:
    """Stream comments only."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        writer.write(b": still there\n\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def always(answer: object) -> Callable[[str, str], Any]:
    """Answer everything the same."""
    return lambda _method, _target: answer


def only_chat(answer: object) -> Callable[[str, str], Any]:
    """Answer the chat in this way, and everything else well."""
    return lambda method, _target: answer if method == "POST" else reply(page("hello"))


HOSTILE = {
    "drip": always(drip),
    "drip-head": always(drip_head),
    "endless": always(endless),
    "hush": always(hush),
    "garbage": always(b"\x00\xff garbage\r\n\r\n"),
    "loop": always(reply("", "text/plain", 302, "Location: /ada/")),
    "long-loop": lambda _method, target: reply("", "text/plain", 302, f"Location: /ada{target}x"),
    "huge-location": always(reply("", "text/plain", 302, "Location: " + "/ada/" + "x" * 6000)),
    "odd-location": always(reply("", "text/plain", 302, "Location: http://[/ada/")),
    "many-cookies": always(reply(page("x"), "text/html", 200, *["Set-Cookie: a=1; Path=/"] * 80)),
    "gzip-bomb": always(
        reply(gzip.compress(bytes(50_000_000)), "text/html", 200, "Content-Encoding: gzip")
    ),
    "deep": always(reply("<div>" * 300_000)),
    "unclosed": always(reply('<a href="' * 200_000)),
    "wrong-length": always(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx"),
    "error": always(reply("no", "text/plain", 500)),
    "chat-hush": only_chat(hush),
    "chat-drip": only_chat(drip),
    "chat-comments": only_chat(comments),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_an_app_answers_holds_a_visit_up(name: str, tmp_path: Path) -> None:
    """Whatever comes, there is a proof in time, bounded, and no connection is left open."""
    with behind_edge(tmp_path, HOSTILE[name]) as (_, go):
        started = time.monotonic()
        proof = go(4)
        took = time.monotonic() - started

    assert took < 15
    assert proof.first_event is None
    assert len(proof.escapes) <= 50
    assert len(proof.problem) <= 200


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hush", "no whole answer within"),
        ("error", "/ada/ answers 500"),
        ("loop", "redirects go round in a circle"),
        ("chat-hush", "first event"),
        ("chat-comments", "first event"),
    ],
)
def test_problem_says_why_there_is_no_proof(name: str, words: str, tmp_path: Path) -> None:
    """Where the visit could not be made, the reason stands in the proof."""
    with behind_edge(tmp_path, HOSTILE[name]) as (_, go):
        proof = go(6)

    assert words in proof.problem


def test_edge_that_is_not_there_is_a_problem_and_no_error() -> None:
    """A visit never raises."""
    port = free_port()
    place = Place("http", "localhost", "/ada")
    proof = visit(place=place, edge=("127.0.0.1", port), address="127.0.0.1", port=port)

    assert (proof.pages, proof.problem) == (0, "/ada/: nothing answers")


def test_nothing_leaves_the_prefix_of_an_app_on_its_own_host(tmp_path: Path) -> None:
    """The same app that escapes below a path is at home everywhere on a host of its own."""
    import lab

    from workshop.routing import Routing

    scene = Scene(escaping)
    try:
        edge = lab.edge_for({"ada": scene.port}, tmp_path)
        edge = replace(edge, routing=Routing.SUBDOMAIN)
        with lab.running(edge, tmp_path) as running:
            proof = visit(
                place=edge.place("ada"),
                edge=("127.0.0.1", running.port),
                address="127.0.0.1",
                port=scene.port,
            )
    finally:
        scene.close()

    assert proof.escapes == ()
    assert proof.pages > 3
    assert proof.first_event is not None
    assert not proof.problem
