"""What holds for every address: headers, HEAD, sizes, words, faults, and that it ends in time."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import key_of
from tests.intake.lab import send_raw
from tests.waiting import PATIENCE, SOON, until
from workshop.board import door, exposition, render
from workshop.serving import replace_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.board.lab import Lab

TEMPLATES = sorted((render.STATIC.parent / "templates").rglob("*.html"))
VENDORED = re.compile(r"^\| (?P<file>\S+) \|.*\| (?P<sum>[0-9a-f]{64}) \|$", re.MULTILINE)


@pytest.mark.parametrize(
    "path", ["/", "/login", "/me", "/nowhere", "/healthz", "/static/theme.js", "/static/nowhere"]
)
def test_every_answer_carries_the_headers_that_keep_other_pages_out(lab: Lab, path: str) -> None:
    """Also those that say no."""
    answer = lab.visitor().get(path)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    expected = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    assert expected.items() <= dict(answer.headers).items()
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/login", "/me", "/projector", "/seats/ada", "/healthz"])
def test_page_is_never_kept_by_browsers(lab: Lab, path: str) -> None:
    """After a logout nobody goes back to it."""
    assert lab.instructor().get(path).headers["cache-control"] == "no-store"


def test_file_of_the_package_is_kept_for_as_long_as_its_address(lab: Lab) -> None:
    """The address changes with the content; without its mark one has to look again."""
    address = render.static("theme.js")
    digest = hashlib.sha256((render.STATIC / "theme.js").read_bytes()).hexdigest()
    assert address == f"/static/theme.js?v={digest[:12]}"
    kept = lab.visitor().get(address)
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    bare = lab.visitor().get("/static/theme.js")
    assert bare.headers["cache-control"] == "no-cache"
    assert bare.headers["etag"]


@pytest.mark.parametrize("path", ["/healthz", "/login", "/", "/nowhere", "/static/theme.js"])
def test_head_answers_like_get_without_the_body(lab: Lab, path: str) -> None:
    """As HTTP asks for (RFC 9110, 9.3.2)."""
    who = lab.instructor()
    head, get = who.ask("HEAD", path), who.get(path)
    assert head.status_code == get.status_code
    assert head.headers.get("content-type") == get.headers.get("content-type")
    assert head.content == b""


def test_head_of_a_stream_ends_at_once(lab: Lab) -> None:
    """Nobody waits for a body that never comes."""
    began = time.monotonic()
    answer = lab.instructor().ask("HEAD", "/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert time.monotonic() - began < SOON


def test_unknown_address_is_a_page_to_browsers_and_json_to_others(lab: Lab) -> None:
    """Both say the same."""
    page = lab.visitor().get("/nowhere", headers={"accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 404
    assert "<h1>Nothing here</h1>" in page.text
    assert "There is nothing at this address." in page.text
    told = lab.visitor().get("/nowhere")
    assert told.json() == {"error": "There is nothing at this address."}
    piece = {"accept": "text/html", "hx-request": "true"}
    assert lab.visitor().get("/nowhere", headers=piece).json() == told.json()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/login", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/logout", "POST"),
        ("PUT", "/wishes", "POST"),
        ("OPTIONS", "/wishes", "POST"),
    ],
)
def test_wrong_method_is_told_the_right_ones(
    lab: Lab, method: str, path: str, allowed: str
) -> None:
    """RFC 9110, 15.5.6; several routes may share one address."""
    answer = lab.visitor().ask(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


def test_body_over_64_kb_is_refused(lab: Lab) -> None:
    """Whether it says its length or not; one that fits is looked at."""
    who = lab.instructor()
    big = b'{"word": "' + b"x" * door.LARGEST_BODY + b'"}'
    headers = {"content-type": "application/json"}
    assert who.ask("POST", "/login", content=big, headers=headers).status_code == 413
    pieces = iter([big[:40_000], big[40_000:]])
    assert who.ask("POST", "/login", content=pieces, headers=headers).status_code == 413
    fits = b'{"word": "' + b"x" * 1000 + b'"}'
    assert who.ask("POST", "/login", content=fits, headers=headers).status_code == 422


def test_body_that_says_it_is_huge_is_refused_before_it_comes(lab: Lab) -> None:
    """Nobody makes the board wait for a gigabyte."""
    host = lab.address
    lines = (
        f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: {lab.url}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    )
    with send_raw(lab.address, lines.encode()) as connection:
        connection.settimeout(PATIENCE)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_fault_of_the_board_is_told_without_a_word_of_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log gets the kind and the place; whoever asked gets neither."""

    def broken(*_: Any) -> str:
        raise RuntimeError("CANARY")

    monkeypatch.setattr(exposition, "text", broken)
    from tests.board.lab import METRICS

    headers = {"authorization": f"Bearer {METRICS}"}
    answer = lab.visitor().get("/metrics", headers=headers)
    assert answer.status_code == 500
    assert "Tell your instructor" in answer.json()["error"]
    (line,) = [line for line in lab.logged() if line["event"] == "internal error"]
    assert line["kind"] == "RuntimeError"
    assert "test_app.py:" in line["place"]
    assert "CANARY" not in lab.log.getvalue()
    assert lab.visitor().get("/healthz").status_code == 200


