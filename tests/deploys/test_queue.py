"""Whose turn it is: decided without a clock, a thread or a file."""

from __future__ import annotations

import itertools

from workshop.deploys.queue import DeployQueue
from workshop.intake.orders import INSTRUCTOR, Order, What

_numbers = itertools.count(1)


def order(seat: str, what: What = What.PUSH, actor: str = "") -> Order:
    """Make an order that is younger than every one before it."""
    number = next(_numbers)
    return Order(f"{number:013d}-00000000", seat, what, actor or seat, float(number))


def queue(per_minute: int = 60, builds: int = 2, workers: int = 6) -> DeployQueue:
    """Make a queue in which nobody is slowed down unless a test says so."""
    return DeployQueue(per_minute, builds, workers)


def taken(line: DeployQueue, now: float = 0.0) -> list[str]:
    """Take whatever may start now; the seats in the order they started."""
    return [item.seat for item in iter(lambda: line.take(now), None)]


def test_orders_start_as_they_came() -> None:
    """First come, first served."""
    line = queue()
    for seat in ("bob", "ada", "grace"):
        line.add(order(seat))

    assert taken(line) == ["bob", "ada", "grace"]


def test_newer_order_of_a_seat_replaces_the_one_that_waits() -> None:
    """Two pushes in a second: the last one is deployed, once."""
    line, first, second = queue(workers=0), order("ada"), order("ada")

    assert line.add(first) is None
    assert line.add(second) is first
    line.workers = 6
    assert line.take(0.0) == second
    assert line.take(0.0) is None


def test_seat_under_way_waits_and_is_told_that_it_is_overtaken() -> None:
    """One at a time; the running one learns that a newer one waits only for it."""
    line, first, second = queue(), order("ada"), order("ada")
    line.add(first)
    line.take(0.0)
    assert not line.overtaken(first, 0.0)

    line.add(second)

    assert line.take(0.0) is None
    assert line.overtaken(first, 0.0)
    line.end(first)
    assert line.take(0.0) == second


def test_third_build_waits_while_pushes_pass_it() -> None:
    """At most two builds; who needs none is not held up by them."""
    line = queue()
    builds = [order(seat, What.SOURCE) for seat in ("ada", "bob", "carl")]
    for item in builds:
        line.add(item)
    line.add(order("dora"))

    assert taken(line) == ["ada", "bob", "dora"]
    assert line.building == 2
    line.end(builds[0])
    assert taken(line) == ["carl"]


def test_storm_of_one_seat_takes_no_turn_from_others() -> None:
    """Whoever pushes in a loop gets the pace's share, everybody else their turn at once."""
    line = queue(per_minute=6, workers=2)
    for _ in range(100):
        line.add(order("ada"))
        if item := line.take(0.0):
            line.end(item)
    line.add(order("ada"))
    line.add(order("bob"))

    assert taken(line, now=0.0) == ["bob"]
    assert taken(line, now=9.9) == []
    assert taken(line, now=10.1) == ["ada"]


def test_order_beyond_the_pace_does_not_end_the_one_under_way() -> None:
    """A storm must not keep every version from going live."""
    line = queue(per_minute=1)
    running = order("ada")
    line.add(running)
    line.take(0.0)

    line.add(order("ada"))

    assert not line.overtaken(running, 1.0)
    assert line.overtaken(running, 61.0)


def test_instructor_goes_first_and_has_no_pace() -> None:
    """Who helps thirty people must not wait for one of them."""
    line = queue(per_minute=1, workers=1)
    line.add(order("ada"))
    line.add(order("bob", actor=INSTRUCTOR))

    first = line.take(0.0)
    assert first is not None
    assert first.seat == "bob"
    line.end(first)
    again = order("bob", actor=INSTRUCTOR)
    line.add(again)
    assert line.take(0.0) == again


def test_place_counts_who_is_under_way_and_who_comes_first() -> None:
    """The number a participant is shown."""
    line = queue(workers=1)
    orders = [order(seat) for seat in ("ada", "bob", "carl")]
    for item in orders:
        line.add(item)
    line.take(0.0)

    assert [line.ahead(item) for item in orders[1:]] == [1, 2]


def test_order_is_over_once() -> None:
    """Giving way early and ending later must not free two turns."""
    line, first = queue(), order("ada")
    line.add(first)
    line.take(0.0)

    assert line.end(first)
    line.add(order("ada"))
    line.take(0.0)
    assert not line.end(first)
    assert line.take(0.0) is None
