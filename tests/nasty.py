"""Values of variables that go wrong somewhere: in a shell, in YAML, in a ``.env``, in an engine."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = (
    *(
        "",
        " ",
        "  two  ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "a\rb",
        "line\nline\n",
        "\\",
        "\\\\",
        "\\n",
        "a\\",
    ),
    *("'", '"', "'\"'", "''", '""', "it's", 'say "hi"', "$HOME", "${HOME}", "$$", "$(id)", "`id`"),
    *(
        "a#b",
        "a #b",
        "#",
        "# x",
        " # y",
        "=",
        "a=b",
        "==",
        "export A=1",
        "A=1\nB=2",
        "null",
        "~",
        "no",
    ),
    *(
        "012",
        "1e3",
        "yes",
        "- a",
        "{a: b}",
        "[a]",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%",
        "@",
        "?",
        ": ",
        "a: b",
    ),
    *("ü", "é", "日本語", "🙂", "\u202eabc", "\ufeffx", "\u2028", "\u2029", "\x85", "\xa0", "\x7f"),
    *(
        "\x01",
        "\x1b[31m",
        "\x08",
        "\x0b",
        "\x0c",
        "\x9f",
        "\\x41",
        "\\u0041",
        "\x1a",
        "{{x}}",
        "<%= %>",
    ),
    *(
        "%s%n",
        "; rm -rf /",
        "a\x00b".replace("\x00", ""),
        "C:\\temp\\new",
        "-----BEGIN KEY-----\nab\n",
    ),
)
_ALPHABETS = (
    "ab'\"\\$`#= \t\n\r{}[]:,&*!|>%@-?x41",
    "".join(map(chr, [*range(1, 0x20), *range(0x7F, 0xA1)])),
    "aé日🙂\u2028\u202e\ufeff\uffff\ue000\U0010ffff",
    "abcdefghijklmnopqrstuvwxyz0123456789",
)


def values(seed: int, count: int) -> Iterator[str]:
    """Make ``count`` values: the known ones first, then made-up ones."""
    chance = random.Random(seed)
    yield from KNOWN[:count]
    for _ in range(count - len(KNOWN)):
        alphabet = chance.choice(_ALPHABETS) + chance.choice(_ALPHABETS)
        length = chance.choice((1, 2, 3, 5, 8, 20, 60, 200))
        yield "".join(chance.choices(alphabet, k=length))
