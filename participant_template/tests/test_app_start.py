"""Starting: quick, light, on the right port, and over in time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

TEMPLATE = Path(__file__).parents[1]
SLOW_TO_IMPORT = (
    *("openai", "httpx2", "httpx", "jinja2", "rich", "email_validator", "uvloop"),
    *("sqlalchemy", "aiosqlite", "sqlite3", "sqlite_vec", "pypdf", "langchain_core", "pinecone"),
    *("app.chat", "app.history", "app.retrieval"),
)


def run_python(code: str) -> str:
    """Run a few lines in a fresh Python that finds the app, and return what they print."""
    return subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)


def environment(**variables: str) -> dict[str, str]:
    """Return this environment, where `app` can be imported from any folder."""
    return {**os.environ, "PYTHONPATH": str(TEMPLATE), **variables}


def test_import_app_leaves_slow_libraries_alone() -> None:
    """A seat starts without the libraries that only a question needs."""
    loaded = run_python(
        f"import sys, app.main; print([name for name in {SLOW_TO_IMPORT} if name in sys.modules])"
    )

    assert loaded.strip() == "[]"


@pytest.mark.parametrize(("key", "loaded"), [("None", "False"), ("'sk-secret'", "True")])
def test_first_question_loads_openai_only_with_a_key(key: str, loaded: str) -> None:
    """Who has no key never pays for the model's library."""
    printed = run_python(
        "import asyncio, sys; from app.parts import find_assistant, Settings; "
        f"asyncio.run(find_assistant(Settings(openai_api_key={key}))); "
        "print('openai' in sys.modules)"
    )

    assert printed.strip() == loaded


@contextmanager
def running_app(**variables: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `python -m app` as the image does, wait until it answers, and stop it in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "app"],
        env=environment(PORT=str(port), **variables),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(f"{url}/healthz")
        yield process, url
    finally:
        process.kill()
        process.wait()


def wait_until_ready(url: str, seconds: float = 20) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx2.get(url)
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_start_takes_port_and_prefix_from_the_environment() -> None:
    """The variables of the server reach uvicorn."""
    with running_app(UVICORN_ROOT_PATH="/ada") as (_, url):
        schema = httpx2.get(f"{url}/openapi.json").json()

    assert schema["servers"] == [{"url": "/ada"}]


@pytest.mark.parametrize(("talking", "at_most"), [(False, 1.5), (True, 3.0)])
def test_stop_signal_ends_the_app_in_time(*, talking: bool, at_most: float) -> None:
    """Idle, the app goes at once; in the middle of an answer, when the grace is over."""
    with (
        running_app(UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN="1", OPENAI_API_KEY="") as (process, url),
        ExitStack() as open_answers,
    ):
        if talking:
            question = {"message": "word " * 700}
            answer = httpx2.stream("POST", f"{url}/chat", json=question)
            pieces = open_answers.enter_context(answer).iter_bytes()
            next(pieces)
        begin = time.monotonic()
        process.terminate()
        process.wait(timeout=20)
        took = time.monotonic() - begin

    assert (0.9 if talking else 0) < took < at_most
