"""The upstream that is part of the gateway: no model, no network, the same answer every time.

For tests and for machines too small for a model. Its usage is exact: it counts words.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

from workshop.gateway import completions
from workshop.gateway.config import Task
from workshop.gateway.doors import Reply
from workshop.gateway.tally import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from workshop.gateway.config import Model, Upstream
    from workshop.gateway.validate import Ask

SIZE = 384
"""Numbers of a vector; as many as the embedded model's."""
_LONGEST_QUOTE = 2000


class EchoDoor:
    """Answers about the question itself."""

    def __init__(self, pause: float = 0.02) -> None:
        self._pause = pause
        """Seconds between words, so that streaming can be seen."""

    async def open(self, ask: Ask, upstream: Upstream, model: Model, key: str) -> Reply:  # noqa: ARG002 - the protocol's
        """Make up the answer."""
        name = model.upstream_name
        if ask.task is Task.EMBEDDING:
            return whole(embed(ask, name))
        text, reason = speak(ask)
        usage = Usage(count(ask.body["messages"]), len(text.split()))
        number = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
        if not ask.stream:
            return whole(completions.answer(f"chatcmpl-{number}", name, text, reason, usage))
        events = completions.stream(f"chatcmpl-{number}", name, text, reason, usage)
        return Reply(200, "text/event-stream", paced(events, self._pause), nothing)


def speak(ask: Ask) -> tuple[str, str]:
    """Say what was said last and how much is remembered; also why the answer ends."""
    messages = ask.body["messages"]
    asked = [text_of(m) for m in messages if m["role"] == "user"] or [""]
    words = (
        f"You said: {asked[-1][:_LONGEST_QUOTE]} (I am an echo, not a model; I was sent"
        f" {len(messages)} {'message' if len(messages) == 1 else 'messages'}.)"
    ).split()
    if len(words) > ask.answer_tokens:
        return " ".join(words[: ask.answer_tokens]), "length"
    return " ".join(words), "stop"


def count(messages: Iterable[dict[str, Any]]) -> int:
    """Count the words of a conversation."""
    return sum(len(text_of(message).split()) for message in messages)


def text_of(message: dict[str, Any]) -> str:
    """Join the text of a message, however it is written."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text") or "" for part in content)


def embed(ask: Ask, model: str) -> bytes:
    """Turn texts into vectors: equal texts into equal ones, others far apart."""
    given = ask.body["input"]
    texts = [given] if isinstance(given, str) else given
    size = min(ask.body.get("dimensions", SIZE), SIZE)
    written = _packed if ask.body.get("encoding_format") == "base64" else list[float]
    data = [
        {"object": "embedding", "index": index, "embedding": written(vector(text, size))}
        for index, text in enumerate(texts)
    ]
    usage = Usage(sum(len(text.split()) for text in texts), 0)
    return completions.vectors(model, data, usage)


def vector(text: str, size: int = SIZE) -> list[float]:
    """Make numbers of a text's hash, of length one together."""
    stream = hashlib.shake_256(text.encode("utf-8", "replace")).digest(2 * size)
    numbers = [value / 32768 for value in struct.unpack(f"<{size}h", stream)]
    length = math.sqrt(sum(value * value for value in numbers)) or 1.0
    return [value / length for value in numbers]


def whole(content: bytes) -> Reply:
    """Reply in one piece."""
    return Reply(200, "application/json", paced([content], 0), nothing)


async def paced(events: Iterable[bytes], pause: float) -> AsyncGenerator[bytes]:
    """Send events one after the other."""
    for number, event in enumerate(events):
        if pause and number > 1:
            await asyncio.sleep(pause)
        yield event


async def nothing() -> None:
    """Close what needs no closing."""


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
