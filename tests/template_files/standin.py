"""A stand-in for the intake: notes what it is asked, and answers as it was told."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Seen(NamedTuple):
    """One request."""

    method: str
    path: str
    authorization: str | None
    body: bytes


class Deploys(BaseHTTPRequestHandler):
    """Answers every request in the same words."""

    status: ClassVar[int] = 200
    words: ClassVar[str] = ""
    seen: ClassVar[list[Seen]] = []

    def do_GET(self) -> None:
        """Answer as it was told."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.seen.append(Seen(self.command, self.path, self.headers["Authorization"], body))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.words.encode())

    do_PUT = do_GET  # noqa: N815 - the library's word

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        """Stay silent."""


@contextmanager
def intake(status: int, words: str) -> Iterator[tuple[str, type[Deploys]]]:
    """Run a stand-in; yields its host and port, and what it has seen."""
    told = type("Told", (Deploys,), {"status": status, "words": words, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), told) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", told
        finally:
            server.shutdown()
            thread.join()
