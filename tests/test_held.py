"""Seats that are stopped to stay so: stop, start, and everything that must not start them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from workshop import held, operations, state
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineError, InputError, NotReady
from workshop.observed import State
from workshop.status import status
from workshop.teardown import teardown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.workspace import Workspace

    Next = Callable[[Workspace], Workspace]


@pytest.fixture
def provisioned(work: Workspace, next_command: Next) -> Workspace:
    """Hand out a workshop of three that runs."""
    assert operations.provision(work).ok
    return next_command(work)


@pytest.fixture
def without_ada(provisioned: Workspace, next_command: Next) -> Workspace:
    """Hand out one whose first seat is held."""
    assert operations.stop(provisioned, ["ada"]).ok
    return next_command(provisioned)


def memory(work: Workspace) -> MemoryEngine:
    """Name the engine for what it is."""
    assert isinstance(work.engine, MemoryEngine)
    return work.engine


def states(work: Workspace) -> dict[str, State]:
    """Map every container's state by its key."""
    return {item.key: item.state for item in work.engine.observe("class").containers}


def told(work: Workspace) -> dict[str, tuple[str, str]]:
    """Ask what `workshop status` says of each seat."""
    return {seat.name: (seat.state, seat.detail) for seat in status(work).seats}


def refused_start(name: str) -> tuple[str, EngineError]:
    """Name a start that fails."""
    return f"class-{name}", EngineError("the driver failed")


# -- the file -------------------------------------------------------------------------------------


def test_hold_is_remembered_and_forgotten_with_the_last_one(tmp_path: Path) -> None:
    """Nothing lies about where nobody is held."""
    held.save(tmp_path, {"bob", "ada"})
    assert held.load(tmp_path) == {"ada", "bob"}
    held.save(tmp_path, ())

    assert held.load(tmp_path) == frozenset()
    assert not (tmp_path / held.FILE).exists()


@pytest.mark.parametrize("garbage", ["", "[]", '{"seats": 3}', "{", "\0"])
def test_garbled_hold_holds_nobody(tmp_path: Path, garbage: str) -> None:
    """A seat that runs again is seen at once; one that never does is not."""
    (tmp_path / held.FILE).write_text(garbage)

    assert held.load(tmp_path) == frozenset()


# -- stopping -------------------------------------------------------------------------------------


def test_stopped_seat_is_held_and_nobody_else_is_touched(without_ada: Workspace) -> None:
    """The container stays, with its place; its neighbours run on."""
    assert states(without_ada) == {
        "ada": State.EXITED,
        "bob": State.RUNNING,
        "grace": State.RUNNING,
        "edge": State.RUNNING,
    }
    assert held.load(without_ada.state_directory) == {"ada"}


def test_status_of_a_held_seat_says_so_and_is_no_failure(without_ada: Workspace) -> None:
    """The instructor did it, and reads how to undo it."""
    assert told(without_ada)["ada"] == ("held", "stopped by you; `workshop start ada`")
    assert status(without_ada).ok


@pytest.mark.parametrize("repair", [False, True])
def test_held_seat_stays_stopped_through_provision_and_repair(
    without_ada: Workspace, next_command: Next, *, repair: bool
) -> None:
    """The timer comes every five minutes."""
    report = operations.provision(without_ada, repair=repair)

    assert report.plan.is_empty
    assert str(operations.plan(next_command(without_ada))) == "class: 3 unchanged\n  held: ada"
    assert states(without_ada)["ada"] is State.EXITED


def test_held_seat_stays_so_while_another_is_repaired(
    without_ada: Workspace, next_command: Next
) -> None:
    """The proof at the end asks nobody who cannot answer."""
    engine = memory(without_ada)
    bob = next(item.id for item in engine.observe("class").containers if item.key == "bob")
    engine.remove(bob)
    report = operations.provision(without_ada)

    assert report.ok, report.failed
    assert [step.name for step in report.plan.steps] == ["bob", "identity"]
    assert report.summary == "1 created, 2 unchanged"
    assert states(next_command(without_ada))["ada"] is State.EXITED


