"""Write what the board reads when it starts, and the directories between it and ``serve``."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from workshop.board import config, shown, wishes
from workshop.parts.board import KEPT, SHOWN, TOLD
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.desired import Desired

_READABLE, _SHARED = 0o755, 0o777
_FOLDERS = {
    ".": _READABLE,
    TOLD: _READABLE,
    f"{TOLD}/{config.LINKS}": _READABLE,
    SHOWN: _READABLE,
    f"{SHOWN}/{shown.LOGS}": _READABLE,
    f"{SHOWN}/{shown.ANSWERS}": _READABLE,
    KEPT: _SHARED,
    f"{KEPT}/{wishes.WISHES}": _SHARED,
    f"{KEPT}/{wishes.WANTED}": _SHARED,
    f"{KEPT}/used": _SHARED,
}
"""Directories below the board's own, in the order they are made in, and their modes. All are made
here: what the board itself made could be removed by root alone."""


def prepare(home: Path, desired: Desired) -> None:
    """Write everything, before the board starts; forget everything where there is none.

    Args:
        home: the state directory.
        desired: what the board is told.

    Raises:
        InputError: the disk is full or the directory cannot be written.
        OSError: the same of a directory, or something else stands in its place.

    """
    place, token = home / "board", home / config.METRICS_TOKEN
    if desired.board is None:
        _forget(place)
        token.unlink(missing_ok=True)
        return
    for name, mode in _FOLDERS.items():
        _make(place / name, mode)
    if not token.is_file() or token.read_text("utf-8") != f"{desired.metrics_token}\n":
        write_atomically(token, f"{desired.metrics_token}\n")
    write_atomically(place / TOLD / config.FILE, config.dump(desired.board), 0o644)


def _forget(place: Path) -> None:
    """Remove the board's directory, out of the way first: ``serve`` still writes there."""
    if place.is_dir():
        aside = place.with_name(f"{place.name}.gone")
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _make(path: Path, mode: int) -> None:
    """Make a directory with that mode, also where something else stands in its place.

    The board may write beside some of them, so no link is followed: it could lead anywhere.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir()
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