def test_log_has_a_line_for_each_request_without_what_people_wrote(lab: Lab) -> None:
    """No address as it was typed, no query, no key."""
    lab.visitor().get(f"/{key_of('ada')}?key={key_of('ada')}")
    lab.instructor().get("/seats/ada")
    lab.visitor().get("/healthz")
    lines = until(lambda: [one for one in lab.logged() if one["event"] == "request"][2:])
    del lines
    found = [one for one in lab.logged() if one["event"] == "request"]
    assert [(one["method"], one["path"], one["status"]) for one in found] == [
        ("GET", "", 404),
        ("POST", "/login", 200),
        ("GET", "/seats/{name}", 200),
    ]
    assert "CANARY" not in lab.log.getvalue()


def test_board_with_open_streams_stops_at_once(lab: Lab) -> None:
    """Nobody waits for streams to end by themselves."""
    with lab.instructor().events("/events") as stream:
        assert next(stream)
        began = time.monotonic()
        lab.stop()
        assert time.monotonic() - began < SOON
        with ThreadPoolExecutor(1) as pool:
            pool.submit(list, stream).result(PATIENCE)
    lab.start()


def test_stream_ends_when_it_is_old_and_says_when_to_come_again(lab: Lab) -> None:
    """Browsers open the next one by themselves."""
    lab.stop()
    lab.options = {"longest": 0.2}
    lab.start()
    answer = lab.participant("ada").get("/me/events")
    assert answer.status_code == 200
    assert answer.text.startswith("retry: ")


def test_client_that_goes_away_leaves_no_stream_behind(lab: Lab) -> None:
    """Its line in the log says that it ended."""
    ada = lab.participant("ada")
    with ada.events("/me/events") as stream:
        assert next(stream)
        assert not [line for line in lab.logged() if line.get("path") == "/me/events"]
    until(lambda: [line for line in lab.logged() if line.get("path") == "/me/events"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1}', "\0"])
def test_configuration_that_is_garbled_changes_nothing(lab: Lab, text: str) -> None:
    """What was known stays, and the log says so."""
    before = lab.service.view.fingerprint
    replace_whole(lab.told / "config.json", text)
    until(lambda: [line for line in lab.logged() if line["event"].startswith("files refused")])
    assert lab.visitor().get("/healthz").json() == {"status": "ok", "config": before}
    lab.configure(title="Autumn class")
    assert lab.visitor().get("/healthz").json()["config"] == lab.config.fingerprint


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template_has_no_script_or_style_of_its_own(path: Any) -> None:
    """The policy would keep it from working; and nothing is marked as safe."""
    text = path.read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|\bjs:", text)
    # What is marked as safe is a piece that was rendered before.
    assert not re.search(r"(?<!text )(?<!room )(?<!\) )\|\s*safe\b|autoescape", text)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)


def test_files_of_others_are_those_that_were_written_down() -> None:
    """Version, licence and sum stand beside them."""
    text = (render.STATIC / "VENDORED.md").read_text("utf-8")
    found = {item["file"]: item["sum"] for item in VENDORED.finditer(text)}
    assert "htmx.min.js" in found
    for name, digest in found.items():
        assert hashlib.sha256((render.STATIC / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (0.9, "just now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_ago_says_how_long_ago(seconds: float, words: str) -> None:
    """In the largest unit that fits."""
    assert render.ago(seconds) == words


def test_commands_between_backticks_become_code_and_everything_is_escaped() -> None:
    """The deploy doctor's words quote what apps print."""
    assert render.commands("run `a <b>` & <i>") == "run <code>a &lt;b&gt;</code> &amp; &lt;i&gt;"
    assert render.commands("one ` alone") == "one ` alone"


@pytest.mark.browser
def test_choice_of_dark_stays_on_the_next_page(lab: Lab, browser: Callable[[], Any]) -> None:
    """It is in the page as it comes from the server, so nothing flashes."""
    page = browser()
    page.get(f"{lab.url}/login")
    page.execute_script(
        "const b = document.createElement('button'); b.dataset.themeChoice = 'dark';"
        " document.body.append(b); b.click();"
    )
    page.get(f"{lab.url}/login")
    assert page.execute_script("return document.documentElement.dataset.theme") == "dark"
    assert (
        'data-theme="dark"'
        in lab.visitor().get("/login", headers={"cookie": f"{render.THEME}=dark"}).text
    )
    evil = {"cookie": f'{render.THEME}="><script>'}
    assert "data-theme" not in lab.visitor().get("/login", headers=evil).text


def test_slow_client_that_sends_nothing_keeps_nobody_waiting(lab: Lab) -> None:
    """A connection that never asks is just there."""
    host, _, port = lab.address.rpartition(":")
    with socket.create_connection((host, int(port))):
        assert lab.visitor().get("/healthz").status_code == 200
