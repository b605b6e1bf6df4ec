"""Which seats the edge sends to their green address: one empty file for each, named like the seat.

The edge looks for the file at every request, so a move needs no reload and touches nobody else. The
directory is mounted into the edge, read-only (docs/adr/0009-switching-without-a-reload.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.proxy.routes import NAME

if TYPE_CHECKING:
    from pathlib import Path

GREEN = "green"
"""Below the edge's own directory, on the server and in the edge alike."""


class Switch:
    """The switches of a workshop's seats. Every method may be repeated; the last word counts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def move(self, name: str, *, green: bool) -> None:
        """Send every request that begins from now on to a seat's green or blue address.

        Requests under way, streams included, end where they began.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a seat")
        if green:
            self._prepare()
            path = self.directory / name
            path.touch()
            path.chmod(0o644)
        else:
            (self.directory / name).unlink(missing_ok=True)

    def greens(self) -> frozenset[str]:
        """Name the seats that are switched to green."""
        if not self.directory.is_dir():
            return frozenset()
        return frozenset(path.name for path in self.directory.iterdir() if path.is_file())

    def settle(self, wanted: frozenset[str]) -> None:
        """Make green exactly the seats in ``wanted``; whatever else lies there is removed."""
        self._prepare()
        for name in sorted(wanted):
            self.move(name, green=True)
        for name in self.greens() - wanted:
            (self.directory / name).unlink(missing_ok=True)

    def _prepare(self) -> None:
        """Make the directory, readable for nginx, which runs as another user."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
