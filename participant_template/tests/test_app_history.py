"""The history of conversations: who sees it, and its bounds."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from app_helpers import ask
from fastapi.testclient import TestClient

from app import history
from app.events import Source
from app.history import LONGEST_ANSWER, History
from app.prompts import Exchange

T = TypeVar("T")


@pytest.fixture
def past(tmp_path: Path) -> History:
    """Open an empty history."""
    return History(tmp_path / "history.db")


def run(work: Awaitable[T]) -> T:
    """Wait for one piece of work."""

    async def wait() -> T:
        return await work

    return asyncio.run(wait())


def test_history_recalls_in_order_with_model_and_sources(past: History) -> None:
    """Everything but the sources' texts comes back, oldest first."""
    source = Source(1, "http.md", "Status codes", "a long text")
    run(past.remember("me", "a", Exchange("q1", "a1", "toy-x", (source,))))
    run(past.remember("me", "a", Exchange("q2", "a2")))

    assert run(past.recall("me", "a")) == [
        Exchange("q1", "a1", "toy-x", (Source(1, "http.md", "Status codes", ""),)),
        Exchange("q2", "a2"),
    ]


def test_history_survives_a_restart(past: History, tmp_path: Path) -> None:
    """Another process that opens the same file knows the same."""
    run(past.remember("me", "a", Exchange("q", "a")))

    assert run(History(tmp_path / "history.db").recall("me", "a")) == [Exchange("q", "a")]


def test_history_full_conversation_forgets_its_oldest_exchange(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last exchanges are kept."""
    monkeypatch.setattr(history, "MOST_LINES", 2)
    for number in "123":
        run(past.remember("me", "a", Exchange(f"q{number}", "a")))

    assert [exchange.question for exchange in run(past.recall("me", "a"))] == ["q2", "q3"]


def test_history_full_browser_forgets_the_conversation_that_rested_longest(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation in use survives an older one that is not; other browsers are left alone."""
    monkeypatch.setattr(history, "MOST_CONVERSATIONS", 2)
    run(past.remember("you", "z", Exchange("q", "a")))
    for name in ("a", "b", "a", "c"):
        run(past.remember("me", name, Exchange("q", "a")))

    assert [row.name for row in run(past.conversations("me"))] == ["c", "a"]
    assert [row.name for row in run(past.conversations("you"))] == ["z"]


def test_history_full_file_forgets_the_oldest_of_all_browsers(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of all texts is bounded."""
    monkeypatch.setattr(history, "MOST_CHARACTERS", 500)
    for browser in ("a", "b", "c"):
        run(past.remember(browser, "x", Exchange("q" * 100, "a" * 100)))

    assert [len(run(past.conversations(browser))) for browser in "abc"] == [0, 1, 1]


def test_history_endless_answer_is_cut(past: History) -> None:
    """An answer may stream for ever; the file may not grow for ever."""
    run(past.remember("me", "a", Exchange("q", "x" * (LONGEST_ANSWER + 1))))

    assert len(run(past.recall("me", "a"))[0].answer) == LONGEST_ANSWER


def test_history_file_at_its_default_bounds_fits_the_servers_disk(
    past: History, tmp_path: Path
) -> None:
    """300 long conversations of different browsers end in a file of a few megabytes."""

    async def fill() -> None:
        for number in range(300):
            await past.remember(f"b{number}", "x", Exchange("q" * 4000, "a" * 8000))

    asyncio.run(fill())

    assert (tmp_path / "history.db").stat().st_size < 4_000_000


def test_history_two_first_questions_at_once_are_both_kept(past: History) -> None:
    """Whoever comes first makes the tables, once."""

    async def both() -> None:
        await asyncio.gather(
            *(past.remember("me", name, Exchange("q", "a")) for name in ("a", "b"))
        )

    asyncio.run(both())

    assert {row.name for row in run(past.conversations("me"))} == {"a", "b"}


def test_history_first_questions_of_one_conversation_at_once_are_all_kept(past: History) -> None:
    """Two windows of one browser, or an impatient finger: nobody's answer is lost."""
    questions = [str(number) for number in range(20)]

    async def ask_all() -> None:
        await asyncio.gather(*(past.remember("me", "a", Exchange(q, "a")) for q in questions))

    asyncio.run(ask_all())

    assert {line.question for line in run(past.recall("me", "a"))} == set(questions)


def test_conversations_are_listed_opened_and_deleted(client: TestClient) -> None:
    """The page sees what its browser did, latest first."""
    headers = {"X-Browser": "me"}
    ask(client, "I like tea", "a", "me")
    ask(client, "And coffee?", "b", "me")

    listed = client.get("/conversations", headers=headers).json()
    opened = client.get("/conversations/a", headers=headers).json()
    deleted = client.delete("/conversations/a", headers=headers)

    assert [(one["id"], one["title"]) for one in listed] == [
        ("b", "And coffee?"),
        ("a", "I like tea"),
    ]
    assert listed[0]["updated"]
    assert [(one["question"], one["model"], one["sources"]) for one in opened] == [
        ("I like tea", "echo", [])
    ]
    assert deleted.status_code == 204
    assert client.get("/conversations/a", headers=headers).json() == []
    assert [one["id"] for one in client.get("/conversations", headers=headers).json()] == ["b"]


def test_conversations_of_others_are_neither_seen_nor_deleted(client: TestClient) -> None:
    """Without the browser's own id there is nothing to see."""
    ask(client, "I like tea", "a", "me")

    for headers in ({}, {"X-Browser": "you"}):
        assert client.get("/conversations", headers=headers).json() == []
        assert client.get("/conversations/a", headers=headers).json() == []
        assert client.delete("/conversations/a", headers=headers).status_code == 204

    assert len(client.get("/conversations/a", headers={"X-Browser": "me"}).json()) == 1


@pytest.mark.parametrize("bad", ["x" * 65, "a b", "a'--", "<b>"])
def test_conversations_bad_browser_id_is_explained(client: TestClient, bad: str) -> None:
    """Only ids like those the page makes are accepted."""
    response = client.get("/conversations", headers={"X-Browser": bad})

    assert response.status_code == 422
    assert "X-Browser" in response.json()["error"]["message"]


def test_conversations_of_a_broken_database_are_explained(
    client: TestClient, tmp_path: Path
) -> None:
    """The list says what to do instead of failing."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/history.db").write_bytes(b"no database" * 1000)

    response = client.get("/conversations", headers={"X-Browser": "me"})

    assert response.status_code == 503
    assert "history.db" in response.json()["error"]["hint"]
