"""Follows what becomes of an order, and remembers what became of others."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from workshop.intake import orders
from workshop.intake.orders import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

LOG = "log.jsonl"
PROGRESS = "progress"
_SHOWN = 20
"""Deploys of one seat that are kept in mind."""
_RECENT = 400
"""Progress files that are looked at, from the newest."""
_LISTED_SECONDS = 0.1


class Book:
    """The log of deploys, of which only what is new is read, and whose the orders under way are."""

    def __init__(self, deploys: Path, inbox: Path) -> None:
        self._log = deploys / LOG
        self._progress = deploys / PROGRESS
        self._inbox = inbox
        self._at = (0, 0)
        """Inode of the log, and how far it was read."""
        self._ended: defaultdict[str, deque[Progress]] = defaultdict(lambda: deque(maxlen=_SHOWN))
        self._seat_of: dict[str, str] = {}
        self._known: dict[str, tuple[tuple[int, int], Progress]] = {}
        self._listed: list[str] = []
        self._listed_until = 0.0

    def last(self, seat: str) -> list[Progress]:
        """List the deploys of ``seat``, newest first, those under way included."""
        self._read_log()
        found = {item.id: item for item in self._ended[seat]}
        for order_id in self._ids():
            if order_id not in found and self._owner(order_id) == seat:
                item = self._current(order_id)
                if item is not None:
                    found[order_id] = item
        return sorted(found.values(), key=lambda item: item.id, reverse=True)[:_SHOWN]

    def ended(self, order_id: str) -> Progress | None:
        """Tell how an order ended that has no progress any more; ``None`` for all others."""
        if (self._progress / f"{order_id}.json").exists():
            return None
        self._read_log()
        found = (item for seat in self._ended.values() for item in seat)
        return next((item for item in found if item.id == order_id), None)

    def _waiting(self, order_id: str) -> Progress | None:
        order = orders.read_order(self._inbox, order_id)
        if order is None:
            return None
        return Progress(order.id, order.seat, order.what, order.actor, order.received)

    def _owner(self, order_id: str) -> str:
        if order_id not in self._seat_of:
            found = self._current(order_id)
            if found is None:
                return ""
            self._seat_of[order_id] = found.seat
        return self._seat_of[order_id]

    def _current(self, order_id: str) -> Progress | None:
        """Read an order's progress, unless it is the file that was read last time."""
        stamp = _stamp(self._progress / f"{order_id}.json")
        known = self._known.get(order_id)
        if stamp is not None and known is not None and known[0] == stamp:
            return known[1]
        found = orders.read_progress(self._progress, order_id)
        if found is None:
            return self._waiting(order_id)
        if stamp is not None:
            self._known[order_id] = (stamp, found)
        return found

    def _ids(self) -> list[str]:
        """List the orders under way; for all who ask at the same moment, once."""
        now = time.monotonic()
        if now >= self._listed_until:
            found = {*orders.waiting(self._progress), *orders.waiting(self._inbox)}
            self._listed = sorted(found)[-_RECENT:]
            self._listed_until = now + _LISTED_SECONDS
            kept = set(self._listed)
            self._seat_of = {key: v for key, v in self._seat_of.items() if key in kept}
            self._known = {key: v for key, v in self._known.items() if key in kept}
        return self._listed

    def _read_log(self) -> None:
        try:
            with self._log.open("rb") as file:
                stat = os.fstat(file.fileno())
                inode, at = self._at
                if inode != stat.st_ino or stat.st_size < at:
                    at = 0
                    self._ended.clear()
                if stat.st_size == at:
                    return
                file.seek(at)
                new = file.read()
        except OSError:
            return
        # A line that is being written is read when it is whole.
        whole = new[: new.rfind(b"\n") + 1]
        self._at = (stat.st_ino, at + len(whole))
        for item in _items(whole):
            self._ended[item.seat].append(item)


async def follow(
    deploys: Path, order_id: str, *, every: float, longest: float
) -> AsyncIterator[Progress | None]:
    """Give each change of an order's progress up to its end, and ``None`` while nothing changes.

    ``None`` comes with every look, so that whoever follows can keep time.
    """
    directory = deploys / PROGRESS
    path = directory / f"{order_id}.json"
    seen: tuple[int, int] | None = None
    end = time.monotonic() + longest
    while time.monotonic() < end:
        found = None
        if (now := _stamp(path)) != seen:
            found = orders.read_progress(directory, order_id)
            seen = now if found is not None else seen
        yield found
        if found is not None and found.stage.over:
            return
        await asyncio.sleep(every)


def fresh(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    """Tell which lines are new, where both are the last lines of one text at two times."""
    for start in range(len(before) + 1):
        common = len(before) - start
        if common <= len(now) and now[:common] == before[start:]:
            return now[common:]
    return now


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _items(text: bytes) -> Iterator[Progress]:
    for line in text.splitlines():
        # A crash may have cut one short; what stands before and after it is still good.
        try:
            yield orders.progress_of(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
