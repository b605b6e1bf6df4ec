"""Writes answers in OpenAI's shape, for what the gateway says itself: echo, replay, the queue."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.gateway.tally import Usage


def answer(name: str, model: str, text: str, reason: str, usage: Usage) -> bytes:
    """Write a chat answer in one piece."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return _dump(
        {**_head(name, "chat.completion", model), "choices": [choice], "usage": counts(usage)}
    )


def stream(name: str, model: str, text: str, reason: str, usage: Usage) -> Iterator[bytes]:
    """Write a chat answer word by word, the usage at the end, as ``include_usage`` asks."""
    head = _head(name, "chat.completion.chunk", model)
    yield event({**head, "choices": [_piece({"role": "assistant", "content": ""})]})
    for word in words(text):
        yield event({**head, "choices": [_piece({"content": word})]})
    yield event({**head, "choices": [_piece({}, reason)]})
    yield event({**head, "choices": [], "usage": counts(usage)})
    yield b"data: [DONE]\n\n"


def note(model: str, facts: dict[str, Any]) -> bytes:
    """Write an event with facts of the gateway's own; official clients see an empty text."""
    piece = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    head = _head("chatcmpl-waiting", "chat.completion.chunk", model)
    return event({**head, "choices": [piece], "workshop": facts})


def vectors(model: str, data: list[dict[str, Any]], usage: Usage) -> bytes:
    """Write embeddings."""
    used = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return _dump({"object": "list", "data": data, "model": model, "usage": used})


def words(text: str) -> list[str]:
    """Split a text into words that join to the same text."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)] if text else []


def counts(usage: Usage) -> dict[str, int]:
    """Write a usage."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }


def event(content: dict[str, Any]) -> bytes:
    """Write one server-sent event."""
    return b"data: " + _dump(content) + b"\n\n"


def _head(name: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _piece(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
