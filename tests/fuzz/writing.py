"""Writes trees as YAML in more than one manner, and breaks texts as editors and people do."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class Raw(str):
    """Text that is YAML already."""

    __slots__ = ()


Tree = dict[str, "Tree"] | list["Tree"] | str
"""Leaves are the texts that are meant; how they are quoted is chosen while writing."""

_PLAIN = re.compile(r"[A-Za-z0-9./][A-Za-z0-9 ./:@_+-]*(?<![ :])")
TOKENS = (
    *("\n", "\r\n", "\r", "\t", "  ", " ", ":", ": ", "- ", "-", ",", "[", "]", "{", "}", "#", "'"),
    *('"', "|", ">", "&a ", "*a", "!!x ", "!t ", "?", "%", "---", "...", "<<: ", "~", "null", "\\"),
    *(
        "\0",
        "\x07",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "é",
        "𝔞",
        "0",
        "-1",
        "1e99",
        ";",
        "$",
        "`",
    ),
    *(
        "participants",
        "workshop",
        "name",
        "ada",
        "limits",
        "llm",
        "env",
        "true",
        "= ",
        "@",
        "..",
        "/",
    ),
)


def write(tree: Tree, chance: Random) -> str:
    """Write a tree as YAML: in blocks, in brackets, or both, with comments and odd line ends."""
    text = _block(tree, 0, chance, depth=chance.choice((0, 1, 2, 3, 9)))
    if chance.random() < 0.1:
        text = text.replace("\n", "\r\n")
    return f"# a class\n{text}" if chance.random() < 0.2 else text


def _block(tree: Tree, indent: int, chance: Random, depth: int) -> str:
    pad = " " * indent
    if isinstance(tree, str) or not tree or depth == 0:
        return f"{pad}{_flow(tree, chance)}\n"
    lines = []
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, str) or not value or depth == 1:
                lines.append(f"{pad}{_leaf(key, chance)}: {_flow(value, chance)}\n")
            else:
                below = _block(value, indent + 2, chance, depth - 1)
                lines.append(f"{pad}{_leaf(key, chance)}:\n{below}")
    else:
        for item in tree:
            below = _block(item, indent + 2, chance, depth - 1)
            lines.append(f"{pad}- {below[indent + 2 :]}")
    return "".join(lines)


def _flow(tree: Tree, chance: Random) -> str:
    if isinstance(tree, str):
        return _leaf(tree, chance)
    if isinstance(tree, dict):
        inside = (f"{_leaf(k, chance)}: {_flow(v, chance)}" for k, v in tree.items())
        return "{" + ", ".join(inside) + "}"
    return "[" + ", ".join(_flow(item, chance) for item in tree) + "]"


def _leaf(text: str, chance: Random) -> str:
    if isinstance(text, Raw):
        return text
    if _PLAIN.fullmatch(text) and chance.random() < 0.8:
        return text
    if text.isprintable() and chance.random() < 0.3:
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def break_text(text: str, chance: Random) -> str:
    """Change a text in a few places: lines moved, lost, doubled, shifted; tokens put in; cut off."""
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        lines = text.splitlines(keepends=True) or ["\n"]
        at = chance.randrange(len(lines))
        place = chance.randrange(len(text) + 1)
        kind = chance.randrange(9)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(chance.randrange(len(lines) + 1), lines[at])
        elif kind == 2:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines[at] = " " * chance.randrange(1, 5) + lines[at]
        elif kind == 4:
            lines[at] = lines[at][1:]
        else:
            text = _break_at(text, place, kind, chance)
            continue
        text = "".join(lines)
    return text


def _break_at(text: str, place: int, kind: int, chance: Random) -> str:
    if kind == 5:
        return text[:place]
    if kind == 6:
        return text[:place] + text[place + chance.choice((1, 1, 2, 10)) :]
    return text[:place] + chance.choice(TOKENS) + text[place:]


def break_bytes(content: bytes, chance: Random) -> bytes:
    """Change bytes, without regard for what they mean."""
    found = bytearray(content or b"\0")
    for _ in range(chance.choice((1, 2, 4, 16))):
        at = chance.randrange(len(found))
        kind = chance.randrange(5)
        if kind == 0:
            found[at] = chance.randrange(256)
        elif kind == 1:
            found[at:at] = bytes(
                chance.choices((0, 9, 10, 13, 0x7F, 0x80, 0xC0, 0xED, 0xFE, 0xFF), k=3)
            )
        elif kind == 2:
            del found[at : at + chance.randrange(1, 40)]
        elif kind == 3:
            found[at:at] = found[: chance.randrange(1, 200)]
        else:
            found[at] ^= 1 << chance.randrange(8)
        found = found or bytearray(b"\n")
    return bytes(found)
