"""The services themselves, running: the gateway, the intake, the board, models, a participant's app."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import requests

from tests.board import lab as boards
from tests.fuzz.apis import ROOT, Api, read_schema, serving
from tests.gateway import lab as gateways
from tests.gateway.fake import FakeThread
from tests.intake import lab as intakes
from workshop.embedded import server as embedded
from workshop.embedded.embeddings import Embedder
from workshop.embedded.slots import Slots
from workshop.gateway.config import Config
from workshop.intake.config import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def gateway(directory: Path) -> Iterator[Api]:
    """Run the gateway between a fake provider and one participant's key."""
    provider = FakeThread()
    config = Config(
        "class", seats=(gateways.seat("ada"),), upstreams=(gateways.upstream(provider.fake.url),)
    )
    patience = replace(gateways.FAST, first_byte=30, between=30, whole=60, down=0.03)
    lab = gateways.Lab(directory, provider, config, patience).start()
    key = {"authorization": f"Bearer {gateways.key_of('ada')}"}
    yield Api(f"http://{lab.address}", read_schema("gateway"), key)
    assert "internal error" not in lab.log.getvalue(), lab.log.getvalue()[-2000:]
    lab.stop()


@contextlib.contextmanager
def intake(directory: Path) -> Iterator[Api]:
    """Run the intake; nobody takes its orders."""
    many = Limits(deploys_per_minute=6_000_000, burst=6_000_000)
    config = intakes.Config("class", "http://x", (intakes.seat("ada"), intakes.seat("bob")), many)
    lab = intakes.Lab(
        directory, config, options={"appear": 0.01, "silent": 0.01, "longest": 0.1}
    ).start()
    fixed = {
        "/v2/token": intakes.basic("ada"),
        "/events": {"authorization": f"Bearer {intakes.EVENTS_CANARY}"},
    }
    yield Api(lab.url, read_schema("intake"), intakes.bearer("ada"), fixed)
    assert "internal error" not in lab.log.getvalue(), lab.log.getvalue()[-2000:]
    lab.stop()


@contextlib.contextmanager
def board(directory: Path) -> Iterator[Api]:
    """Run the board for an instructor and a participant, each logged in; nobody grants wishes."""
    options = {"longest": 0.1, "heartbeat": 0.05}
    lab = boards.Lab(directory, options=options, openapi=True).start()
    schema = requests.get(f"{lab.url}/openapi.json", timeout=60).json()
    theirs = lab.participant("ada").headers()
    fixed = {path: theirs for path in schema["paths"] if path.startswith("/me")}
    # Whoever leaves is out, so that nobody else must leave with them.
    fixed["/logout"] = lab.instructor().headers()
    fixed["/me/leave"] = lab.participant("bob").headers()
    fixed["/metrics"] = {"authorization": f"Bearer {boards.METRICS}"}
    yield Api(lab.url, schema, lab.instructor().headers(), fixed)
    assert "internal error" not in lab.log.getvalue(), lab.log.getvalue()[-2000:]
    lab.stop()


class _Words:
    def encode_batch(self, texts: Any) -> list[Any]:
        return [SimpleNamespace(ids=[len(word) for word in text.split()]) for text in texts]


class _Sums:
    def encode(self, texts: Any) -> Any:
        return np.array([[len(text), sum(text)] for text in texts], np.float32)


async def _engine(scope: Any, receive: Any, send: Any) -> None:
    """Answer as llama.cpp does."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b'{"choices": []}'})


@contextlib.contextmanager
def toy(directory: Path) -> Iterator[Api]:
    """Run the embedded model's server in front of a stand-in for its engine."""
    del directory
    with serving(_engine) as engine:
        app = embedded.create_app(engine, Embedder(_Words(), _Sums()), Slots(4))
        with serving(app) as url:
            yield Api(url, read_schema("embedded"))


_APP = (
    "import sys, app.echo as echo; real = echo.Echo; echo.Echo = lambda: real(seconds_per_word=0);"
    " import uvicorn; uvicorn.run('app.main:app', fd=int(sys.argv[1]), log_level='warning')"
)


@contextlib.contextmanager
def participant(directory: Path) -> Iterator[Api]:
    """Run the app everybody starts from; its schema is what it says itself."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(ROOT / "participant_template")}
    with socket.create_server(("127.0.0.1", 0)) as listener, (directory / "log").open("wb") as log:
        url = "http://{}:{}".format(*listener.getsockname())
        command = [sys.executable, "-c", _APP, str(listener.fileno())]
        with subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        ) as process:
            try:
                schema = _first(url + "/openapi.json", process)
                yield Api(url, schema, {"x-browser": "fuzz"})
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)
    text = (directory / "log").read_text("utf-8", "replace")
    errors = set(re.findall(r"(?m)^[ |]*([A-Za-z_.]+(?:Error|Exception))(?::|$)", text))
    # FastAPI's own pinger of event streams may come a moment after the stream's end.
    assert errors <= {"anyio.BrokenResourceError"}, text[:3000] + text[-3000:]


def _first(url: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(requests.ConnectionError):
            found: dict[str, Any] = requests.get(url, timeout=60).json()
            return found
        assert process.poll() is None, "the app ended"
        assert time.monotonic() < end, "the app did not start"
        time.sleep(0.05)


SERVICES = {
    "gateway": gateway,
    "intake": intake,
    "embedded": toy,
    "participant": participant,
    "board": board,
}
CHAT = b'{"model": "small", "messages": [{"role": "user", "content": "hello"}], "stream": false}'
RAW = {
    "gateway": [
        ("/llm/v1/chat/completions", CHAT),
        ("/llm/v1/embeddings", b'{"model": "vectors", "input": ["a", "b"], "user": "x"}'),
    ],
    "intake": [("/events", b'{"events": [{"id": "1", "action": "push", "target": {"tag": "1"}}]}')],
    "embedded": [
        ("/v1/chat/completions", CHAT),
        ("/v1/embeddings", b'{"model": "x", "input": ["a", "b"], "encoding_format": "float"}'),
    ],
    "board": [
        ("/wishes", b'{"what": "restart", "seats": ["ada"], "text": ""}'),
        ("/me/wishes", b'{"what": "restart", "text": ""}'),
        ("/login", b'{"word": "x"}'),
    ],
    "participant": [("/chat", b'{"message": "hello", "conversation": "x", "documents": ["*"]}')],
}
"""Addresses that take JSON, each with a good body."""
