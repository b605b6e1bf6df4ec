"""Tokens and money per seat and for the class: reserved before, settled after.

A request is admitted while what is spent and what is reserved stay below the limit, and reserves
the most it can cost. So a budget is overrun by one reservation at most, however many ask at once:
both steps happen without a pause between them, in one thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.gateway.config import NANO, Budget, Seat, Window
from workshop.gateway.errors import QUOTA, GatewayError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLASS = ""
"""Stands for everybody, where a seat's name may stand."""
SOON = 5.0
"""When to come again if only requests under way hold the rest of a budget."""
_LENGTHS = {Window.HOUR: 3600, Window.DAY: 86400}


@dataclass(frozen=True)
class Cost:
    """What a request used up, or may."""

    tokens: int = 0
    money: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.money - other.money)


def start_of(window: Window, now: float) -> int:
    """Tell when the window began that holds ``now``; the workshop's began before everything."""
    length = _LENGTHS.get(window)
    return int(now) // length * length if length else 0


@dataclass
class _Purse:
    """What one seat, or the class, has spent in each running window and has reserved."""

    spent: dict[tuple[Window, int], Cost] = field(default_factory=dict)
    reserved: Cost = field(default_factory=Cost)

    def spend(self, cost: Cost, now: float) -> None:
        starts = [(window, start_of(window, now)) for window in Window]
        self.spent = {key: self.spent.get(key, Cost()) + cost for key in starts}


@dataclass
class Reservation:
    """The most a request can cost, held until it is settled."""

    cost: Cost
    _purses: tuple[_Purse, ...]
    _clock: Callable[[], float]
    _settled: bool = False

    def settle(self, actual: Cost) -> None:
        """Replace the reservation by what was really used; a second time changes nothing."""
        if self._settled:
            return
        self._settled = True
        for purse in self._purses:
            purse.reserved -= self.cost
            purse.spend(actual, self._clock())


class Budgets:
    """Every budget of the class, as far as it is used up."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._purses: dict[str, _Purse] = {}

    def seed(self, sums: Mapping[Window, Mapping[str, Cost]]) -> None:
        """Begin with what the ledger holds for the running windows."""
        self._purses = {}
        now = self._clock()
        for window, seats in sums.items():
            key = (window, start_of(window, now))
            for name, cost in seats.items():
                self._purse(name).spent[key] = cost
            self._purse(CLASS).spent[key] = sum(seats.values(), Cost())

    def now(self) -> float:
        """Tell the time that windows go by."""
        return self._clock()

    def reserve(self, seat: Seat, whole_class: Budget, most: Cost) -> Reservation:
        """Hold ``most`` in the seat's budget and the class's.

        Raises:
            GatewayError: one of them is used up.

        """
        for name, budget in ((seat.name, seat.budget), (CLASS, whole_class)):
            self._check(name, budget)
        purses = (self._purse(seat.name), self._purse(CLASS))
        for purse in purses:
            purse.reserved += most
        return Reservation(most, purses, self._clock)

    def spent(self, name: str, window: Window) -> Cost:
        """Tell what is used up in the running window."""
        return self._purse(name).spent.get((window, start_of(window, self._clock())), Cost())

    def reserved(self, name: str) -> Cost:
        """Tell what requests under way may still use up."""
        return self._purse(name).reserved

    def _purse(self, name: str) -> _Purse:
        return self._purses.setdefault(name, _Purse())

    def _check(self, name: str, budget: Budget) -> None:
        spent, reserved = self.spent(name, budget.window), self.reserved(name)
        for unit, limit, used, held in (
            ("tokens", budget.tokens, spent.tokens, reserved.tokens),
            ("money", budget.money, spent.money, reserved.money),
        ):
            if limit is not None and used + held >= limit:
                raise self._refusal(name, budget.window, unit, limit, only_held=used < limit)

    def _refusal(
        self, name: str, window: Window, unit: str, limit: int, *, only_held: bool
    ) -> GatewayError:
        whose = "the class's" if name == CLASS else "your"
        amount = f"{limit} tokens" if unit == "tokens" else f"{limit / NANO:g} of money"
        what = f"{whose} budget of {amount} {_PHRASES[window]}"
        if only_held:
            return _quota(
                f"What is left of {what} is held for requests being answered just now. Wait"
                " for them and try again, or ask for a shorter answer (max_tokens).",
                SOON,
            )
        length = _LENGTHS.get(window)
        if length is None:
            return _quota(
                f"{what[0].upper()}{what[1:]} is used up. Only your instructor can give more.", None
            )
        now = self._clock()
        again = start_of(window, now) + length
        at = time.strftime("%H:%M UTC", time.gmtime(again))
        return _quota(
            f"{what[0].upper()}{what[1:]} is used up. It is full again at {at}"
            f" ({in_words(again - now)}); your instructor can give more before that.",
            again - now,
        )


_PHRASES = {
    Window.HOUR: "for this hour",
    Window.DAY: "for today",
    Window.WORKSHOP: "for the workshop",
}


def _quota(message: str, retry_after: float | None) -> GatewayError:
    final = retry_after is None or retry_after > SOON
    return GatewayError(429, message, code=QUOTA, type=QUOTA, retry_after=retry_after, final=final)
