"""What seats used of the class's models: the gateway's books, and the budgets it was told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.gateway import config, ledger
from workshop.gateway.budget import start_of
from workshop.watching.files import Watched, mark

if TYPE_CHECKING:
    from workshop.watching.files import Mark

READ_SECONDS = 2.0
"""Between two readings of the books."""
_SHARE = 40
"""Long books are read so seldom that it takes at most the so-manieth part of one core."""


@dataclass(frozen=True)
class Spent:
    """What one seat used, and how much it may."""

    tokens: int = 0
    """In the running window of the budget, as money."""
    tokens_limit: int | None = None
    money: int = 0
    money_limit: int | None = None
    paused: bool = False
    requests: int = 0
    """In all, as the tokens below."""
    input_tokens: int = 0
    output_tokens: int = 0


class Books:
    """The books below one state directory; all empty where the class has no models."""

    def __init__(self, home: Path) -> None:
        self._config = Watched[config.Config | None](
            home / "gateway" / config.FILE, config.load, None
        )
        self._path = home / "usage" / ledger.FILE
        self._marks: tuple[Mark, ...] = ()
        self._windows: dict[config.Window, int] = {}
        self._read = self._due = 0.0
        self._sums: dict[config.Window, dict[str, tuple[int, int]]] = {}
        self._totals: dict[str, ledger.Totals] = {}
        self._spent: dict[str, Spent] = {}
        self._fault = ""

    @property
    def paused(self) -> bool:
        """Whether nobody may ask the models for now."""
        return bool(self._config.value and self._config.value.paused)

    @property
    def trouble(self) -> str:
        """Why something cannot be read; empty while all is well."""
        return self._config.trouble or self._fault

    def of(self, name: str) -> Spent:
        """Tell what one seat used, as of the last step."""
        return self._spent.get(name, _NOTHING)

    def step(self, now: float) -> bool:
        """Read what has changed; whether there is anything new. ``now``: seconds since 1970."""
        before = self.paused
        told = self._config.step()
        if not (self._look(now) or told):
            return False
        found = {seat.name: self._spent_by(seat) for seat in self._seats}
        changed, self._spent = found != self._spent, found
        return changed or before is not self.paused

    @property
    def _seats(self) -> tuple[config.Seat, ...]:
        return self._config.value.seats if self._config.value else ()

    def _look(self, now: float) -> bool:
        """Read the books if something was written, or a budget is full again."""
        if not self._seats or self._due - READ_SECONDS * _SHARE < now < self._due:
            return False
        marks = (mark(self._path), mark(Path(f"{self._path}-wal")))
        used = {seat.budget.window for seat in self._seats}
        windows = {window: start_of(window, now) for window in used}
        if (marks, windows) == (self._marks, self._windows):
            return False
        began = time.process_time()
        try:
            self._sums = {
                window: ledger.sums(self._path, start) for window, start in windows.items()
            }
            self._totals = {item.seat: item for item in ledger.totals(self._path)}
        except ledger.LedgerError as exc:
            self._fault = f"the gateway's books cannot be read: {exc}"
            self._due = now + READ_SECONDS
            return False
        self._fault = ""
        self._marks, self._windows = marks, windows
        self._due = now + max(READ_SECONDS, (time.process_time() - began) * _SHARE)
        return True

    def _spent_by(self, seat: config.Seat) -> Spent:
        tokens, money = self._sums.get(seat.budget.window, {}).get(seat.name, (0, 0))
        totals = self._totals.get(seat.name, ledger.Totals(seat.name))
        return Spent(
            tokens=tokens,
            tokens_limit=seat.budget.tokens,
            money=money,
            money_limit=seat.budget.money,
            paused=seat.paused,
            requests=totals.requests,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
        )


_NOTHING = Spent()
