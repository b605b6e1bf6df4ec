"""What somebody changed by hand on a container that stands: `docker update`, `rename`, `network`.

None of it touches a label, so the hash that decides all else cannot tell. Every fact that can be
altered without making a container anew is held against what it was made with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workshop import labels
from workshop.engines import walls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from workshop.specs import ContainerSpec

    Raw = Mapping[str, Any]

_UPDATED = {
    "Memory": "mem_limit",
    "MemorySwap": "memswap_limit",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "PidsLimit": "pids_limit",
    "CpuShares": "cpu_shares",
    "RestartPolicy": "restart_policy",
    # Nothing sets these; `docker update` can.
    "NanoCpus": "",
    "BlkioWeight": "",
    "CpuRealtimePeriod": "",
    "CpuRealtimeRuntime": "",
    "CpusetCpus": "",
    "CpusetMems": "",
    "MemoryReservation": "",
}
"""What the engine can change of a container, and what :func:`walls.flags` calls it."""


def altered(specs: Iterable[ContainerSpec], inspected: Iterable[Raw], api: str) -> dict[str, str]:
    """Say of each container that was altered what differs, by the container's id.

    Those made from other settings are passed over: they are replaced in any case.
    """
    wanted = {(spec.role.value, spec.key, spec.config_hash): spec for spec in specs}
    found = {}
    for raw in inspected:
        marks = raw["Config"].get("Labels") or {}
        role, key, settings = (
            marks.get(label, "") for label in (labels.ROLE, labels.PARTICIPANT, labels.CONFIG_HASH)
        )
        spec = wanted.get((role, key, settings))
        if spec is not None and (words := ", ".join(_differences(spec, raw, api))):
            found[str(raw["Id"])] = words
    return found


def _differences(spec: ContainerSpec, raw: Raw, api: str) -> Iterator[str]:
    held, made = raw["HostConfig"], walls.flags(spec, api)
    name = str(raw["Name"]).lstrip("/")
    if name != spec.name:
        yield f"name {name} instead of {spec.name}"
    for key, flag in _UPDATED.items():
        found, wanted = held.get(key) or 0, made.get(flag) or 0
        if key == "RestartPolicy":
            found, wanted = held[key]["Name"] or "no", made[flag]["Name"]
        if found != wanted:
            yield f"{key} {found} instead of {wanted}"
    networks = set(raw["NetworkSettings"].get("Networks") or ())
    for other in sorted(networks - {spec.network or "host"}):
        yield f"network {other}"
