"""The specifications the engine tests start from."""

from __future__ import annotations

import random
from typing import Any

from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.specs import ContainerSpec, NetworkSpec, Owner

_START, _THIRD = f"10.{random.randrange(232, 240)}", 4 * random.randrange(64)
"""Several runs share the engine: each process has a network that the others are not likely to have."""
SUBNET = f"{_START}.{_THIRD}.0/22"
BRIDGE = f"{_START}.{_THIRD}.1"
IP_RANGE = f"{_START}.{_THIRD + 2}.0/23"


def place(number: int) -> str:
    """Give an address of that network; the first for a seat is 2."""
    return f"{_START}.{_THIRD}.{number}"


def seat(
    owner: Owner, image: str, key: str = "ada", slot: int = 0, **changes: Any
) -> ContainerSpec:
    """Specify a seat that does nothing, politely."""
    fields: dict[str, Any] = {
        "role": Role.SEAT,
        "key": key,
        "name": f"{owner.workshop}-{key}",
        "image": image,
        "version": "v1",
        "limits": Limits(memory=16 * MIB, cpus=0.5, pids=32),
        "env": {"GREETING": "a b\n$c"},
        "slot": slot,
        "network": f"{owner.workshop}-open-0",
        "address": place(2 + slot),
        "command": ("sleep", "3600"),
    }
    return ContainerSpec(**{**fields, **changes})


def network_of(owner: Owner) -> NetworkSpec:
    """Specify the network of one shard."""
    bridge = f"wsp{owner.workshop[1:9]}"
    return NetworkSpec(f"{owner.workshop}-open-0", bridge, SUBNET, BRIDGE, IP_RANGE)
