"""The chain written with LangChain does what the plain one does."""

from pathlib import Path
from typing import Literal

import pytest
from app_helpers import Upstream, ask, make_settings, only, text_of
from fastapi.testclient import TestClient
from test_app_model import answer_somebody_who_leaves

from app import main, parts

pytest.importorskip("langchain_core", reason="optional: pip install -r requirements-langchain.txt")


@pytest.fixture(autouse=True)
def langchain(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the chain by its setting."""
    assert main.settings.openai_base_url == upstream.url
    monkeypatch.setattr(main, "settings", main.settings.model_copy(update={"chain": "langchain"}))


def test_langchain_setting_chooses_the_chain(client: TestClient) -> None:
    """The assistant is the chain, not the plain model."""
    ask(client, "hi")

    assert type(parts.load_model(main.settings)).__name__ == "LangChain"


def test_langchain_sends_exactly_what_the_page_shows(
    client: TestClient, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, memory and sources are the same: what the model got equals the event `context`."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/tea.md").write_text("# Tea {hot}\n\nTea needs {four} minutes.", "utf-8")
    changed = {"documents_dir": tmp_path / "texts"}
    monkeypatch.setattr(main, "settings", main.settings.model_copy(update=changed))
    ask(client, "What is {tea}?", "a")

    events = ask(client, "How long for tea?", "a", documents=["*"])

    shown = [(m["role"], m["content"]) for m in only(events, "context")["messages"]]
    sent = [(m["role"], m["content"]) for m in upstream.requests[-1]["messages"]]
    assert sent == shown
    assert sent[1] == ("user", "What is {tea}?")
    assert "[1] (tea.md, Tea {hot}) Tea needs {four} minutes." in sent[-1][1]


def test_langchain_streams_every_event(client: TestClient, upstream: Upstream) -> None:
    """Queue, model, tokens and usage pass through the chain."""
    upstream.queue = [2]
    upstream.usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}

    events = ask(client, "hi")

    assert [name for name, _ in events] == ["context", "queue", "model", "token", "token", "done"]
    assert text_of(events) == "Good day!"
    assert only(events, "done")["usage"]["prompt_tokens"] == 7


def test_langchain_refusal_is_explained(client: TestClient, upstream: Upstream) -> None:
    """Errors reach the page as they do without LangChain."""
    upstream.status = 401

    assert ask(client, "hi")[-1][1]["message"] == "The model did not accept the key."


def test_langchain_wrong_placeholder_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that cannot be filled is a sentence, not a crash."""
    settings = make_settings(openai_api_key="x", chain="langchain", instructions="Be {nice")
    monkeypatch.setattr(main, "settings", settings)

    [(name, problem)] = ask(client, "hi")

    assert (name, "placeholder" in problem["message"]) == ("error", True)


@pytest.mark.parametrize("never_ends", ["talks", "thinks"])
def test_langchain_visitor_leaving_hangs_up_on_the_model(
    upstream: Upstream, never_ends: Literal["talks", "thinks"]
) -> None:
    """Stop in the browser reaches the model through the chain."""
    upstream.never_ends = never_ends

    kept = answer_somebody_who_leaves()

    assert upstream.hung_up.wait(5)
    assert kept.startswith("Good day!")
