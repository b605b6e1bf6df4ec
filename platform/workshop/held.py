"""Held seats: stopped by the instructor, and to stay so until ``workshop start``.

The engine does not start what was stopped on purpose, not even after a reboot. This file keeps the
platform from doing it: ``provision``, a repair and the check of identities leave held seats alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from workshop.state import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "held.json"


def load(home: Path) -> frozenset[str]:
    """Read which seats are held; none where the file is missing or garbled.

    A garbled file thus starts every seat again at the next ``provision``, which is seen at once.

    Args:
        home: the state directory.

    """
    try:
        raw = json.loads((home / FILE).read_text("utf-8"))
        return frozenset(map(str, raw["seats"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def save(home: Path, names: Iterable[str]) -> None:
    """Write which seats are held. To be called under the class's lock.

    Args:
        home: the state directory.
        names: all seats that are held; none removes the file.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    seats = sorted(set(names))
    if seats:
        write_atomically(home / FILE, json.dumps({"seats": seats}) + "\n", 0o644)
    else:
        (home / FILE).unlink(missing_ok=True)
