"""Frozen specifications: every fact that makes an image, a network or a container what it is.

A specification's hash is the label that decides whether a running object is still right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from workshop import labels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.deploys.current import Deployment, SeatDeploys
    from workshop.labels import Role
    from workshop.limits import Limits

PORT = 8000
"""TCP port every seat listens on."""
SEAT_USER = "10001:10001"
SECRETS_PLACE = "/run/secrets"
HARDENING = 3
"""Number of the set of flags that every container gets beside its specification. It is part of each
container's hash: whoever tightens a flag raises it, and what has the older ones is replaced."""
NO_NETWORK = "none"
"""As a container's network: nothing but a loopback of its own."""


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
    secrets: tuple[tuple[str, Path], ...] = ()
    """Files the build may read with `RUN --mount=type=secret,id=...`, by id."""


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
    """Name of the bridge, or :data:`NO_NETWORK`; ``None`` is the host's own network."""
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
    groups: tuple[str, ...] = ()
    """Numbers of further groups its user is in."""
    volumes: tuple[str, ...] = ()
    """Directories the image wants to keep: they become small and in memory."""
    deploy: str = ""
    """Id of the deploy it comes from; empty for what the roster says."""
    log_size: str = "1m"
    reload_on_hup: bool = False
    dns: tuple[str, ...] = ()
    """Nameservers instead of the server's own."""
    ends: bool = False
    """Whether it does one thing and is over; such a one is not started again."""
    secrets: str = ""
    """Directory in the host's memory, mounted at :data:`SECRETS_PLACE`; named after what is in it,
    by a keyed hash, so that another secret makes another container."""

    @property
    def answers_at(self) -> str:
        """The address it is asked at, whether it is ready."""
        return self.address or next(iter(self.listen), "127.0.0.1")

    @property
    def config_hash(self) -> str:
        """Identify the container's settings; a label with another hash means: replace it."""
        return _digest({**asdict(self), "hardening": HARDENING})

    def moved(self, address: str) -> ContainerSpec:
        """Give the same seat at its green address; both may stand side by side."""
        return replace(self, name=f"{self.name}.green", address=address)

    def placed(self, held: SeatDeploys, green: str) -> ContainerSpec:
        """Give the seat the version that was deployed last, where it was started.

        Args:
            held: what the seat runs instead of what the roster says, if anything.
            green: the slot's second address.

        """
        spec = self if held.live is None else self.deployed(held.live)
        return spec.moved(green) if held.is_green else spec

    def deployed(self, deployment: Deployment) -> ContainerSpec:
        """Give the same seat running what was deployed."""
        return replace(
            self,
            image=deployment.image,
            version=deployment.version,
            env={**self.env, "WORKSHOP_VERSION": deployment.version},
            volumes=deployment.volumes,
            deploy=deployment.id,
        )


@dataclass(frozen=True)
class Sources:
    """What lies outside the roster, reduced to content hashes, read once per command."""

    base: str
    """Tag of the base image."""
    base_reference: str
    """What it stands for, such as ``python:3.12-slim``."""
    apps: Mapping[tuple[Path, str], str]
    """By directory and name of the Dockerfile."""
    package: Path
    """Build context of the images that run parts of this package."""
    images: Path
    """Where the directories of the images stand that need nothing of this package."""
    parts: Mapping[Role, str] = field(default_factory=dict)
    """Of the images of the platform's own services, as far as the class has them."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Names of the files with providers' keys, by upstream."""
    recipes: Mapping[tuple[Path, str], str] = field(default_factory=dict)
    """Text of each Dockerfile, for who uploads a source without one."""
    sealed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Fingerprints of the secrets of each seat that has some, by participant and name."""
    certificate: str = ""
    """Digest of the edge's certificate and key, which names their directory below the edge's own;
    empty where the edge speaks plain HTTP."""


@dataclass(frozen=True)
class Server:
    """What about this machine decides how parts are started."""

    privileged_port: bool
    """Whether only root may listen on the edge's port."""
    socket: str
    """Path of the engine's socket."""
    socket_group: str
    """Number of the group that may use it."""
    user: str
    """Whose the state directory is, as ``uid:gid``."""
    nameservers: tuple[str, ...] = ()
    """Whom it asks for names, as far as containers may ask them too."""
    ready_seconds: float = 90.0
    """How long a started seat may take to answer."""

    def own_user(self, number: int) -> str:
        """Choose the user of a part that writes directories of its own.

        An operator who is not root could not remove what another user has made; root can.
        """
        return f"{number}:{number}" if self.user.startswith("0:") else self.user


@dataclass(frozen=True)
class Directories:
    """What containers get mounted from the state directory."""

    edge: Path
    gateway: Path
    usage: Path
    home: Path
    """The state directory itself."""
    intake: Path
    inbox: Path
    deploys: Path
    shown: Path
    """What of the deploys participants may see, through the intake."""
    registry: Path
    storage: Path
    """The registry's blobs."""
    egress: Path
    wall: Path
    """Firewall rules, and what sets them."""
    board: Path
    """What the board is told, what it is shown, and what it keeps."""
    memory: Path
    """Where the files of secrets lie, outside the state directory, below the workshop's name."""


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
