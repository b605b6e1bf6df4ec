"""Budgets: reserved before, settled after, never overrun by more than one reservation."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.gateway.lab import key_of, seat
from tests.waiting import SOON
from workshop.gateway.budget import CLASS, Budgets, Cost
from workshop.gateway.config import NANO, Budget, Window
from workshop.gateway.errors import GatewayError

if TYPE_CHECKING:
    from tests.gateway.lab import Lab

NOON = 1_800_000_000 // 86400 * 86400 + 12 * 3600
FREE = Budget()


def test_reservation_is_held_then_replaced_by_what_was_used() -> None:
    """A second settlement changes nothing."""
    budgets = Budgets(lambda: NOON)
    reservation = budgets.reserve(seat("ada"), FREE, Cost(100, 50))
    assert budgets.reserved("ada") == budgets.reserved(CLASS) == Cost(100, 50)
    reservation.settle(Cost(7, 3))
    reservation.settle(Cost(7, 3))
    assert (budgets.reserved("ada"), budgets.reserved(CLASS)) == (Cost(), Cost())
    assert budgets.spent("ada", Window.HOUR) == budgets.spent(CLASS, Window.WORKSHOP) == Cost(7, 3)


@pytest.mark.parametrize(
    ("mine", "whole", "words", "retry"),
    [
        (
            Budget(tokens=100, window=Window.HOUR),
            FREE,
            "Your budget of 100 tokens for this hour is used up. It is full again at 13:00 UTC (in 1 h 0 min)",
            "3600",
        ),
        (
            Budget(money=NANO // 2, window=Window.DAY),
            FREE,
            "Your budget of 0.5 of money for today is used up. It is full again at 00:00 UTC (in 12 h 0 min)",
            "43200",
        ),
        (FREE, Budget(tokens=100, window=Window.DAY), "The class's budget of 100 tokens", "43200"),
        (
            Budget(tokens=100, window=Window.WORKSHOP),
            FREE,
            "Only your instructor can give more",
            None,
        ),
    ],
)
def test_used_up_budget_says_whose_what_and_when(
    mine: Budget, whole: Budget, words: str, retry: str | None
) -> None:
    """The refusal is code insufficient_quota, with the time of the refill."""
    budgets = Budgets(lambda: NOON)
    ada = replace(seat("ada"), budget=mine)
    budgets.reserve(ada, whole, Cost(1, 1)).settle(Cost(100, NANO))
    with pytest.raises(GatewayError) as caught:
        budgets.reserve(ada, whole, Cost(1, 1))
    assert words in caught.value.message
    assert (caught.value.status, caught.value.code, caught.value.type) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert caught.value.headers().get("retry-after") == retry


def test_rest_held_by_others_is_a_short_wait() -> None:
    """What is only reserved is not called used up."""
    budgets = Budgets(lambda: NOON)
    ada = replace(seat("ada"), budget=Budget(tokens=100))
    first = budgets.reserve(ada, FREE, Cost(100, 0))
    with pytest.raises(GatewayError, match="being answered just now"):
        budgets.reserve(ada, FREE, Cost(1, 0))
    first.settle(Cost(10, 0))
    budgets.reserve(ada, FREE, Cost(1, 0))


def test_next_window_is_full_again() -> None:
    """Hours begin by the clock; the workshop never does."""
    now = [float(NOON)]
    budgets = Budgets(lambda: now[0])
    hourly = replace(seat("ada"), budget=Budget(tokens=10, window=Window.HOUR))
    forever = replace(seat("bob"), budget=Budget(tokens=10, window=Window.WORKSHOP))
    for one in (hourly, forever):
        budgets.reserve(one, FREE, Cost(1, 0)).settle(Cost(10, 0))
    now[0] += 3600
    budgets.reserve(hourly, FREE, Cost(1, 0))
    with pytest.raises(GatewayError):
        budgets.reserve(forever, FREE, Cost(1, 0))


def test_seed_from_the_ledger_counts_for_seat_and_class() -> None:
    """After a restart what was spent is still spent."""
    budgets = Budgets(lambda: NOON)
    budgets.seed({Window.DAY: {"ada": Cost(60, 1), "bob": Cost(50, 2)}})
    assert budgets.spent(CLASS, Window.DAY) == Cost(110, 3)
    with pytest.raises(GatewayError, match="class's"):
        budgets.reserve(seat("eve"), Budget(tokens=100), Cost(1, 0))


@pytest.mark.alone
def test_hundred_parallel_requests_overrun_by_one_reservation_at_most(patient: Lab) -> None:
    """Twenty rounds of a hundred at the edge of the budget; the bench does a hundred rounds."""
    body = {"model": "small", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    patient.configure(upstreams=(replace(patient.config.upstreams[0], concurrency=200),))

    async def storm(client: httpx2.AsyncClient, name: str) -> list[int]:
        headers = {"authorization": f"Bearer {key_of(name)}"}
        sent = [
            client.post(patient.url + "/chat/completions", json=body, headers=headers)
            for _ in range(100)
        ]
        return [answer.status_code for answer in await asyncio.gather(*sent)]

    async def rounds() -> None:
        async with httpx2.AsyncClient(
            trust_env=False, timeout=20, limits=httpx2.Limits(max_connections=100)
        ) as client:
            for number in range(20):
                name = f"seat{number}"
                codes = await storm(client, name)
                spent = patient.running.budgets.spent(name, Window.DAY).tokens
                assert set(codes) <= {200, 429}
                assert 200 in codes
                assert 429 in codes
                assert spent == 12 * codes.count(200)
                assert spent < limit + most

    limit, most = 1000, 100 + 200
    pace = replace(seat("x").pace, concurrency=200)
    seats = [seat(f"seat{n}", budget=Budget(tokens=limit), pace=pace) for n in range(20)]
    patient.configure(seats=tuple(seats))
    asyncio.run(rounds())
    patient.idle()


def test_sequential_requests_stop_at_the_limit(lab: Lab) -> None:
    """Each answer costs 12 tokens; the first request at or over the limit is refused."""
    lab.configure(seats=(seat("ada", budget=Budget(tokens=60)),))
    codes = [lab.ask(max_tokens=1, stream=n % 2 == 0).status_code for n in range(7)]
    assert codes == [200] * 5 + [429] * 2
    refused = lab.ask()
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"


def test_money_is_counted_in_whole_nano_units(lab: Lab) -> None:
    """Seven tokens in and five out, at 100 and 200."""
    lab.ask()
    assert lab.rows()[0]["money"] == 7 * 100 + 5 * 200


def test_raised_budget_works_at_once(lab: Lab) -> None:
    """The instructor gives more, and the next request is answered."""
    lab.configure(seats=(seat("ada", budget=Budget(tokens=1)),))
    assert [lab.ask().status_code, lab.ask().status_code] == [200, 429]
    began = time.monotonic()
    lab.configure(seats=(seat("ada", budget=Budget(tokens=10_000)),))
    assert lab.ask().status_code == 200
    assert time.monotonic() - began < SOON
