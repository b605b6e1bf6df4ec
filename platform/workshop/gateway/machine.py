"""The addresses of this machine: whoever calls from one of them is the edge, or the instructor.

It is not enough to know where we listen. A connection from this machine to one of its own bridge
addresses leaves by the loopback interface, and the engine's masquerading rule gives it whichever
address the kernel likes best there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TABLE = Path("/proc/net/fib_trie")
"""The kernel's own list, as far as this network namespace knows."""
FRESH_SECONDS = 5.0
"""How long a reading holds: bridges come with the first seats of another class."""


class Machine:
    """Answers ``address in machine``."""

    def __init__(self, table: Path = TABLE, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._read_at = -FRESH_SECONDS
        self._addresses: frozenset[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        if self._clock() - self._read_at >= FRESH_SECONDS:
            self._read_at = self._clock()
            self._addresses = frozenset(_local(self._table.read_text("ascii").splitlines()))
        return address in self._addresses


def _local(lines: Iterable[str]) -> Iterator[str]:
    """Read the addresses of the kernel's table: a line with each, then what it is good for."""
    address = ""
    for line in lines:
        mark, _, rest = line.strip().partition(" ")
        if mark == "|--":
            address = rest
        elif mark == "/32" and rest == "host LOCAL":
            yield address
