"""The built-in echo: it answers while there is no key for a model."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from textwrap import shorten

from app.events import Event, Source, Token, Usage, answering, done
from app.prompts import Exchange, Prompt, estimate_tokens

NAME = "echo"


class Echo:
    """Repeats the question, word by word, as a model would stream it."""

    def __init__(self, seconds_per_word: float = 0.04) -> None:
        self._seconds_per_word = seconds_per_word

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer in small pieces."""
        yield answering(NAME)
        text = (
            f"I am the built-in echo, not a model. You said: {prompt.question}\n\n"
            f"{remembered(prompt.past)}{found(prompt.sources)}"
        )
        for word in re.findall(r"\S+\s*", text):
            yield Token(word)
            await asyncio.sleep(self._seconds_per_word)
        yield done(NAME, Usage(prompt.context.tokens, estimate_tokens(text), estimated=True))


def remembered(past: Sequence[Exchange]) -> str:
    """Say what the echo remembers."""
    if not past:
        return "This is the first message I remember of this conversation."
    before = shorten(past[-1].question, 80, placeholder="...")
    return f'I remember {2 * len(past)} messages. Before this one you said: "{before}"'


def found(sources: Sequence[Source]) -> str:
    """Quote the beginning of each source, with its number."""
    lines = [f'[{s.number}] "{shorten(s.text, 80, placeholder="...")}"' for s in sources]
    return "\n\nYour documents say:\n" + "\n".join(lines) if lines else ""
