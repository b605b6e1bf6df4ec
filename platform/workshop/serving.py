"""What the platform's own services share: a log, a socket, files replaced whole, a pace.

It imports nothing of the platform, and enters the image of each service beside its own package.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

_FORGET = 4096
"""Buckets before the full ones are forgotten."""
_MINUTE = 60.0

SETTINGS: Final[Mapping[str, Any]] = {
    "http": "httptools",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    # For answers under way to end; Docker kills after a few seconds.
    "timeout_graceful_shutdown": 1,
    "timeout_keep_alive": 75,
    "backlog": 1024,
}
"""Of uvicorn, for every service: silent but for our own log, behind the edge or on loopback."""

ID = re.compile(r"[0-9]{13}-[0-9a-f]{8}")
"""What orders and wishes are called: names that sort by time."""


class Server(Protocol):
    """What is needed of uvicorn's server."""

    should_exit: bool

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        ...


class Log(Protocol):
    """Writes one line."""

    def __call__(self, event: str, **facts: object) -> None:
        """Say that ``event`` happened."""
        ...


def log_to(stream: TextIO | None = None) -> Log:
    """Make a log that writes to ``stream``, or to standard output.

    Callers name facts: no key, no word of a conversation, no line of a build is one.
    """
    out = stream or sys.stdout

    def log(event: str, **facts: object) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = {"time": f"{stamp}.{int(now * 1000) % 1000:03d}Z", "event": event, **facts}
        # A reader of the log that has gone must not cost anybody an answer.
        with suppress(OSError, ValueError):
            out.write(json.dumps(line, default=str) + "\n")
            out.flush()

    return log


def bind(address: str) -> socket.socket:
    """Listen on ``HOST:PORT``.

    Raises:
        OSError: that is not possible.

    """
    host, _, port = address.rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except OSError:
        listener.close()
        raise
    return listener


def run(server: Server, sockets: Sequence[socket.socket]) -> None:
    """Serve until the process is told to stop, however early that is.

    uvicorn has handlers of its own only once it runs, and raises the signal that stopped it once
    more at its end, which is no failure.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    server.run(list(sockets))


def ids_in(directory: Path) -> list[str]:
    """List the ids of the JSON files in ``directory``, oldest first; none where it is not there."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - twenty times a second
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(stem for stem in stems if ID.fullmatch(stem))


def replace_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` in one step, so that a reader sees the old text or the new one.

    Raises:
        OSError: that is not possible; what stood there stays.

    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        # Closed while it is written, whatever the process's mask says.
        temporary.touch(mode=mode & 0o600)
        temporary.write_text(text, "utf-8")
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


class Buckets:
    """How often somebody may come: buckets that hold a few and fill steadily, one for each name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait(self, name: str, per_minute: int, burst: int) -> float:
        """Tell the seconds until one can be taken; 0 if that is now."""
        now, step = self._clock(), _MINUTE / per_minute
        wait = max(self._full_at.get(name, now), now) + step - now - step * burst
        # Rounding must not cost anybody the last of a burst.
        return wait if wait > step / 1000 else 0.0

    def take(self, name: str, per_minute: int, burst: int) -> float:
        """Take one; return 0, or the seconds until there is one again."""
        if wait := self.wait(name, per_minute, burst):
            return wait
        now = self._clock()
        self._full_at[name] = max(self._full_at.get(name, now), now) + _MINUTE / per_minute
        if len(self._full_at) > _FORGET:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return 0.0
