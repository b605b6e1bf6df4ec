"""Conversations: the stream, the echo, and what is remembered."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from app_helpers import ask, text_of
from fastapi.testclient import TestClient

from app import chat, main
from app.chat import reply
from app.memory import LONGEST_ANSWER, Exchange, Memory


def test_chat_without_key_streams_the_echo_then_done(client: TestClient) -> None:
    """The echo comes word by word, says what it is, and ends with one `done`."""
    events = ask(client, "Good  morning,\nclass <b>")

    names = [name for name, _ in events]
    assert names == ["token"] * (len(names) - 1) + ["done"]
    assert len(names) > 10
    assert text_of(events).startswith(
        "I am the built-in echo, not a model. You said: Good  morning,\nclass <b>\n\n"
    )


def test_chat_stream_is_not_cached_or_buffered(client: TestClient) -> None:
    """Proxies are told to pass each event on at once."""
    headers = client.post("/chat", json={"message": "hi"}).headers

    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")


def test_chat_same_conversation_is_remembered(client: TestClient) -> None:
    """The second answer knows the first question."""
    first = ask(client, "I like tea", "a")
    second = ask(client, "What do I like?", "a")

    assert "first message I remember" in text_of(first)
    assert 'I remember 2 messages. Before this one you said: "I like tea"' in text_of(second)


@pytest.mark.parametrize("other", ["b", ""])
def test_chat_other_conversation_knows_nothing(client: TestClient, other: str) -> None:
    """Conversations do not mix, and without an id nothing is kept."""
    ask(client, "My secret is 42", "a")
    ask(client, "Hello", "")

    assert "first message I remember" in text_of(ask(client, "What is it?", other))


def test_chat_crash_ends_with_a_friendly_error(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash midway keeps the 200, sends one `error`, and logs the traceback."""

    class Broken:
        async def answer(self, _question: str, _past: list[Exchange]) -> AsyncGenerator[str, None]:
            yield "So far so "
            raise ZeroDivisionError

    monkeypatch.setattr(chat, "Echo", Broken)

    events = ask(client, "hi", "a")

    assert [name for name, _ in events] == ["token", "error"]
    assert events[-1][1]["message"] == "Something went wrong inside this app."
    assert "ZeroDivisionError" in caplog.text
    assert main.memory.recall("a") == [Exchange("hi", "So far so ")]


class Slow:
    """An assistant that never finishes, and tells when it is stopped."""

    def __init__(self) -> None:
        self.stopped = False

    async def answer(self, _question: str, _past: list[Exchange]) -> AsyncGenerator[str, None]:
        """Yield one word, then think for ever."""
        try:
            yield "Well, "
            await asyncio.sleep(3600)
        finally:
            self.stopped = True


def test_reply_left_midway_keeps_the_partial_answer() -> None:
    """Who stops reading stops the assistant; what was said stays in memory."""
    memory, slow = Memory(), Slow()

    async def read_one_piece() -> None:
        async with aclosing(reply("hi", "a", memory, slow)) as pieces:
            await anext(pieces)

    asyncio.run(read_one_piece())

    assert slow.stopped
    assert memory.recall("a") == [Exchange("hi", "Well, ")]


def test_reply_cancelled_while_waiting_keeps_the_partial_answer() -> None:
    """The same holds when the reader leaves while the assistant thinks."""
    memory, slow = Memory(), Slow()

    async def read_until_cancelled() -> None:
        async with asyncio.timeout(0.05):
            async for _ in reply("hi", "a", memory, slow):
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(read_until_cancelled())

    assert slow.stopped
    assert memory.recall("a") == [Exchange("hi", "Well, ")]


def test_memory_full_conversation_forgets_its_oldest_exchange() -> None:
    """Only the last exchanges go to the model."""
    memory = Memory(exchanges=2)
    for number in "123":
        memory.remember("a", f"q{number}", f"a{number}")

    assert memory.recall("a") == [Exchange("q2", "a2"), Exchange("q3", "a3")]


def test_memory_full_forgets_the_conversation_that_rested_longest() -> None:
    """A conversation in use survives an older one that is not."""
    memory = Memory(conversations=2)
    for conversation in ("a", "b", "a", "c"):
        memory.remember(conversation, "q", "a")

    assert [len(memory.recall(name)) for name in "abc"] == [2, 0, 1]


def test_memory_default_bounds_hold() -> None:
    """20 messages of 200 conversations are kept, and no endless answer."""
    memory = Memory()
    for number in range(201):
        memory.remember(str(number), "q", "x" * (LONGEST_ANSWER + 1))
    for _ in range(11):
        memory.remember("200", "q", "a")

    assert memory.recall("0") == []
    assert len(memory.recall("1")[0].answer) == LONGEST_ANSWER
    assert len(memory.recall("200")) == 10
