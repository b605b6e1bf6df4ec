"""Who asked a seat for what, and how it answered: read from the edge's log as it is written.

The log's form is ``log_line`` in ``nginx_templates/nginx.conf.j2``. Lines of several workers come a
little out of order, because each writes its own once a second.
"""

from __future__ import annotations

import bisect
import json
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from workshop.board.shown import BUCKETS

WINDOW = 60
"""Seconds that "lately" means."""
LEFT_SECONDS = 3.0
"""A visitor who waited so long without an answer and left, did not leave by chance."""
_OVERLAP_SECONDS = 2.0
_LATEST = 1e11
"""No time of a log is later, in seconds since 1970."""
_MOST_SEATS = 2000
_LONGEST_LINE = 64 * 1024
_LEFT = 499
_UNAVAILABLE = 503
_SERVER_ERROR = 500
_NOBODY = frozenset({"", "-", "502", "504"})
"""What the edge notes in place of an answer's status where a seat gave none."""


@dataclass(frozen=True)
class Line:
    """One request for a seat."""

    seat: str
    time: float
    """When it ended, in seconds since 1970."""
    status: int
    upstream: str
    """Status of the app's own answer, of the last try; empty or the edge's word where it gave
    none."""
    seconds: float
    bytes: int

    @property
    def unanswered(self) -> bool:
        """Whether a visitor went without an answer that the app owed them."""
        if self.status == _LEFT:
            return self.seconds >= LEFT_SECONDS
        return self.status == _UNAVAILABLE and self.upstream in _NOBODY

    @property
    def answered(self) -> bool:
        """Whether the app itself answered; what the edge alone said, tells nothing of the app."""
        return self.status != _LEFT and self.upstream.isdecimal() and not self.unanswered

    @property
    def failed(self) -> bool:
        """Whether it counts as an error."""
        return self.unanswered or self.status >= _SERVER_ERROR


