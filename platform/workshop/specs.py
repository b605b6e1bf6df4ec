"""Frozen specifications: every fact that makes an image, a network or a container what it is.

A specification's hash is the label that decides whether a running object is still right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from workshop import labels
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.gateway import config
    from workshop.limits import Limits
    from workshop.proxy.routes import Edge

PORT = 8000
"""TCP port every seat listens on."""
SEAT_USER = "10001:10001"


@dataclass(frozen=True)
class Owner:
    """Whose objects these are: written on every one of them."""

    workshop: str
    run: str
    directory: str

    def labels(self, role: Role) -> dict[str, str]:
        """Build the labels every object of this workshop carries."""
        return labels.owner(self.workshop, self.run, self.directory, role)


@dataclass(frozen=True)
class ImageSpec:
    """An image to build from ``context``, or to pull when there is no context."""

    tag: str
    role: Role
    context: Path | None = None
    dockerfile: str = "Dockerfile"
    base: str | None = None
    """Tag of the image it starts from, passed as the build argument BASE_IMAGE."""


@dataclass(frozen=True)
class NetworkSpec:
    """One bridge of seats that cannot reach each other."""

    name: str
    bridge: str
    subnet: str
    gateway: str
    """The bridge's own address, which is the server's on it: the class's models answer there."""
    ip_range: str
    """Where the engine may hand out addresses itself: apart from the slots, so that a stopped
    seat's address is never given to somebody else."""

    @property
    def config_hash(self) -> str:
        """Identify the network's settings."""
        return _digest(asdict(self))


@dataclass(frozen=True)
class ContainerSpec:
    """Everything that makes one container what it is."""

    role: Role
    key: str
    name: str
    image: str
    version: str
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict)
    slot: int | None = None
    network: str | None = None
    """Name of the bridge; ``None`` is the host's own network."""
    address: str | None = None
    bridges: tuple[str, ...] = ()
    """Names of the bridges on whose own addresses a container of the host's network listens."""
    listen: tuple[str, ...] = ()
    """Those addresses."""
    port: int = PORT
    command: tuple[str, ...] = ()
    user: str = SEAT_USER
    capabilities: tuple[str, ...] = ()
    nofile: int | None = 1024
    """Open files; ``None`` leaves the engine's own limit, which no container may exceed."""
    mounts: tuple[tuple[str, str], ...] = ()
    """Host directory and the place it is mounted, read-only."""
    data: tuple[tuple[str, str], ...] = ()
    """The same, to be written to."""
    log_size: str = "1m"
    reload_on_hup: bool = False

    @property
    def answers_at(self) -> str:
        """The address it is asked at, whether it is ready."""
        return self.address or next(iter(self.listen), "127.0.0.1")

    @property
    def config_hash(self) -> str:
        """Identify the container's settings; a label with another hash means: replace it."""
        return _digest(asdict(self))


@dataclass(frozen=True)
class Desired:
    """One workshop as it should be. Empty collections mean: nothing of it should exist."""

    owner: Owner
    images: tuple[ImageSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    containers: tuple[ContainerSpec, ...] = ()
    edge: Edge | None = None
    edge_config: str | None = None
    """Fingerprint the edge must answer with once everything is live."""
    gateway: config.Config | None = None
    """What the gateway is told; ``None`` where the class does without models."""

    @property
    def seats(self) -> tuple[ContainerSpec, ...]:
        """The participants' containers, in the order of the roster."""
        return tuple(item for item in self.containers if item.role is Role.SEAT)

    @property
    def parts(self) -> tuple[ContainerSpec, ...]:
        """The platform's own containers."""
        return tuple(item for item in self.containers if item.role is not Role.SEAT)

    def part(self, role: Role) -> ContainerSpec | None:
        """Find one of the platform's own containers."""
        return next((item for item in self.containers if item.role is role), None)


@dataclass(frozen=True)
class Sources:
    """What lies outside the roster, reduced to content hashes, read once per command."""

    base: str
    """Tag of the base image."""
    edge_context: Path
    edge: str
    apps: Mapping[tuple[Path, str], str]
    """By directory and name of the Dockerfile."""
    package: Path
    """Build context of the images that run parts of this package."""
    gateway: str
    """Empty where the class does without models; so is the next where it has no embedded one."""
    embedded: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Names of the files with providers' keys, by upstream."""


@dataclass(frozen=True)
class Directories:
    """What containers get mounted from the state directory."""

    edge: Path
    gateway: Path
    usage: Path


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
