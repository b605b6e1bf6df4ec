"""What the tests share: settings, a way to read streams, and a tiny fake model."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any, Literal

from fastapi.testclient import TestClient

from app.settings import Settings


def make_settings(**fields: object) -> Settings:
    """Return settings as the app would read them, with these values."""
    return Settings.model_validate(fields)


def ask(client: TestClient, message: str, conversation: str = "") -> list[tuple[str, Any]]:
    """Ask a question and return the events of the answer as (name, data)."""
    response = client.post("/chat", json={"message": message, "conversation": conversation})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return read_events(response.text)


def read_events(stream: str) -> list[tuple[str, Any]]:
    """Return the events of a stream as (name, data)."""
    events = []
    for block in stream.split("\n\n"):
        if block and not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            events.append((fields["event"], json.loads(fields["data"])))
    return events


def text_of(events: list[tuple[str, Any]]) -> str:
    """Return the whole answer."""
    return "".join(data["text"] for name, data in events if name == "token")


class Upstream(ThreadingHTTPServer):
    """A fake model: streams `pieces`, or refuses with `status`, or misbehaves as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeModel)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.pieces = ["Good ", "day!"]
        self.status = 200
        self.code = ""
        self.breaks_off = False
        self.never_ends: Literal["", "talks", "thinks"] = ""
        self.hung_up = Event()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []


class FakeModel(BaseHTTPRequestHandler):
    """Answers one request to the fake model."""

    server: Upstream

    def do_POST(self) -> None:
        """Note the question, then behave as the test wants."""
        length = int(self.headers["Content-Length"])
        self.server.requests.append(json.loads(self.rfile.read(length)))
        self.server.keys.append(self.headers["Authorization"])
        self.send_response(self.server.status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("x-should-retry", "false")
        if self.server.breaks_off:
            self.send_header("Content-Length", "100000")
        self.end_headers()
        if self.server.status == 200:
            self.stream()
        else:
            error = {"message": "the key sk-secret is bad", "code": self.server.code}
            self.wfile.write(json.dumps({"error": error}).encode())

    def stream(self) -> None:
        """Send the pieces, then end well, badly, or never."""
        for piece in self.server.pieces:
            self.send_piece(piece)
        if self.server.never_ends:
            self.go_on_until_hung_up()
        elif not self.server.breaks_off:
            self.wfile.write(b"data: [DONE]\n\n")

    def send_piece(self, text: str) -> None:
        """Send one piece in OpenAI's form."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
        self.wfile.write(f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n".encode())

    def go_on_until_hung_up(self) -> None:
        """Talk without end, or say nothing more, and notice when the app has gone."""
        try:
            while self.server.never_ends == "talks":
                self.send_piece("more " * 100)
            self.connection.settimeout(15)
            if self.connection.recv(1):
                return
        except TimeoutError:
            return
        except OSError:
            pass
        self.server.hung_up.set()

    def log_message(self, *_: object) -> None:
        """Stay silent."""
