"""The seam to a container engine: the fewest verbs that could work.

One verb is one thing the engine does. Deciding which, in which order and how many at a time
belongs to ``plan`` and ``apply``. Every implementation passes ``tests/engines/contract.py``.

All verbs raise :class:`~workshop.errors.EngineError` (or :class:`NotFound`, :class:`Conflict`,
:class:`BuildFailed`, :class:`EngineUnreachable`) and nothing else of their own making.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from workshop.audit import Facts
    from workshop.labels import Role
    from workshop.observed import Observed, ObservedContainer, Uptime
    from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec, Owner

STOP_SECONDS = 3
"""Seconds between SIGTERM and SIGKILL: an app that ignores the first must not hold up a class."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says about itself and its machine."""

    kind: str
    version: str
    endpoint: str
    cpus: int
    memory: int
    """Bytes of the machine the engine runs on."""
    root: str
    """Directory of images and containers on that machine."""
    warnings: tuple[str, ...] = ()


T_co = TypeVar("T_co", covariant=True)


class Stream(Protocol[T_co]):
    """What an engine goes on telling, until it or the engine ends, or somebody closes it."""

    def __iter__(self) -> Iterator[T_co]:
        """Yield what comes, waiting for it."""
        ...

    def close(self) -> None:
        """End it, from any thread; whoever waits in it gets nothing further."""
        ...


@dataclass(frozen=True)
class Event:
    """Something happened to a container."""

    container: str
    """Its id."""
    action: str
    """create, start, die, stop, restart, kill, oom, pause, unpause or destroy."""
    role: Role | None
    key: str
    """The participant of a seat, or the system part's own name."""
    exit_code: int | None = None
    """Of one that died."""


class Engine(Protocol):
    """A place where containers run."""

    has_kernel: bool
    """Whether its containers' networks are this machine's, firewall rules included."""

    def info(self) -> EngineInfo:
        """Describe the engine; the cheapest proof that it is reachable."""
        ...

    def observe(self, workshop: str, references: Sequence[str] = ()) -> Observed:
        """Take one snapshot of ``workshop``.

        ``references`` are images of somebody else's making whose presence matters.
        """
        ...

    def containers(self, workshop: str) -> Sequence[ObservedContainer]:
        """Look at the containers of ``workshop`` alone: the quick part of :meth:`observe`."""
        ...

    def events(self, workshop: str) -> Stream[Event]:
        """Tell what happens to containers of ``workshop`` from now on."""
        ...

    def uptime(self, container_id: str) -> Uptime:
        """Say how long a container has run, and how often it was started again."""
        ...

    def facts(self, workshop: str) -> Facts:
        """Look closely at all that carries the name of ``workshop``: one call a container."""
        ...

    def altered(self, workshop: str, specs: Sequence[ContainerSpec]) -> Mapping[str, str]:
        """Say what was changed by hand on containers made from ``specs``, in words, by their id.

        One call a container, so not for every look.
        """
        ...

    def fetch(self, reference: str) -> None:
        """Pull an image."""
        ...

    def build(self, spec: ImageSpec, labels: Mapping[str, str]) -> None:
        """Build ``spec.context`` into ``spec.tag``."""
        ...

    def load_rootfs(
        self, archive: Path, tag: str, labels: Mapping[str, str], env: Mapping[str, str]
    ) -> None:
        """Make an image out of a root file system in a tar archive."""
        ...

    def remove_image(self, tag: str) -> None:
        """Remove an image by tag; one that is gone already is no error."""
        ...

    def create_network(self, spec: NetworkSpec, owner: Owner) -> None:
        """Create a bridge whose members cannot reach each other."""
        ...

    def remove_network(self, network_id: str) -> None:
        """Remove a network by id; one that is gone already is no error."""
        ...

    def create(self, spec: ContainerSpec, owner: Owner) -> str:
        """Create a container and return its id, without starting it."""
        ...

    def start(self, container_id: str) -> None:
        """Start a container, or let a paused one go on."""
        ...

    def restart(self, container_id: str) -> None:
        """Stop (SIGTERM, bounded wait) and start a container."""
        ...

    def stop(self, container_id: str) -> None:
        """Stop (SIGTERM, bounded wait) a container, to stay so; one that has ended is no error."""
        ...

    def once(self, spec: ContainerSpec, owner: Owner) -> tuple[int, str]:
        """Run a container that does one thing; its exit status and output. Nothing of it stays."""
        ...

    def remove(self, container_id: str) -> None:
        """Stop and remove a container with its anonymous volumes; gone already is no error."""
        ...

    def run(self, container_id: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside a running container; its exit status and output."""
        ...

    def attach(self, container_id: str, command: Sequence[str]) -> int:
        """Run a command inside a running container on this terminal; its exit status."""
        ...

    def logs(self, container_id: str, *, tail: int, follow: bool = False) -> Iterator[str]:
        """Yield the last ``tail`` lines a container wrote, and further ones when following."""
        ...

    def follow(self, container_id: str, since: float) -> Stream[tuple[str, str]]:
        """Tell what a container writes to its standard output, from ``since`` on.

        Each line comes with the time the engine took it at, as text that sorts by time. ``since``
        is in seconds since 1970. It ends when the container does.
        """
        ...

    def remove_nameless(self, workshop: str) -> None:
        """Remove images with the label of ``workshop`` that have lost their last name.

        Whoever untags one, or builds another of the same name, leaves such an image behind. What a
        container still uses stays.
        """
        ...

    def leftovers(self, workshop: str, volumes: Sequence[str] = ()) -> list[str]:
        """Name every object of ``workshop`` that is still there, looked up afresh.

        ``volumes`` are anonymous volumes its containers had; they carry no label of their own.
        """
        ...
