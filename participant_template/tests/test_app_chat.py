"""One turn of a conversation: the events, the echo, and what is kept."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from app_helpers import ask, make_settings, only, text_of
from fastapi.testclient import TestClient

from app import chat, echo, main, parts
from app.chat import reply
from app.events import Event, Token, answering
from app.prompts import Exchange, Prompt
from app.shapes import Question


def recall(conversation: str, browser: str = "") -> list[Exchange]:
    """Return what the app remembers of a conversation."""
    return asyncio.run(parts.load_history(main.settings).recall(browser, conversation))


def test_chat_without_key_streams_the_echo_then_done(client: TestClient) -> None:
    """The context comes first, then the echo word by word, and one `done`."""
    events = ask(client, "Good  morning,\nclass <b>")

    names = [name for name, _ in events]
    assert names == ["context", "model"] + ["token"] * (len(names) - 3) + ["done"]
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


@pytest.mark.parametrize(("other", "browser"), [("b", "me"), ("", "me"), ("a", "you"), ("a", "")])
def test_chat_other_conversation_knows_nothing(
    client: TestClient, other: str, browser: str
) -> None:
    """Conversations do not mix, nor do browsers, and without an id nothing is kept."""
    ask(client, "My secret is 42", "a", "me")
    ask(client, "Hello", "", "me")

    assert "first message I remember" in text_of(ask(client, "What is it?", other, browser))


def test_chat_shows_what_the_model_is_sent(client: TestClient) -> None:
    """The context lists instructions, past and question, each with its size."""
    ask(client, "I like tea", "a")

    context = only(ask(client, "What do I like?", "a"), "context")

    messages = context["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"].startswith("You are a helpful assistant")
    assert (messages[1]["content"], messages[3]["content"]) == ("I like tea", "What do I like?")
    assert messages[3]["tokens"] == 4  # 15 characters
    assert context["tokens"] == sum(message["tokens"] for message in messages)


def test_chat_echo_estimates_the_tokens_and_says_so(client: TestClient) -> None:
    """Nobody counts tokens for the echo."""
    events = ask(client, "hi")

    usage = only(events, "done")["usage"]
    assert usage["prompt_tokens"] == only(events, "context")["tokens"]
    assert usage["completion_tokens"] == -(-len(text_of(events)) // 4)
    assert usage["estimated"] is True


def test_chat_crash_ends_with_a_friendly_error(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash midway keeps the 200, sends one `error`, and logs the traceback."""

    class Broken:
        async def answer(self, _prompt: Prompt) -> AsyncGenerator[Event, None]:
            yield Token("So far so ")
            raise ZeroDivisionError

    monkeypatch.setattr(echo, "Echo", Broken)

    events = ask(client, "hi", "a")

    assert [name for name, _ in events] == ["context", "token", "error"]
    assert events[-1][1]["message"] == "Something went wrong inside this app."
    assert "ZeroDivisionError" in caplog.text
    assert recall("a") == [Exchange("hi", "So far so ")]


class Slow:
    """An assistant that never finishes, and tells when it is stopped."""

    stopped = False

    async def answer(self, _prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield one word, then think for ever."""
        try:
            yield answering("slow")
            yield Token("Well, ")
            await asyncio.sleep(3600)
        finally:
            Slow.stopped = True


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    """Let the slow assistant answer."""
    monkeypatch.setattr(echo, "Echo", Slow)
    monkeypatch.setattr(Slow, "stopped", False)
    return Slow


def test_reply_left_midway_keeps_the_partial_answer(slow: type[Slow]) -> None:
    """Who stops reading stops the assistant; what was said stays in memory."""

    async def read_one_token() -> None:
        question = Question(message="hi", conversation="a")
        async with aclosing(reply(question, "", main.settings)) as events:
            async for event in events:
                if isinstance(event, Token):
                    break

    asyncio.run(read_one_token())

    assert slow.stopped
    assert recall("a") == [Exchange("hi", "Well, ", "slow")]


def test_reply_cancelled_while_waiting_keeps_the_partial_answer(slow: type[Slow]) -> None:
    """The same holds when the reader leaves while the assistant thinks."""

    async def read_until_cancelled() -> None:
        question = Question(message="hi", conversation="a")
        said = asyncio.Event()

        async def read() -> None:
            async for event in reply(question, "", main.settings):
                if isinstance(event, Token):
                    said.set()

        reading = asyncio.create_task(read())
        await said.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(read_until_cancelled())

    assert slow.stopped
    assert recall("a") == [Exchange("hi", "Well, ", "slow")]


def test_chat_broken_history_is_noticed_and_the_answer_comes(
    client: TestClient, tmp_path: Path
) -> None:
    """A damaged database costs the memory, not the answer; removed, it works again."""
    file = tmp_path / "data/history.db"
    file.parent.mkdir()
    file.write_bytes(b"this is no database, whatever its name says" * 100)

    events = ask(client, "hi", "a")

    names = [name for name, _ in events]
    assert (names[0], names[-2], names[-1]) == ("notice", "notice", "done")
    assert "history.db" in events[0][1]["hint"]
    assert "You said: hi" in text_of(events)
    file.unlink()
    assert ask(client, "hi", "a")[0][0] == "context"
    assert len(recall("a")) == 1


def test_chat_full_disk_is_noticed_and_the_answer_comes(client: TestClient) -> None:
    """A database that may not grow keeps what it has and stops nobody."""
    from sqlalchemy import event  # noqa: PLC0415 - only this test needs it

    ask(client, "first", "a")
    engine = parts.load_history(main.settings)._engine.sync_engine  # noqa: SLF001 - to make it full
    event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count = 1"))

    events = ask(client, "x" * 4000, "a")

    assert [name for name, _ in events][-2:] == ["notice", "done"]
    assert [exchange.question for exchange in recall("a")] == ["first"]


def test_chat_unwritable_folder_is_noticed_and_the_answer_comes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A data folder that cannot be made is a notice."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(main, "settings", make_settings(data_dir=tmp_path / "file/data"))

    names = [name for name, _ in ask(client, "hi", "a")]

    assert (names[0], names[-1]) == ("notice", "done")


def test_chat_prompt_that_cannot_be_filled_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong placeholder is named, with those that exist."""
    monkeypatch.setattr(main, "settings", make_settings(instructions="Answer {nmae} briefly"))

    [(name, problem)] = ask(client, "hi")

    assert name == "error"
    assert "'nmae'" in problem["message"]
    assert "{name}" in problem["hint"]


def test_chat_without_conversation_never_opens_the_history(client: TestClient) -> None:
    """Who wants nothing kept pays for no database."""
    ask(client, "hi")

    assert parts.load_history.cache_info().currsize == 0
    assert chat._saving == set()  # noqa: SLF001 - nothing is under way
