"""Bring a rendered configuration live: either the new one is tested and serves, or the old does.

The edge's directory holds ``releases/<fingerprint>/`` and a link ``current``. A release is written
whole, tested by the very nginx that will load it, and only then becomes current. nginx keeps its
old workers when a reload fails, so the last look asks the edge which fingerprint it serves.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from workshop.disk import refusal
from workshop.errors import EngineError, PublishFailed
from workshop.health import LOCAL
from workshop.parts.edge import EDGE_MOUNT
from workshop.proxy.switch import GREEN, Switch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.engines.base import Engine
    from workshop.health import Probe

RELOAD_SECONDS = 10.0
"""How long a reload may take to be seen; 300 routes settle in about 0.1 s."""
KEPT_RELEASES = 3
SUM = ".sum"
"""In a release, the sum of its files: whether somebody changed one is seen without rendering."""
_PAUSE = 0.01
_RELOAD = """\
old=$(grep -lsz 'worker process$' /proc/[0-9]*/cmdline)
kill -HUP 1 || exit
until=$(($(date +%%s) + %d))
while [ "$old" ] && grep -qsz 'worker process$' $old && [ "$(date +%%s)" -lt $until ]; do
    sleep 0.02
done
"""
"""Reload, and wait until no worker of before takes a connection any more: it then calls itself
``worker process is shutting down``. The first answer of a new worker proves no more than that
there are some (https://nginx.org/en/docs/control.html#reconfiguration)."""


class Publisher:
    """Owns the edge's directory and the way its content goes live."""

    def __init__(
        self, directory: Path, probe: Probe, port: int, host: str, address: str = LOCAL
    ) -> None:
        self.directory = directory
        self.switch = Switch(directory / GREEN)
        self._probe = probe
        self._port = port
        self._host = host
        self._address = address

    def stage(self, fingerprint: str, files: Mapping[str, str]) -> None:
        """Write a release whole, under a name nothing reads yet."""
        target = self._release(fingerprint)
        if _holds(target, files):
            return
        unfinished = target.with_name(f".{fingerprint}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            for name, text in files.items():
                path = unfinished / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
                # nginx runs as another user; the directory above keeps everybody else out.
                path.chmod(0o644)
                path.parent.chmod(0o755)
            (unfinished / SUM).write_text(_sum(unfinished), "ascii")
            for folder in (unfinished, unfinished.parent, self.directory):
                folder.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
        except OSError as exc:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise PublishFailed(
                f"cannot write the edge's configuration: {exc.strerror}",
                hint=refusal(self.directory, exc).hint,
            ) from exc

    def is_intact(self, fingerprint: str) -> bool:
        """Whether what the edge reads when it starts the next time is what was written."""
        target = self._release(fingerprint)
        try:
            known = (target / SUM).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return False
        return self._current() == fingerprint and known == _sum(target)

    def prepare(self, fingerprint: str) -> None:
        """Let an edge that starts afresh start on this release.

        The one before may name a port the new container may not open.
        """
        self._switch(fingerprint)

    def publish(self, engine: Engine, edge_id: str, fingerprint: str) -> None:
        """Test the staged release, switch to it, reload, and see that it serves.

        Raises:
            PublishFailed: the old configuration is current again and still serves.

        """
        config = f"{EDGE_MOUNT}/releases/{fingerprint}/nginx.conf"
        status, output = engine.run(edge_id, ["nginx", "-t", "-q", "-c", config])
        if status:
            shutil.rmtree(self._release(fingerprint), ignore_errors=True)
            raise PublishFailed(f"nginx refuses the new configuration: {output.strip()}")
        before = self._current()
        self._switch(fingerprint)
        deadline = time.monotonic() + RELOAD_SECONDS
        try:
            _reload(engine, edge_id)
            asyncio.run(self._serving(fingerprint, deadline))
        except (PublishFailed, EngineError):
            if before and before != fingerprint:
                self._switch(before)
                _reload(engine, edge_id)
            raise
        self._forget_old(fingerprint)

    async def loaded(self) -> str | None:
        """Ask the edge which configuration it serves; ``None`` when it does not answer."""
        try:
            answer = await self._probe.get(self._port, "/healthz", self._host, self._address)
        except (OSError, EOFError, TimeoutError, ValueError):
            return None
        said = answer.json()
        return said.get("config") if isinstance(said, dict) else None

    async def _serving(self, fingerprint: str, deadline: float) -> None:
        while await self.loaded() != fingerprint:
            if time.monotonic() > deadline:
                raise PublishFailed(
                    f"the edge does not serve the new configuration after {RELOAD_SECONDS:.0f} s",
                    hint="`workshop logs edge` shows why",
                )
            await asyncio.sleep(_PAUSE)

    def _release(self, fingerprint: str) -> Path:
        return self.directory / "releases" / fingerprint

    def _current(self) -> str | None:
        link = self.directory / "current"
        return link.readlink().name if link.is_symlink() else None

    def _switch(self, fingerprint: str) -> None:
        """Point ``current`` elsewhere in one step; a reader sees the old or the new, never none."""
        temporary = self.directory / ".current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.join("releases", fingerprint))  # noqa: PTH118 - link text
        temporary.replace(self.directory / "current")

    def _forget_old(self, current: str) -> None:
        releases = [
            path for path in (self.directory / "releases").iterdir() if path.name != current
        ]
        newest_first = sorted(releases, key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[KEPT_RELEASES - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


def _sum(release: Path) -> str:
    """Sum up the files of a release."""
    whole = hashlib.sha256()
    for path in sorted(release.rglob("*")):
        if path.is_file() and path.name != SUM:
            whole.update(f"{path.relative_to(release)}\n".encode())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _holds(directory: Path, files: Mapping[str, str]) -> bool:
    """Whether a release is there already, whole and unaltered; it may be the one being served."""
    try:
        whole = (directory / SUM).read_text("ascii") == _sum(directory)
        return whole and all(
            (directory / name).read_text("utf-8") == text for name, text in files.items()
        )
    except (OSError, UnicodeDecodeError):
        return False


def _reload(engine: Engine, edge_id: str) -> None:
    """Let nginx read its configuration again, by a signal from inside the container, and settle.

    The engine takes a signal sent through its own API for a wish to stop, and no longer starts
    the edge again after a crash or a reboot (https://github.com/moby/moby/issues/41302).
    """
    status, output = engine.run(edge_id, ["sh", "-c", _RELOAD % RELOAD_SECONDS])
    if status:
        raise PublishFailed(f"nginx cannot be told to reload: {output.strip()}")
