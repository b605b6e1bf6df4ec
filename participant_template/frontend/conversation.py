"""What was said, and how an answer grows out of the back end's events, without Streamlit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from frontend.backend import Event


class By(StrEnum):
    """Who said something; Streamlit shows a picture for each."""

    VISITOR = "user"
    APP = "assistant"


@dataclass
class Message:
    """One message of the conversation. An answer's fields fill while it arrives."""

    by: By
    text: str = ""
    model: str = ""
    toy: bool = False
    sources: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    trouble: str = ""


def listen(answer: Message, events: Iterable[Event], tell: Callable[[str], None]) -> Iterator[str]:
    """Yield an answer's words, and put all that arrives into `answer`.

    `tell` is called with what the visitor should know while waiting, and with "" when that is over.
    """
    for event in events:
        match event.name, event.data:
            case "token", {"text": text}:
                if not answer.text:
                    tell("")
                answer.text += text
                yield text
            case "queue", {"before": before}:
                tell(f"{before} questions are answered before yours.")
            case "retry", {"message": message}:
                tell(message)
            case "model", {"model": model, "toy": toy}:
                answer.model, answer.toy = model, toy
            case "sources", {"sources": sources}:
                answer.sources = sources
            case "notice", {"message": message, "hint": hint}:
                answer.notices.append(f"{message} {hint}")
