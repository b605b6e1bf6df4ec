"""The specifications the engine tests start from."""

from __future__ import annotations

from typing import Any

from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.specs import ContainerSpec, Owner

SUBNET = "10.231.8.0/22"
BRIDGE = "10.231.8.1"
IP_RANGE = "10.231.10.0/23"


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
        "address": f"10.231.8.{2 + slot}",
        "command": ("sleep", "3600"),
    }
    return ContainerSpec(**{**fields, **changes})
