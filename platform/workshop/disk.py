"""A disk that takes nothing more, in the operator's words: what, how much is free, what to do."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_SAID = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
"""How the kernel's words arrive where an engine passes them on."""


_MANY_FILES = 100_000
"""More than one installation of packages brings."""


@dataclass(frozen=True)
class Room:
    """What is free where a path lies, and how much there is in all."""

    free: int
    size: int
    """Bytes."""
    files: int
    most_files: int
    """How many files there may be; 0 where the file system makes room for them as it goes."""

    def __str__(self) -> str:
        free, size = (f"{count / 2**20:,.1f} MiB" for count in (self.free, self.size))
        files = f", {self.files:,} of {self.most_files:,} files" if self.most_files else ""
        return f"{free} of {size} free{files}"


def room(place: Path) -> Room | None:
    """Look at the disk that ``place`` lies on; ``None`` where it cannot be looked at."""
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    unit = found.f_frsize
    return Room(found.f_bavail * unit, found.f_blocks * unit, found.f_favail, found.f_files)


def may_have_been_full(place: Path, most: int) -> bool:
    """Whether somebody who may write ``most`` bytes can have filled the disk of ``place``.

    Who is refused may have tidied up since, so that there is some room again.
    """
    found = room(place)
    if found is None:
        return True
    return found.free < most or bool(found.most_files and found.files < _MANY_FILES)


def is_full(words: str) -> bool:
    """Whether somebody else's error says that a disk takes nothing more."""
    return _SAID.search(words) is not None


def engine_hint(root: str) -> str:
    """Say how full the disk below the engine's directory is, and what to do."""
    found = room(Path(root)) if root else None
    has = f" has {found}" if found else " is full"
    return (
        f"the engine's disk ({root or 'see `docker info`'}){has}; `docker system df` shows what "
        "lies there; make room, then run the same command again"
    )


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
    found = room(there)
    if found is None:
        return "make room on its disk, then run the same command again"
    return f"its disk has {found}; make room, then run the same command again"
