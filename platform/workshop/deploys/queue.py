"""Whose turn it is: one order per seat at a time, the newest wins, nobody holds up the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.intake.orders import INSTRUCTOR, Order, What

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTE = 60.0


@dataclass
class Allowance:
    """What one seat may start, refilled with time."""

    left: float
    since: float


class DeployQueue:
    """Orders that wait and orders under way. It decides; it starts nothing.

    A seat has one order under way at most and one that waits: a newer one takes the waiting one's
    place. A participant's orders follow a pace, so that whoever pushes in a loop gets every tenth
    second's version live and takes no turn from others. The instructor's do not.
    """

    def __init__(self, per_minute: int, builds: int, workers: int) -> None:
        self.per_minute = per_minute
        self.builds = builds
        self.workers = workers
        self._waiting: dict[str, Order] = {}
        self._running: dict[str, Order] = {}
        self._allowances: dict[str, Allowance] = {}

    def add(self, order: Order) -> Order | None:
        """Let an order wait; the older one of the same seat that it replaces is returned."""
        older = self._waiting.pop(order.seat, None)
        self._waiting[order.seat] = order
        return older

    def take(self, now: float) -> Order | None:
        """Choose the next order to start and count it as under way; ``None`` when none may.

        Args:
            now: seconds of a clock that never goes back.

        """
        if len(self._running) >= self.workers:
            return None
        for order in self.waiting():
            if order.seat in self._running or not self._has_room(order):
                continue
            if not self._may(order, now):
                continue
            self._spend(order, now)
            del self._waiting[order.seat]
            self._running[order.seat] = order
            return order
        return None

    def end(self, order: Order) -> bool:
        """Count an order as over; whether it was still counted as under way."""
        if self._running.get(order.seat) != order:
            return False
        del self._running[order.seat]
        return True

    def overtaken(self, order: Order, now: float) -> bool:
        """Whether a newer order of the same seat waits only for this one to end."""
        newer = self._waiting.get(order.seat)
        return newer is not None and self._may(newer, now)

    def waiting(self) -> Iterator[Order]:
        """Yield the orders that wait, in their order; the instructor's come first."""
        yield from sorted(
            self._waiting.values(), key=lambda item: (item.actor != INSTRUCTOR, item.id)
        )

    def ahead(self, order: Order) -> int:
        """Count the orders under way or due before a waiting one."""
        before = [item.id for item in self.waiting()]
        place = before.index(order.id) if order.id in before else 0
        return place + len(self._running)

    @property
    def building(self) -> int:
        """Count the builds under way."""
        return sum(order.what is What.SOURCE for order in self._running.values())

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._waiting and not self._running

    def _has_room(self, order: Order) -> bool:
        return order.what is not What.SOURCE or self.building < self.builds

    def _may(self, order: Order, now: float) -> bool:
        return order.actor == INSTRUCTOR or self._allowance(order.seat, now).left >= 1

    def _spend(self, order: Order, now: float) -> None:
        if order.actor != INSTRUCTOR:
            self._allowance(order.seat, now).left -= 1

    def _allowance(self, seat: str, now: float) -> Allowance:
        held = self._allowances.setdefault(seat, Allowance(float(self.per_minute), now))
        gained = (now - held.since) * self.per_minute / _MINUTE
        held.left, held.since = min(float(self.per_minute), held.left + gained), now
        return held
