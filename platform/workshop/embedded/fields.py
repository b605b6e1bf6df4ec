"""Read fields of a request's body: the value, or an error that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workshop.embedded.faults import ApiError

Body = Mapping[str, Any]


def parse(raw: bytes) -> Body:
    """Parse a body that must be a JSON object."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ApiError("the body is not JSON; send an object such as {...}") from exc
    if not isinstance(body, dict):
        raise ApiError("the body must be a JSON object such as {...}")
    return body


def text(value: object, where: str) -> str:
    """Take a string that can be encoded; half a surrogate pair cannot."""
    if not isinstance(value, str):
        raise ApiError(f"{where} must be a string, not {kind(value)}", param=where)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ApiError(f"{where} holds half a character (a lone surrogate)", param=where) from exc
    return value


def number(body: Body, name: str, lowest: float, highest: float) -> float | None:
    """Take a number within its range; None where it was left out."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ApiError(f"{name} must be a number, not {kind(value)}", param=name)
    if not lowest <= value <= highest:
        raise ApiError(f"{name} must be between {lowest:g} and {highest:g}", param=name)
    return value


def integer(body: Body, name: str, lowest: int, highest: int) -> int | None:
    """Take a whole number within its range; None where it was left out."""
    value = number(body, name, lowest, highest)
    if value is None or isinstance(value, int):
        return value
    raise ApiError(f"{name} must be a whole number", param=name)


def flag(body: Body, name: str) -> bool:
    """Take true or false; false where it was left out."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ApiError(f"{name} must be true or false, not {kind(value)}", param=name)


def kind(value: object) -> str:
    """Name a value's kind in JSON's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
