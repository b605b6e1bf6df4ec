"""The back end as the page sees it: a few addresses, and a stream of events.

Nothing here knows Streamlit. The page asks over HTTP, as any other client would.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

ADDRESS = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
SILENCE = 120  # seconds without a word before an answer counts as lost


class Trouble(Exception):
    """Something went wrong, in words for the person who asked."""


@dataclass(frozen=True)
class Event:
    """One event of an answer, such as `token` with {"text": "Hello"}."""

    name: str
    data: Any


class BackEnd:
    """Asks the back end, one method for each address the page needs."""

    def __init__(
        self, address: str = ADDRESS, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._http = httpx2.Client(
            base_url=address,
            transport=transport,
            timeout=httpx2.Timeout(10, read=SILENCE),
            trust_env=False,  # a proxy of the network has no business on this machine's own address
        )

    def ask(
        self, question: str, *, conversation: str, browser: str, documents: list[str]
    ) -> Iterator[Event]:
        """Yield the events of an answer as they arrive.

        The last one is `done`. An `error` is raised as Trouble, and so is a stream that breaks off.
        """
        body = {"message": question, "conversation": conversation, "documents": documents}
        headers = {"X-Browser": browser}
        try:
            with self._http.stream("POST", "/chat", json=body, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise Trouble(explain(response))
                for event in read_events(response.iter_lines()):
                    if event.name == "error":
                        raise Trouble(sentence(event.data))
                    yield event
                    if event.name == "done":
                        return
        except httpx2.HTTPError as error:
            raise Trouble("The back end cannot be reached. Ask again in a moment.") from error
        raise Trouble("The answer broke off. Ask again in a moment.")

    def documents(self) -> list[str] | None:
        """Return the names of the documents, or None where the app has no documents."""
        found = self._request("GET", "/documents")
        return None if found is None else [document["name"] for document in found["documents"]]

    def upload(self, name: str, content: bytes) -> None:
        """Add a document."""
        self._request("POST", "/documents", params={"name": name}, content=content)

    def _request(self, method: str, path: str, **what: Any) -> Any:  # noqa: ANN401 - JSON is anything
        try:
            response = self._http.request(method, path, **what)
        except httpx2.HTTPError as error:
            raise Trouble("The back end cannot be reached. Try again in a moment.") from error
        if response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return None
        if response.is_error:
            raise Trouble(explain(response))
        return response.json() if response.content else {}


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Read server-sent events: lines `event: ...` and `data: ...`, ended by an empty line."""
    name, data = "message", ""
    for line in lines:
        field, _, text = line.partition(":")
        match field:
            case "event":
                name = text.strip()
            case "data":
                data += text + "\n"
            case "" if not line and data:
                yield Event(name, json.loads(data))
                name, data = "message", ""


def explain(response: httpx2.Response) -> str:
    """Put an error's answer into a sentence."""
    try:
        return sentence(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"The back end does not answer just now ({response.status_code}). Try again later."


def sentence(problem: dict[str, str]) -> str:
    """Join what went wrong and what to do about it."""
    return f"{problem['message']} {problem['hint']}"
