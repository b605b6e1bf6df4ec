"""Where everything lives: a workshop's /21, its shards, and the address each slot has.

/21              one workshop: up to two shards
└─ /22           one shard: one bridge, up to 250 seats
├─ first /24  .1 the server itself, slots from .2 on, .254 the embedded model
├─ second /24 the slots again, for the next version of a seat beside the old one
└─ upper /23  the engine's own to hand out (its --ip-range)
"""

from __future__ import annotations

import ipaddress
import zlib
from typing import TYPE_CHECKING

from workshop.specs import NetworkSpec
from workshop.state import SHARDS, SLOTS_PER_SHARD

if TYPE_CHECKING:
    from workshop.specs import ContainerSpec
    from workshop.state import State

REGISTRY_PORT = 5000
EDGE_PORT = 8010
"""TCP port on :func:`own_loopback` at which the platform asks an edge that speaks TLS."""
INTAKE_PORT = 8012
BOARD_PORT = 8013
EGRESS_PORT = 3128
"""TCP ports of the deploy loop's parts and of the board, all on :func:`own_loopback`."""
OUTBOUND_PORT = 3129
"""TCP port of the proxy of approved seats, on each bridge's own address."""
EMBEDDED_PLACE = 254
"""Last number of the embedded model's address: beside the slots, which end at 251."""
_GREEN = 256


def networks(state: State, seats: list[ContainerSpec]) -> tuple[NetworkSpec, ...]:
    """Specify the bridges that ``seats`` stand on."""
    shards = list(ipaddress.IPv4Network(state.network).subnets(new_prefix=22))[:SHARDS]
    used = {seat.network for seat in seats}
    return tuple(
        NetworkSpec(
            name=network_name(state.workshop, index),
            bridge=bridge_name(state.workshop, index),
            subnet=str(shard),
            gateway=str(shard.network_address + 1),
            ip_range=str(list(shard.subnets(new_prefix=23))[1]),
        )
        for index, shard in enumerate(shards)
        if network_name(state.workshop, index) in used
    )


def network_name(workshop: str, shard: int) -> str:
    """Name the bridge network of one shard."""
    return f"{workshop}-open-{shard}"


def bridge_name(workshop: str, shard: int) -> str:
    """Name the kernel's interface of one shard.

    Linux allows 15 characters, so the name comes from numbers and is never cut; all begin with
    ``wsp``, which one firewall rule can match.
    """
    return f"{bridge_prefix(workshop)}o{shard}"


def bridge_prefix(workshop: str) -> str:
    """Begin the names of a workshop's bridges, and of its chains in the firewall."""
    return f"wsp{zlib.crc32(workshop.encode()):08x}"


def seat_address(network: str, slot: int, *, green: bool = False) -> str:
    """Give one of a slot's two IPv4 addresses.

    A shard is a /22: its first /24 holds the blue addresses, where a seat begins, its second the
    green ones, where its next version starts beside it. The upper half is the engine's own to hand
    out.
    """
    place = 2 + slot % SLOTS_PER_SHARD + (_GREEN if green else 0)
    return str(_shard(network, slot).network_address + place)


def own_loopback(network: str) -> str:
    """Give the workshop a loopback address of its own: 10.86.8.0/21 has 127.86.8.1.

    Seats cannot reach the server's loopback, workshops on one server do not collide there, and an
    engine trusts a registry on it without TLS.
    """
    octets = str(ipaddress.IPv4Network(network).network_address).split(".")
    return f"127.{octets[1]}.{octets[2]}.1"


def bridge_address(network: str, slot: int) -> str:
    """Give the server's own address on the bridge of a slot."""
    return str(_shard(network, slot).network_address + 1)


def embedded_address(network: NetworkSpec) -> str:
    """Give the embedded model's address on ``network``."""
    return str(ipaddress.IPv4Network(network.subnet).network_address + EMBEDDED_PLACE)


def _shard(network: str, slot: int) -> ipaddress.IPv4Network:
    return list(ipaddress.IPv4Network(network).subnets(new_prefix=22))[slot // SLOTS_PER_SHARD]
