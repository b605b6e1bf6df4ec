"""The breaker: what takes an upstream out of the class's way, and what does not."""

from __future__ import annotations

import pytest

from workshop.gateway.breaker import DOUBT_SECONDS, Breaker


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Start at some time."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Leave an upstream alone for five seconds."""
    return Breaker(5.0, clock)


def test_unreachable_upstream_is_left_alone_at_once(breaker: Breaker) -> None:
    """A dead provider costs the class one wait."""
    breaker.failed("main", "ada", certain=True)

    assert not breaker.worth("main")


def test_one_seats_failures_take_nothing_from_the_others(breaker: Breaker) -> None:
    """A prompt that the provider cannot bear, asked in a loop, hurts nobody else."""
    for _ in range(20):
        breaker.failed("main", "ada", certain=False)

    assert breaker.up("main")


def test_failures_of_two_seats_mark_it_down(breaker: Breaker) -> None:
    """Two people do not send the same poison by chance."""
    breaker.failed("main", "ada", certain=False)
    breaker.failed("main", "bob", certain=False)

    assert not breaker.worth("main")


def test_failure_of_another_seat_much_later_confirms_nothing(
    breaker: Breaker, clock: Clock
) -> None:
    """An answer in between, or time, takes the doubt away."""
    breaker.failed("main", "ada", certain=False)
    clock.now += DOUBT_SECONDS + 1
    breaker.failed("main", "bob", certain=False)

    assert breaker.up("main")


def test_answer_takes_the_doubt_away(breaker: Breaker) -> None:
    """What works for one works."""
    breaker.failed("main", "ada", certain=False)
    breaker.succeeded("main")
    breaker.failed("main", "bob", certain=False)

    assert breaker.up("main")


def test_upstream_that_was_left_alone_is_tried_by_one_request(
    breaker: Breaker, clock: Clock
) -> None:
    """The class does not run into the same wall together."""
    breaker.failed("main", "ada", certain=True)
    clock.now += 5.1

    assert breaker.begin("main")
    assert not breaker.begin("main")
    breaker.succeeded("main")
    assert breaker.begin("main")


def test_failed_probe_leaves_it_alone_again_whoever_made_it(breaker: Breaker, clock: Clock) -> None:
    """It was down already; one failure is enough to stay so."""
    breaker.failed("main", "ada", certain=True)
    clock.now += 5.1
    breaker.begin("main")
    breaker.failed("main", "ada", certain=False)

    assert not breaker.worth("main")
