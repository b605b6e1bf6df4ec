"""What containers use of memory and processors, read from the kernel's control groups.

Both versions of control groups, and every parent an engine may put its containers under: the
directory is found by the container's id. Reading costs the engine nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SEARCH_SECONDS = 10.0
"""Between two searches of the whole tree for containers that are not where the others are."""
GRAIN = 256 * 1024
"""Memory is told in such steps of bytes: less is no news."""
_DEEPEST = 8
_LONGEST = 16 * 1024
_NANO = 1_000_000_000
_MICRO = 1_000_000
_GROUP = re.compile(r"(?:[a-z]+-)?([0-9a-f]{64})(?:\.scope)?")


@dataclass(frozen=True)
class Use:
    """What one seat uses."""

    memory: int = 0
    """Bytes, without what the kernel may drop at once."""
    cpu: float = 0.0
    """Cores, since the look before."""
    cpu_seconds: int = 0
    """All it used since the first look; of its containers before this one, too."""


@dataclass
class _Meter:
    """The counter of one seat's processor time, across its containers."""

    container: str
    last: float
    """Seconds, as the kernel counts them for this container."""
    at: float
    total: float = 0.0

    def read(self, container: str, seconds: float, now: float) -> float:
        """Take a reading; the cores in use since the one before."""
        # A container that was started again begins at nothing.
        begins_anew = container != self.container or seconds < self.last
        used = seconds if begins_anew else seconds - self.last
        passed = now - self.at
        self.container, self.last, self.at = container, seconds, now
        self.total += used
        return used / passed if passed > 0 and not begins_anew else 0.0


class Cgroups:
    """The control groups below one directory, the host's ``/sys/fs/cgroup``."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._groups: dict[str, str] = {}
        """Directories by id, below the root of version 2 or of each controller of version 1."""
        self._parents: dict[str, None] = {}
        """Where groups were found, and how they are named there."""
        self._searched = 0.0
        self._meters: dict[str, _Meter] = {}
        self._uses: dict[str, Use] = {}
        self.trouble = ""
        """Why nothing can be read; empty while all is well."""

    def look(self, containers: Mapping[str, str], now: float) -> bool:
        """Read what seats use; ``containers`` are their ids by the seat's name.

        Returns whether anything changed. ``now`` is in seconds, by a clock that is never set.
        """
        version2 = os.path.exists(f"{self._root}/cgroup.controllers")  # noqa: PTH110 - every 2 s
        if not version2 and not os.path.exists(f"{self._root}/memory"):  # noqa: PTH110
            self.trouble = f"no control groups at {self._root}"
            return self._keep({})
        self.trouble = ""
        self._locate(frozenset(containers.values()), version2=version2, now=now)
        read = self._read_2 if version2 else self._read_1
        found = {}
        for name, container in containers.items():
            try:
                memory, seconds = read(self._groups[container])
            except (OSError, ValueError, KeyError, IndexError):
                continue  # it does not run
            found[name] = self._use(name, container, memory, seconds, now)
        for name, meter in self._meters.items():
            # What a seat has used stays used while it does not run.
            found.setdefault(name, Use(cpu_seconds=int(meter.total)))
        return self._keep(found)

    def of(self, name: str) -> Use:
        """Tell what one seat uses, as of the last look."""
        return self._uses.get(name, _NOTHING)

    def _keep(self, found: dict[str, Use]) -> bool:
        changed, self._uses = found != self._uses, found
        return changed

    def _use(self, name: str, container: str, memory: int, seconds: float, now: float) -> Use:
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = _Meter(container, seconds, now)
        cores = meter.read(container, seconds, now)
        return Use(memory // GRAIN * GRAIN, round(max(cores, 0.0), 2), int(meter.total))

    # -- where --------------------------------------------------------------------------------

    def _locate(self, wanted: frozenset[str], *, version2: bool, now: float) -> None:
        base = self._root if version2 else f"{self._root}/memory"
        self._groups = {key: path for key, path in self._groups.items() if key in wanted}
        missing = wanted - self._groups.keys()
        for container in missing:
            for parent in self._parents:
                path = parent.replace("*", container)
                if os.path.isdir(f"{base}{path}"):  # noqa: PTH112
                    self._groups[container] = path
                    break
        missing -= self._groups.keys()
        if missing and not 0 <= now - self._searched < SEARCH_SECONDS:
            self._searched = now
            for container, path in _groups(base):
                if container in missing:
                    self._groups[container] = path
                    self._parents[path.replace(container, "*")] = None

    # -- what ---------------------------------------------------------------------------------

    def _read_1(self, path: str) -> tuple[int, float]:
        memory = f"{self._root}/memory{path}"
        used = int(_read(f"{memory}/memory.usage_in_bytes"))
        cache = _field(_read(f"{memory}/memory.stat"), b"total_inactive_file ")
        return max(used - cache, 0), int(_read(f"{self._root}/cpuacct{path}/cpuacct.usage")) / _NANO

    def _read_2(self, path: str) -> tuple[int, float]:
        group = f"{self._root}{path}"
        used = int(_read(f"{group}/memory.current"))
        cache = _field(_read(f"{group}/memory.stat"), b"inactive_file ")
        return max(used - cache, 0), _field(_read(f"{group}/cpu.stat"), b"usage_usec ") / _MICRO


_NOTHING = Use()


def _groups(base: str) -> Iterator[tuple[str, str]]:
    """Find containers' groups below ``base``: their ids and paths; not what is inside them."""
    start = len(base)
    for path, directories, _ in os.walk(base):
        if path.count("/", start) >= _DEEPEST:
            directories.clear()
        for name in list(directories):
            if found := _GROUP.fullmatch(name):
                directories.remove(name)
                yield found[1], f"{path[start:]}/{name}"


def _read(path: str) -> bytes:
    """Read a small file of the kernel's in one call; many of them every two seconds."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _LONGEST)
    finally:
        os.close(file)


def _field(text: bytes, name: bytes) -> int:
    """Read a figure from a file of lines such as ``inactive_file 4096``."""
    for line in text.splitlines():
        if line.startswith(name):
            return int(line[len(name) :])
    raise ValueError(f"no {name.decode()}")
