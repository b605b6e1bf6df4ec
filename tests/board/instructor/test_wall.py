"""Which pieces of the wall a page is sent."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.board.instructor.classroom import view
from tests.board.lab import person, seat
from workshop.board.instructor.wall import BEAT, WALL, Wall, teller
from workshop.board.shown import State


def ids(text: str) -> set[str]:
    """Find which elements a text brings."""
    return set(re.findall(r'^<\w+ id="([a-z0-9-]+)"', text, re.MULTILINE))


def test_page_that_has_seen_everything_is_sent_nothing() -> None:
    """Neither the page that was just loaded, nor one after each change."""
    wall = Wall()
    wall.see(view(seat("ada"), seat("bob")))
    assert wall.since(wall.cursor) == ""


def test_seat_that_changed_is_sent_with_the_counts_and_no_other() -> None:
    """Bob's tile, and the buttons that count."""
    wall, first = Wall(), view(seat("ada"), seat("bob"))
    wall.see(first)
    cursor = wall.cursor
    changed = view(seat("ada", since=first.seat("ada").since), seat("bob", State.CRASHING))
    wall.see(replace(changed, number=1))
    assert ids(wall.since(cursor)) == {"seat-bob", "filters", "class"}


def test_page_that_missed_several_changes_is_sent_each_of_them_once() -> None:
    """It was asleep, and comes back with the cursor it had."""
    wall, first = Wall(), view(seat("ada"), seat("bob"), seat("eve"))
    wall.see(first)
    cursor = wall.cursor
    seats = list(first.shown.seats)
    for number, at in enumerate((0, 2, 0), start=1):
        seats[at] = replace(seats[at], requests=number)
        wall.see(replace(first, shown=replace(first.shown, seats=tuple(seats)), number=number))
    text = wall.since(cursor)
    assert ids(text) == {"seat-ada", "seat-eve"}
    assert text.count('id="seat-ada"') == 1
    assert "3 req/min" in text


def test_page_of_another_life_of_the_board_is_sent_everything() -> None:
    """Numbers begin again when the board is started again; so does nonsense."""
    wall, other = Wall(), Wall()
    for one in (wall, other):
        one.see(view(seat("ada")))
    everything = {"seat-ada", "filters", "messages", "class"}
    for cursor in ("", other.cursor, "nonsense", wall.cursor.partition(".")[0], "x.99"):
        assert ids(wall.since(cursor)) == everything, cursor


def test_seat_that_was_removed_is_taken_from_the_page() -> None:
    """And comes back when it is added again."""
    wall, both = Wall(), view(seat("ada"), seat("bob"))
    wall.see(both)
    cursor = wall.cursor
    alone = replace(both.config, seats=(person("ada"),))
    wall.see(replace(both, config=alone, number=1))
    assert '<li id="seat-bob" hx-swap-oob="delete"></li>' in wall.since(cursor)
    wall.see(replace(both, number=2))
    text = wall.since(cursor)
    assert "delete" not in text
    assert "seat-bob" in ids(text)


def test_older_view_than_the_last_changes_nothing() -> None:
    """Two streams may wake up in either order."""
    wall = Wall()
    wall.see(replace(view(seat("ada", State.CRASHING)), number=5))
    wall.see(replace(view(seat("ada")), number=4))
    assert "crashing" in wall.since("")


def test_stream_tells_changes_and_beats_when_there_are_none() -> None:
    """The page knows by that that it is still live."""
    wall, first = Wall(), view(seat("ada"))
    wall.see(first)
    told = teller(wall, wall.cursor)
    assert [text.partition("\n")[0] for text in told(first)] == [f"event: {BEAT}"]
    assert list(told(first)) == []
    changed = replace(first, hands={"ada": 12.0}, number=1)
    (event,) = told(changed)
    assert event.startswith(f"event: {WALL}\n")
    assert f'data-cursor="{wall.cursor}"' in event
    assert list(told(changed)) == []
