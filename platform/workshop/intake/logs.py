"""Log lines as JSON on standard output. Callers name facts; keys and words of a build are none."""

from __future__ import annotations

import json
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
    """Make a log that writes to ``stream``, or to standard output."""
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
