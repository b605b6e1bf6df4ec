"""A real model, played by a fake one behind a real HTTP connection."""

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest
import uvicorn
from app_helpers import Upstream, ask, make_settings, only, text_of
from fastapi.testclient import TestClient

from app import main, parts
from app.prompts import Exchange


def recall(conversation: str) -> list[Exchange]:
    """Return what the app remembers of a conversation."""
    return asyncio.run(parts.load_history(main.settings).recall("", conversation))


def names_of(events: list[tuple[str, object]]) -> list[str]:
    """Return the names of the events."""
    return [name for name, _ in events]


INSTRUCTIONS = (
    "You are a helpful assistant who remembers what the user said. "
    "Give short, correct answers in English."
)


def test_model_answer_is_streamed_piece_by_piece(client: TestClient, upstream: Upstream) -> None:
    """Each piece of the model becomes one `token`, empty ones none."""
    upstream.pieces = ["Good ", "", "day!"]
    upstream.usage = {"prompt_tokens": 21, "completion_tokens": 3, "total_tokens": 24}

    events = ask(client, "hi")

    assert events[1:] == [
        ("model", {"model": "fake", "toy": False}),
        ("token", {"text": "Good "}),
        ("token", {"text": "day!"}),
        (
            "done",
            {
                "model": "fake",
                "toy": False,
                "usage": {"prompt_tokens": 21, "completion_tokens": 3, "estimated": False},
            },
        ),
    ]


def test_model_gets_name_key_instructions_and_past(client: TestClient, upstream: Upstream) -> None:
    """The second question carries the first exchange, in order, and asks for the count."""
    ask(client, "hi", "a")
    ask(client, "And now?", "a")

    request = upstream.requests[-1]
    assert (request["model"], request["stream"]) == ("fake", True)
    assert request["stream_options"] == {"include_usage": True}
    assert upstream.keys == ["Bearer sk-secret"] * 2
    assert [(m["role"], m["content"]) for m in request["messages"]] == [
        ("system", INSTRUCTIONS),
        ("user", "hi"),
        ("assistant", "Good day!"),
        ("user", "And now?"),
    ]


@pytest.mark.usefixtures("upstream")
def test_model_that_does_not_count_gets_an_estimate(client: TestClient) -> None:
    """Without usage the app guesses, and says so."""
    events = ask(client, "hi")

    assert only(events, "done")["usage"] == {
        "prompt_tokens": only(events, "context")["tokens"],
        "completion_tokens": 3,  # "Good day!" has nine characters
        "estimated": True,
    }


def test_model_toy_is_labelled(client: TestClient, upstream: Upstream) -> None:
    """The service says which model answered; a toy is called one."""
    upstream.model = "toy-smollm2-135m"

    events = ask(client, "hi", "a")

    assert only(events, "model") == {"model": "toy-smollm2-135m", "toy": True}
    assert recall("a")[0].model == "toy-smollm2-135m"


def test_model_queue_is_passed_on(client: TestClient, upstream: Upstream) -> None:
    """Whoever waits for the class's model sees how many are before them."""
    upstream.queue = [3, 1, 0]

    events = ask(client, "hi")

    assert [data["before"] for name, data in events if name == "queue"] == [3, 1, 0]
    assert names_of(events)[4] == "model"


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "", "did not accept the key"),
        (403, "", "did not accept the key"),
        (403, "paused", "The model is paused"),
        (404, "", "no model named fake"),
        (429, "", "Too many questions"),
        (429, "rate_limit_exceeded", "Too many questions"),
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

    [_, (name, problem)] = ask(client, "hi", "a")

    assert name == "error"
    assert words in problem["message"]
    assert problem["hint"]
    assert "sk-secret" not in str(problem)
    assert recall("a") == []


@pytest.mark.parametrize("code", ["insufficient_quota", "rate_limit_exceeded", "paused"])
def test_model_error_within_the_stream_is_explained(
    client: TestClient, upstream: Upstream, code: str
) -> None:
    """The gateway's own sentence, such as when the budget is full again, becomes the hint."""
    upstream.pieces = []
    upstream.error_in_stream = {"code": code, "message": "Full again at 15:00 UTC (wk-abcdef12)."}

    [_, (name, problem)] = ask(client, "hi")

    assert name == "error"
    assert problem["hint"] == "Full again at 15:00 UTC (***)."


def test_model_error_after_some_pieces_keeps_them(client: TestClient, upstream: Upstream) -> None:
    """What was said before the error is shown and remembered."""
    upstream.error_in_stream = {"code": "server_error", "message": "The upstream went away."}

    events = ask(client, "hi", "a")

    assert text_of(events) == "Good day!"
    assert events[-1] == (
        "error",
        {"message": "The model has a problem of its own.", "hint": "The upstream went away."},
    )
    assert recall("a")[0].answer == "Good day!"


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit_exceeded"), (503, ""), (500, "")])
def test_model_busy_is_asked_again_and_the_page_told(
    client: TestClient, upstream: Upstream, status: int, code: str
) -> None:
    """Two refusals that may pass are followed by a third try."""
    upstream.status, upstream.code, upstream.refusals = status, code, 2
    upstream.headers = {"Retry-After": "0.01"}

    events = ask(client, "hi")

    assert names_of(events)[:4] == ["context", "retry", "retry", "model"]
    assert text_of(events) == "Good day!"
    assert 0.01 <= events[1][1]["seconds"] < 0.6
    assert len(upstream.requests) == 3


