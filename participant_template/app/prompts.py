"""What the model is sent: the instructions, the past, the sources and the question.

The words are in the folder `prompts/`, one file per template. The files are read for each
question, so an edit works at once. Placeholders: {name}, {question}, {sources}.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import ChatError
from app.events import Context, Message, Source
from app.settings import HOME, Settings

FOLDER = HOME / "prompts"
CHARACTERS_PER_TOKEN = 4  # a rule of thumb for English


@dataclass(frozen=True)
class Exchange:
    """One question and its answer."""

    question: str
    answer: str
    model: str = ""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """Everything that goes to the model with one question."""

    name: str
    question: str
    past: tuple[Exchange, ...] = ()
    sources: tuple[Source, ...] = ()
    instructions_template: str = ""
    question_template: str = "{question}"

    @property
    def values(self) -> dict[str, str]:
        """The value of each placeholder."""
        return {
            "name": self.name,
            "question": self.question,
            "sources": "\n\n".join(map(as_extract, self.sources)),
        }

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation the way OpenAI's interface wants it."""
        system = fill(self.instructions_template, self.values)
        messages = [{"role": "system", "content": system}]
        for exchange in self.past:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        question = fill(self.question_template, self.values)
        return [*messages, {"role": "user", "content": question}]

    @property
    def context(self) -> Context:
        """The messages with their sizes, for people to look at."""
        messages = [
            Message(message["role"], message["content"], estimate_tokens(message["content"]))
            for message in self.messages
        ]
        return Context(messages, sum(message.tokens for message in messages))


def make_prompt(
    settings: Settings, question: str, past: Sequence[Exchange], sources: Sequence[Source]
) -> Prompt:
    """Put together what the model is sent for this question."""
    return Prompt(
        name=settings.name,
        question=question,
        past=latest(past, settings.memory_tokens),
        sources=tuple(sources),
        instructions_template=settings.instructions or read("instructions.txt"),
        question_template=read("question_with_sources.txt" if sources else "question.txt"),
    )


def read(file: str) -> str:
    """Read one template."""
    try:
        return (FOLDER / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ChatError(
            f"The prompt template prompts/{file} cannot be read.",
            "Put the file back, saved as UTF-8 text.",
        ) from error


def fill(template: str, values: dict[str, Any]) -> str:
    """Put the values where the placeholders are."""
    try:
        return template.format(**values)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise ChatError(
            f"A prompt template has a placeholder that does not work: {error}.",
            "Use {name}, {question} and {sources}; write {{ and }} for plain braces.",
        ) from error


def latest(past: Sequence[Exchange], max_tokens: int) -> tuple[Exchange, ...]:
    """Return the latest exchanges that fit into so many tokens, oldest first."""
    kept: list[Exchange] = []
    for exchange in reversed(past):
        max_tokens -= estimate_tokens(exchange.question) + estimate_tokens(exchange.answer)
        if max_tokens < 0:
            break
        kept.insert(0, exchange)
    return tuple(kept)


def as_extract(source: Source) -> str:
    """Write a source the way the model sees it."""
    place = f"{source.document}, {source.section}" if source.section else source.document
    return f"[{source.number}] ({place}) {source.text}"


def estimate_tokens(text: str) -> int:
    """Guess how many tokens a text has; only the model's own program knows exactly."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)
