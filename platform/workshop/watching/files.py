"""Files that others write: looked at often, read only when they have changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

Mark = tuple[int, int, int]
"""Tells whether a file is another one, or has changed: time of its change, number, size."""
_ABSENT: Mark = (0, 0, 0)


def mark(path: Path) -> Mark:
    """Look at a file or directory without reading it; one that is not there has a mark, too."""
    try:
        stat = path.stat()
    except OSError:
        return _ABSENT
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def make_open(directory: Path) -> None:
    """Make a directory that the board may read, whatever this process's mask is.

    Raises:
        OSError: the disk is full, or the place cannot be written.

    """
    if not directory.is_dir():
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)


@dataclass
class Watched(Generic[T]):
    """One file, and what it said when it last could be read."""

    path: Path
    parse: Callable[[str], T]
    value: T
    """At first what holds where there is no file."""
    trouble: str = ""
    """Why the file that is there cannot be read; empty while all is well."""
    _seen: Mark = field(default=_ABSENT)

    def step(self) -> bool:
        """Read the file if it has changed; whether what it says is another.

        A garbled file leaves what it said before.
        """
        found = mark(self.path)
        if found in {self._seen, _ABSENT}:
            return False
        self._seen = found
        try:
            value = self.parse(self.path.read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            self.trouble = f"{self.path.name} cannot be read: {exc}"
            return False
        self.trouble = ""
        changed, self.value = value != self.value, value
        return changed
