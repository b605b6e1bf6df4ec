"""Cards as files: ``workshop cards``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.cards.deck import gather
from workshop.cards.page import page
from workshop.cards.sheet import sheet
from workshop.cards.table import ENCODING, table
from workshop.disk import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.cards.deck import Word
    from workshop.workspace import Workspace

_CLOSED = 0o600
_CLOSED_DIRECTORY = 0o700


@dataclass(frozen=True)
class Made:
    """What was written."""

    files: tuple[Path, ...]
    """Readable by their owner alone."""
    cards: int
    pages: int
    warnings: tuple[str, ...]


def make(work: Workspace, directory: Path, kind: Word, *, spares: bool) -> Made:
    """Write everybody's cards into ``directory``, which is made where it is not there.

    A directory that is made here is closed to others, and git leaves it alone. One that was there
    stays as it is: others may need it.

    Raises:
        InputError: it cannot be written, or there can be no claim codes.
        WorkshopError: nothing is provisioned yet.

    """
    deck = gather(work, kind, spares=spares)
    printed = sheet(deck)
    content = {
        "cards.pdf": printed.content,
        "cards.html": page(deck).encode(),
        "cards.csv": table(deck).encode(ENCODING),
    }
    try:
        _write(directory, content)
    except OSError as exc:
        raise refusal(directory, exc) from exc
    warnings = deck.warnings
    if printed.unwritten:
        who = ", ".join(printed.unwritten)
        lacks = f"cards.pdf has the short names of {who}: its fonts lack letters of their full ones"
        warnings += (f"{lacks}; cards.html has them all, print that from a browser",)
    return Made(
        files=tuple(directory / name for name in content),
        cards=len(deck.cards),
        pages=printed.pages,
        warnings=warnings,
    )


def _write(directory: Path, content: Mapping[str, bytes]) -> None:
    if not directory.exists():
        directory.mkdir(mode=_CLOSED_DIRECTORY, parents=True)
        (directory / ".gitignore").write_text("*\n", "utf-8")
    for name, data in content.items():
        _replace(directory / name, data)


def _replace(path: Path, data: bytes) -> None:
    """Write a file that is closed to others from its first byte on."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(unfinished, flags, _CLOSED), "wb") as file:
            file.write(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
