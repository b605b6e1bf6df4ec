"""What was seen of a seat, put into what is shown of it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.watching.room import LIMITS
from workshop.board import shown
from workshop.board.shown import Deploy, Seat, Shown, State, Totals
from workshop.watching.books import Spent
from workshop.watching.cgroups import Use
from workshop.watching.containers import NOBODY, Standing
from workshop.watching.deploys import History
from workshop.watching.edge_log import Visits
from workshop.watching.pages import Seen, Writer, seat

NOW = 1_800_000_000.0
RUNS = Standing("1", "v1", State.LIVE, "runs", NOW - 100)
SEEN = Seen("ada", LIMITS, RUNS, False, Visits(), Use(), Spent(), History())


def test_everything_that_is_seen_is_shown() -> None:
    """Each figure in its own place."""
    visits = Visits(1, 2, 0.0, 0.0, 3, 4, 5.5, 6, tuple(range(9)))
    history = History((Deploy("1", 1, "push", "ada", "live", NOW),), 7, 8)
    spent = Spent(9, 10, 11, 12, True, 13, 14, 15)
    found = seat(
        replace(SEEN, visits=visits, use=Use(16, 0.17, 18), spent=spent, history=history), None, NOW
    )

    assert found == Seat(
        name="ada",
        state=State.LIVE,
        detail="runs",
        since=NOW - 100,
        version="v1",
        restarts=0,
        requests=1,
        errors=2,
        memory=16,
        memory_limit=LIMITS.memory,
        cpu=0.17,
        cpu_limit=LIMITS.cpus,
        tokens=9,
        tokens_limit=10,
        money=11,
        money_limit=12,
        paused=True,
        deploys=history.deploys,
        totals=Totals(3, 4, 5.5, tuple(range(9)), 6, 18.0, 7, 8, 14, 15, 13),
    )


SILENT = Visits(silent_since=NOW - 20, unanswered=NOW - 5)


@pytest.mark.parametrize(
    ("changes", "state", "since"),
    [
        ({}, State.LIVE, NOW - 100),
        ({"visits": SILENT}, State.SILENT, NOW - 20),
        # It was started again between the first and the latest visitor without an answer.
        ({"visits": SILENT, "standing": replace(RUNS, since=NOW - 10)}, State.SILENT, NOW - 10),
        # And after both: nobody knows of any since.
        ({"visits": SILENT, "standing": replace(RUNS, since=NOW - 1)}, State.LIVE, NOW - 1),
        ({"visits": SILENT, "standing": NOBODY}, State.MISSING, NOW),
        (
            {"visits": SILENT, "standing": replace(RUNS, fares=State.STOPPED)},
            State.STOPPED,
            NOW - 100,
        ),
        ({"held": True}, State.LIVE, NOW - 100),
        ({"held": True, "standing": NOBODY}, State.HELD, NOW),
        ({"held": True, "standing": replace(RUNS, fares=State.STOPPED)}, State.HELD, NOW - 100),
        (
            {"held": True, "standing": replace(RUNS, fares=State.CRASHING)},
            State.CRASHING,
            NOW - 100,
        ),
    ],
)
def test_state_is_what_matters_most(changes: dict[str, object], state: State, since: float) -> None:
    """Who stopped it, before what became of it; whether it runs, before whether it answers."""
    found = seat(replace(SEEN, **changes), None, NOW)  # type: ignore[arg-type]

    assert (found.state, found.since) == (state, since)


def test_state_whose_beginning_nobody_saw_began_when_it_was_noticed() -> None:
    """And goes on from then, as long as it lasts."""
    gone = replace(SEEN, standing=NOBODY)
    first = seat(gone, seat(SEEN, None, NOW - 50), NOW)
    later = seat(replace(gone, use=Use(1)), first, NOW + 50)

    assert (first.since, later.since) == (NOW, NOW)


def test_seat_about_which_nothing_changed_is_the_same_object() -> None:
    """So its text need not be written anew."""
    first = seat(SEEN, None, NOW)

    assert seat(SEEN, first, NOW + 1) is first
    assert seat(replace(SEEN, use=Use(1)), first, NOW + 1) is not first


TEXT = st.text() | st.sampled_from(['"seats":[]', '"deploys":[]', "\\", '\\"deploys":[]'])
DEPLOYS = st.builds(
    Deploy,
    id=TEXT,
    number=st.integers(),
    what=TEXT,
    actor=TEXT,
    stage=TEXT,
    received=st.floats(allow_nan=False),
    message=TEXT,
    evidence=st.lists(TEXT, max_size=2).map(tuple),
)
SEATS = st.builds(
    Seat,
    name=TEXT,
    state=st.sampled_from(State),
    detail=TEXT,
    requests=st.integers(),
    tokens_limit=st.none() | st.integers(),
    paused=st.booleans(),
    deploys=st.lists(DEPLOYS, max_size=2).map(tuple),
    totals=st.builds(Totals, requests=st.integers(), cpu_seconds=st.floats(allow_nan=False)),
)
EVERYBODY = st.builds(
    Shown,
    workshop=TEXT,
    time=st.floats(allow_nan=False),
    started=st.floats(allow_nan=False),
    seats=st.lists(SEATS, max_size=3, unique_by=lambda item: item.name).map(tuple),
    paused=st.booleans(),
    parts=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    troubles=st.lists(TEXT, max_size=2).map(tuple),
)


@given(st.lists(EVERYBODY, min_size=1, max_size=3), st.booleans())
def test_text_is_what_the_contract_says(pages: list[Shown], again: bool) -> None:  # noqa: FBT001 - drawn
    """To the last byte, for one page after another, whatever was kept of the one before."""
    writer = Writer(Path())
    if again:
        pages += [replace(pages[-1], seats=pages[-1].seats[::-1])]
        pages += [replace(pages[-1], seats=tuple(replace(s, memory=1) for s in pages[-1].seats))]
    for page in pages:
        assert writer.dump(page) == shown.dump(page)


def test_every_field_of_a_seat_may_be_another_one_in_the_text() -> None:
    """A field that is added to the contract is written, too."""
    page = Shown("class", 1.0, 2.0, (seat(SEEN, None, NOW),))
    found = shown.load(Writer(Path()).dump(page))

    assert found == page
    assert {item.name for item in fields(Seat)} >= {"deploys", "totals"}
