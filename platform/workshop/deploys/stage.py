"""Write what the deploy loop's parts and the board read: configuration, keys, their directories."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from typing import TYPE_CHECKING

from workshop import board_files
from workshop.deploys import config
from workshop.intake import config as intake
from workshop.intake import tokens
from workshop.llm.publish import await_loaded
from workshop.packing import pack
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.board import config as board
    from workshop.desired import Desired
    from workshop.health import Probe
    from workshop.specs import ContainerSpec, Directories

_CLOSED, _READABLE, _SHARED = 0o700, 0o755, 0o777


class DeployFiles:
    """Owns the deploy loop's part of the state directory, and the board's.

    The state directory is closed to everybody but its owner. Within it, what a part with a user of
    its own reads or writes is open; what holds seats' environment stays closed.
    """

    def __init__(self, places: Directories, probe: Probe) -> None:
        self._places = places
        self._probe = probe

    def known(self) -> str | None:
        """Name the configuration the server of deploys reads; ``None`` where there is none."""
        try:
            text = (self._places.deploys / config.FILE).read_bytes()
        except OSError:
            return None
        return hashlib.sha256(text).hexdigest()[:16]

    def prepare(self, desired: Desired) -> None:
        """Write everything, before anything that reads it starts.

        Raises:
            InputError: the disk is full or the directory cannot be written.

        """
        home = self._places.home
        board_files.prepare(home, desired)
        if desired.deploys is None or desired.intake is None:
            return
        self._directories()
        for name, text in desired.told.items():
            write_atomically(home / name, text, 0o644)
        self._starters(desired)
        self._signing_key()
        write_atomically(self._places.intake / intake.FILE, intake.dump(desired.intake), 0o644)
        write_atomically(self._places.deploys / config.FILE, config.dump(desired.deploys))

    def publish(self, wanted: intake.Config | board.Config, spec: ContainerSpec) -> None:
        """Wait until the intake, or the board, works with what :meth:`prepare` wrote.

        Raises:
            PublishFailed: it does not, after a few seconds.

        """
        asked = await_loaded(
            self._probe, spec.answers_at, spec.port, wanted.fingerprint, spec.role.value
        )
        asyncio.run(asked)

    def _directories(self) -> None:
        places = self._places
        modes: dict[Path, int] = {
            places.deploys: _READABLE,
            places.deploys / config.ORDERS: _CLOSED,
            places.deploys / config.STARTERS: _CLOSED,
            places.shown: _READABLE,
            places.shown / config.PROGRESS: _READABLE,
            places.intake: _READABLE,
            places.registry: _READABLE,
            places.egress: _READABLE,
            places.egress / "config": _READABLE,
            places.egress / "socket": _SHARED,
            places.inbox: _SHARED,
            places.storage: _SHARED,
        }
        for path, mode in modes.items():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
        log = places.shown / config.LOG
        log.touch()
        log.chmod(0o644)

    def _starters(self, desired: Desired) -> None:
        """Pack what the class starts from, once for each content; forget what is no longer."""
        home = self._places.deploys / config.STARTERS
        for name, (directory, dockerfile) in desired.starters.items():
            if not (home / f"{name}.tar").is_file():
                unfinished = home / f".{name}.new"
                pack(directory, dockerfile, unfinished)
                unfinished.rename(home / f"{name}.tar")
        for path in home.glob("*.tar"):
            if path.stem not in desired.starters:
                path.unlink()

    def _signing_key(self) -> None:
        """Make the pair that tokens are signed with, once; the registry gets the public half."""
        key = self._places.intake / intake.SIGNING_KEY
        certificate = self._places.intake / intake.CERTIFICATE
        if not (key.is_file() and certificate.is_file()):
            private, public = tokens.make_pair()
            write_atomically(certificate, public, 0o644)
            write_atomically(key, private, 0o644)
        shown = self._places.registry / intake.CERTIFICATE
        if not shown.is_file() or shown.read_bytes() != certificate.read_bytes():
            shutil.copyfile(certificate, shown)
            shown.chmod(0o644)
