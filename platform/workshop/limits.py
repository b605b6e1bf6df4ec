"""What one seat may use of the server, and how the roster spells it.

Docker reads ``pids: 0`` and ``memory: 0`` as "unlimited", so every value has a lowest sensible
one and none can be switched off.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MIB = 1024 * 1024
_UNITS = {"k": 1024, "m": MIB, "g": 1024 * MIB}
_MEMORY = re.compile(r"([0-9]{1,9})([kmg])", re.IGNORECASE)
MEMORY_RANGE = (16 * MIB, 1024 * 1024 * MIB)
CPUS_RANGE = (0.05, 128.0)
PIDS_RANGE = (16, 32_768)


@dataclass(frozen=True)
class Limits:
    """Ceilings of one container.

    ``memory`` is in bytes and includes swap: 256 MiB holds a FastAPI app with the openai client.
    ``cpus`` are cores; half a core keeps one busy loop from being felt by the neighbours.
    ``pids`` counts processes and threads, so a fork bomb ends where it began.
    """

    memory: int = 256 * MIB
    cpus: float = 0.5
    pids: int = 128


def parse_memory(text: str) -> int:
    """Read ``256m`` or ``1g`` as bytes; raise ``ValueError`` with what was expected."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r}; expected a whole number with k, m or g, such as 256m")
    value = int(match[1]) * _UNITS[match[2].lower()]
    if not MEMORY_RANGE[0] <= value <= MEMORY_RANGE[1]:
        raise ValueError(f"{text!r}; expected 16m to 1024g")
    return value


def parse_cpus(text: str) -> float:
    """Read a number of cores; raise ``ValueError`` with what was expected."""
    try:
        value = float(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text) else math.nan
    except ValueError:
        value = math.nan
    if not CPUS_RANGE[0] <= value <= CPUS_RANGE[1]:
        raise ValueError(f"{text[:40]!r}; expected a number of cores from 0.05 to 128")
    return value


def parse_pids(text: str) -> int:
    """Read a number of processes; raise ``ValueError`` with what was expected."""
    value = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else -1
    if not PIDS_RANGE[0] <= value <= PIDS_RANGE[1]:
        raise ValueError(f"{text[:40]!r}; expected a whole number from 16 to 32768")
    return value


def parse_whole(text: str, lowest: int, highest: int) -> int:
    """Read a whole number within bounds; raise ``ValueError`` with what was expected."""
    value = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else lowest - 1
    if not lowest <= value <= highest:
        raise ValueError(f"{text[:40]!r}; expected a whole number from {lowest} to {highest}")
    return value


def show_memory(value: int) -> str:
    """Write bytes the way a person reads them: ``256 MiB``, ``1.5 GiB``."""
    for unit, size in (("GiB", 1024 * MIB), ("MiB", MIB)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value} B"
