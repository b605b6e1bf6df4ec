"""The figures' text: what Prometheus' own parser and ``promtool`` make of it."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.seen import mixed
from workshop.board import config, exposition
from workshop.board.shown import BUCKETS, Seat, Shown, State, Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.core import Metric


def seen(seats: Sequence[Seat] | None = None, **more: object) -> Shown:
    """Describe a class."""
    people = mixed(2_000.0) if seats is None else tuple(seats)
    return replace(Shown("class", 2_000.0, 1_000.0, people), **more)  # type: ignore[arg-type]


def parsed(shown: Shown, told: config.Config | None = None, **hands: float) -> dict[str, Metric]:
    """Read the text with the official parser, by the names of families."""
    text = exposition.text(shown, told, hands)
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Find the one sample with these labels."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_every_figure_of_a_seat_has_its_value() -> None:
    """Each one as it was seen, under a name of its own."""
    families = parsed(seen(), grace=1.0)

    expected = {
        "up": 1, "restarts_total": 0, "requests_total": 120, "request_errors_total": 4,
        "response_bytes_total": 5_000_000, "memory_bytes": 36 << 20, "memory_limit_bytes": 256 << 20,
        "cpu_seconds_total": 31.25, "cpu_limit_cores": 0.5, "llm_requests_total": 7,
        "llm_budget_tokens": 200_000, "llm_budget_used_tokens": 1200, "llm_paused": 0,
        "hand_raised": 0, "deploying": 0, "request_duration_seconds_sum": 14.5,
        "request_duration_seconds_count": 120, "state_start_time_seconds": 1940,
    }  # fmt: skip
    for name, number in expected.items():
        assert value(families, f"workshop_seat_{name}", seat="ada") == number, name
    assert value(families, "workshop_seat_deploys_total", seat="ada", result="live") == 3
    assert value(families, "workshop_seat_deploys_total", seat="ada", result="failed") == 1
    assert value(families, "workshop_seat_llm_tokens_total", seat="ada", direction="in") == 900
    assert value(families, "workshop_seat_llm_tokens_total", seat="ada", direction="out") == 300
    assert value(families, "workshop_seat_restarts_total", seat="bob") == 7
    assert value(families, "workshop_seat_hand_raised", seat="grace") == 1
    assert value(families, "workshop_seat_deploying", seat="eve") == 1
    assert value(families, "workshop_seat_llm_paused", seat="heidi") == 1


@pytest.mark.parametrize("state", list(State))
def test_seat_is_in_exactly_one_state(state: State) -> None:
    """An enum gauge: 1 for one, 0 for all others; only the live one is up."""
    families = parsed(seen([Seat("ada", state)]))

    for other in State:
        said = value(families, "workshop_seat_state", seat="ada", state=other.value)
        assert said == (other is state)
    assert value(families, "workshop_seat_up", seat="ada") == (state is State.LIVE)


def test_histogram_grows_to_the_count_of_all_requests() -> None:
    """Each class holds those below it; the last one everybody."""
    families = parsed(seen())
    counts = [
        (float(sample.labels["le"]), sample.value)
        for sample in families["workshop_seat_request_duration_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["seat"] == "ada"
    ]

    assert [bound for bound, _ in counts] == [*BUCKETS, math.inf]
    assert [count for _, count in counts] == sorted(count for _, count in counts)
    assert counts[-1][1] == 120


def test_seat_without_limits_has_no_sample_for_them() -> None:
    """Nothing is divided by a limit that is not there."""
    families = parsed(seen([Seat("ada", State.LIVE, memory=5)]))

    for name in (
        "memory_limit_bytes",
        "cpu_limit_cores",
        "llm_budget_tokens",
        "llm_budget_used_ratio",
    ):
        assert families[f"workshop_seat_{name}"].samples == []
    assert value(families, "workshop_seat_memory_bytes", seat="ada") == 5


@pytest.mark.parametrize(
    ("changes", "ratio"),
    [
        ({"tokens": 50, "tokens_limit": 200}, 0.25),
        ({"money": 9, "money_limit": 10, "tokens": 1, "tokens_limit": 100}, 0.9),
        ({"money": 9, "money_limit": 10, "tokens": 99, "tokens_limit": 100}, 0.99),
        ({"tokens": 0, "tokens_limit": 0}, 1.0),
    ],
)
def test_budget_is_used_as_far_as_its_nearer_bound(changes: dict[str, int], ratio: float) -> None:
    """Tokens or money: whichever ends first refuses the next question."""
    families = parsed(seen([Seat("ada", State.LIVE, **changes)]))

    assert value(families, "workshop_seat_llm_budget_used_ratio", seat="ada") == ratio


def test_class_itself_is_told() -> None:
    """Parts, troubles, pauses, and since when it is counted."""
    told = config.Config(
        "class", 'Sum"mer', "http://h", (), (config.Seat("ada", "Ada L", "u", "", ""),)
    )
    shown = seen(parts=(("edge", "running"), ("serve", "exited")), troubles=("x", "y"), paused=True)
    families = parsed(shown, told)

    assert value(families, "workshop_info", workshop="class", title='Sum"mer', url="http://h") == 1
    assert (
        value(families, "workshop_seat_info", seat="ada", display_name="Ada L", version="v3") == 1
    )
    assert value(families, "workshop_part_up", part="edge") == 1
    assert value(families, "workshop_part_up", part="serve") == 0
    assert value(families, "workshop_troubles") == 2
    assert value(families, "workshop_llm_paused") == 1
    assert value(families, "workshop_start_time_seconds") == 1000
    assert value(families, "workshop_seen_timestamp_seconds") == 2000


def test_no_seat_gives_text_that_can_be_read() -> None:
    """Before anybody is seen."""
    families = parsed(seen([]))

    assert value(families, "workshop_troubles") == 0


@given(title=st.text(), number=st.floats() | st.integers(0, 2**63))
def test_no_word_and_no_number_breaks_the_format(title: str, number: float) -> None:
    """Whatever a title holds comes back as it was, and stays in its line."""
    told = config.Config("class", title, "", ())
    shown = seen([Seat("ada", State.LIVE, totals=Totals(cpu_seconds=number))])
    text = exposition.text(shown, told, {})

    lines = [line for line in text.split("\n") if line.startswith("workshop_info")]
    assert len(lines) == 1
    label = lines[0].split('title="')[1].split('",url="')[0]
    assert re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), label) == title
    (cpu,) = [line for line in text.split("\n") if line.startswith("workshop_seat_cpu_seconds")]
    said = float(cpu.rpartition(" ")[2])
    assert said == pytest.approx(number, nan_ok=True)


def test_half_a_surrogate_pair_can_be_sent() -> None:
    """JSON may carry one; UTF-8 may not."""
    text = exposition.text(seen(), config.Config("class", "a\ud800b", "", ()), {})

    assert 'title="a?b"' in text
    text.encode()


def test_every_name_is_known_beforehand() -> None:
    """The dashboard and the alerts are compared with :func:`exposition.names`."""
    shown = seen(parts=(("edge", "running"),))
    found = {sample.name for family in parsed(shown).values() for sample in family.samples}

    assert found == exposition.names()


def test_promtool_finds_nothing_to_say() -> None:
    """Names, units, help and types follow Prometheus' conventions."""
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is missing; Debian's package prometheus has it")
    text = exposition.text(seen(parts=(("edge", "running"),)), None, {})
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_three_hundred_seats_take_a_moment() -> None:
    """Prometheus asks every few seconds; nobody else may wait for it."""
    seats = [replace(mixed(2_000.0)[0], name=f"seat-{number}") for number in range(300)]
    text = exposition.text(seen(seats), None, {})

    assert text.count("workshop_seat_up{") == 300
    assert len(text) < 2_000_000
