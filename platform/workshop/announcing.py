"""What the instructor says to everybody, on every participant's page."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from workshop.board.shown import ANNOUNCEMENT
from workshop.errors import InputError, WorkshopError
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 500
"""Characters; as many as a wish of the board may have."""


def announce(home: Path, text: str) -> str:
    """Show ``text`` on every participant's page; empty takes back what was said.

    Args:
        home: the state directory.
        text: what to say; white space is made single, controls are left out.

    Returns:
        What is shown now.

    Raises:
        WorkshopError: this class has no board.
        InputError: the text is too long, or the disk is full.

    """
    shown = home / "board" / "shown"
    if not shown.is_dir():
        raise WorkshopError(
            "this class has no board to say it on",
            hint="workshop.board in the roster, then `workshop provision`",
        )
    said = plain(text)
    if len(said) > LONGEST:
        raise InputError(f"{len(said)} characters; at most {LONGEST} are shown")
    document = json.dumps({"text": said, "time": time.time()}) + "\n"
    write_atomically(shown / ANNOUNCEMENT, document, 0o644)
    return said


def plain(text: str) -> str:
    """Make one line of what somebody typed, without what cannot be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