def parse(text: str) -> Line | None:
    """Read a line of the log; ``None`` for one that is garbled, or about no seat."""
    if len(text) > _LONGEST_LINE or not text.startswith("{"):
        return None
    try:
        raw: dict[str, Any] = json.loads(text)
        if not raw["seat"]:
            return None
        line = Line(
            seat=str(raw["seat"]),
            time=float(raw["time"]),
            status=int(raw["status"]),
            upstream=str(raw["upstream_status"]).rpartition(",")[2].strip(),
            seconds=float(raw["seconds"]),
            bytes=int(raw["bytes"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    sound = 0 <= line.time < _LATEST and math.isfinite(line.seconds)
    return line if sound and line.seconds >= 0 and line.bytes >= 0 else None


@dataclass
class Traffic:
    """What one seat's visitors did."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    bytes: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    """By class, each without those below it."""
    last_answer: float = 0.0
    unanswered_since: float = 0.0
    """The first visitor without an answer since; 0: the latest one had one."""
    last_unanswered: float = 0.0
    _bins: deque[list[int]] = field(default_factory=deque)
    """Second, requests and errors of the last minute, oldest first."""

    def add(self, line: Line) -> None:
        """Count one request."""
        failed = int(line.failed)
        self.requests += 1
        self.errors += failed
        self.seconds += line.seconds
        self.bytes += line.bytes
        if (place := bisect.bisect_left(BUCKETS, line.seconds)) < len(BUCKETS):
            self.buckets[place] += 1
        found = self._bin(int(line.time))
        found[1] += 1
        found[2] += failed
        self._judge(line)

    def _bin(self, second: int) -> list[int]:
        place = len(self._bins)
        while place and self._bins[place - 1][0] > second:
            place -= 1
        if place and self._bins[place - 1][0] == second:
            return self._bins[place - 1]
        self._bins.insert(place, [second, 0, 0])
        return self._bins[place]

    def _judge(self, line: Line) -> None:
        if line.answered:
            self.last_answer = max(self.last_answer, line.time)
            if self.last_answer >= self.last_unanswered:
                self.unanswered_since = 0.0
        elif line.unanswered:
            self.last_unanswered = max(self.last_unanswered, line.time)
            if line.time > self.last_answer and not self.unanswered_since:
                self.unanswered_since = line.time

    def lately(self, now: float) -> tuple[int, int]:
        """Count requests and errors of the last minute."""
        while self._bins and self._bins[0][0] <= now - WINDOW:
            self._bins.popleft()
        # A clock that was set back leaves a future that will not be counted away.
        while self._bins and self._bins[-1][0] > now + WINDOW:
            self._bins.pop()
        return sum(item[1] for item in self._bins), sum(item[2] for item in self._bins)

    def silent_since(self, now: float) -> float:
        """Say since when the latest visitors got no answer; 0 where they did, or long ago."""
        recent = abs(now - self.last_unanswered) < WINDOW
        return self.unanswered_since if recent else 0.0

    @property
    def counted(self) -> tuple[int, ...]:
        """How many answers took at most as long as each of the classes' bounds."""
        total, found = 0, []
        for number in self.buckets:
            total += number
            found.append(total)
        return tuple(found)


@dataclass(frozen=True)
class Visits:
    """What is shown of one seat's visitors."""

    requests: int = 0
    """In the last minute, as errors."""
    errors: int = 0
    silent_since: float = 0.0
    """Since when nobody got an answer; 0 where the latest visitors did, or came long ago."""
    unanswered: float = 0.0
    """When somebody last got none."""
    total_requests: int = 0
    total_errors: int = 0
    seconds: float = 0.0
    bytes: int = 0
    buckets: tuple[int, ...] = (0,) * len(BUCKETS)


class EdgeLog:
    """Counts what the log says. :meth:`begin` and :meth:`take` are for the thread that follows it.

    After the stream broke off it begins again a little before where it ended: what was counted then
    is known by its stamp.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[str, Traffic] = {}
        self._active: set[str] = set()
        self._shown: dict[str, Visits] = {}
        self._edge = ""
        self._last = self._counted = ""
        self._taken = 0.0

    def begin(self, edge: str, now: float) -> float:
        """Begin with the log of a container, or go on with it; from when on, in seconds."""
        again, self._edge = edge == self._edge, edge
        # The stamps of another edge are its own.
        self._last = self._counted = self._last if again else ""
        return max(self._taken, now - WINDOW) - _OVERLAP_SECONDS if again else now - WINDOW

    def take(self, stamped: tuple[str, str]) -> None:
        """Count one line."""
        stamp, text = stamped
        if stamp <= self._counted:
            return
        self._last, self._taken = stamp, time.time()
        line = parse(text)
        if line is None:
            return
        with self._lock:
            if line.seat not in self._seats and len(self._seats) >= _MOST_SEATS:
                return
            self._seats.setdefault(line.seat, Traffic()).add(line)
            self._active.add(line.seat)

    def step(self, now: float) -> bool:
        """Bring what is shown up to ``now``; whether anything changed."""
        changed = False
        with self._lock:
            for name in list(self._active):
                visits = _visits(self._seats[name], now)
                if not visits.requests and not visits.silent_since:
                    self._active.discard(name)
                if self._shown.get(name) != visits:
                    self._shown[name] = visits
                    changed = True
        return changed

    def of(self, name: str) -> Visits:
        """Tell what one seat's visitors did, as of the last step."""
        return self._shown.get(name, _NONE)


_NONE = Visits()


def _visits(traffic: Traffic, now: float) -> Visits:
    requests, errors = traffic.lately(now)
    return Visits(
        requests=requests,
        errors=errors,
        silent_since=traffic.silent_since(now),
        unanswered=traffic.last_unanswered,
        total_requests=traffic.requests,
        total_errors=traffic.errors,
        seconds=round(traffic.seconds, 3),
        bytes=traffic.bytes,
        buckets=traffic.counted,
    )