def test_stop_that_was_interrupted_is_finished_by_provision(
    provisioned: Workspace, next_command: Next
) -> None:
    """What was wanted is written down before the engine is told."""
    memory(provisioned).broken["stop", "class-ada"] = EngineError("the engine is busy")
    report = operations.stop(provisioned, ["ada"])
    assert report.failed == {"ada": "the engine is busy"}
    assert told(next_command(provisioned))["ada"][0] == "live"
    memory(provisioned).broken.clear()

    assert operations.provision(next_command(provisioned)).summary == "1 stopped, 2 unchanged"
    assert states(provisioned)["ada"] is State.EXITED


def test_stop_needs_neither_the_edge_nor_its_port(
    provisioned: Workspace, next_command: Next
) -> None:
    """Whatever else is wrong, a seat that does harm can be stopped."""
    import socket

    engine = memory(provisioned)
    edge = next(item.id for item in engine.observe("class").containers if item.key == "edge")
    engine.remove(edge)
    with socket.create_server(("", provisioned.roster.port)):
        assert operations.stop(provisioned, ["ada"]).ok

    assert "edge" not in states(provisioned)
    assert states(provisioned)["ada"] is State.EXITED


def test_stop_of_a_seat_that_never_came_up_holds_it(work: Workspace, next_command: Next) -> None:
    """The next provision leaves it out."""
    name, error = refused_start("bob")
    memory(work).broken["start", name] = error
    assert not operations.provision(work).ok
    assert operations.stop(next_command(work), ["bob"]).ok

    assert operations.provision(next_command(work)).ok
    assert told(next_command(work))["bob"][0] == "held"


def test_stop_of_all_leaves_an_edge_that_has_nobody_to_ask(
    provisioned: Workspace, next_command: Next
) -> None:
    """Lunch."""
    assert operations.stop(provisioned, ["ada", "bob", "grace"]).summary == (
        "3 stopped, 0 unchanged"
    )
    assert operations.provision(next_command(provisioned)).plan.is_empty
    assert status(next_command(provisioned)).ok


def test_stop_of_somebody_unknown_stops_nobody(provisioned: Workspace) -> None:
    """Names are looked up before anything is done."""
    with pytest.raises(InputError):
        operations.stop(provisioned, ["ada", "adda"])

    assert states(provisioned)["ada"] is State.RUNNING
    assert held.load(provisioned.state_directory) == frozenset()


# -- the end of a hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "restart", "reset"])
def test_held_seat_is_up_again_after(without_ada: Workspace, next_command: Next, verb: str) -> None:
    """Each of them says that somebody wants it to run."""
    command: Any = getattr(operations, verb)
    report = command(without_ada, ["ada"])

    assert report.ok, report.failed
    assert states(without_ada)["ada"] is State.RUNNING
    assert held.load(without_ada.state_directory) == frozenset()
    assert told(next_command(without_ada))["ada"][0] == "live"


def test_start_of_one_leaves_another_held(without_ada: Workspace, next_command: Next) -> None:
    """Each hold is its own."""
    operations.stop(without_ada, ["bob"])
    assert operations.start(next_command(without_ada), ["ada"]).ok

    assert held.load(without_ada.state_directory) == {"bob"}


def test_start_that_fails_ends_the_hold_so_that_provision_tries_again(
    without_ada: Workspace, next_command: Next
) -> None:
    """Somebody wants it up; what keeps it down is a fault like any other."""
    engine = memory(without_ada)
    engine.broken["start", "class-ada"] = EngineError("the driver failed")
    assert not operations.start(without_ada, ["ada"]).ok
    engine.broken.clear()

    assert operations.provision(next_command(without_ada)).ok
    assert states(without_ada)["ada"] is State.RUNNING


def test_removed_and_added_again_is_not_held(without_ada: Workspace, next_command: Next) -> None:
    """The name may be somebody else's by then."""
    from workshop.roster import Participant

    assert operations.remove(without_ada, "ada").ok
    assert operations.add(next_command(without_ada), Participant("ada")).ok

    assert states(without_ada)["ada"] is State.RUNNING


