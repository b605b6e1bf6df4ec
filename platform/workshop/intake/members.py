"""What the readers of archives have in common: the one form in which members come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 64 * 1024
"""Bytes handled at once; nothing larger of an archive's content is ever in memory."""


@dataclass(frozen=True)
class Member:
    """One regular file or directory, or something that is left out anyway."""

    path: tuple[str, ...]
    directory: bool
    executable: bool
    chunks: Iterator[bytes]
    """The content. It must be used up before the next member is asked for."""
    needless: str = ""
    """Why it is left out; empty when it is not."""


def broken(what: str) -> Refused:
    """Describe an archive that does not hold together."""
    return Refused(f"The archive is damaged: {what}. Pack it anew and send it again.", 422)
