"""The flags that wall a container in: the same for every image, and never the image's to choose.

Whoever changes what is set here raises :data:`workshop.specs.HARDENING`, so that what has the older
flags is replaced; :mod:`workshop.audit` checks from outside that each is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker.types import LogConfig, Ulimit

from workshop import host
from workshop.engines import seccomp
from workshop.engines.base import STOP_SECONDS
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.specs import ContainerSpec

TMP = "/tmp"  # noqa: S108 - inside a container
_TMP_OPTIONS = "rw,noexec,nosuid,nodev,size=32m,nr_inodes=2000"
_SEAT_OOM = 500
"""Where the server itself runs out of memory, a seat dies before anything of the platform."""
_SHARES = {Role.EDGE: 8192, Role.GATEWAY: 4096}
"""How the processors are divided when all are wanted: what everybody's requests pass comes first.
Seats have what the server's other programs have; with less, a good neighbour waits longest."""
_USUAL_SHARES = 1024
_QUANTUM = 5_000
"""Microseconds of a processor the kernel hands out at once (sched_cfs_bandwidth_slice_us). Who has
no more than this in a period never runs on all processors at the same moment: docs/adr/0015."""
_PERIODS = (5_000, 100_000)
"""Shortest and longest period in microseconds; the longest is the engine's own."""


def flags(spec: ContainerSpec, api: str) -> dict[str, Any]:
    """Give what the engine must be told of the container's surroundings, on this API version."""
    return {
        # nginx reaps its workers itself and must be process 1 to be signalled.
        "init": not spec.reload_on_hup,
        "read_only": True,
        "cap_drop": ["ALL"],
        "cap_add": list(spec.capabilities) or None,
        "security_opt": ["no-new-privileges:true", *seccomp.option(api)],
        "pids_limit": spec.limits.pids,
        "mem_limit": spec.limits.memory,
        "memswap_limit": spec.limits.memory,
        "cpu_shares": _SHARES.get(spec.role, _USUAL_SHARES),
        **processors(spec.limits.cpus),
        "oom_score_adj": _SEAT_OOM if spec.role is Role.SEAT else None,
        "shm_size": "16m",
        "tmpfs": {TMP: _TMP_OPTIONS},
        "sysctls": _sysctls(spec),
        "ulimits": _ulimits(spec),
        "log_config": LogConfig(
            type="json-file", config={"max-size": spec.log_size, "max-file": "2"}
        ),
        "restart_policy": {"Name": "no" if spec.ends else "unless-stopped"},
        "dns": list(spec.dns) or None,
    }


def processors(cpus: float) -> dict[str, int]:
    """Give what the engine must be told so that a container uses so many cores; 0 is no bound.

    In the usual 100 ms, half a core may take both of two processors for 25, and neighbours wait.
    """
    if not cpus:
        return {}
    period = min(max(round(_QUANTUM / cpus), _PERIODS[0]), _PERIODS[1])
    return {"cpu_period": period, "cpu_quota": round(period * cpus)}


def process(spec: ContainerSpec) -> dict[str, Any]:
    """Give what the engine must be told of the process: who it is and how it ends."""
    return {
        "user": spec.user,
        # An image's own health check would run a process in every seat for ever.
        "healthcheck": {"test": ["NONE"]},
        # nginx alone makes a difference: with this one it first answers what it has begun.
        "stop_signal": "SIGQUIT" if spec.reload_on_hup else "SIGTERM",
        "stop_timeout": STOP_SECONDS,
    }


def _sysctls(spec: ContainerSpec) -> Mapping[str, str] | None:
    """Switch IPv6 off wherever a container has a network of its own: no wall is made of it."""
    if not spec.network or not host.has_ipv6():
        return None
    return {f"net.ipv6.conf.{name}.disable_ipv6": "1" for name in ("all", "default")}


def _ulimits(spec: ContainerSpec) -> list[Ulimit] | None:
    if spec.nofile is None:
        return None
    return [Ulimit(name="nofile", soft=spec.nofile, hard=spec.nofile)]
