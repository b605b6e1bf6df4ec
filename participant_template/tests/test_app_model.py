"""A real model, played by a fake one behind a real HTTP connection."""

import asyncio
import http.client
import json
from collections.abc import Callable
from typing import Literal

import pytest
import uvicorn
from app_helpers import Upstream, ask, make_settings, text_of
from fastapi.testclient import TestClient

from app import main


def test_model_answer_is_streamed_piece_by_piece(client: TestClient, upstream: Upstream) -> None:
    """Each piece of the model becomes one `token`, empty ones none."""
    upstream.pieces = ["Good ", "", "day!"]

    events = ask(client, "hi")

    assert events == [
        ("token", {"text": "Good "}),
        ("token", {"text": "day!"}),
        ("done", {}),
    ]


def test_model_gets_name_key_instructions_and_past(client: TestClient, upstream: Upstream) -> None:
    """The second question carries the first exchange, in order."""
    ask(client, "hi", "a")
    ask(client, "And now?", "a")

    request = upstream.requests[-1]
    assert (request["model"], request["stream"]) == ("fake", True)
    assert upstream.keys == ["Bearer sk-secret"] * 2
    assert [(m["role"], m["content"]) for m in request["messages"]] == [
        ("system", main.settings.instructions),
        ("user", "hi"),
        ("assistant", "Good day!"),
        ("user", "And now?"),
    ]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "", "did not accept the key"),
        (403, "", "did not accept the key"),
        (404, "", "no model named fake"),
        (429, "", "Too many questions"),
        (429, "insufficient_quota", "budget for the model is used up"),
        (400, "", "refused this question"),
        (503, "", "problem of its own"),
    ],
)
def test_model_refusal_becomes_one_friendly_error(
    client: TestClient, upstream: Upstream, status: int, code: str, words: str
) -> None:
    """Each kind of refusal has its sentence; none repeats what the model said about the key."""
    upstream.status, upstream.code = status, code

    [(name, problem)] = ask(client, "hi", "a")

    assert name == "error"
    assert words in problem["message"]
    assert problem["hint"]
    assert "sk-secret" not in str(problem)
    assert main.memory.recall("a") == []


def test_model_breaking_off_ends_with_an_error(client: TestClient, upstream: Upstream) -> None:
    """The pieces that came are shown and kept, then the trouble is named."""
    upstream.breaks_off = True

    events = ask(client, "hi", "a")

    assert text_of(events) == "Good day!"
    assert events[-1][0] == "error"
    assert events[-1][1]["message"] == "The connection to the model failed."
    assert main.memory.recall("a")[0].answer == "Good day!"


def test_model_unreachable_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the address: the hint names the variable to check."""
    settings = make_settings(openai_api_key="sk-secret", openai_base_url="http://127.0.0.1:9/v1")
    monkeypatch.setattr(main, "settings", settings)

    [(name, problem)] = ask(client, "hi")

    assert (name, problem["message"]) == ("error", "The connection to the model failed.")
    assert "OPENAI_BASE_URL" in problem["hint"]


def test_model_too_slow_is_explained() -> None:
    """A timeout, which is also a connection error, has its own words."""
    import httpx2  # noqa: PLC0415 - only this test builds errors by hand
    import openai  # noqa: PLC0415

    from app.model import explain  # noqa: PLC0415 - importing it at the top would load openai

    error = openai.APITimeoutError(request=httpx2.Request("POST", "http://model"))

    assert str(explain(error, "fake")) == "The model took too long to answer."


@pytest.mark.parametrize("never_ends", ["talks", "thinks"])
def test_visitor_leaving_hangs_up_on_the_model(
    upstream: Upstream, never_ends: Literal["talks", "thinks"]
) -> None:
    """Stop in the browser closes the call to the model, and the half answer is kept."""
    upstream.never_ends = never_ends
    server = uvicorn.Server(uvicorn.Config(main.app, port=0, log_level="critical"))

    async def scenario() -> None:
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.to_thread(read_a_little_and_leave, port)
        await until(lambda: main.memory.recall("a"))
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(scenario(), 20))

    assert upstream.hung_up.wait(5)
    assert main.memory.recall("a")[0].answer.startswith("Good day!")


async def until(happened: Callable[[], object]) -> None:
    """Wait for something in another thread or task."""
    while not happened():  # noqa: ASYNC110 - the other side offers no event
        await asyncio.sleep(0.01)


def read_a_little_and_leave(port: int) -> None:
    """Ask over a real connection, read the first bytes, hang up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"message": "hi", "conversation": "a"})
    connection.request("POST", "/chat", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read(10)
    response.close()
    connection.close()
