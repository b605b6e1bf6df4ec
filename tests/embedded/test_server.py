"""The service over HTTP, with a scripted engine in place of llama.cpp and two numbers per text."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest

from workshop.embedded import embeddings, server
from workshop.embedded.embeddings import Embedder
from workshop.embedded.relay import while_connected
from workshop.embedded.server import LARGEST_BODY, create_app, end_without_engine
from workshop.embedded.slots import MOST_WAITING, Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

QUESTION = {"messages": [{"role": "user", "content": "Hello"}]}


class Words:
    """A tokenizer that makes a token of every word."""

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        """Make each word the number of its letters."""
        return [SimpleNamespace(ids=[len(word) for word in text.split()]) for text in texts]


class Sums:
    """A model that answers how many tokens, and their sum; it remembers its batches' sizes."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, texts: Sequence[Sequence[int]]) -> Any:
        """Encode one batch."""
        self.batches.append(len(texts))
        return np.array([[len(text), sum(text)] for text in texts], np.float32)


class ScriptedEngine:
    """An engine that answers what a test tells it to, and notes what it is asked."""

    def __init__(self, answer: Callable[[], Awaitable[httpx2.Response]]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Note the question and answer."""
        self.asked.append(json.loads(request.content))
        return await self._answer()


async def _whole() -> httpx2.Response:
    async def content() -> AsyncIterator[bytes]:
        yield b'{"model": "toy-smollm2-135m", '
        yield b'"choices": []}'

    return httpx2.Response(200, headers={"content-type": "application/json"}, content=content())


def _serve(
    engine: ScriptedEngine, slots: Slots, monkeypatch: pytest.MonkeyPatch, model: Any = None
) -> httpx2.AsyncClient:
    real = httpx2.AsyncClient
    monkeypatch.setattr(
        server.httpx2,
        "AsyncClient",
        lambda **_: real(base_url="http://engine", transport=httpx2.MockTransport(engine)),
    )
    app = create_app("http://engine", Embedder(Words(), model or Sums()), slots)
    return real(transport=httpx2.ASGITransport(app), base_url="http://toy")


def test_completions_answer_is_the_engines_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own usage and label reach the caller untouched."""

    async def scene() -> None:
        engine = ScriptedEngine(_whole)
        async with _serve(engine, Slots(1), monkeypatch) as client:
            answer = await client.post("/v1/chat/completions", json=QUESTION | {"model": "any"})
        assert answer.json() == {"model": "toy-smollm2-135m", "choices": []}
        assert engine.asked[0]["model"] == "toy-smollm2-135m"

    asyncio.run(scene())


def test_completions_engine_breaks_off_mid_stream_an_error_event_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was written stays, the caller learns why it ends, and the place is free again."""

    async def scene() -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"data: {}\n\n"
            raise httpx2.ReadError("cut")

        async def stream() -> httpx2.Response:
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, content=broken()
            )

        slots = Slots(1)
        async with _serve(ScriptedEngine(stream), slots, monkeypatch) as client:
            answer = await client.post("/v1/chat/completions", json=QUESTION | {"stream": True})
        first, last = answer.text.strip().split("\n\n")
        assert answer.headers["content-type"] == "text/event-stream"
        assert first == "data: {}"
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_failed"
        assert slots.busy == 0

    asyncio.run(scene())


def test_completions_engine_gone_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first byte the failure has a status of its own."""

    async def scene() -> None:
        async def refuse() -> httpx2.Response:
            raise httpx2.ConnectError("refused")

        async with _serve(ScriptedEngine(refuse), Slots(1), monkeypatch) as client:
            answer = await client.post("/v1/chat/completions", json=QUESTION)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")

    asyncio.run(scene())


def test_completions_more_than_may_wait_are_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One works, 64 wait, the next is refused; in the end every other one has its answer."""

    async def scene() -> None:
        gate = asyncio.Event()

        async def held() -> httpx2.Response:
            await gate.wait()
            return await _whole()

        slots = Slots(1)
        async with _serve(ScriptedEngine(held), slots, monkeypatch) as client:

            async def ask() -> httpx2.Response:
                return await client.post("/v1/chat/completions", json=QUESTION)

            tasks = [asyncio.create_task(ask()) for _ in range(MOST_WAITING + 1)]
            while slots.waiting < MOST_WAITING:  # noqa: ASYNC110 - the product raises no event
                await asyncio.sleep(0)
            refused = await ask()
            assert (await client.get("/healthz")).json() == {
                "status": "ok",
                "slots": 1,
                "busy": 1,
                "waiting": MOST_WAITING,
            }
            gate.set()
            answers = await asyncio.gather(*tasks)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert {answer.status_code for answer in answers} == {200}
        assert (slots.busy, slots.waiting) == (0, 0)

    asyncio.run(scene())


def test_completions_body_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine never sees it."""

    async def scene() -> None:
        engine = ScriptedEngine(_whole)
        async with _serve(engine, Slots(1), monkeypatch) as client:
            answer = await client.post("/v1/chat/completions", content=b" " * (LARGEST_BODY + 1))
        assert (answer.status_code, engine.asked) == (413, [])

    asyncio.run(scene())


def test_embeddings_many_texts_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are sorted by length inside; the caller does not notice."""

    async def scene() -> None:
        texts = [" ".join(["ab"] * count) for count in (5, 1, 9, 3, 2, 8, 4, 7, 6, 10)]
        model = Sums()
        async with _serve(ScriptedEngine(_whole), Slots(1), monkeypatch, model) as client:
            answer = (await client.post("/v1/embeddings", json={"input": texts})).json()
        counts = [item["embedding"][0] for item in answer["data"]]
        assert counts == [5, 1, 9, 3, 2, 8, 4, 7, 6, 10]
        assert answer["usage"] == {"prompt_tokens": 55, "total_tokens": 55}
        assert model.batches == [8, 2]

    asyncio.run(scene())


def test_embedder_known_text_is_not_embedded_again() -> None:
    """Thirty people index the same documents; their vectors are made once."""
    model = Sums()
    embedder = Embedder(Words(), model)

    async def scenario() -> list[Any]:
        first = await embedder.embed(["a bb", "ccc", "a bb"])
        again = await embedder.embed(["ccc", "dd ee ff", "a bb"])
        return [*first.rows, *again.rows]

    rows = asyncio.run(scenario())

    assert model.batches == [2, 1]
    assert [row.tolist() for row in rows] == [[2, 3], [1, 3], [2, 3], [1, 3], [3, 6], [2, 3]]


def test_embedder_oldest_vector_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept stays bounded, whatever people send."""
    monkeypatch.setattr(embeddings, "KNOWN", 2)
    model = Sums()
    embedder = Embedder(Words(), model)

    async def scenario() -> None:
        for text in ("a", "bb", "a", "ccc", "a", "bb"):
            await embedder.embed([text])

    asyncio.run(scenario())

    assert len(model.batches) == 4


def test_models_both_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client finds the names it may use."""

    async def scene() -> None:
        async with _serve(ScriptedEngine(_whole), Slots(1), monkeypatch) as client:
            answer = await client.get("/v1/models")
            unknown = await client.get("/v1/files")
        names = [item["id"] for item in answer.json()["data"]]
        assert names == ["toy-smollm2-135m", "all-minilm-l6-v2"]
        assert unknown.json()["error"]["message"] == "GET /v1/files: Not Found"

    asyncio.run(scene())


def test_while_connected_caller_leaves_the_work_is_cancelled() -> None:
    """Whatever the work holds, its own block gives back."""

    async def scene() -> list[str]:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("given back")

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        await while_connected(receive, work())
        return seen

    assert asyncio.run(scene()) == ["given back"]


def test_while_connected_work_fails_the_failure_is_heard() -> None:
    """An unexpected error is not swallowed with the watch for the caller."""

    async def scene() -> None:
        async def work() -> None:
            raise RuntimeError("unexpected")

        await while_connected(asyncio.Event().wait, work())

    with pytest.raises(RuntimeError, match="unexpected"):
        asyncio.run(scene())


def test_end_without_engine_silent_engine_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three failures in a row end it; two and an answer do not."""
    answers = iter([500, 500, 200, 500, 500, 500])
    asked: list[str] = []

    def engine(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(next(answers))

    ended: list[int] = []
    monkeypatch.setattr(server.os, "_exit", ended.append)
    client = httpx2.AsyncClient(base_url="http://engine", transport=httpx2.MockTransport(engine))
    asyncio.run(end_without_engine(client, seconds=0))
    assert (asked, ended) == (["/health"] * 6, [1])
    assert "does not answer any more" in capsys.readouterr().err
