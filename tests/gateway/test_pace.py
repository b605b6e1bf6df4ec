"""Requests and tokens a minute."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.gateway.lab import Lab, seat
from workshop.gateway.config import Pace
from workshop.gateway.errors import GatewayError
from workshop.gateway.pace import Pacer

ADA = replace(seat("ada"), pace=Pace(requests_per_minute=3, tokens_per_minute=1000))


def test_requests_beyond_the_pace_wait_for_the_minute() -> None:
    """The fourth of three is refused; another seat is not."""

    async def scene() -> GatewayError:
        pacer = Pacer()
        for _ in range(3):
            await pacer.take(ADA, 1)
        await pacer.take(replace(ADA, name="bob"), 1)
        with pytest.raises(
            GatewayError, match=r"3 requests of this minute. Go on in \d+ s"
        ) as caught:
            await pacer.take(ADA, 1)
        return caught.value

    error = asyncio.run(scene())
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(error.headers()["retry-after"]) <= 60


def test_unused_tokens_are_given_back() -> None:
    """Two requests of 600 fit into 1000 a minute once the first has used only 100."""

    async def scene() -> None:
        pacer = Pacer()
        taken = await pacer.take(ADA, 600)
        with pytest.raises(GatewayError, match="1000 tokens of this minute"):
            await pacer.take(ADA, 600)
        await pacer.give_back(taken, 100)
        await pacer.take(ADA, 600)
        await pacer.take(ADA, 300)

    asyncio.run(scene())


def test_request_larger_than_a_minute_says_that_waiting_is_no_help() -> None:
    """No Retry-After, and the official client does not try again."""

    async def scene() -> GatewayError:
        with pytest.raises(GatewayError, match="Waiting will not help") as caught:
            await Pacer().take(ADA, 1001)
        return caught.value

    assert asyncio.run(scene()).headers() == {"x-should-retry": "false"}


def test_pace_of_one_seat_over_http(lab: Lab) -> None:
    """The whole way, with the header that clients wait by."""
    lab.configure(seats=(replace(ADA, pace=Pace(requests_per_minute=2)), seat("bob")))
    assert [lab.ask().status_code for _ in range(3)] == [200, 200, 429]
    assert lab.ask(name="bob").status_code == 200
    assert lab.ask().headers["retry-after"].isdigit()
