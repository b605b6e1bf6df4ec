"""The verbs a build needs of an engine, and the facts that pass between them.

``engines/steps.py`` has them for Docker. Nothing here knows what a Dockerfile is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from workshop.limits import Limits


class End(StrEnum):
    """What a process of a build ended by."""

    EXIT = "exit"
    MEMORY = "memory"
    TIME = "time"
    DISK = "disk"
    PROCESSES = "processes"
    OUTPUT = "output"
    STOPPED = "stopped"
    ENGINE_FULL = "engine full"
    """By itself, for want of room on the engine's own disk, which is nobody's fault."""


class Kind(StrEnum):
    """What stands at a path."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Ended:
    """How a process of a build ended."""

    end: End
    status: int = 0
    tail: tuple[str, ...] = ()
    """The last lines it wrote."""


@dataclass(frozen=True)
class Parent:
    """What a build needs to know of the image it starts from."""

    id: str
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True)
class Room:
    """The container one step happens in."""

    image: str
    cwd: str
    user: str
    note: str
    """The instruction, for the image's history."""
    limits: Limits
    disk: int
    """Bytes it may write."""
    network: str
    """``container:ID`` of a relay, or ``none``."""
    seconds: int
    """It ends by itself after that, should nobody be left to end it."""
    marks: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[tuple[str, str], ...] = ()
    """Files of this server and the places they are mounted at, read-only."""


@dataclass(frozen=True)
class Call:
    """One process."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str


@dataclass(frozen=True)
class Watch:
    """What holds while a process runs."""

    deadline: float
    """On ``time.monotonic``'s clock."""
    disk: int
    """Bytes the container may have written."""
    pids: int
    say: Callable[[str], None]
    stop: Callable[[], bool]


class Steps(Protocol):
    """What an engine does for a build."""

    def parent(self, reference: str) -> Parent | None:
        """Look an image of this engine up; ``None`` when it has none of that name."""

    def kept(self, tag: str) -> str | None:
        """Find an earlier step's image, and note that it was of use."""

    def open(self, room: Room) -> str:
        """Make a container that does not run yet; returns its id."""

    def kind(self, container: str, path: str) -> Kind | None:
        """Say what stands at ``path``, links followed."""

    def put(self, container: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar archive at the root."""

    def take(self, container: str, path: str) -> Iterator[bytes]:
        """Pack what stands at ``path`` into a tar archive."""

    def written(self, container: str) -> int:
        """Count the bytes the container has written."""

    def run(self, container: str, call: Call, watch: Watch) -> Ended:
        """Start the container if need be, run one process in it and follow it to its end."""

    def commit(
        self,
        container: str,
        tag: str,
        labels: Mapping[str, str],
        config: Mapping[str, object] | None = None,
    ) -> str:
        """Make an image of what the container has become; returns its id."""

    def discard(self, container: str) -> None:
        """Remove a container, running or not."""

    def clear(self, marks: Mapping[str, str]) -> int:
        """Remove the containers that carry ``marks``; returns how many there were."""

    def prune(self, repository: str, keep: int) -> int:
        """Let go of all but the ``keep`` images of ``repository`` used last; returns how many."""
