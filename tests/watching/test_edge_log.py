"""The edge's log: what counts as a request, an error and a visitor without an answer."""

from __future__ import annotations

import bisect
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy import lab
from tests.watching.room import edge_line, unanswered
from workshop.board.shown import BUCKETS
from workshop.watching.edge_log import WINDOW, EdgeLog, Line, Traffic, Visits, parse

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


def visits(*lines: str, now: float = NOW) -> Visits:
    """Count lines, and say what is shown of ada at ``now``."""
    log = EdgeLog()
    for number, line in enumerate(lines):
        log.take((f"{number:09d}.", line))
    log.step(now)
    return log.of("ada")


def at(ago: float, **changes: Any) -> str:
    """Write a request of ada's that was answered so long before now."""
    return edge_line("ada", **{"time": NOW - ago, **changes})


def lost(ago: float, **changes: Any) -> str:
    """Write one that the seat did not answer."""
    return unanswered("ada", **{"time": NOW - ago, **changes})


def test_request_counts_for_a_minute_and_for_good() -> None:
    """The sliding minute forgets, the totals do not."""
    log = EdgeLog()
    log.take(("1", at(0, seconds=0.2, bytes=700)))
    assert log.step(NOW)
    assert not log.step(NOW + 1)
    one = log.of("ada")
    assert log.step(NOW + WINDOW + 1)
    later = log.of("ada")

    assert (one.requests, one.errors, one.total_requests) == (1, 0, 1)
    assert (later.requests, later.total_requests) == (0, 1)
    assert (later.bytes, later.seconds) == (700, 0.2)


@pytest.mark.parametrize(
    ("status", "upstream", "seconds", "error", "silent"),
    [
        ("200", "200", 0.1, False, False),
        ("404", "404", 0.1, False, False),
        ("101", "101", 60.0, False, False),
        ("500", "500", 0.1, True, False),
        # The app's own words pass untouched, whatever they are.
        ("502", "502", 0.1, True, False),
        ("503", "503", 0.1, True, False),
        ("504", "504", 0.1, True, False),
        # The edge's own page: nobody listens, no answer in time, no way to choose an address.
        ("503", "502", 0.1, True, True),
        ("503", "504", 60.0, True, True),
        ("503", "502, 504", 60.0, True, True),
        ("503", "", 0.0, True, True),
        ("503", "502, 503", 0.1, True, False),
        # A visitor who leaves at once may just have followed a link.
        ("499", "", 0.2, False, False),
        ("499", "", 3.0, True, True),
        # The edge's own refusals say nothing of the app.
        ("429", "", 0.0, False, False),
        ("308", "", 0.0, False, False),
        ("413", "", 0.0, False, False),
    ],
)
def test_line_is_judged_by_who_answered(
    status: str, upstream: str, seconds: float, *, error: bool, silent: bool
) -> None:
    """An error is a failure of the app or of reaching it; silence is no answer at all."""
    found = visits(at(1, status=status, upstream_status=upstream, seconds=seconds))

    assert (found.requests, bool(found.errors)) == (1, error)
    assert bool(found.silent_since) is silent


def test_seat_whose_latest_visitor_got_no_answer_is_silent_since_the_first_one() -> None:
    """As long as none got one after."""
    found = visits(at(30), lost(20), lost(10))

    assert (found.silent_since, found.unanswered) == (NOW - 20, NOW - 10)


def test_seat_that_answered_after_is_not_silent() -> None:
    """Whoever came last counts."""
    assert visits(lost(20), at(10)).silent_since == 0


def test_seat_is_not_silent_for_what_the_edge_alone_answered() -> None:
    """Nor is it heard by it."""
    assert visits(lost(20), at(10, status="429", upstream_status="")).silent_since


def test_seat_that_nobody_visits_any_more_is_not_called_silent_for_ever() -> None:
    """After a minute nobody knows."""
    assert visits(lost(WINDOW + 1)).silent_since == 0


def test_lines_of_two_workers_may_come_in_any_order() -> None:
    """Each worker writes its own lines once a second."""
    assert visits(at(10), lost(11)).silent_since == 0
    assert visits(lost(10), at(11)).silent_since == NOW - 10


def test_log_read_again_from_a_little_before_counts_nothing_twice() -> None:
    """The engine was restarted, or the stream broke off."""
    log, lines = EdgeLog(), [(f"2026-01-01T00:00:0{n}.0Z", at(9 - n)) for n in range(6)]
    assert log.begin("edge-1", NOW) == NOW - WINDOW
    for line in lines[:4]:
        log.take(line)
    began = time.time()
    since = log.begin("edge-1", began)
    for line in lines[2:]:
        log.take(line)
    log.step(NOW)

    assert began - 3 < since < began, "a little before it broke off"
    assert log.of("ada").total_requests == 6


def test_log_of_another_edge_is_counted_from_its_beginning() -> None:
    """Its lines have stamps of their own."""
    log = EdgeLog()
    log.begin("edge-1", NOW)
    log.take(("5", at(5)))
    log.begin("edge-2", NOW)
    log.take(("4", at(4)))
    log.step(NOW)

    assert log.of("ada").total_requests == 2


