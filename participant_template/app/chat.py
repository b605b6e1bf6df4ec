"""One conversation turn: recall the past, ask who answers, remember what was said."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache
from typing import Protocol

from app.echo import Echo
from app.memory import Exchange, Memory
from app.settings import Settings


class Assistant(Protocol):
    """Whoever answers: the echo, a model, or something you write."""

    def answer(self, question: str, past: list[Exchange]) -> AsyncGenerator[str, None]:
        """Yield the answer in small pieces."""


async def reply(
    question: str, conversation: str, memory: Memory, assistant: Assistant
) -> AsyncGenerator[str, None]:
    """Yield the answer in small pieces and remember it, also when it was stopped halfway."""
    said: list[str] = []
    try:
        async with aclosing(assistant.answer(question, memory.recall(conversation))) as pieces:
            async for piece in pieces:
                said.append(piece)
                yield piece
    finally:
        if said:
            memory.remember(conversation, question, "".join(said))


async def find_assistant(settings: Settings) -> Assistant:
    """Return the model, or the echo while there is no key."""
    if settings.openai_api_key is None:
        return Echo()
    return await asyncio.to_thread(load_model, settings)  # slow once; others need not wait


@cache
def load_model(settings: Settings) -> Assistant:
    """Connect to the model, once."""
    from app.model import Model  # noqa: PLC0415 - a slow import, so only when it is needed

    return Model(settings)
