"""The wall around seats: its rules, what sets them, and the way out of approved seats."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.parts.deploys import EGRESS_USER
from workshop.parts.models import GATEWAY_PORT
from workshop.specs import ContainerSpec
from workshop.state import SLOTS_PER_SHARD
from workshop.subnets import OUTBOUND_PORT, bridge_prefix, network_name, seat_address
from workshop.wall import rules
from workshop.wall.options import Mode, shortest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workshop.parts.ground import Ground
    from workshop.roster import Participant
    from workshop.specs import ImageSpec, NetworkSpec

MOUNT = "/wall"
RULES, HOSTS, SCRIPT = "rules", "hosts", "wall"
"""Files of the state directory's ``wall``."""
NO_NAMES = dict.fromkeys((Mode.APPROVED, Mode.LLM, Mode.NONE), ("192.0.2.1",))
"""Nameservers by mode: one that does not exist, or a seat that reaches nothing else could still
tell the world in the names it asks for (CVE-2024-29018)."""
_FIREWALL_LIMITS = Limits(memory=128 * MIB, cpus=0, pids=64)
_CAPABILITIES = ("NET_ADMIN", "NET_RAW")
"""The second for the older of the kernel's two tables, which is spoken to over a raw socket."""
_DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Standing:
    """The rules as they should stand, and the container that sets them."""

    prefix: str
    """Of the workshop's bridges and chains."""
    rules: str
    lines: tuple[str, ...]
    """What of the firewall shows that the rules stand."""
    hosts: str
    """What approved seats may reach, one name a line."""
    image: ImageSpec
    container: ContainerSpec


def standing(ground: Ground) -> Standing | None:
    """Specify the wall of a class that has seats."""
    if not ground.networks:
        return None
    roster, image = ground.roster, ground.image(Role.WALL)
    wall = rules.Wall(
        workshop=roster.name,
        prefix=bridge_prefix(roster.name),
        shards=tuple(_shard(ground, network) for network in ground.networks),
        nameservers=ground.server.nameservers,
        gateway_port=GATEWAY_PORT if roster.llm is not None else 0,
        outbound_port=OUTBOUND_PORT if roster.has_approved else 0,
    )
    mounts = ((str(ground.directories.wall), MOUNT),)
    container = setter(roster.name, image.tag)
    return Standing(
        prefix=wall.prefix,
        rules=wall.rules,
        lines=rules.expected(wall.rules, wall.prefix),
        hosts=_hosts(ground),
        image=image,
        container=replace(container, command=("wall", "apply", f"{MOUNT}/{RULES}"), mounts=mounts),
    )


def setter(workshop: str, image: str) -> ContainerSpec:
    """Specify what looks at the firewall; another command makes it set or remove rules."""
    return ContainerSpec(
        role=Role.WALL,
        key=Role.WALL.value,
        name=f"{workshop}.{Role.WALL}",
        image=image,
        version=image.rpartition(":")[2],
        limits=_FIREWALL_LIMITS,
        command=("wall", "show"),
        port=0,
        user="0:0",
        capabilities=_CAPABILITIES,
        ends=True,
    )


def _shard(ground: Ground, network: NetworkSpec) -> rules.Shard:
    """Name the addresses of one bridge's seats, blue and green: a deploy moves between them."""
    state = ground.state
    seats: list[tuple[str, Mode]] = []
    for person in ground.roster.participants:
        slot = state.slots[person.name]
        if network_name(ground.roster.name, slot // SLOTS_PER_SHARD) == network.name:
            places = (seat_address(state.network, slot, green=green) for green in (False, True))
            seats += [(address, person.egress) for address in places]
    return rules.Shard(network.gateway, tuple(seats))


# -- the way out of approved seats ------------------------------------------------------------


def parts(ground: Ground) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Specify the proxy, where any seat needs it."""
    roster, networks = ground.roster, ground.networks
    if not roster.has_approved:
        return
    # The proxy of builds has the same image.
    image = ground.image(Role.EGRESS)
    ways = tuple(f"{network.subnet}@{network.gateway}:{OUTBOUND_PORT}" for network in networks)
    spec = ContainerSpec(
        role=Role.OUTBOUND,
        key=Role.OUTBOUND.value,
        name=f"{roster.name}-{Role.OUTBOUND}",
        image=image.tag,
        version=ground.version(Role.EGRESS),
        limits=Limits(memory=256 * MIB, cpus=0, pids=512),
        env={"WORKSHOP_CONFIG": _digest(_hosts(ground))},
        command=("outbound", *ways),
        bridges=tuple(network.name for network in networks),
        listen=tuple(network.gateway for network in networks),
        port=0,
        user=EGRESS_USER,
        nofile=8192,
        mounts=((str(ground.directories.wall), MOUNT),),
    )
    yield image, spec


def _hosts(ground: Ground) -> str:
    return "".join(f"{host}\n" for host in shortest(ground.roster.hosts))


def proxy_variables(person: Participant, bridge: str) -> Mapping[str, str]:
    """Tell an approved seat its way out; the class's models are reached without it."""
    if person.egress is not Mode.APPROVED:
        return {}
    way = f"http://{bridge}:{OUTBOUND_PORT}"
    found = {"HTTP_PROXY": way, "HTTPS_PROXY": way, "NO_PROXY": f"{bridge},localhost,127.0.0.1"}
    # Programs disagree about capitals.
    return {**found, **{name.lower(): value for name, value in found.items()}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
