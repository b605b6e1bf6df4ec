"""Who needs the instructor first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workshop.board.shown import Deploy, Seat, State
from workshop.ranking import Sort, ago, need, ordered

LIVE = Seat("ada", State.LIVE, "", memory=10, memory_limit=100)
NOW = 1_000_000.0


def deploy(stage: str, number: int = 2) -> Deploy:
    """Describe a deploy."""
    return Deploy("1", number, "push", "ada", stage, NOW - 9, NOW - 5, cause="port")


@pytest.mark.parametrize(
    ("seat", "raised", "words"),
    [
        (LIVE, NOW - 65, "hand up for 1 min"),
        (replace(LIVE, state=State.CRASHING, detail="ends again"), NOW - 5, "hand up for 5 s"),
        (replace(LIVE, state=State.CRASHING, detail="ends again"), None, "ends again"),
        (replace(LIVE, state=State.MISSING), None, "missing"),
        (replace(LIVE, deploys=(deploy("failed"),)), None, "deploy 2 failed: port"),
        (replace(LIVE, deploys=(deploy("refused", 0),)), None, "deploy failed: port"),
        (replace(LIVE, errors=2, requests=9), None, "2 of 9 requests failed"),
        (replace(LIVE, memory=91), None, "memory near its limit"),
        (replace(LIVE, tokens=90, tokens_limit=100), None, "model budget nearly used"),
    ],
)
def test_seat_with_a_reason_says_the_first_that_holds(
    seat: Seat, raised: float | None, words: str
) -> None:
    """In the order of how much it matters to somebody in the room."""
    found = need(seat, raised, NOW)

    assert found.words == words
    assert found.rank < need(LIVE, None, NOW).rank


@pytest.mark.parametrize(
    "seat",
    [
        LIVE,
        replace(LIVE, state=State.HELD, detail="stopped by you"),
        replace(LIVE, deploys=(deploy("live"), deploy("failed"))),
        replace(LIVE, deploys=(deploy("superseded"),)),
        replace(LIVE, memory=500, memory_limit=0),
        replace(LIVE, memory=89),
    ],
)
def test_seat_without_a_reason_stands_last(seat: Seat) -> None:
    """What the instructor did, or what is mended, needs nobody."""
    found = need(seat, None, NOW)

    assert found.words == seat.detail
    assert found.rank == need(LIVE, None, NOW).rank


def test_whoever_waits_longest_comes_first() -> None:
    """Hands in the order they went up; then what failed; then names."""
    seats = [
        LIVE,
        replace(LIVE, name="bob"),
        replace(LIVE, name="cleo", state=State.STOPPED),
        replace(LIVE, name="dan"),
    ]
    found = ordered(seats, {"dan": NOW - 50, "bob": NOW - 10}, Sort.NEEDS)

    assert [seat.name for seat in found] == ["dan", "bob", "cleo", "ada"]


@pytest.mark.parametrize("by", list(Sort))
def test_order_of_equals_is_that_of_their_names(by: Sort) -> None:
    """Nothing jumps about."""
    seats = [replace(LIVE, name=name) for name in ("cleo", "ada", "bob")]

    assert [seat.name for seat in ordered(seats, {}, by)] == ["ada", "bob", "cleo"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "60 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_time_that_passed_is_said_shortly(seconds: float, words: str) -> None:
    """As short as a column is."""
    assert ago(seconds) == words
