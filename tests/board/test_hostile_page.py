"""The instructor looks at Bob's app while the board is open in another tab; Bob's page is hostile.

A real Chromium, the real board, and a page that tries all it can (tests/board/hostile_page.py):
from another site, and from the board's own site, where browsers send every cookie along.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.hostile_page import PAGE
from tests.waiting import until
from workshop.board import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.board.lab import Lab

pytestmark = pytest.mark.browser


@contextmanager
def app(board: str) -> Iterator[int]:
    """Serve Bob's app; the port it has."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.replace("BOARD", board).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_page_of_a_seat_reads_and_changes_nothing_of_an_open_board(
    lab: Lab, browser: Callable[[], Any], host: str
) -> None:
    """``localhost`` is another site than the board's, ``127.0.0.1`` the same one."""
    page = browser()
    lab.open_seat(page)
    lab.open_wall(page)
    lab.write_log("ada", "CANARY of ada's log")
    before = lab.service.view
    with app(lab.url) as port:
        page.switch_to.new_window("tab")
        page.get(f"http://{host}:{port}/")
        until(lambda: page.execute_script("return window.over"))
        loot = page.execute_script("return window.loot")

    assert loot == []
    assert lab.wishes() == []
    assert lab.service.view.hands == before.hands == {}
    page.switch_to.window(page.window_handles[0])
    page.get(f"{lab.url}/")
    assert page.execute_script("return location.pathname") == "/"
    names = {cookie["name"]: cookie["value"] for cookie in page.get_cookies()}
    assert names[guard.INSTRUCTOR] != "planted"


def test_page_that_tries_would_read_a_board_without_a_guard(
    lab: Lab, browser: Callable[[], Any]
) -> None:
    """The attack itself works: against a server that lets everybody in, it comes back with loot."""

    class Open(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.send_header("Access-Control-Allow-Headers", "content-type, x-csrf-token")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"CANARY")

        def do_POST(self) -> None:
            self.do_GET()

        def do_OPTIONS(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Open)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser()
    try:
        with app(f"http://127.0.0.1:{server.server_address[1]}") as port:
            page.get(f"http://localhost:{port}/")
            until(lambda: page.execute_script("return window.over"))
            kinds = {what.split()[0] for what, _ in page.execute_script("return window.loot")}
    finally:
        server.shutdown()
        server.server_close()

    assert {"cors", "changed"} <= kinds
