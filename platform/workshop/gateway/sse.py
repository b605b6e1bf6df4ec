"""Reads a stream of events on the side while its bytes pass by unchanged.

What a client did not ask for and could stumble over, the last event that holds nothing but the
usage, is left out. What is no stream of answers at all is noticed before it is passed on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from workshop.gateway.errors import UpstreamFailed

if TYPE_CHECKING:
    from workshop.gateway.tally import Tally

LONGEST_EVENT = 1024 * 1024
DONE = b"[DONE]"
_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"(?:data|event|id|retry)?:|(?:data|event|id|retry)$")


class EventReader:
    """One stream on its way through."""

    def __init__(self, tally: Tally, *, wants_usage: bool) -> None:
        self._tally = tally
        self._wants_usage = wants_usage
        self._rest = b""
        self.done = False
        """Whether the stream said that it is over."""

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes in; return those that make up whole events, to be passed on.

        Raises:
            UpstreamFailed: they are no stream of answers.

        """
        self._rest += chunk
        passed, start = [], 0
        for match in _END.finditer(self._rest):
            event = self._rest[start : match.end()]
            if self._passes(event):
                passed.append(event)
            start = match.end()
        self._rest = self._rest[start:]
        if len(self._rest) > LONGEST_EVENT:
            raise UpstreamFailed("an event larger than 1 MiB")
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def finish(self) -> bytes:
        """Tell that the upstream has ended; return what is left to pass on.

        Raises:
            UpstreamFailed: it ended in the middle.

        """
        rest = self.feed(b"\n\n") if self._rest.strip() else b""
        if not (self.done or self._tally.finished):
            raise UpstreamFailed("the stream ended in the middle")
        return rest

    def _passes(self, event: bytes) -> bool:
        if len(event) > LONGEST_EVENT:
            raise UpstreamFailed("an event larger than 1 MiB")
        data = _data(event)
        if data is None:
            return True
        if data == DONE:
            self.done = True
            return True
        return self._tally.take(_parse(data)) or self._wants_usage


def _data(event: bytes) -> bytes | None:
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event.rstrip(b"\r\n")):
        return event[6:].strip()
    parts = []
    for line in event.splitlines():
        if line and not _FIELD.match(line):
            raise UpstreamFailed("a line that is no server-sent event")
        if line.startswith(b"data:"):
            parts.append(line[5:])
    return b"\n".join(parts).strip() if parts else None


def _parse(data: bytes) -> dict[str, Any]:
    try:
        piece = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UpstreamFailed("an event that is no JSON") from exc
    if not isinstance(piece, dict):
        raise UpstreamFailed("an event that is no object")
    if "error" in piece and "choices" not in piece:
        raise UpstreamFailed("an error in the middle of the stream")
    return piece
