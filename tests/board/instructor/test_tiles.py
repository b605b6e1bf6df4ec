"""What a tile says, and which of them stand in front."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.board.instructor.classroom import deploy, view
from tests.board.lab import person, seat
from workshop.board.instructor.room import room
from workshop.board.instructor.summary import summary
from workshop.board.instructor.tiles import STAGES, short, tile, tiles
from workshop.board.shown import Announcement, State
from workshop.intake.orders import Stage


def test_hand_that_has_been_up_longest_comes_first_then_failures_then_failed_deploys() -> None:
    """Within each, names; a spare seat that is well is last."""
    everybody = view(
        seat("adam"),
        seat("bea", State.CRASHING),
        seat("carl", deploys=(deploy(1, 5, "failed", message="no"),)),
        seat("dora"),
        seat("eve", State.HELD),
        seat("fay"),
        seat("spare-1"),
        seat("aaron", State.STOPPED),
        hands={"dora": 200.0, "fay": 100.0},
    )
    found = [one.name for one in tiles(everybody)]
    assert found == ["fay", "dora", "aaron", "bea", "carl", "adam", "eve", "spare-1"]
    assert [one.name for one in tiles(everybody) if one.needs] == found[:5]


def test_deploy_that_a_newer_one_replaced_needs_nobody() -> None:
    """Its order was overtaken; nothing failed."""
    one = tile(view(found := seat("ada", deploys=(deploy(2, 5, "superseded"),))), person("ada"))
    assert found.deploy is not None
    assert (one.rank, one.marks) == (3, "live")


def test_deploy_that_failed_before_the_latest_one_needs_nobody() -> None:
    """They have helped themselves."""
    deploys = (deploy(2, 5, live=True), deploy(1, 90, "failed", message="no"))
    assert not tile(view(seat("ada", deploys=deploys)), person("ada")).needs


@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_of_a_deploy_has_words_and_a_look(stage: Stage) -> None:
    """A stage that is added to orders must be added here."""
    assert stage.value in STAGES
    one = tile(view(seat("ada", deploys=(deploy(1, 5, stage.value),))), person("ada"))
    assert one.deploy is not None
    assert (one.deploy.look == "deploying") == (not stage.over)


def test_figures_that_differ_by_less_than_is_shown_give_equal_tiles() -> None:
    """What cannot be seen is not sent."""
    before = seat("ada", memory=36 << 20, cpu=0.1, tokens=64_100)
    after = replace(before, memory=before.memory + 1000, cpu=0.1001, restarts=4)
    assert tile(view(before), person("ada")) == tile(view(after), person("ada"))


def test_bars_say_the_use_and_the_limit() -> None:
    """Memory in MB, processor in cores, tokens short."""
    found = seat("ada", memory=240 << 20, cpu=0.05, tokens=12_345, tokens_limit=50_000)
    memory, cpu, tokens = tile(view(found), person("ada")).bars
    assert (memory.words, memory.percent, memory.high) == ("240 of 256 MB", 94, True)
    assert (cpu.words, cpu.percent, cpu.high) == ("0.05 of 0.5 cores", 10, False)
    assert (tokens.words, tokens.brief) == ("12k of 50k", "LLM 25%")


@pytest.mark.parametrize("state", [State.STOPPED, State.HELD, State.MISSING])
def test_seat_that_does_not_run_has_no_bars(state: State) -> None:
    """What it used when it still ran would be taken for now."""
    assert tile(view(seat("ada", state)), person("ada")).bars == ()


def test_use_beyond_a_limit_fills_the_bar_and_no_more() -> None:
    """A limit may have been lowered meanwhile."""
    bars = tile(view(seat("ada", tokens=900, tokens_limit=10)), person("ada")).bars
    assert [bar.percent for bar in bars][-1] == 100


def test_seat_without_limits_has_no_bars() -> None:
    """There is nothing to compare with."""
    free = seat("ada", memory_limit=0, cpu_limit=0.0, tokens_limit=None)
    assert tile(view(free), person("ada")).bars == ()


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0"), (999, "999"), (1000, "1k"), (4812, "4.8k"), (64_100, "64k"), (2_500_000, "2.5M")],
)
def test_large_numbers_are_short(count: int, words: str) -> None:
    """Two digits are enough on a tile."""
    assert short(count) == words


def test_seat_that_serve_has_not_seen_is_missing() -> None:
    """It was added a moment ago."""
    one = tile(view(seat("bob")), person("ada"))
    assert (one.state, one.word, one.detail) == (State.MISSING, "missing", "not seen yet")


def test_spare_seat_that_was_claimed_is_spare_no_more() -> None:
    """Before the command has written a new configuration."""
    before = view(seat("spare-1"))
    assert tile(before, before.config.seats[0]).spare
    assert not tile(replace(before, claimed=frozenset({"spare-1"})), before.config.seats[0]).spare


def test_summary_counts_each_mark_and_names_whom_a_restart_is_for() -> None:
    """Held seats are the instructor's own doing."""
    everybody = view(
        seat("ada"), seat("bob", State.SILENT), seat("eve", State.HELD), seat("abe", State.MISSING)
    )
    found = summary(everybody, tiles(everybody))
    assert {item.mark: item.count for item in found.filters} == {
        "needs": 2,
        "live": 1,
        "silent": 1,
        "held": 1,
        "missing": 1,
    }
    assert (found.total, found.failed, found.troubles) == (4, ("abe", "bob"), ())


def test_part_of_the_platform_that_does_not_run_is_told() -> None:
    """Together with what the control process cannot see."""
    parts = (("edge", "running"), ("gateway", "exited"))
    everybody = view(seat("ada"), parts=parts, troubles=("The engine does not answer.",))
    assert summary(everybody, []).troubles == (
        "The engine does not answer.",
        "Not running: gateway (exited). `workshop status` tells more.",
    )


def test_class_of_which_nothing_was_seen_says_so() -> None:
    """The control process may not run at all."""
    nothing = view()
    blind = replace(nothing, shown=replace(nothing.shown, time=0.0))
    assert "control process" in summary(blind, []).troubles[0]


def test_room_sees_names_and_whether_apps_are_up_and_nothing_else() -> None:
    """No state tells anybody off, and spare seats are nobody's."""
    everybody = view(
        seat("ada", deploys=(deploy(1, 5, live=True),)),
        seat("bob", State.CRASHING, detail="ends with exit code 1 again and again"),
        seat("eve", deploys=(deploy(2, 0, "building"),)),
        seat("spare-1"),
        hands={"bob": 3.0},
    )
    found = room(replace(everybody, announcement=Announcement("Lunch", 1.0)))
    assert [(one.who, one.words) for one in found.people] == [
        ("Ada", "live"),
        ("Bob", "not up yet"),
        ("Eve", "deploying"),
    ]
    assert (found.live, found.deploying, found.hands, found.said) == (1, 1, 1, "Lunch")
    assert "exit code" not in repr(found)
