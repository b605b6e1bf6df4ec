"""Ports that tests and benchmarks listen on: nobody else who runs them is given the same one.

A port that the kernel hands out is free at that moment. Until a server listens there, which may be
minutes and many teardowns later, another session's server or any connection that leaves this
machine may have taken it. So each session has a lane of its own, below the ports that
connections get (https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range).
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST, _PORTS, _LANES = 20_000, 600, 20


def free_port() -> int:
    """Find a port nobody listens on, on any address of this machine.

    Raises:
        OSError: everything in this session's lane is taken.

    """
    lane = _lane()
    for _ in range(_PORTS):
        port = next(lane)
        with socket.socket() as probe:
            # As servers do: what a closed connection left behind is in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError("no port of this session is free")


@functools.cache
def _lane() -> Iterator[int]:
    """Take the first lane no other session has, until this process ends."""
    directory = Path(tempfile.gettempdir(), f"workshop-test-ports-{os.getuid()}")
    directory.mkdir(exist_ok=True)
    for number in range(_LANES):
        lock = os.open(directory / str(number), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        begin = _FIRST + number * _PORTS
        return itertools.cycle(range(begin, begin + _PORTS))
    raise OSError(f"{_LANES} sessions run at once, or {directory} is not writable")
