"""What can be learned about a container that fails, from outside.

Nothing inside it is run or believed: an image may hold no shell, or one that lies.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import itertools
import re
import struct
import tarfile
from typing import TYPE_CHECKING

from docker.errors import NotFound as DockerNotFound
from docker.types import LogConfig, Ulimit

from workshop.deploys.diagnosis.evidence import ContainerState, Listening
from workshop.engines import seccomp
from workshop.engines.connection import CALL_SECONDS, connect, mapped

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_SOCKETS = ("/proc/net/tcp", "/proc/net/tcp6")
_SOCKET = re.compile(r"\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) \S+ 0A ")
_RESOLVER = "127.0.0.11"
"""The engine's own name server lives in every container's namespace on a network of our own."""
_MOST_SOCKETS = 64
_MOST_FILES = 300
_MOST_PACKED = 8 << 20
_CHUNK = 256 * 1024
_LONGEST_TEXT = 64 * 1024
_LONGEST_LINE = 1024
_HELPER_MEMORY = 16 << 20
_LIBRARIES = frozenset({"node_modules", "site-packages", "dist-packages", "__pycache__", "venv"})


class DockerRemains:
    """A :class:`~workshop.deploys.evidence.Remains` on a Docker daemon of this machine.

    ``image`` is what the short-lived helper that looks at sockets is made from, the class's own
    base image; ``labels`` say whose it is.
    """

    def __init__(
        self, image: str, labels: Mapping[str, str], *, base_url: str | None = None
    ) -> None:
        self._api = connect(base_url, CALL_SECONDS)
        self._image = image
        self._labels = dict(labels)

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()

    def state(self, container_id: str) -> ContainerState:
        """Say whether it runs, and how it ended if it does not."""
        with mapped():
            raw = self._api.inspect_container(container_id)
        state, config = raw["State"], raw["Config"]
        # While the engine waits to start it again, it says both "running" and "restarting".
        running = state["Running"] and not state["Restarting"]
        return ContainerState(
            running=running,
            exit_code=None if running else state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            error=state["Error"],
            restarts=raw["RestartCount"],
            pid=state["Pid"],
            command=(raw["Path"], *raw["Args"]) if raw["Path"] else (),
            directory=config.get("WorkingDir") or "/",
        )

    def log(self, container_id: str, tail: int) -> list[str]:
        """Return the last ``tail`` lines it wrote."""
        with mapped():
            raw = self._api.logs(container_id, tail=tail)
        lines = raw.decode("utf-8", "replace").split("\n")
        return [line.rstrip("\r")[:_LONGEST_LINE] for line in lines if line.strip()]

    # -- sockets ------------------------------------------------------------------------------

    def listening(self, container_id: str) -> list[Listening]:
        """Find what listens in it, with a helper that shares its network and nothing else."""
        with mapped():
            helper = self._create_helper(container_id)
            try:
                self._api.start(helper)
                self._api.wait(helper)
                raw = self._api.logs(helper, stderr=False)
            finally:
                self._remove(helper)
        return parse_sockets(raw.decode("ascii", "replace"))

    def _create_helper(self, container_id: str) -> str:
        created = self._api.create_container(
            self._image,
            entrypoint=["cat"],
            command=list(_SOCKETS),
            user="65534:65534",
            labels=self._labels,
            healthcheck={"test": ["NONE"]},
            host_config=self._api.create_host_config(
                network_mode=f"container:{container_id}",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true", *seccomp.option(self._api.api_version)],
                pids_limit=16,
                cpu_shares=256,
                shm_size="16m",
                ulimits=[Ulimit(name="nofile", soft=64, hard=64)],
                log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
                mem_limit=_HELPER_MEMORY,
                memswap_limit=_HELPER_MEMORY,
            ),
        )
        return str(created["Id"])

    def _remove(self, helper: str) -> None:
        with contextlib.suppress(DockerNotFound):
            self._api.remove_container(helper, v=True, force=True)

    # -- files --------------------------------------------------------------------------------

    def files(self, container_id: str, directory: str) -> list[str]:
        """List the files below ``directory``, relative to it, libraries left out."""
        if directory.strip("/") == "":
            return []
        with contextlib.closing(_members(self._packed(container_id, directory))) as members:
            names = (item.name.partition("/")[2] for item, _ in members if item.isfile())
            own = (name for name in names if name and not _is_library(name))
            return sorted(itertools.islice(own, _MOST_FILES))

    def text(self, container_id: str, path: str) -> str | None:
        """Read the beginning of a file; ``None`` when there is none."""
        with contextlib.closing(_members(self._packed(container_id, path))) as members:
            for item, archive in members:
                file = archive.extractfile(item) if item.isfile() else None
                return file.read(_LONGEST_TEXT).decode("utf-8", "replace") if file else None
        return None

    def _packed(self, container_id: str, path: str) -> bytes:
        """Read what is at ``path`` as the engine packs it, a bounded part of it.

        The SDK's own call cannot be ended early without leaving its connection open.
        """
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container_id}/archive"
        with (
            mapped(),
            self._api.get(url, params={"path": path}, stream=True, timeout=CALL_SECONDS) as answer,
        ):
            if not answer.ok:
                return b""
            packed = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                packed += chunk
                if len(packed) > _MOST_PACKED:
                    break
            return bytes(packed)


def _members(packed: bytes) -> Generator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Go through an archive that may end anywhere."""
    with (
        contextlib.suppress(tarfile.TarError, EOFError),
        tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive,
    ):
        for item in archive:
            yield item, archive


def _is_library(name: str) -> bool:
    parts = name.split("/")
    return any(part in _LIBRARIES or part.startswith(".") for part in parts)


def parse_sockets(text: str) -> list[Listening]:
    """Read ``/proc/net/tcp`` and ``/proc/net/tcp6``: what is in state 0A listens."""
    matches = filter(None, map(_SOCKET.match, text.splitlines()))
    found = {(_address(match[1]), int(match[2], 16)) for match in matches}
    rows = sorted(found, key=lambda row: (row[1], row[0]))
    return [Listening(*row) for row in rows if row[0] != _RESOLVER][:_MOST_SOCKETS]


def _address(digits: str) -> str:
    """Read an address: 32-bit words in the machine's own byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    found = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped_address = getattr(found, "ipv4_mapped", None)
    return str(mapped_address or found)