def test_model_busy_three_times_is_told(client: TestClient, upstream: Upstream) -> None:
    """There is no fourth try."""
    upstream.status = 503
    upstream.headers = {"Retry-After": "0"}

    events = ask(client, "hi")

    assert names_of(events) == ["context", "retry", "retry", "error"]
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (429, "insufficient_quota", {}),
        (429, "rate_limit_exceeded", {"Retry-After": "40"}),
        (503, "", {"x-should-retry": "false"}),
        (400, "", {}),
        (401, "", {}),
    ],
)
def test_model_refusal_that_stays_is_not_asked_again(
    client: TestClient, upstream: Upstream, status: int, code: str, headers: dict[str, str]
) -> None:
    """An empty budget, a long wait or a wrong key do not change within seconds."""
    upstream.status, upstream.code, upstream.headers = status, code, headers

    assert names_of(ask(client, "hi")) == ["context", "error"]
    assert len(upstream.requests) == 1


def test_model_pause_without_advice_is_random_and_grows() -> None:
    """Thirty apps that were refused together do not come back together."""
    import httpx2  # noqa: PLC0415 - only these tests build errors by hand
    import openai  # noqa: PLC0415

    from app.model import pause  # noqa: PLC0415 - importing it at the top would load openai

    error = openai.APIConnectionError(request=httpx2.Request("POST", "http://model"))
    first = [pause(error, 1) for _ in range(200)]
    second = [pause(error, 2) for _ in range(200)]

    assert min(first) < 0.2
    assert 0.8 < max(first) <= 1
    assert 1.5 < max(second) <= 2
    assert pause(error, 3) is None


def test_model_breaking_off_ends_with_an_error(client: TestClient, upstream: Upstream) -> None:
    """The pieces that came are shown and kept, then the trouble is named."""
    upstream.breaks_off = True

    events = ask(client, "hi", "a")

    assert text_of(events) == "Good day!"
    assert events[-1][0] == "error"
    assert events[-1][1]["message"] == "The connection to the model failed."
    assert recall("a")[0].answer == "Good day!"


def test_model_unreachable_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the address: after two more tries the hint names the variable to check."""
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    settings = make_settings(openai_api_key="sk-secret", openai_base_url="http://127.0.0.1:9/v1")
    monkeypatch.setattr(main, "settings", settings)

    events = ask(client, "hi")

    assert names_of(events) == ["context", "retry", "retry", "error"]
    assert events[-1][1]["message"] == "The connection to the model failed."
    assert "OPENAI_BASE_URL" in events[-1][1]["hint"]


def test_model_too_slow_is_explained() -> None:
    """A timeout, which is also a connection error, has its own words and no second try."""
    import httpx2  # noqa: PLC0415
    import openai  # noqa: PLC0415

    from app.explain import explain, worth_retrying  # noqa: PLC0415

    error = openai.APITimeoutError(request=httpx2.Request("POST", "http://model"))

    assert str(explain(error, "fake")) == "The model took too long to answer."
    assert not worth_retrying(error)


@pytest.mark.parametrize("never_ends", ["talks", "thinks"])
def test_visitor_leaving_hangs_up_on_the_model(
    upstream: Upstream, never_ends: Literal["talks", "thinks"]
) -> None:
    """Stop in the browser closes the call to the model, and the half answer is kept."""
    upstream.never_ends = never_ends

    kept = answer_somebody_who_leaves()

    assert upstream.hung_up.wait(5)
    assert kept.startswith("Good day!")


def answer_somebody_who_leaves() -> str:
    """Serve a visitor who leaves after the first words; return the answer that was kept."""
    server = uvicorn.Server(uvicorn.Config(main.app, port=0, log_level="critical"))

    async def kept() -> str:
        past = await parts.load_history(main.settings).recall("", "a")
        return past[0].answer if past else ""

    async def scenario() -> str:
        serving = asyncio.create_task(server.serve())
        await until(lambda: asyncio.sleep(0, server.started))
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.to_thread(read_a_little_and_leave, port)
        await until(kept)
        server.should_exit = True
        await serving
        return await kept()

    return asyncio.run(asyncio.wait_for(scenario(), 20))


async def until(happened: Callable[[], Awaitable[object]]) -> None:
    """Wait for something in another thread or task."""
    while not await happened():  # noqa: ASYNC110 - the other side offers no event
        await asyncio.sleep(0.01)


def read_a_little_and_leave(port: int) -> None:
    """Ask over a real connection, read until the answer has begun, hang up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"message": "hi", "conversation": "a"})
    connection.request("POST", "/chat", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    while b"day!" not in response.readline():
        pass
    response.close()
    connection.close()
