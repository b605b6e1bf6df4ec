"""A disk that takes nothing more, in the operator's words: what, how much is free, what to do."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn a write that fails anywhere at or below ``place`` into an error of ours.

    Raises:
        InputError: the disk is full or the directory cannot be written.

    """
    try:
        yield
    except OSError as exc:
        # A pipe nobody reads, or a connection, is no disk.
        if exc.errno not in _REFUSED:
            raise
        raise refusal(place, exc) from exc


def refusal(place: Path, exc: OSError) -> InputError:
    """Say what could not be written, and why."""
    path = Path(os.fsdecode(exc.filename)) if isinstance(exc.filename, (str, bytes)) else place
    return InputError(f"cannot write {path}: {exc.strerror or exc}", hint=_hint(place, exc))


def _hint(place: Path, exc: OSError) -> str:
    there = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
    if exc.errno == errno.EROFS:
        return f"{there} lies on a file system that is mounted read-only"
    if exc.errno not in _FULL:
        return f"check who owns it: ls -ld {there}"
    try:
        room = os.statvfs(there)
    except OSError:
        return "make room on its disk, then run the same command again"
    free, size = (
        f"{blocks * room.f_frsize / 2**20:,.1f} MiB" for blocks in (room.f_bavail, room.f_blocks)
    )
    inodes = f", {room.f_favail:,} of {room.f_files:,} files" if room.f_files else ""
    return f"its disk has {free} of {size} free{inodes}; make room, then run the same command again"
