"""Words of a Dockerfile: quotes, and the variables in them, as Docker reads both."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:?[-+])?")
_ESCAPED_IN_QUOTES = '"$'
_DEEPEST = 10


def split(text: str, escape: str = "\\") -> list[str]:
    """Split at spaces that no quote or escape protects; quotes stay where they are."""
    words, word, quote, place = [], "", "", 0
    while place < len(text):
        char = text[place]
        if char == escape and quote != "'" and place + 1 < len(text):
            word += text[place : place + 2]
            place += 2
            continue
        if char.isspace() and not quote:
            if word:
                words.append(word)
            word = ""
        else:
            if char in "'\"" and quote in {"", char}:
                quote = "" if quote else char
            word += char
        place += 1
    return [*words, word] if word else words


def pairs(text: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Read ``NAME=value NAME="other value"``, or the old form ``NAME the whole rest``.

    Raises:
        ValueError: a word without ``=`` among others.

    """
    words = split(text, escape)
    if words and "=" not in words[0]:
        name, _, value = text.strip().partition(" ")
        if not value.strip():
            raise ValueError(f"{name[:40]} has no value; write {name[:40]}=value")
        return [(name, value.strip())]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f'{word[:40]!r} has no =; put a value with spaces in "quotes"')
        found.append((name, value))
    return found


def json_list(text: str) -> tuple[str, ...] | None:
    """Read ``["a", "b"]``; ``None`` when it is no such list, which Docker takes for plain text."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    strings = isinstance(found, list) and all(isinstance(item, str) for item in found)
    return tuple(found) if strings else None


def expand(word: str, variables: Mapping[str, str], escape: str = "\\", *, depth: int = 0) -> str:
    """Take the quotes off ``word`` and put the values of its variables in.

    Raises:
        ValueError: a quote is not closed, or the variable has a form that Docker lacks as well.

    """
    if depth > _DEEPEST:
        raise ValueError("variables stand in one another too deeply")
    return "".join(_pieces(word, variables, escape, depth))


def _pieces(word: str, variables: Mapping[str, str], escape: str, depth: int) -> Iterator[str]:
    quote, place = "", 0
    while place < len(word):
        char = word[place]
        place += 1
        if quote == "'":
            if char == quote:
                quote = ""
            else:
                yield char
        elif char == escape and place < len(word):
            literal = quote and word[place] not in _ESCAPED_IN_QUOTES + escape
            yield escape + word[place] if literal else word[place]
            place += 1
        elif char in "'\"" and quote in {"", char}:
            quote = "" if quote else char
        elif char == "$":
            value, place = _variable(word, place, variables, escape, depth)
            yield value
        else:
            yield char
    if quote:
        raise ValueError(f"a {quote} is opened and not closed")


def _variable(
    word: str, place: int, variables: Mapping[str, str], escape: str, depth: int
) -> tuple[str, int]:
    """Read what follows a dollar sign; returns the value and where the rest begins."""
    if plain := _NAME.match(word, place):
        return variables.get(plain[0], ""), plain.end()
    if not word.startswith("{", place):
        return "$", place
    found, end = _BRACED.match(word, place), _closing(word, place)
    if found is None or end < 0 or (found[2] is None and found.end() != end):
        raise ValueError(f"${word[place : place + 30]} is not a variable; write ${{NAME}}")
    value, operator = variables.get(found[1]), found[2] or ""
    # With the colon, an empty value counts as none.
    there = bool(value) if operator.startswith(":") else value is not None
    wanted = not there if operator.endswith("-") else there
    if operator and (operator.endswith("+") or wanted):
        other = expand(word[found.end() : end], variables, escape, depth=depth + 1)
        return (other if wanted else ""), end + 1
    return value or "", end + 1


def _closing(word: str, place: int) -> int:
    """Find the brace that closes the one at ``place``; -1 when there is none."""
    level = 0
    for index in range(place, len(word)):
        level += {"{": 1, "}": -1}.get(word[index], 0)
        if level == 0:
            return index
    return -1
