"""Second link: is this a request at all? What is none is refused here, before any cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from workshop.gateway import fields
from workshop.gateway.config import Task
from workshop.gateway.errors import GatewayError, invalid
from workshop.gateway.view import task_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from workshop.gateway.view import View

DEEPEST = 64
_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal"}
_LEFT_OUT = {"annotations", "reasoning_content", "audio", "function_call", "reasoning"}
"""What answers carry that people send back; providers refuse it or ignore it."""


@dataclass(frozen=True)
class Ask:
    """One request that makes sense."""

    task: Task
    model: str
    body: Mapping[str, Any]
    """As it may be forwarded, but for the model's name and the bound of the answer."""
    size: int
    """Bytes of the request as it came."""
    stream: bool = False
    wants_usage: bool = False
    """Whether the client asked for the usage at the end of its stream."""
    answer_tokens: int = 0
    """Bound of each answer."""
    choices: int = 1

    @property
    def most_input(self) -> int:
        """Upper bound of the prompt's tokens."""
        return self.size // 2 + 8 * len(self.body.get("messages", ()))

    @property
    def likely_input(self) -> int:
        """Estimate of the prompt's tokens, for when the upstream does not tell."""
        return max(1, self.size // 4)

    @property
    def most_output(self) -> int:
        """Upper bound of the answers' tokens."""
        return self.choices * self.answer_tokens


async def read_body(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    headers: Mapping[bytes, bytes],
    limit: int,
) -> bytes:
    """Read the whole request, never more than ``limit``.

    Raises:
        GatewayError: it is larger.
        ConnectionError: the client left.

    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:18]) > limit:
        raise _too_large(limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left while sending")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def validate(raw: bytes, task: Task, view: View) -> Ask:
    """Make an ask of a request's bytes.

    Raises:
        GatewayError: the first thing that is wrong with it.

    """
    body = _parse(raw)
    known = fields.CHAT if task is Task.CHAT else fields.EMBEDDING
    body = fields.check_fields(body, known)
    model = _model(body, task, view)
    if task is Task.EMBEDDING:
        _check_input(body.get("input"))
        return Ask(task, model, body, len(raw))
    return _chat(body, model, len(raw), view.config.answer_tokens)


def _chat(body: dict[str, Any], model: str, size: int, most: int) -> Ask:
    body["messages"] = _messages(body.get("messages"))
    stream = body.pop("stream", False)
    options = body.pop("stream_options", {})
    if options and not stream:
        raise invalid("'stream_options' needs \"stream\": true.", "stream_options")
    bounds = [body.pop(name, most) for name in ("max_tokens", "max_completion_tokens")]
    return Ask(
        Task.CHAT,
        model,
        body,
        size,
        stream=stream,
        wants_usage=options.get("include_usage", False),
        answer_tokens=min(*bounds, most),
        choices=body.get("n", 1),
    )


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise invalid(
            f"The request is not UTF-8: byte {exc.start} is not part of any character.",
            code="invalid_encoding",
        ) from exc
    except json.JSONDecodeError as exc:
        raise invalid(
            f"The request is not JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}.",
            code="invalid_json",
        ) from exc
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:
        raise invalid(
            "The request is not JSON: it holds a number that is none.", code="invalid_json"
        ) from exc
    if not isinstance(body, dict):
        raise invalid(
            'The request must be a JSON object, such as {"model": ...}.', code="invalid_json"
        )
    _check_depth(body)
    return body


def _check_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _model(body: Mapping[str, Any], task: Task, view: View) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("'model' must name a model.", "model", code="missing_required_parameter")
    if model not in view.models:
        known = [name for name in view.models if task_of(view, name) is task]
        raise GatewayError(
            404,
            f"There is no model '{model[:64]}' here. Known for this call: "
            f"{', '.join(known) or 'none'}.",
            code="model_not_found",
            param="model",
        )
    if (found := task_of(view, model)) is not task:
        raise invalid(
            f"'{model}' is a model for {_purpose(found)}, and this call is for {_purpose(task)}.",
            "model",
            code="wrong_task",
        )
    return model


def _purpose(task: Task) -> str:
    return "chat (chat/completions)" if task is Task.CHAT else "embeddings (embeddings)"


def _messages(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise invalid(
            "'messages' must be a list with at least one message, such as"
            ' {"role": "user", "content": "Hello"}.',
            "messages",
            code="missing_required_parameter" if value is None else "invalid_type",
        )
    if len(value) > fields.MESSAGES:
        raise invalid(
            f"'messages' has {len(value)} messages; at most {fields.MESSAGES}.", "messages"
        )
    return [_message(message, f"messages[{index}]") for index, message in enumerate(value)]


def _message(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"'{place}' must be an object with role and content.", place)
    kept = {k: v for k, v in value.items() if v is not None and k not in _LEFT_OUT}
    for name in kept:
        if name not in _MESSAGE:
            raise invalid(
                f"'{place}' has the unknown field '{name[:64]}'.", place, code="unknown_parameter"
            )
    _check_parts(kept, place)
    return kept


def _check_parts(kept: Mapping[str, Any], place: str) -> None:
    role = kept.get("role")
    if role not in _ROLES:
        raise invalid(f"'{place}.role' must be one of {', '.join(_ROLES)}.", f"{place}.role")
    for name in ("name", "tool_call_id"):
        if name in kept:
            fields.word(f"{place}.{name}", kept[name])
    if not isinstance(kept.get("refusal", ""), str):
        raise invalid(f"'{place}.refusal' must be a text.", f"{place}.refusal")
    calls = kept.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and len(calls) <= fields.TOOLS):
        raise invalid(f"'{place}.tool_calls' must be a short list.", f"{place}.tool_calls")
    if "content" in kept:
        _check_content(kept["content"], f"{place}.content")
    elif not (role == "assistant" and (calls or "refusal" in kept)):
        raise invalid(f"'{place}' has no content.", f"{place}.content")


def _check_content(content: object, place: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise invalid(f"'{place}' must be a text, or a list of text parts.", place)
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise invalid(
                f"'{place}[{index}]' is no text. The class's models read text only: pictures, sound"
                " and files are not passed on.",
                f"{place}[{index}]",
                code="text_only",
            )
        if not isinstance(part.get(kind), str) or set(part) - {"type", kind}:
            raise invalid(
                f'\'{place}[{index}]\' must be {{"type": "text", "text": "..."}}.',
                f"{place}[{index}]",
            )


def _check_input(value: object) -> None:
    texts = [value] if isinstance(value, str) else value
    if (
        not isinstance(texts, list)
        or not 1 <= len(texts) <= fields.INPUTS
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise invalid(
            f"'input' must be a text, or a list of 1 to {fields.INPUTS} texts; none of them empty.",
            "input",
            code="invalid_type",
        )


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _too_deep() -> GatewayError:
    return invalid(
        f"The request is nested too deep; {DEEPEST} levels are enough for any call.",
        code="invalid_json",
    )


def _too_large(limit: int) -> GatewayError:
    return GatewayError(
        413,
        f"The request is larger than {limit // 1024} KiB. Send less text: summarise, or"
        " retrieve only the parts that matter.",
        code="request_too_large",
    )
