"""Bring the gateway's configuration live: written whole, then heard back from the gateway itself.

The gateway looks at its directory four times a second and takes a new file over without a restart,
so a new participant, a rotated key or a pause holds within a second, for streams under way too.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from workshop.errors import InputError, PublishFailed
from workshop.gateway import config as gateway
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.health import Probe
    from workshop.llm.secrets import Secrets

LOAD_SECONDS = 5.0
"""How long the gateway may take to take a new file over."""
_PAUSE = 0.02


class GatewayPublisher:
    """Owns the directory the gateway reads, and the one it keeps its books in.

    Both lie in the state directory, which is closed to everybody but its owner; within it they are
    open, because the gateway runs as a user of its own.
    """

    def __init__(self, directory: Path, books: Path, secrets: Secrets, probe: Probe) -> None:
        self.directory = directory
        self.books = books
        self._secrets = secrets
        self._probe = probe

    def write(self, config: gateway.Config) -> None:
        """Write keys first, then the configuration that names them, then forget old keys.

        Raises:
            InputError: a provider's key cannot be found on this server.

        """
        if self._secrets.missing:
            hint = "set it in the environment or in .env beside the roster, and provision again"
            raise InputError("; ".join(self._secrets.missing), hint=hint)
        folder = self.directory / gateway.SECRETS
        for path, mode in ((self.directory, 0o755), (folder, 0o755), (self.books, 0o777)):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
        for upstream, name in self._secrets.files.items():
            if upstream in self._secrets.content:
                write_atomically(folder / name, self._secrets.content[upstream] + "\n", 0o644)
        write_atomically(self.directory / gateway.FILE, gateway.dump(config), 0o644)
        wanted = {upstream.secret for upstream in config.upstreams}
        for path in folder.iterdir():
            if path.name not in wanted:
                path.unlink()

    def publish(self, config: gateway.Config, address: str, port: int) -> None:
        """Write ``config`` and wait until the gateway answers with its fingerprint.

        Raises:
            PublishFailed: it does not, after :data:`LOAD_SECONDS`.

        """
        self.write(config)
        asyncio.run(await_loaded(self._probe, address, port, config.fingerprint, "gateway"))


async def await_loaded(probe: Probe, address: str, port: int, fingerprint: str, name: str) -> None:
    """Wait until the part called ``name`` works with the configuration of that fingerprint.

    Raises:
        PublishFailed: it does not, after :data:`LOAD_SECONDS`.

    """
    deadline = time.monotonic() + LOAD_SECONDS
    while await loaded(probe, address, port) != fingerprint:
        if time.monotonic() > deadline:
            raise PublishFailed(
                f"the {name} does not take its new configuration after {LOAD_SECONDS:.0f} s",
                hint=f"`workshop logs {name}` shows why",
            )
        await asyncio.sleep(_PAUSE)


async def loaded(probe: Probe, address: str, port: int) -> str | None:
    """Ask a part which configuration it works with; ``None`` when it does not answer."""
    try:
        answer = await probe.ask(address, port, "/healthz")
    except (OSError, EOFError, TimeoutError, ValueError):
        return None
    said = answer.json()
    return said.get("config") if isinstance(said, dict) else None
