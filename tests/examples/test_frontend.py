"""The Streamlit page's two modules that are not Streamlit: asking, and understanding the answer."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEMPLATE = Path(__file__).resolve().parents[2] / "participant_template"


@pytest.fixture
def frontend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the modules from the template, and forget them again."""
    monkeypatch.syspath_prepend(str(TEMPLATE))
    yield SimpleNamespace(
        backend=importlib.import_module("frontend.backend"),
        conversation=importlib.import_module("frontend.conversation"),
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "frontend"]:
        del sys.modules[name]


def stream(*events: tuple[str, Any]) -> httpx2.Response:
    """Write events as the back end sends them."""
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx2.Response(200, text=": ping\n\n" + text)


def answering(
    frontend: Any, answer: Callable[[httpx2.Request], httpx2.Response] | httpx2.Response
) -> Any:
    """Make a back end that gives this answer to every request."""
    handler = answer if callable(answer) else lambda _: answer
    return frontend.backend.BackEnd("http://app", httpx2.MockTransport(handler))


def ask(back_end: Any) -> list[Any]:
    """Ask a question and return the events."""
    return list(back_end.ask("Hi", conversation="c", browser="b", documents=["a.md"]))


def test_question_is_sent_as_the_app_wants_it(frontend: Any) -> None:
    """Message, conversation and documents in the body, the browser in a header."""
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return stream(("done", {}))

    ask(answering(frontend, handler))

    assert (seen[0].method, seen[0].url.path) == ("POST", "/chat")
    assert seen[0].headers["X-Browser"] == "b"
    assert json.loads(seen[0].content) == {
        "message": "Hi",
        "conversation": "c",
        "documents": ["a.md"],
    }


def test_events_arrive_in_order_and_end_with_done(frontend: Any) -> None:
    """Comments are skipped; what is said after the end is not waited for."""
    back_end = answering(
        frontend, stream(("token", {"text": "é\n"}), ("done", {"x": 1}), ("token", {}))
    )

    assert [(e.name, e.data) for e in ask(back_end)] == [
        ("token", {"text": "é\n"}),
        ("done", {"x": 1}),
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (stream(("error", {"message": "Budget used.", "hint": "Wait."})), "Budget used. Wait."),
        (stream(("token", {"text": "Hal"})), "The answer broke off"),
        (httpx2.Response(422, json={"error": {"message": "Too long.", "hint": "Cut."}}), "Cut."),
        (httpx2.Response(502, text="<html>"), r"just now \(502\)"),
    ],
)
def test_trouble_is_raised_in_words(frontend: Any, answer: httpx2.Response, said: str) -> None:
    """Each way an answer can fail ends in a sentence for the visitor."""
    with pytest.raises(frontend.backend.Trouble, match=said):
        ask(answering(frontend, answer))


def test_back_end_that_is_gone_is_told(frontend: Any) -> None:
    """A refused connection is no traceback, neither for questions nor for documents."""

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    back_end = answering(frontend, refuse)
    with pytest.raises(frontend.backend.Trouble, match="cannot be reached"):
        ask(back_end)
    with pytest.raises(frontend.backend.Trouble, match="cannot be reached"):
        back_end.documents()


def test_documents_of_an_app_without_any_are_none(frontend: Any) -> None:
    """The page then leaves its sidebar empty instead of showing an error."""
    assert answering(frontend, httpx2.Response(404)).documents() is None
    listed = {"documents": [{"name": "a.md"}, {"name": "b.txt"}], "search": "", "note": ""}
    assert answering(frontend, httpx2.Response(200, json=listed)).documents() == ["a.md", "b.txt"]


def test_upload_sends_the_file_and_its_name(frontend: Any) -> None:
    """The body is the file itself; a name with a blank or an ampersand stays whole."""
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(201, json={"name": "a & b.txt"})

    answering(frontend, handler).upload("a & b.txt", b"text")

    assert (seen[0].url.params["name"], seen[0].content) == ("a & b.txt", b"text")


def test_answer_grows_out_of_its_events(frontend: Any) -> None:
    """Words are yielded; sources, notices and the model are kept; waiting is told and ends."""
    conversation, event = frontend.conversation, frontend.backend.Event
    events = [
        event("context", {"messages": [], "tokens": 9}),
        event("sources", {"sources": [{"number": 1}], "search": "words"}),
        event("notice", {"message": "No history.", "hint": "Go on."}),
        event("queue", {"before": 3}),
        event("retry", {"message": "Busy, again in 2 s.", "seconds": 2}),
        event("model", {"model": "toy-x", "toy": True}),
        event("token", {"text": "Good "}),
        event("token", {"text": "day"}),
        event("something-new", {}),
        event("done", {"model": "toy-x"}),
    ]
    answer, told = conversation.Message(conversation.By.APP), []

    assert list(conversation.listen(answer, events, told.append)) == ["Good ", "day"]
    assert (answer.text, answer.model, answer.toy) == ("Good day", "toy-x", True)
    assert (answer.sources, answer.notices) == ([{"number": 1}], ["No history. Go on."])
    assert told == ["3 questions are answered before yours.", "Busy, again in 2 s.", ""]
