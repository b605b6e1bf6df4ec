"""Who may ask: cookies, tokens, origins, and pages of others in the same browser."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PATIENCE, until
from workshop.board import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.board.lab import Lab

CHANGES = ("/logout", "/wishes", "/seats/ada/hand", "/me/leave", "/me/wishes", "/me/hand")
"""A sample of what changes something, of both kinds of people."""


def test_every_address_but_the_doors_needs_a_login(lab: Lab) -> None:
    """Read from the app's own description, so that a new address cannot be forgotten."""
    open_to_all = {
        ("GET", "/healthz"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/me"),
        ("POST", "/me/enter"),
    }
    app = lab.app()
    asked = set()
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            place = path.replace("{name}", "ada").replace("{wish_id}", f"{'1' * 13}-{'a' * 8}")
            if (method.upper(), path) not in open_to_all:
                asked.add(path)
                answer = lab.visitor().ask(method.upper(), place, json={})
                assert answer.status_code in {401, 422}, (method, path, answer.status_code)
    assert {
        "/",
        "/events",
        "/projector",
        "/wishes",
        "/me/events",
        "/me/wishes",
        "/metrics",
    } <= asked


@pytest.mark.parametrize("path", ["/", "/events", "/projector", "/seats/ada", "/seats/ada/log"])
def test_participant_sees_nothing_of_the_instructors(lab: Lab, path: str) -> None:
    """Not with the own cookie, and not with its value under the other name."""
    ada = lab.participant("ada")
    assert ada.get(path).status_code == 401
    ada.cookies = {guard.INSTRUCTOR: ada.cookies[guard.PARTICIPANT]}
    assert ada.get(path).status_code == 401


def test_instructors_cookie_is_no_participants(lab: Lab) -> None:
    """The instructor is nobody's seat."""
    instructor = lab.instructor()
    instructor.cookies = {guard.PARTICIPANT: instructor.cookies[guard.INSTRUCTOR]}
    assert instructor.get("/me/events").status_code == 401


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({guard.CSRF: ""}, "no token"),
        ({guard.CSRF: "0" * 64}, "a wrong token"),
        ({guard.CSRF: "\xe4"}, "a token that is no ASCII"),
        ({"origin": ""}, "no origin"),
        ({"origin": "null"}, "a sandboxed page"),
        ({"origin": "http://evil.example"}, "another host"),
        ({"origin": "http://localhost:18999"}, "the class's own address"),
        ({"sec-fetch-site": "same-site"}, "a page of the same site"),
        ({"sec-fetch-site": "cross-site"}, "a page of another site"),
        ({"sec-fetch-site": "none", "origin": ""}, "nobody's page"),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "a form elsewhere"),
    ],
)
@pytest.mark.parametrize("path", CHANGES)
def test_post_that_is_not_from_the_boards_own_page_changes_nothing(
    lab: Lab, path: str, headers: dict[str, str], why: str
) -> None:
    """The cookie alone is never enough."""
    who = lab.participant("ada") if path.startswith("/me") else lab.instructor()
    body = {"what": "restart", "seats": ["ada"], "up": True}
    raw = {name: text.encode("latin-1") for name, text in headers.items()}
    answer = who.post(path, body, headers=raw)
    assert answer.status_code == 403, why
    assert lab.wishes() == []
    assert not lab.service.view.hands
    assert who.get("/me" if path.startswith("/me") else "/").status_code == 200


