"""The built-in echo: it answers while there is no key for a model."""

import asyncio
import re
from collections.abc import AsyncGenerator
from textwrap import shorten

from app.memory import Exchange


class Echo:
    """Repeats the question, word by word, as a model would stream it."""

    def __init__(self, seconds_per_word: float = 0.04) -> None:
        self._seconds_per_word = seconds_per_word

    async def answer(self, question: str, past: list[Exchange]) -> AsyncGenerator[str, None]:
        """Yield the answer in small pieces."""
        text = f"I am the built-in echo, not a model. You said: {question}\n\n{remembered(past)}"
        for word in re.findall(r"\S+\s*", text):
            yield word
            await asyncio.sleep(self._seconds_per_word)


def remembered(past: list[Exchange]) -> str:
    """Say what the echo remembers."""
    if not past:
        return "This is the first message I remember of this conversation."
    before = shorten(past[-1].question, 80, placeholder="...")
    return f'I remember {2 * len(past)} messages. Before this one you said: "{before}"'
