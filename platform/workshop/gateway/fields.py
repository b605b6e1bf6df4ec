"""Which fields a request may have, and what may stand in each.

An allow-list: what is not here could cost money nobody budgeted for, or keep a participant's words
at the provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workshop.gateway.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[str, object], None]

MESSAGES = 1000
TOOLS = 64
STOPS = 4
INPUTS = 256
CHOICES = 4
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


def number(low: float, high: float) -> Check:
    """Accept a number from ``low`` to ``high``."""

    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, f"a number from {low:g} to {high:g}", value)
        if not low <= value <= high:
            raise invalid(f"'{name}' is {_show(value)}; it may be {low:g} to {high:g}.", name)

    return check


def whole(low: int, high: int) -> Check:
    """Accept a whole number from ``low`` to ``high``."""

    def check(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(name, f"a whole number from {low} to {high}", value)
        if not low <= value <= high:
            raise invalid(f"'{name}' is {_show(value)}; it may be {low} to {high}.", name)

    return check


def flag(name: str, value: object) -> None:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise _wrong(name, "true or false, without quotation marks", value)


def word(name: str, value: object) -> None:
    """Accept a short text."""
    if not isinstance(value, str) or len(value) > 512:  # noqa: PLR2004 - far above any name
        raise _wrong(name, "a short text", value)


def one_of(*words: str) -> Check:
    """Accept one of ``words``."""

    def check(name: str, value: object) -> None:
        if value not in words:
            raise _wrong(name, f"one of {', '.join(words)}", value)

    return check


def stop(name: str, value: object) -> None:
    """Accept a text, or a few."""
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts) or len(texts) > STOPS:
        raise _wrong(name, f"a text, or a list of at most {STOPS} texts", value)


def stream_options(name: str, value: object) -> None:
    """Accept the one option that streams have here."""
    if not isinstance(value, dict) or set(value) - {"include_usage", "include_obfuscation"}:
        raise _wrong(name, 'an object such as {"include_usage": true}', value)
    for key, switch in value.items():
        flag(f"{name}.{key}", switch)


def tools(name: str, value: object) -> None:
    """Accept a list of functions."""
    if not isinstance(value, list) or len(value) > TOOLS:
        raise _wrong(name, f"a list of at most {TOOLS} functions", value)
    for index, tool in enumerate(value):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise invalid(
                f'\'{name}[{index}]\' must be an object with "type": "function"; the provider\'s'
                " own tools (search, code) are not available here.",
                f"{name}[{index}].type",
            )
        if not isinstance(tool.get("function"), dict):
            raise _wrong(f"{name}[{index}].function", "an object", tool.get("function"))


def tool_choice(name: str, value: object) -> None:
    """Accept a word, or an object that names a function."""
    if not (isinstance(value, dict) or value in ("none", "auto", "required")):
        raise _wrong(name, "none, auto, required or an object that names a function", value)


def response_format(name: str, value: object) -> None:
    """Accept text, a JSON object, or a JSON schema."""
    known = ("text", "json_object", "json_schema")
    if not isinstance(value, dict) or value.get("type") not in known:
        raise _wrong(name, f"an object whose type is one of {', '.join(known)}", value)


def bias(name: str, value: object) -> None:
    """Accept numbers by token."""
    if not isinstance(value, dict) or len(value) > 300:  # noqa: PLR2004 - as many as OpenAI takes
        raise _wrong(name, "an object of at most 300 numbers", value)
    for key, weight in value.items():
        number(-100, 100)(f"{name}.{key[:20]}", weight)


CHAT: Mapping[str, Check | None] = {
    "model": None,
    "messages": None,
    "stream": flag,
    "stream_options": stream_options,
    "n": whole(1, CHOICES),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "stop": stop,
    "max_tokens": whole(1, 10_000_000),
    "max_completion_tokens": whole(1, 10_000_000),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": bias,
    "logprobs": flag,
    "top_logprobs": whole(0, 20),
    "seed": whole(-(2**63), 2**63 - 1),
    "user": word,
    "tools": tools,
    "tool_choice": tool_choice,
    "parallel_tool_calls": flag,
    "response_format": response_format,
    "reasoning_effort": one_of(*_EFFORTS),
    "verbosity": one_of("low", "medium", "high"),
}
EMBEDDING: Mapping[str, Check | None] = {
    "model": None,
    "input": None,
    "encoding_format": one_of("float", "base64"),
    "dimensions": whole(1, 100_000),
    "user": word,
}


def check_fields(body: Mapping[str, Any], known: Mapping[str, Check | None]) -> dict[str, Any]:
    """Check every field but the ones of a shape of their own; leave out those that are null.

    Raises:
        GatewayError: one is unknown or holds what it may not.

    """
    kept = {}
    for name, value in body.items():
        if name not in known:
            raise invalid(
                f"'{name[:64]}' is not a field this gateway passes on. It knows: "
                f"{', '.join(known)}.",
                name[:64],
                code="unknown_parameter",
            )
        if value is None:
            continue
        if (check := known[name]) is not None:
            check(name, value)
        kept[name] = value
    return kept


def _wrong(name: str, expected: str, value: object) -> Exception:
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    found = kinds.get(type(value), "null" if value is None else "a number")
    return invalid(f"'{name}' must be {expected}; found {found}.", name, code="invalid_type")


def _show(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:24]