def test_lines_taken_at_the_same_moment_all_count() -> None:
    """The stamp tells only what was read before the stream broke off."""
    log = EdgeLog()
    for _ in range(3):
        log.take(("7", at(1)))
    log.step(NOW)

    assert log.of("ada").total_requests == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "edge: signal process started",
        at(1)[:-5],
        edge_line(""),
        at(1, time="soon"),
        at(1, time=float("nan")),
        at(1, time=float("inf")),
        at(1, time=-1),
        at(1, time=10**400),
        at(1, seconds=float("inf")),
        at(1, seconds=-1),
        at(1, bytes=-1),
        at(1, status="9" * 5000),
        at(1, status="ok"),
        at(1, path="x" * 70_000),
        '{"seat":' * 2000,
    ],
)
def test_garbled_line_is_left_out(text: str) -> None:
    """Lines may be cut, or come from the error log of an nginx that starts."""
    assert parse(text) is None
    assert visits(text, at(1)).requests == 1


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_text_brings_the_reader_down(text: str) -> None:
    """Whatever it is, it is a line or none."""
    found = parse(text)

    assert found is None or found.seat


FIELDS = st.fixed_dictionaries(
    {
        "time": st.integers(0, 200).map(lambda n: NOW + n),
        "seat": st.sampled_from(["ada", "bob"]),
        "status": st.sampled_from(["200", "499", "500", "503"]),
        "upstream_status": st.sampled_from(["", "200", "500", "502", "503", "504"]),
        "seconds": st.sampled_from([0.0, 0.05, 0.07, 2.9, 3.0, 30.0, 31.0]),
        "bytes": st.integers(0, 1000),
    }
)


@given(st.lists(FIELDS, max_size=60), st.integers(0, 260))
def test_counts_are_those_of_the_lines(fields: list[dict[str, Any]], passed: int) -> None:
    """In whatever order they come: the minute, the totals, the classes by duration."""
    log = EdgeLog()
    for number, item in enumerate(fields):
        log.take((f"{number:04d}.", edge_line(**item)))
    now = NOW + passed
    log.step(now)
    mine = [line for line in (parse(edge_line(**item)) for item in fields) if line]
    mine = [line for line in mine if line.seat == "ada"]
    recent = [line for line in mine if now - WINDOW < line.time <= now + WINDOW]
    found = log.of("ada")

    assert (found.requests, found.errors) == (len(recent), sum(line.failed for line in recent))
    assert found.total_requests == len(mine)
    assert found.total_errors == sum(line.failed for line in mine)
    assert found.bytes == sum(line.bytes for line in mine)
    assert found.buckets == tuple(sum(line.seconds <= bound for line in mine) for bound in BUCKETS)


@given(st.lists(FIELDS, max_size=60))
def test_silence_is_that_of_the_latest_visitor(fields: list[dict[str, Any]]) -> None:
    """Of those whom the app answered, or owed an answer."""
    fields.sort(key=lambda item: item["time"])
    found = Traffic()
    lines = [line for line in (parse(edge_line(**item)) for item in fields) if line]
    for line in lines:
        found.add(line)
    end = NOW + 200
    told = [line for line in lines if line.answered or line.unanswered]
    latest = [line for line in told if line.time == told[-1].time] if told else []
    silent = (
        bool(latest) and end - latest[-1].time < WINDOW and all(line.unanswered for line in latest)
    )

    assert bool(found.silent_since(end)) is silent


@given(st.lists(st.lists(FIELDS, max_size=10), max_size=6))
def test_totals_never_shrink(parts: list[list[dict[str, Any]]]) -> None:
    """Prometheus takes a counter that falls for a server that was restarted."""
    log, before, number = EdgeLog(), Visits(), 0
    for passed, part in enumerate(parts):
        for item in part:
            number += 1
            log.take((f"{number:04d}.", edge_line(**item)))
        log.step(NOW + 60 * passed)
        found = log.of("ada")
        for name in ("total_requests", "total_errors", "seconds", "bytes", "buckets"):
            assert getattr(found, name) >= getattr(before, name)
        assert list(found.buckets) == sorted(found.buckets)
        before = found


def test_class_of_a_duration_holds_its_own_bound() -> None:
    """An answer of exactly a quarter of a second took at most that."""
    found = visits(at(1, seconds=0.25))
    place = bisect.bisect_left(BUCKETS, 0.25)

    assert found.buckets == (0,) * place + (1,) * (len(BUCKETS) - place)


def test_clock_that_was_set_back_does_not_leave_a_minute_that_never_ends() -> None:
    """Lines of the future are not lately."""
    found = visits(at(-3600), lost(-3600), now=NOW)

    assert (found.requests, found.silent_since, found.total_requests) == (0, 0, 2)


def test_real_edge_writes_lines_that_are_understood(tmp_path: Path) -> None:
    """Of an app that answers, and of one whose address nobody listens at."""
    with lab.apps(("ada",)) as ports:
        edge = lab.edge_for({**ports, "bob": lab.free_port()}, tmp_path)
        with lab.running(edge, tmp_path) as nginx, contextlib.suppress(ConnectionError):
            nginx.get("/ada/")
            nginx.get("/bob/")
            deadline = time.monotonic() + 60
            while len(lines := (tmp_path / "access.log").read_text().splitlines()) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    found = {line.seat: line for line in map(parse, lines) if line}

    assert found["ada"].answered
    assert not found["ada"].failed
    assert (found["bob"].unanswered, found["bob"].answered, found["bob"].failed) == (
        True,
        False,
        True,
    )
    assert abs(found["bob"].time - time.time()) < 30
    assert isinstance(found["bob"], Line)
