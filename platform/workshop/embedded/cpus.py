"""How much of the processor this container may use, and whether the chat engine runs on it."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
REQUIRED = ("avx2", "fma", "f16c", "bmi2")
"""Instructions the prebuilt engine for x86_64 was compiled for; without them it dies by SIGILL."""


def usable_cpus(root: Path = CGROUPS, allowed: int | None = None) -> float:
    """Say how many processors the control group grants: its quota, within its cpuset.

    ``os.cpu_count`` would name the host's, and one thread more than the quota carries makes all of
    them wait for each other.
    """
    allowed = len(os.sched_getaffinity(0)) if allowed is None else allowed
    return min(float(allowed), _quota_v2(root), _quota_v1(root))


def threads(cpus: float) -> int:
    """Round down: under 1.5 processors two threads are throttled together, one runs steadily."""
    return max(1, int(cpus))


def missing_instructions(cpuinfo: str, machine: str | None = None) -> tuple[str, ...]:
    """List the instructions the engine needs and this processor lacks."""
    if (machine or platform.machine()) != "x86_64":
        return ()
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    present = set(flags.partition(":")[2].split())
    return tuple(name for name in REQUIRED if name not in present)


def _quota_v2(root: Path) -> float:
    return _share(*(_read(root / "cpu.max").split() or ("max", "0")))


def _quota_v1(root: Path) -> float:
    directory = root / "cpu"
    return _share(
        _read(directory / "cpu.cfs_quota_us"),
        _read(directory / "cpu.cfs_period_us"),
    )


def _share(quota: str, period: str) -> float:
    # "max" (version 2), -1 (version 1) and an absent file all mean: no limit.
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return math.inf
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""
