"""A real model, behind any address that speaks OpenAI's language.

Only `chat.py` imports this module, and only when the first question comes: importing `openai`
takes longer than starting the whole app.
"""

import logging
from collections.abc import AsyncGenerator

import openai
from openai.types.chat import ChatCompletionMessageParam

from app.errors import ChatError
from app.memory import Exchange
from app.settings import Settings

logger = logging.getLogger(__name__)


class Model:
    """Sends the conversation to the model and streams its answer."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.openai_model
        self._instructions = settings.instructions
        self._client = openai.AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "",
            base_url=settings.openai_base_url,
            timeout=60,  # seconds of silence
            max_retries=1,
        )
        self._completions = self._client.chat.completions  # loads the rest of the library now

    async def answer(self, question: str, past: list[Exchange]) -> AsyncGenerator[str, None]:
        """Yield the answer in small pieces, as the model produces them."""
        messages = as_messages(self._instructions, question, past)
        try:
            stream = await self._completions.create(
                model=self._name, messages=messages, stream=True
            )
            async with stream:  # leaving this block hangs up, so a stopped answer costs no more
                async for chunk in stream:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        yield text
        except openai.OpenAIError as error:
            logger.warning("The model did not answer: %s", type(error).__name__)
            raise explain(error, self._name) from error


def as_messages(
    instructions: str, question: str, past: list[Exchange]
) -> list[ChatCompletionMessageParam]:
    """Write the conversation the way OpenAI's interface wants it."""
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": instructions}]
    for exchange in past:
        messages.append({"role": "user", "content": exchange.question})
        messages.append({"role": "assistant", "content": exchange.answer})
    messages.append({"role": "user", "content": question})
    return messages


def explain(error: openai.OpenAIError, model: str) -> ChatError:
    """Put an error into words that help, and that never repeat the key."""
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            message = "The model did not accept the key."
            hint = "Check OPENAI_API_KEY."
        case openai.NotFoundError():
            message = f"There is no model named {model} at this address."
            hint = "Check OPENAI_MODEL and OPENAI_BASE_URL."
        case openai.RateLimitError(code="insufficient_quota"):
            message = "The budget for the model is used up."
            hint = "Ask your instructor for more."
        case openai.RateLimitError():
            message = "Too many questions at once for the model."
            hint = "Wait a minute, then ask again."
        case openai.APITimeoutError():
            message = "The model took too long to answer."
            hint = "Ask again, or ask something shorter."
        case openai.APIConnectionError():
            message = "The connection to the model failed."
            hint = "Check OPENAI_BASE_URL, then ask again."
        case openai.BadRequestError():
            message = "The model refused this question."
            hint = "Start a new conversation; this one may have become too long."
        case _:
            message = "The model has a problem of its own."
            hint = "Ask again in a moment."
    return ChatError(message, hint)
