"""Disks small enough to be filled: mounts of our own, never the machine's."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096
_PIECES = (64 << 20, 1 << 20, PAGE)
_FILLER = "filler"
_MANY = "many"


@contextlib.contextmanager
def small_disk(place: Path, size: int, files: int) -> Iterator[Path]:
    """Put a file system in memory of ``size`` bytes and so many ``files`` over a directory."""
    options = f"size={size},nr_inodes={files},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        assert place.is_mount(), "nothing may be filled that is not a mount of our own"
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, room: int = 0) -> None:
    """Take all of ``disk`` but ``room`` bytes."""
    assert disk.is_mount(), disk
    path = disk / _FILLER
    with path.open("wb") as file:
        for piece in _PIECES:
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
    found = os.statvfs(disk)
    free = found.f_bavail * found.f_frsize
    os.truncate(path, max(0, path.stat().st_size - max(0, room - free)))


def use_up_files(disk: Path, left: int = 0) -> None:
    """Make files until ``left`` more can be made."""
    assert disk.is_mount(), disk
    (disk / _MANY).mkdir()
    for number in range(os.statvfs(disk).f_favail - left):
        (disk / _MANY / str(number)).touch()


def take_all(disk: Path) -> None:
    """Leave neither bytes nor files."""
    assert disk.is_mount(), disk
    # Without a file there is no name for what takes the bytes; without bytes, no room for names.
    (disk / _FILLER).touch()
    use_up_files(disk)
    fill(disk)


def make_room(disk: Path) -> None:
    """Take back what :func:`fill` and :func:`use_up_files` have taken."""
    (disk / _FILLER).unlink(missing_ok=True)
    shutil.rmtree(disk / _MANY, ignore_errors=True)
