"""A real model, behind any address that speaks OpenAI's language.

Only `parts.py` imports this module, and only when the first question comes: importing `openai`
takes longer than starting the whole app.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from typing import Any

import openai

from app.events import Answering, Event, Queue, Retry, Token, Usage, answering, done
from app.explain import explain, worth_retrying
from app.prompts import Prompt, estimate_tokens
from app.settings import Settings

logger = logging.getLogger(__name__)

TRIES = 3
LONGEST_WAIT = 20  # seconds; who must wait longer is told so instead


class Model:
    """Sends the conversation to the model and streams its answer."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.openai_model
        self._key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=settings.openai_base_url,
            timeout=60,  # seconds of silence
            max_retries=0,  # we do it ourselves, to tell the page
        )
        self._completions = self._client.chat.completions  # loads the rest of the library now

    def answer(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer in small pieces, as the model produces them."""
        return self.stream(prompt.messages)

    async def stream(self, messages: list[Any]) -> AsyncGenerator[Event, None]:
        """Send these messages; yield who answers, the answer, and what it cost."""
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    chunks = await self._completions.create(
                        model=self._name,
                        messages=messages,
                        stream=True,
                        stream_options={"include_usage": True},
                    )
                    break
                except openai.OpenAIError as error:
                    seconds = pause(error, attempt)
                    if seconds is None:
                        raise
                    yield Retry(explain(error, self._name, self._key).problem.message, seconds)
                    await asyncio.sleep(seconds)
            async with chunks:  # leaving this block hangs up, so a stopped answer costs no more
                async for event in read(chunks, self._name, messages):
                    yield event
        except openai.OpenAIError as error:
            logger.warning("The model did not answer: %s", type(error).__name__)
            raise explain(error, self._name, self._key) from error


async def read(
    chunks: Any,  # noqa: ANN401 - openai's own type is long and says no more
    name: str,
    messages: list[Any],
) -> AsyncGenerator[Event, None]:
    """Turn what the model sends into events."""
    who: Answering | None = None
    said = 0
    usage = None
    async for chunk in chunks:
        usage = chunk.usage or usage
        before = ((chunk.model_extra or {}).get("workshop") or {}).get("queue")
        if before is not None:
            yield Queue(before)
        text = chunk.choices[0].delta.content if chunk.choices else None
        if not text:
            continue
        if who is None:
            who = answering(chunk.model or name)
            yield who
        said += len(text)
        yield Token(text)
    yield done(who.model if who else name, count(usage, messages, said))


def count(usage: Any, messages: list[Any], characters: int) -> Usage:  # noqa: ANN401 - see above
    """Return the model's own count of tokens, or our estimate where it gives none."""
    if usage:
        return Usage(usage.prompt_tokens, usage.completion_tokens, estimated=False)
    sent = sum(estimate_tokens(message["content"]) for message in messages)
    return Usage(sent, estimate_tokens("x" * characters), estimated=True)


def pause(error: openai.OpenAIError, attempt: int) -> float | None:
    """Return how long to wait before the next try, or None to give up.

    The wait is random ("full jitter"), so that a whole class does not come back in step.
    """
    if attempt == TRIES or not worth_retrying(error):
        return None
    wanted = wanted_pause(error)
    if wanted is None:
        return random.uniform(0, 0.5 * 2**attempt)  # noqa: S311 - nothing secret about it
    return wanted + random.uniform(0, 0.5) if wanted <= LONGEST_WAIT else None  # noqa: S311


def wanted_pause(error: openai.OpenAIError) -> float | None:
    """Return the seconds the other side asks us to wait, if it does."""
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None
