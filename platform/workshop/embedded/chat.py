"""What may be asked of the chat model: OpenAI's parameters, checked, as the engine takes them.

Only known parameters pass. The engine understands dozens of others, and some of them choose its
slots or read its files.
"""

from __future__ import annotations

from typing import Any

from workshop.embedded import fields
from workshop.embedded.faults import ApiError

MODEL = "toy-smollm2-135m"
ANSWER_TOKENS = 256
"""The length of an answer where the request names none: seconds, not minutes, on one processor."""
MOST_TOKENS = 512
"""The longest answer; a model this small only repeats itself beyond it."""
SYSTEM_MESSAGE = (
    "You are a helpful assistant who remembers what the user said."
    " Give short, correct answers in English."
)
"""For conversations without one. The model's own makes it forget names and slip into French."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MOST_STOPS = 4
_BEYOND_THE_TOY = ("tools", "functions", "audio")


def engine_request(body: fields.Body) -> dict[str, Any]:
    """Check a request's body and write the engine's."""
    _refuse_what_a_toy_cannot(body)
    request = {
        "model": MODEL,
        "messages": _messages(body.get("messages")),
        "stream": fields.flag(body, "stream"),
        "max_tokens": _length(body),
        "stop": _stops(body.get("stop")),
        **_sampling(body),
    }
    if request["stream"]:
        request["stream_options"] = {"include_usage": _wants_usage(body)}
    return request


def _refuse_what_a_toy_cannot(body: fields.Body) -> None:
    for name in _BEYOND_THE_TOY:
        if body.get(name):
            raise ApiError(f"{MODEL} is a toy model without {name}; leave {name} out", param=name)
    wanted = body.get("response_format") or {"type": "text"}
    if not isinstance(wanted, dict) or wanted.get("type") != "text":
        raise ApiError(
            f"{MODEL} is a toy model that answers in plain text; leave response_format out",
            param="response_format",
        )
    fields.integer(body, "n", 1, 1)


def _messages(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise ApiError("messages must be a list with at least one message", param="messages")
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(value)]
    if any(message["role"] == "system" for message in messages):
        return messages
    return [{"role": "system", "content": SYSTEM_MESSAGE}, *messages]


def _message(item: object, where: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise ApiError(f"{where} must be an object with role and content", param=where)
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(_ROLES)
        raise ApiError(f"{where}.role must be one of {known}", param=f"{where}.role")
    return {"role": _ROLES[role], "content": _content(item.get("content"), f"{where}.content")}


def _content(value: object, where: str) -> str:
    if isinstance(value, list):
        return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(value))
    return fields.text(value, where)


def _part(part: object, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise ApiError(f"{where} must be a part of type text: {MODEL} only reads", param=where)
    return fields.text(part.get("text"), f"{where}.text")


def _length(body: fields.Body) -> int:
    asked = [
        fields.integer(body, name, 1, 10**9) for name in ("max_completion_tokens", "max_tokens")
    ]
    return min(next((value for value in asked if value), ANSWER_TOKENS), MOST_TOKENS)


def _stops(value: object) -> list[str]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
        raise ApiError(f"stop must be a string or a list of at most {_MOST_STOPS}", param="stop")
    return [fields.text(stop, "stop") for stop in stops]


def _sampling(body: fields.Body) -> dict[str, float]:
    given = {
        "temperature": fields.number(body, "temperature", 0, 2),
        "top_p": fields.number(body, "top_p", 0, 1),
        "presence_penalty": fields.number(body, "presence_penalty", -2, 2),
        "frequency_penalty": fields.number(body, "frequency_penalty", -2, 2),
        "seed": fields.integer(body, "seed", -(2**63), 2**64),
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if "seed" in chosen:
        chosen["seed"] = int(chosen["seed"]) % 2**32
    return chosen


def _wants_usage(body: fields.Body) -> bool:
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ApiError("stream_options must be an object", param="stream_options")
    return fields.flag(options, "include_usage")
