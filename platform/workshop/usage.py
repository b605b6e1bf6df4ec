"""What the class used of its models, read from the gateway's books: ``workshop usage``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.errors import InputError, WorkshopError
from workshop.gateway import ledger
from workshop.gateway.budget import start_of
from workshop.gateway.config import Budget, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workshop.workspace import Workspace


@dataclass(frozen=True)
class Use:
    """What one seat, or the class, used; money in nano-units of the currency."""

    name: str
    requests: int
    input_tokens: int
    output_tokens: int
    money: int
    errors: int
    last_error: str
    last_time: float
    """Seconds of the epoch; 0 when it never asked."""
    left: int | None
    """Tokens left in the running window; ``None`` without a bound."""
    money_left: int | None


@dataclass(frozen=True)
class Usage:
    """The whole class, seats in the order of the roster."""

    workshop: str
    currency: str
    seats: tuple[Use, ...]
    total: Use


def usage(work: Workspace) -> Usage:
    """Read the books.

    Raises:
        InputError: the class does without models.
        WorkshopError: the books cannot be read.

    """
    llm = work.roster.llm
    if llm is None:
        raise InputError("this class has no models: the roster says `llm: false`")
    path = work.directories.usage / ledger.FILE
    try:
        found = {item.seat: item for item in ledger.totals(path)}
        spent = {window: ledger.sums(path, start_of(window, time.time())) for window in Window}
    except ledger.LedgerError as exc:
        raise WorkshopError(
            f"the books of the gateway cannot be read: {exc}", hint="`workshop logs gateway`"
        ) from exc
    seats = [
        _use(
            found.get(person.name, ledger.Totals(person.name)),
            llm.budget_of(person.llm),
            spent,
            [person.name],
        )
        for person in work.roster.participants
    ]
    everybody = _sum(found.values())
    people = list(found)
    return Usage(
        workshop=work.roster.name,
        currency=llm.currency,
        seats=tuple(seats),
        total=_use(everybody, llm.budget, spent, people),
    )


def _use(
    totals: ledger.Totals,
    budget: Budget,
    spent: Mapping[Window, Mapping[str, tuple[int, int]]],
    names: Iterable[str],
) -> Use:
    used = [spent[budget.window].get(name, (0, 0)) for name in names]
    tokens, money = (sum(column) for column in zip((0, 0), *used, strict=True))
    return Use(
        name=totals.seat,
        requests=totals.requests,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        money=totals.money,
        errors=totals.errors,
        last_error=totals.last_error,
        last_time=totals.last_time,
        left=_left(budget.tokens, tokens),
        money_left=_left(budget.money, money),
    )


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def _sum(items: Iterable[ledger.Totals]) -> ledger.Totals:
    """Add everybody up, people who have left the class included: they were paid for too."""
    found = list(items)
    return ledger.Totals(
        seat="",
        requests=sum(item.requests for item in found),
        input_tokens=sum(item.input_tokens for item in found),
        output_tokens=sum(item.output_tokens for item in found),
        money=sum(item.money for item in found),
        errors=sum(item.errors for item in found),
        last_time=max((item.last_time for item in found), default=0.0),
    )
