"""What seats see: a directory in memory for each seat, with one file for each of its secrets.

The name of the directory follows from its content, so a seat whose secrets changed has another
one, and the old one is whole until its container is gone. Nothing is ever changed in place.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import host
from workshop.errors import InputError
from workshop.specs import SEAT_USER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.settings import Settings

_CLOSED = 0o700


def root(settings: Settings) -> Path:
    """Choose where the files of all workshops' secrets lie; nothing is made."""
    return settings.runtime_directory or _first_in_memory()


def _first_in_memory() -> Path:
    """Take the system's own place where that is in memory, else the one every Linux has."""
    run = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    if run and host.is_in_memory(Path(run)):
        return Path(run) / "workshop"
    return Path("/dev/shm") / f"workshop-{os.geteuid()}"  # noqa: S108 - checked before it is used


class Delivery:
    """Owns the directory of one workshop's secrets."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def has(self, directory: str) -> bool:
        """Whether the files of a seat are there: they come all at once."""
        return bool(_children(Path(directory)))

    def write(self, directory: str, values: Mapping[str, bytes]) -> None:
        """Write the files of a seat, for its user alone, and give them their name at the end.

        Raises:
            InputError: the place is not in memory, not ours, or full.

        """
        target = Path(directory)
        unfinished = target.with_name(f".{target.name}.new")
        try:
            self._open_home()
            target.parent.mkdir(mode=_CLOSED, exist_ok=True)
            for old in (unfinished, target):
                shutil.rmtree(old, ignore_errors=True)
            unfinished.mkdir(mode=_CLOSED)
            for name, value in values.items():
                _write(unfinished / name, value)
            _hand_over(unfinished, 0o500, 0o555)
            unfinished.rename(target)
        except OSError as exc:
            raise InputError(
                f"cannot write the files of secrets in {self.home}: {exc.strerror}",
                hint="make room in memory, or set WORKSHOP_RUNTIME_DIRECTORY",
            ) from exc

    def keep(self, seat: str, directory: str) -> None:
        """Remove whatever else a seat had; what is left empty goes too."""
        for item in _children(self.home / seat):
            if str(item) != directory:
                shutil.rmtree(item, ignore_errors=True)
        self._sweep()

    def remove(self) -> bool:
        """Remove everything; whether nothing is left."""
        shutil.rmtree(self.home, ignore_errors=True)
        self._sweep()
        return not self.home.exists()

    def _sweep(self) -> None:
        for path in (*_children(self.home), self.home, self.home.parent):
            try:
                path.rmdir()
            except OSError:
                continue

    def _open_home(self) -> None:
        """Make the directories above; nobody else may have made them, or look into them."""
        root, own = self.home.parent, os.geteuid()
        if not host.is_in_memory(root):
            raise InputError(
                f"{root} is on a disk; secrets are written to memory alone",
                hint="set WORKSHOP_RUNTIME_DIRECTORY to a directory in a tmpfs",
            )
        for path, owners in ((root, {0, own}), (self.home, {own})):
            path.mkdir(mode=_CLOSED, parents=path == root, exist_ok=True)
            if path.is_symlink() or path.stat().st_uid not in owners:
                raise InputError(
                    f"{path} belongs to somebody else",
                    hint="remove it, or set WORKSHOP_RUNTIME_DIRECTORY",
                )
        self.home.chmod(_CLOSED)


def _write(path: Path, value: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value)
    _hand_over(path, 0o400, 0o444)


def _hand_over(path: Path, own: int, others: int) -> None:
    """Let the seat's user read ``path``.

    Only root can give a file away. For another operator the closed directory above keeps everybody
    out; the seat alone has what is in it mounted.
    """
    user, _, group = SEAT_USER.partition(":")
    try:
        os.chown(path, int(user), int(group))
    except PermissionError:
        path.chmod(others)
    else:
        path.chmod(own)


def _children(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []
