"""What should be: roster, settings and state turned into frozen specifications.

Nothing here talks to an engine. A specification holds every fact that makes two containers
different; its hash is the label that decides whether a running one is still right.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from workshop import labels
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.proxy.routes import Edge, Route
from workshop.proxy.routes import Limits as EdgeLimits
from workshop.state import SHARDS, SLOTS_PER_SHARD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.roster import Participant, Roster
    from workshop.state import State

PORT = 8000
"""TCP port every seat listens on."""
SEAT_USER = "10001:10001"
EDGE_USER = "10002:10002"
ROOT = "0:0"
EDGE_KEY = "edge"
EDGE_MOUNT = "/edge"
BURST_SECONDS = 4
"""A page with many assets asks for all of them at once; this many seconds' worth may."""


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
    command: tuple[str, ...] = ()
    user: str = SEAT_USER
    capabilities: tuple[str, ...] = ()
    nofile: int | None = 1024
    """Open files; ``None`` leaves the engine's own limit, which no container may exceed."""
    mounts: tuple[tuple[str, str], ...] = ()
    """Host directory and the place it is mounted, read-only."""
    log_size: str = "1m"
    reload_on_hup: bool = False

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

    @property
    def seats(self) -> tuple[ContainerSpec, ...]:
        """The participants' containers, in the order of the roster."""
        return tuple(item for item in self.containers if item.role is Role.SEAT)


@dataclass(frozen=True)
class Sources:
    """Content hashes of everything images are made of, read once per command."""

    base: str
    """Tag of the base image."""
    edge_context: Path
    edge: str
    apps: Mapping[Path, str]


def make_desired(
    roster: Roster, state: State, sources: Sources, edge_directory: Path, *, privileged_port: bool
) -> Desired:
    """Turn what the files say into what should run.

    Args:
        roster: who takes part.
        state: what was chosen once for this run.
        sources: content hashes of what images are made of.
        edge_directory: what the edge gets mounted.
        privileged_port: whether this machine lets only root listen on the edge's port.

    """
    owner = Owner(roster.name, state.run, str(roster.path.parent.resolve()))
    images = {sources.base: ImageSpec(sources.base, Role.BASE)}
    seats = []
    for person in roster.participants:
        image, version = _app_image(person, roster, sources)
        images[image.tag] = image
        seats.append(_seat(person, state, owner, image.tag, version))
    edge_image = ImageSpec(
        f"{roster.name}/edge:{sources.edge}", Role.EDGE, sources.edge_context, base=sources.base
    )
    images[edge_image.tag] = edge_image
    edge = _edge(roster, edge_image.tag, sources.edge, edge_directory, privileged=privileged_port)
    routes = tuple(
        _route(person, seat) for person, seat in zip(roster.participants, seats, strict=True)
    )
    return Desired(
        owner=owner,
        images=tuple(images.values()),
        networks=_networks(state, seats),
        containers=(edge, *seats),
        edge=_edge_config(roster, routes),
    )


def _app_image(person: Participant, roster: Roster, sources: Sources) -> tuple[ImageSpec, str]:
    if person.image is not None:
        return ImageSpec(person.image, Role.APP), person.image.rpartition(":")[2][:12]
    source = person.source or roster.template
    digest = sources.apps[source]
    return ImageSpec(f"{roster.name}/app:{digest}", Role.APP, source, base=sources.base), digest


def _seat(
    person: Participant, state: State, owner: Owner, image: str, version: str
) -> ContainerSpec:
    slot = state.slots[person.name]
    prefix = f"/{person.name}"
    platform = {
        "PORT": str(PORT),
        "WORKSHOP_PARTICIPANT": person.name,
        "WORKSHOP_VERSION": version,
        "ROOT_PATH": prefix,
        "UVICORN_ROOT_PATH": prefix,
        # Only the edge can connect, so its word on the visitor's address is good.
        "FORWARDED_ALLOW_IPS": "*",
        # An open stream would otherwise keep uvicorn alive past SIGTERM.
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "2",
    }
    return ContainerSpec(
        role=Role.SEAT,
        key=person.name,
        name=f"{owner.workshop}-{person.name}",
        image=image,
        version=version,
        limits=person.limits,
        env={**person.env, **platform},
        slot=slot,
        network=network_name(owner.workshop, slot // SLOTS_PER_SHARD),
        address=seat_address(state.network, slot),
    )


def _edge(
    roster: Roster, image: str, version: str, directory: Path, *, privileged: bool
) -> ContainerSpec:
    return ContainerSpec(
        role=Role.EDGE,
        key=EDGE_KEY,
        name=f"{roster.name}-{EDGE_KEY}",
        image=image,
        version=version,
        limits=Limits(memory=1024 * MIB, cpus=0, pids=512),
        command=("nginx", "-c", f"{EDGE_MOUNT}/current/nginx.conf", "-g", "daemon off;"),
        user=ROOT if privileged else EDGE_USER,
        # A port below 1024 takes root to open; workers then give root up.
        capabilities=("CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID") if privileged else (),
        nofile=None,
        mounts=((str(directory), EDGE_MOUNT),),
        log_size="20m",
        reload_on_hup=True,
    )


def _route(person: Participant, seat: ContainerSpec) -> Route:
    return Route(seat.key, seat.address or "", PORT, person.display_name or person.name)


def _edge_config(roster: Roster, routes: tuple[Route, ...]) -> Edge:
    shown = roster.edge
    return Edge(
        title=roster.title,
        url=str(roster.url),
        listen=roster.port,
        landing=shown.landing,
        routes=routes,
        limits=EdgeLimits(
            requests_per_second=shown.requests_per_second,
            burst=shown.requests_per_second * BURST_SECONDS,
            connections=shown.connections,
            body_bytes=shown.body,
        ),
        directory=f"{EDGE_MOUNT}/current",
    )


def network_name(workshop: str, shard: int) -> str:
    """Name the bridge network of one shard."""
    return f"{workshop}-open-{shard}"


def bridge_name(workshop: str, shard: int) -> str:
    """Name the kernel's interface of one shard.

    Linux allows 15 characters, so the name comes from numbers and is never cut; all begin with
    ``wsp``, which one firewall rule can match.
    """
    return f"wsp{zlib.crc32(workshop.encode()):08x}o{shard}"


def seat_address(network: str, slot: int) -> str:
    """Give a slot its IPv4 address: a shard is a /22 whose first /24 holds the slots.

    The second /24 is kept for the next version of a seat beside the old one, the upper half is
    the engine's own to hand out.
    """
    shard = list(ipaddress.IPv4Network(network).subnets(new_prefix=22))[slot // SLOTS_PER_SHARD]
    return str(shard.network_address + 2 + slot % SLOTS_PER_SHARD)


def _networks(state: State, seats: list[ContainerSpec]) -> tuple[NetworkSpec, ...]:
    shards = list(ipaddress.IPv4Network(state.network).subnets(new_prefix=22))[:SHARDS]
    used = {seat.network for seat in seats}
    return tuple(
        NetworkSpec(
            name=network_name(state.workshop, index),
            bridge=bridge_name(state.workshop, index),
            subnet=str(shard),
            ip_range=str(list(shard.subnets(new_prefix=23))[1]),
        )
        for index, shard in enumerate(shards)
        if network_name(state.workshop, index) in used
    )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
