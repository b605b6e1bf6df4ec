"""Who answers in the examples: the echo without a key, and a model behind a real socket."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class FakeModel(ThreadingHTTPServer):
    """Answers chat completions with ``status`` and ``body``, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = b""
        self.asked: list[tuple[str, str, Any]] = []

    def says(self, *words: str) -> None:
        """Stream these words, as OpenAI does: a first chunk without, a last one with usage."""
        chunks: list[Any] = [{"choices": [{"delta": {"role": "assistant"}}]}]
        chunks += [{"choices": [{"delta": {"content": word}}]} for word in words]
        chunks += [{"choices": [], "usage": {"total_tokens": 3}}]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self.body = "".join([": hello\n\n", *lines, "data: [DONE]\n\n"]).encode()


class Handler(BaseHTTPRequestHandler):
    """Speaks for the fake model."""

    server: FakeModel

    def do_POST(self) -> None:
        """Answer one request and hang up."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], asked))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep the test's output clean."""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModel]:
    """Run a model for the apps to ask."""
    with FakeModel() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("OPENAI_API_KEY", "wk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1/")
        monkeypatch.setenv("OPENAI_MODEL", "tiny")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["flask", "gradio"])
def app(request: pytest.FixtureRequest) -> Any:
    """Load an example's model module from its file."""
    path = EXAMPLES / request.param / "app" / "model.py"
    spec = importlib.util.spec_from_file_location(f"{request.param}_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ask(app: Any) -> Callable[[str], str]:
    """Ask an example's model and return the whole answer, whichever way it streams."""

    async def last(question: str) -> str:
        return [text async for text in app.answer(question, [])][-1]

    if app.__name__ == "gradio_model":
        return lambda question: asyncio.run(last(question))
    return lambda question: "".join(app.answer(question))


def test_without_a_key_the_echo_answers(
    ask: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty key counts as none."""
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert ask("good morning").strip().endswith("You said: good morning")


def test_model_answer_is_put_together_from_its_stream(
    ask: Callable[[str], str], model: FakeModel
) -> None:
    """Comments, empty chunks, the usage and the end mark leave no trace."""
    model.says("Good ", "", "day")

    assert ask("hello") == "Good day"
    path, key, asked = model.asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer wk-test")
    assert (asked["model"], asked["stream"]) == ("tiny", True)
    assert asked["messages"][-1] == {"role": "user", "content": "hello"}


def test_refusal_of_the_gateway_is_repeated(
    app: Any, ask: Callable[[str], str], model: FakeModel
) -> None:
    """The gateway's sentence is written for people, so the visitor reads it."""
    model.status = 429
    model.body = b'{"error": {"message": "Your budget refills at 14:00."}}'

    with pytest.raises(app.ModelError, match="refills at 14:00"):
        ask("hello")


def test_refusal_in_another_language_names_the_status(
    app: Any, ask: Callable[[str], str], model: FakeModel
) -> None:
    """A proxy's page of HTML is not shown to the visitor."""
    model.status, model.body = 502, b"<html>Bad gateway</html>"

    with pytest.raises(app.ModelError, match=r"just now \(502\)"):
        ask("hello")


@pytest.mark.parametrize("body", [b'data: {"error": {"message": "Cut."}}\n\n', b"data: {oops\n\n"])
def test_trouble_in_the_stream_is_told(
    app: Any, ask: Callable[[str], str], model: FakeModel, body: bytes
) -> None:
    """An error event, or garbage, ends the answer with a sentence and not with a traceback."""
    model.body = body

    with pytest.raises(app.ModelError):
        ask("hello")


def test_unreachable_model_is_told(
    app: Any, ask: Callable[[str], str], model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection becomes a sentence."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")

    with pytest.raises(app.ModelError, match="connection to the model failed"):
        ask("hello")


def test_gradio_message_with_parts_is_sent_as_text(model: FakeModel) -> None:
    """Gradio keeps messages in parts; the model gets plain text, and what was said before."""
    spec = importlib.util.spec_from_file_location("gm", EXAMPLES / "gradio/app/model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model.says("ok")
    past = [{"role": "user", "content": [{"type": "text", "text": "first"}], "metadata": None}]

    async def ask() -> None:
        async for _ in module.answer("second", past):
            pass

    asyncio.run(ask())

    assert model.asked[0][2]["messages"][1:] == [
        {"role": "user", "content": "first"},
        {"role": "user", "content": "second"},
    ]
