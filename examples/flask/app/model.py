"""Who answers: the class's model over plain HTTP, or an echo while there is no key.

Any address that speaks OpenAI's language will do. The `openai` library can do the same; without it
the app needs a third of the memory.
"""

import json
import os
import time
from collections.abc import Iterator

import httpx2

INSTRUCTIONS = "You are a friendly assistant in a workshop. Answer briefly."
SILENCE = 60  # seconds without a word before an answer counts as lost


class ModelError(Exception):
    """The model gave no answer; the text is for the person who asked."""


def has_key() -> bool:
    """Tell whether a model can be asked."""
    return bool(os.environ.get("OPENAI_API_KEY"))


def answer(question: str) -> Iterator[str]:
    """Yield the answer in small pieces."""
    return ask(question) if has_key() else echo(question)


def echo(question: str) -> Iterator[str]:
    """Repeat the question word by word, as a model would stream it."""
    for word in f"I am an echo, not a model. You said: {question}".split():
        yield word + " "
        time.sleep(0.04)


def ask(question: str) -> Iterator[str]:
    """Ask the model and yield its answer as it is produced."""
    base = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    body = {
        "model": os.environ.get("OPENAI_MODEL") or "gpt-5-mini",
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": question},
        ],
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    url = f"{base.rstrip('/')}/chat/completions"
    try:
        with httpx2.stream("POST", url, json=body, headers=headers, timeout=SILENCE) as response:
            if response.is_error:
                response.read()
                raise ModelError(explain(response))
            yield from pieces(response.iter_lines())
    except httpx2.HTTPError as error:
        raise ModelError("The connection to the model failed. Ask again in a moment.") from error


def pieces(lines: Iterator[str]) -> Iterator[str]:
    """Pick the words out of the model's stream."""
    for line in lines:
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