def test_token_of_another_session_is_wrong(lab: Lab) -> None:
    """Bob cannot lend Ada's browser his."""
    ada, bob = lab.participant("ada"), lab.participant("bob")
    assert ada.post("/me/hand", {"up": True}, headers={guard.CSRF: bob.csrf}).status_code == 403
    assert ada.post("/me/hand", {"up": True}).status_code == 200
    assert set(lab.service.view.hands) == {"ada"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": ""}, 200),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            200,
        ),
        (
            {
                "sec-fetch-site": "same-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            403,
        ),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
    ],
)
def test_page_is_for_whoever_opens_it_or_follows_a_link(
    lab: Lab, headers: dict[str, str], status: int
) -> None:
    """Not for a page that wants to read or frame it."""
    assert lab.instructor().get("/", headers=headers).status_code == status


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example"])
def test_websocket_of_another_origin_is_not_opened(lab: Lab, origin: str) -> None:
    """Browsers send cookies with WebSockets of any page."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    ada = lab.participant("ada")
    address = f"ws://{lab.address}/me/ready/ws"
    cookie = {"cookie": ada.headers()["cookie"]}
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin=origin or None, additional_headers=cookie)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


HOSTILE = """<!doctype html><title>Bob's app</title><script>
const board = %r;
window.seen = [];
const tell = (what) => (text) => window.seen.push(`${what}: ${String(text).slice(0, 200)}`);
const opts = {credentials: "include"};
const json = {"Content-Type": "application/json", "X-CSRF-Token": "x"};
const text = {"Content-Type": "text/plain"};
const body = JSON.stringify({what: "reset", seats: ["ada"], text: ""});
const tries = [
  fetch(board + "/", opts).then((r) => r.text()).then(tell("READ wall"), () => 0),
  fetch(board + "/", {...opts, mode: "no-cors"}).then((r) => r.text())
    .then((t) => t && tell("READ opaque")(t), () => 0),
  fetch(board + "/wishes", {...opts, method: "POST", headers: json, body}).then(tell("SENT"), () => 0),
  fetch(board + "/wishes", {...opts, mode: "no-cors", method: "POST", headers: text, body}).catch(() => 0),
  fetch(board + "/logout", {...opts, mode: "no-cors", method: "POST"}).catch(() => 0),
  fetch(board + "/seats/ada/hand", {...opts, mode: "no-cors", method: "POST"}).catch(() => 0),
];
const events = new EventSource(board + "/events", {withCredentials: true});
tries.push(new Promise((done) => { events.onmessage = tell("READ event"); events.onerror = done; }));
for (const [tag, at] of [["script", "src"], ["img", "src"], ["iframe", "src"], ["object", "data"]]) {
  const one = document.createElement(tag);
  one[at] = board + "/";
  tries.push(new Promise((done) => { one.onload = one.onerror = done; setTimeout(done, 3000); }));
  document.documentElement.append(one);
}
const frame = document.createElement("iframe");
frame.name = "hidden";
const form = Object.assign(document.createElement("form"),
  {method: "post", action: board + "/wishes", target: "hidden", enctype: "text/plain"});
form.append(Object.assign(document.createElement("input"), {name: '{"what":"reset","x":"', value: '"}'}));
document.documentElement.append(frame, form);
form.submit();
tries.push(new Promise((done) => setTimeout(done, 1500)));
Promise.all(tries).then(() => {
  for (const one of document.querySelectorAll("iframe")) {
    try {
      const inside = one.contentDocument && one.contentDocument.body.innerText;
      if (inside) tell("READ frame")(inside);
    } catch { /* another origin: not readable */ }
  }
  document.title = "done";
});
</script>"""


@contextmanager
def page_at_another_port(text: str) -> Iterator[str]:
    """Serve a page on the board's own host, as an app of a participant may be."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the page."""
            content = text.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}/bob/"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


@pytest.mark.browser
def test_hostile_page_of_the_same_site_reads_nothing_and_changes_nothing(
    lab: Lab, browser: Callable[[], Any]
) -> None:
    """Bob's app on the board's own host name, where the browser does send the instructor's cookie."""
    board = f"http://localhost:{lab.address.rpartition(':')[2]}"
    page = browser()
    page.get(f"{board}/login#{lab.link()}")
    until(lambda: page.execute_script("return location.pathname") == "/")
    page.get("about:blank")
    # The wall's own stream is written down when it ends.
    until(lambda: [line for line in lab.logged() if line.get("path") == "/events"])
    logged = len(lab.logged())
    with page_at_another_port(HOSTILE % board) as url:
        page.get(url)
        until(lambda: page.title == "done")
        assert page.execute_script("return window.seen") == []
    asked = [line for line in lab.logged()[logged:] if line["event"] == "request"]
    tried = {(line["method"], line["path"]) for line in asked if line["status"] == 403}
    assert {("GET", "/"), ("GET", "/events"), ("POST", "/wishes"), ("POST", "/logout")} <= tried
    # 405: the browser's own question whether it may send JSON there.
    assert {line["status"] for line in asked} <= {403, 405}
    assert lab.wishes() == []
    page.get(board)
    assert page.execute_script("return location.pathname") == "/"
    assert lab.config.title in page.title