def test_teardown_of_a_class_with_a_held_seat_leaves_nothing(without_ada: Workspace) -> None:
    """Held is not kept."""
    assert teardown(without_ada).left == ()


# -- one seat's command and another seat's trouble ------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "restart", "reset", "stop"])
def test_command_for_one_seat_does_not_fail_because_another_is_silent(
    provisioned: Workspace, verb: str
) -> None:
    """Nor does it wait for it."""
    provisioned.probe.silent.add("bob")  # type: ignore[attr-defined]
    command: Any = getattr(operations, verb)
    report = command(provisioned, ["ada"])

    assert report.ok, report.failed
    assert report.seconds < 15


def test_restart_of_one_leaves_the_class_as_proved_as_it_was(
    provisioned: Workspace, next_command: Next
) -> None:
    """It asked one seat: that says nothing of the others, in either direction."""
    home = provisioned.state_directory
    assert operations.restart(provisioned, ["ada"]).ok
    assert not state.is_unproven(home)
    state.set_unproven(home, unproven=True)
    assert operations.restart(next_command(provisioned), ["ada"]).ok

    assert state.is_unproven(home)


def test_seat_that_does_not_come_up_leaves_no_doubt_about_the_others(
    provisioned: Workspace,
) -> None:
    """Otherwise one broken app would have every repair ask everybody."""
    provisioned.probe.silent.add("ada")  # type: ignore[attr-defined]
    report = operations.restart(provisioned, ["ada"])

    assert set(report.failed) == {"ada"}
    assert not state.is_unproven(provisioned.state_directory)


def test_restarted_seat_that_leads_to_another_leaves_the_class_unproven(
    provisioned: Workspace,
) -> None:
    """Bob's app under Ada's name is the one fault that must never pass."""
    provisioned.probe.lies["ada"] = "bob"  # type: ignore[attr-defined]
    report = operations.restart(provisioned, ["ada"])

    assert report.failed["ada"] == "leads to the seat of 'bob'"
    assert state.is_unproven(provisioned.state_directory)


def test_restart_that_renewed_the_edge_leaves_the_others_to_be_proved(
    provisioned: Workspace, next_command: Next
) -> None:
    """Every name leads through it."""
    engine = memory(provisioned)
    edge = next(item.id for item in engine.observe("class").containers if item.key == "edge")
    engine.remove(edge)
    assert operations.restart(provisioned, ["ada"]).ok

    report = operations.provision(next_command(provisioned))
    assert [step.name for step in report.plan.steps] == ["identity"]


def test_killed_command_for_one_seat_leaves_the_mark(
    provisioned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had begun and never seen the end of is to be proved."""

    def die(container_id: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory(provisioned), "restart", die)
    with pytest.raises(KeyboardInterrupt):
        operations.restart(provisioned, ["ada"])

    assert state.is_unproven(provisioned.state_directory)


# -- what is shown --------------------------------------------------------------------------------


def test_report_shows_the_held_seat_as_held(
    without_ada: Workspace, next_command: Next, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that calls a stopped seat live would be a lie."""
    from workshop.cli.output import Output

    report = operations.restart(without_ada, ["bob"])
    Output().report(report, next_command(without_ada))
    rows = [line.split()[::2] for line in capsys.readouterr().out.splitlines()[1:]]

    assert rows == [["ada", "held"], ["bob", "live"], ["grace", "live"]]


def test_document_of_a_status_with_a_held_seat_is_ok(
    without_ada: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs read the same."""
    from workshop.cli.output import Output

    Output(as_json=True).status(status(without_ada))
    document = json.loads(capsys.readouterr().out)

    assert (document["ok"], document["seats"][0]["state"]) == (True, "held")


def test_not_ready_is_named_when_a_held_seat_is_started_in_vain(without_ada: Workspace) -> None:
    """The reason is the seat's own."""
    without_ada.probe.silent.add("ada")  # type: ignore[attr-defined]
    report = operations.start(without_ada, ["ada"])

    assert report.failed["ada"] == NotReady("does not answer").message
