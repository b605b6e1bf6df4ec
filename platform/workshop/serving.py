"""What the platform's own services share: a log of JSON lines, and a socket to listen on.

It imports nothing of the platform, and enters the image of each service beside its own package.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TextIO


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
