"""What the tests share: settings, a way to read streams, and a tiny fake model service."""

import json
import math
import re
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any, Literal

from fastapi.testclient import TestClient

from app.settings import Settings


def make_settings(**fields: object) -> Settings:
    """Return settings as the app would read them, with these values."""
    return Settings.model_validate(fields)


def ask(
    client: TestClient, message: str, conversation: str = "", browser: str = "", **more: object
) -> list[tuple[str, Any]]:
    """Ask a question and return the events of the answer as (name, data)."""
    response = client.post(
        "/chat",
        json={"message": message, "conversation": conversation, **more},
        headers={"X-Browser": browser},
    )
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


def only(events: list[tuple[str, Any]], wanted: str) -> dict[str, Any]:
    """Return the data of the one event of this name."""
    [data] = [data for name, data in events if name == wanted]
    return data


def bag_of_words(text: str, size: int = 64) -> list[float]:
    """Return a vector in which texts that share words are near, the same on every machine."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % size] += 1
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else [1.0] + [0.0] * (size - 1)


class Upstream(ThreadingHTTPServer):
    """A fake model: streams `pieces`, or refuses with `status`, or misbehaves as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeModel)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.model = "fake"
        self.pieces = ["Good ", "day!"]
        self.queue: list[int] = []
        self.usage: dict[str, int] | None = None
        self.status = 200
        self.code = ""
        self.message = "the key sk-secret is bad"
        self.headers = {"x-should-retry": "false"}
        self.refusals = 1_000  # so many requests get `status`; later ones are answered
        self.error_in_stream: dict[str, str] | None = None
        self.breaks_off = False
        self.never_ends: Literal["", "talks", "thinks"] = ""
        self.embeddings_status = 200
        self.embeddings_each_minute = 0  # so many requests, then one is refused; 0 for no bound
        self.embedding_requests = 0
        self.refused_embeddings = 0
        self.hung_up = Event()
        self.requests: list[dict[str, Any]] = []
        self.embedded: list[str] = []
        self.keys: list[str] = []


class FakeModel(BaseHTTPRequestHandler):
    """Answers one request to the fake model."""

    server: Upstream

    def do_POST(self) -> None:
        """Note the question, then behave as the test wants."""
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if self.path.endswith("/embeddings"):
            self.embed(body["input"])
            return
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.status != 200 and self.server.refusals > 0:
            self.server.refusals -= 1
            self.refuse(self.server.status)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if self.server.breaks_off:
            self.send_header("Content-Length", "100000")
        self.end_headers()
        self.stream()

    def refuse(self, status: int) -> None:
        """Send an error in OpenAI's form."""
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        error = {"message": self.server.message, "code": self.server.code}
        self.wfile.write(json.dumps({"error": error}).encode())

    def embed(self, texts: list[str]) -> None:
        """Answer with a vector for each text."""
        self.server.embedding_requests += 1
        each = self.server.embeddings_each_minute
        if each and self.server.embedding_requests % (each + 1) == 0:
            self.server.refused_embeddings += 1
            self.refuse(429)
            return
        if self.server.embeddings_status != 200:
            self.refuse(self.server.embeddings_status)
            return
        self.server.embedded += texts
        data = [{"index": i, "embedding": bag_of_words(text)} for i, text in enumerate(texts)]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"model": "fake-embedding", "data": data}).encode())

    def stream(self) -> None:
        """Send the pieces, then end well, badly, or never."""
        for before in self.server.queue:
            self.send_piece("", workshop={"queue": before})
        for piece in self.server.pieces:
            self.send_piece(piece)
        if self.server.never_ends:
            self.go_on_until_hung_up()
        elif self.server.error_in_stream:
            self.wfile.write(
                f"data: {json.dumps({'error': self.server.error_in_stream})}\n\n".encode()
            )
        elif not self.server.breaks_off:
            if self.server.usage:
                self.send_chunk([], usage=self.server.usage)
            self.wfile.write(b"data: [DONE]\n\n")

    def send_piece(self, text: str, **extra: object) -> None:
        """Send one piece in OpenAI's form."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        self.send_chunk([choice], **extra)

    def send_chunk(self, choices: list[Any], **extra: object) -> None:
        """Send one chunk."""
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1}
        chunk |= {"model": self.server.model, "choices": choices, **extra}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

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
