"""Who answers: the class's model over plain HTTP, or an echo while there is no key.

Any address that speaks OpenAI's language will do.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2

INSTRUCTIONS = "You are a friendly assistant in a workshop. Answer briefly."
SILENCE = 60  # seconds without a word before an answer counts as lost
REMEMBERED = 20  # messages of the conversation that are sent along


class ModelError(Exception):
    """The model gave no answer; the text is for the person who asked."""


def has_key() -> bool:
    """Tell whether a model can be asked."""
    return bool(os.environ.get("OPENAI_API_KEY"))


async def answer(question: str, past: list[dict[str, Any]]) -> AsyncGenerator[str, None]:
    """Yield the answer as far as it has come: Gradio replaces the text each time."""
    said = ""
    async with aclosing(ask(question, past) if has_key() else echo(question)) as pieces:
        async for piece in pieces:
            said += piece
            yield said


async def echo(question: str) -> AsyncGenerator[str, None]:
    """Repeat the question word by word, as a model would stream it."""
    for word in f"I am an echo, not a model. You said: {question}".split():
        yield word + " "
        await asyncio.sleep(0.04)


async def ask(question: str, past: list[dict[str, Any]]) -> AsyncGenerator[str, None]:
    """Ask the model and yield the pieces of its answer as they are produced."""
    base = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    url = f"{base.rstrip('/')}/chat/completions"
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    body = {
        "model": os.environ.get("OPENAI_MODEL") or "gpt-5-mini",
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            *(plain(message) for message in past[-REMEMBERED:]),
            {"role": "user", "content": question},
        ],
        "stream": True,
    }
    try:
        async with (
            httpx2.AsyncClient(timeout=SILENCE) as client,
            client.stream("POST", url, json=body, headers=headers) as response,
        ):
            if response.is_error:
                await response.aread()
                raise ModelError(explain(response))
            async for piece in pieces(response.aiter_lines()):
                yield piece
    except httpx2.HTTPError as error:
        raise ModelError("The connection to the model failed. Ask again in a moment.") from error


def plain(message: dict[str, Any]) -> dict[str, str]:
    """Reduce a message of Gradio's to what a model reads: who said which text."""
    content = message["content"]
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return {"role": message["role"], "content": content}


async def pieces(lines: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Pick the words out of the model's stream."""
    async for line in lines:
        data = line.removeprefix("data:").strip()
        if data in {line, "[DONE]"}:  # not a data line, or the end
            continue
        try:
            chunk = json.loads(data)
        except ValueError as error:
            raise ModelError("The model sent something that is not an answer.") from error
        if "error" in chunk:
            raise ModelError(chunk["error"].get("message", "The model broke off."))
        for choice in chunk.get("choices", [])[:1]:
            if text := choice.get("delta", {}).get("content"):
                yield text


def explain(response: httpx2.Response) -> str:
    """Repeat what the model's server says about a refusal; it is written for people."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The model does not answer just now ({response.status_code})."
