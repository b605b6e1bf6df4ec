"""What can happen while a question is answered. Each event reaches the page under its `name`."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

TOY = "toy-"  # the workshop's own small models have names that begin like this


@dataclass(frozen=True)
class Event:
    """Something to tell the page."""

    name: ClassVar[str]

    def data(self) -> dict[str, Any]:
        """Return what the page gets, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """A piece of a document that was found for the question; `number` is what [1] refers to."""

    number: int
    document: str
    section: str
    text: str


@dataclass(frozen=True)
class Sources(Event):
    """What was found in the documents, and how: by "words and meaning", or by "words" only."""

    name = "sources"
    sources: list[Source]
    search: str


@dataclass(frozen=True)
class Message:
    """One message as the model gets it, with its size in tokens (an estimate)."""

    role: str
    content: str
    tokens: int


@dataclass(frozen=True)
class Context(Event):
    """Everything the model is sent."""

    name = "context"
    messages: list[Message]
    tokens: int


@dataclass(frozen=True)
class Queue(Event):
    """The class shares one model: so many questions are answered before this one."""

    name = "queue"
    before: int


@dataclass(frozen=True)
class Retry(Event):
    """The model did not answer; the app asks again after so many seconds."""

    name = "retry"
    message: str
    seconds: float


@dataclass(frozen=True)
class Notice(Event):
    """Something does not work, but the answer comes all the same."""

    name = "notice"
    message: str
    hint: str


@dataclass(frozen=True)
class Answering(Event):
    """Who answers; sent before the first token."""

    name = "model"
    model: str
    toy: bool


@dataclass(frozen=True)
class Token(Event):
    """A piece of the answer."""

    name = "token"
    text: str


@dataclass(frozen=True)
class Usage:
    """What the question and the answer cost, counted by the model or estimated by us."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool


@dataclass(frozen=True)
class Done(Event):
    """The answer is whole."""

    name = "done"
    model: str
    toy: bool
    usage: Usage


def answering(model: str) -> Answering:
    """Say who answers."""
    return Answering(model, toy=model.startswith(TOY))


def done(model: str, usage: Usage) -> Done:
    """Say that the answer is whole."""
    return Done(model, toy=model.startswith(TOY), usage=usage)
