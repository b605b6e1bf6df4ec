"""Which names in an archive are good, and which files have no business in a deploy.

A name is an opinion of whoever packed the archive. It is taken apart here, and only what is made of
plain words below the archive's own root comes back.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str, ...]
"""A name taken apart; empty for the archive's own root."""

DEPTH = 20
"""Directories and the file itself, from the archive's root."""
_LONGEST_WORD = 255
_LONGEST_NAME = 512
_SHOWN = 80
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)

_ENVIRONMENT = (
    ".env (it holds secrets, which do not belong in an image; the platform gives your app its key)"
)
_RUBBISH = "macOS and Windows extras"
_SKIPPED = {
    ".git": ".git (history)",
    ".hg": ".hg (history)",
    ".svn": ".svn (history)",
    "__pycache__": "__pycache__ (Python makes it anew)",
    ".venv": ".venv (the build installs requirements.txt)",
    "node_modules": "node_modules",
    ".env": _ENVIRONMENT,
    "__MACOSX": _RUBBISH,
    ".DS_Store": _RUBBISH,
    "Thumbs.db": _RUBBISH,
    "desktop.ini": _RUBBISH,
}
_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")


def shown(name: str | bytes) -> str:
    """Quote a foreign name so that it can stand in a message, whatever it holds."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return ascii(short) if not short.isprintable() else f"'{short}'"


def path_of(raw: bytes) -> Path:
    """Take a name apart.

    Raises:
        Refused: it leads outside, or it is not made of plain words.

    """
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad(raw, "is not written in UTF-8. Rename it with plain letters") from None
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for letter in name):
        raise _bad(raw, "holds a character that cannot be seen. Rename it with plain letters")
    if name.startswith("/") or _DRIVE.match(name):
        raise _bad(raw, "begins at the root of a disk. Pack from inside your app's directory")
    if "\\" in name:
        raise _bad(raw, "holds a backslash. Rename it with plain letters")
    words = tuple(word for word in name.split("/") if word not in {"", "."})
    _check(raw, words)
    return words


def _check(raw: bytes, words: Path) -> None:
    if ".." in words:
        raise _bad(raw, "leads out of the archive. Pack from inside your app's directory")
    if len(words) > DEPTH:
        raise _bad(raw, f"lies {len(words)} levels deep; {DEPTH} are allowed")
    if len(raw) > _LONGEST_NAME or any(len(word.encode()) > _LONGEST_WORD for word in words):
        raise _bad(
            raw,
            f"is too long: {_LONGEST_WORD} bytes are allowed for one word of it and"
            f" {_LONGEST_NAME} for the whole",
        )
    for word in words:
        if _DEVICE.fullmatch(word):
            raise _bad(raw, f"holds '{word}', which Windows keeps for a device. Rename it")


def why_left_out(path: Path) -> str:
    """Say which kind of thing ``path`` is that deploys do without; empty for all others."""
    for word in path:
        if word in _SKIPPED:
            return _SKIPPED[word]
        if word.startswith("._"):
            return _RUBBISH
        if word.startswith(".env.") and word not in _EXAMPLES:
            return _ENVIRONMENT
    return ""


def folded(path: Path) -> str:
    """Write ``path`` so that two names that some disk takes for one become equal."""
    return unicodedata.normalize("NFC", "/".join(path)).casefold()


def common_root(paths: Iterable[tuple[Path, bool]]) -> int:
    """Tell how many leading words to take off: 1 where everything lies in one directory.

    Args:
        paths: each path, and whether it is a directory.

    """
    roots = set()
    inside = False
    for path, is_directory in paths:
        if len(path) == 1 and not is_directory:
            return 0
        roots.add(path[0])
        inside = inside or len(path) > 1
    return 1 if len(roots) == 1 and inside else 0


def _bad(raw: bytes, what: str) -> Refused:
    return Refused(f"The name {shown(raw)} in the archive {what}.", 422)
