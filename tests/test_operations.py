"""The operations on a memory engine: what an instructor does in an afternoon, in milliseconds."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port
from workshop import operations, state
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineError, InputError, Locked, WorkshopError
from workshop.events import StepEnded
from workshop.labels import Role
from workshop.lock import apply_lock
from workshop.observed import State
from workshop.roster import Participant
from workshop.status import status
from workshop.teardown import teardown
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    Next = Callable[[Workspace], Workspace]


@pytest.fixture
def provisioned(work: Workspace, next_command: Next) -> Workspace:
    """Hand out a workshop of three that runs."""
    report = operations.provision(work)
    assert report.ok, report.failed
    return next_command(work)


def memory(work: Workspace) -> MemoryEngine:
    """Name the engine for what it is."""
    assert isinstance(work.engine, MemoryEngine)
    return work.engine


def running(work: Workspace) -> dict[str, Any]:
    """Map the running containers by their key."""
    seen = work.engine.observe("class")
    return {item.key: item for item in seen.containers if item.state is State.RUNNING}


def test_provision_from_nothing_runs_everybody(provisioned: Workspace) -> None:
    """Three people and the edge run, each at an address of its own."""
    found = running(provisioned)

    assert sorted(found) == ["ada", "bob", "edge", "grace"]
    assert len({found[name].address for name in ("ada", "bob", "grace")}) == 3
    assert status(provisioned).ok


def test_provision_twice_changes_nothing(provisioned: Workspace) -> None:
    """The second run makes no call that changes something."""
    before = list(memory(provisioned).calls)
    report = operations.provision(provisioned)

    assert report.plan.is_empty
    assert memory(provisioned).calls == before


def test_provision_builds_one_image_for_all(provisioned: Workspace) -> None:
    """One distinct source is built once."""
    built = [name for verb, name in memory(provisioned).calls if verb == "build"]

    assert len(built) == len(set(built)) == 4
    assert [name.split(":")[0] for name in sorted(built)] == [
        "class/app",
        "class/edge",
        "class/wall",
        "workshop-base",
    ]


def test_provision_without_a_registry_bootstraps_a_base(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be pulled and nothing can be made, the error says what to install."""
    memory(work).pullable.clear()
    monkeypatch.setenv("PATH", "/nowhere")
    report = operations.provision(work)

    assert not report.ok
    assert "sudo apt-get install mmdebstrap" in report.failed["edge"] or any(
        "mmdebstrap" in reason for reason in report.failed.values()
    )


def test_failing_seat_stops_no_other(work: Workspace) -> None:
    """One seat that cannot start is named; the others run."""
    memory(work).broken["start", "class-bob"] = EngineError("the driver failed")
    report = operations.provision(work)

    assert report.failed == {"bob": "the driver failed"}
    assert sorted(running(work)) == ["ada", "edge", "grace"]


def test_provision_after_a_failure_converges(work: Workspace, next_command: Next) -> None:
    """The next run takes up what the last one left."""
    memory(work).broken["start", "class-bob"] = EngineError("the driver failed")
    operations.provision(work)
    memory(work).broken.clear()
    again = next_command(work)
    report = operations.provision(again)

    assert report.ok
    assert [step.name for step in report.plan.steps] == ["bob", "identity"]
    assert operations.provision(next_command(again)).plan.is_empty


def test_seat_that_never_answers_is_named(work: Workspace) -> None:
    """A container that runs but is silent is a failure, with the reason."""
    work.probe.silent.add("bob")  # type: ignore[attr-defined]
    report = operations.provision(work)

    assert report.failed["bob"] == "does not answer"


def test_seat_with_the_wrong_identity_is_named(work: Workspace) -> None:
    """Bob's app under Ada's name is the one fault that must never pass."""
    work.probe.lies["ada"] = "bob"  # type: ignore[attr-defined]
    report = operations.provision(work)

    assert report.failed["ada"] == "leads to the seat of 'bob'"
    assert not report.ok


def test_killed_seat_is_told_and_repaired(provisioned: Workspace, next_command: Next) -> None:
    """Status tells the truth, and provision repairs that seat alone."""
    memory(provisioned).kill(running(provisioned)["bob"].id)
    found = {seat.name: seat.state for seat in status(next_command(provisioned)).seats}

    assert found == {"ada": "live", "bob": "stopped", "grace": "live"}
    report = operations.provision(next_command(provisioned))
    assert [step.name for step in report.plan.steps] == ["bob", "identity"]
    assert status(next_command(provisioned)).ok


def test_seat_that_ends_again_and_again_is_crashing_also_while_it_runs(
    provisioned: Workspace, next_command: Next
) -> None:
    """Between two ends it runs for a moment; one who asks right then is told the same."""
    work = next_command(provisioned)
    memory(provisioned).crash(running(provisioned)["bob"].id)
    work.probe.silent.add("bob")  # type: ignore[attr-defined]
    bob = next(seat for seat in status(work).seats if seat.name == "bob")

    assert (bob.state, bob.detail) == (
        "crashing",
        "Up Less than a second; `workshop logs bob` shows why",
    )


def test_slots_stay_when_the_state_is_lost(provisioned: Workspace, next_command: Next) -> None:
    """Labels rebuild the choices: nobody moves."""
    before = {name: item.address for name, item in running(provisioned).items()}
    (provisioned.state_directory / "state.json").unlink()
    report = operations.provision(next_command(provisioned))

    assert report.plan.is_empty
    assert {name: item.address for name, item in running(provisioned).items()} == before


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "slots": 3}', "\0"]
)
def test_slots_stay_when_the_state_is_garbled(
    provisioned: Workspace, next_command: Next, garbage: str
) -> None:
    """A broken file is set aside, and nobody is removed because of it."""
    path = provisioned.state_directory / "state.json"
    path.write_text(garbage)

    assert operations.provision(next_command(provisioned)).plan.is_empty
    assert path.with_suffix(".json.broken").read_text() == garbage


def test_state_of_a_newer_version_is_refused(provisioned: Workspace, next_command: Next) -> None:
    """A file we cannot understand is not touched."""
    path = provisioned.state_directory / "state.json"
    path.write_text('{"schema": 99}')

    with pytest.raises(InputError, match="newer workshop"):
        operations.provision(next_command(provisioned))


def test_slot_of_somebody_who_left_is_not_handed_on(
    provisioned: Workspace, next_command: Next
) -> None:
    """A late connection to Bob's address must not reach a newcomer."""
    bob = running(provisioned)["bob"].address
    assert operations.remove(provisioned, "bob").ok
    assert operations.add(next_command(provisioned), Participant("joan")).ok

    assert running(provisioned)["joan"].address != bob


def test_add_writes_the_roster_and_starts_the_seat(
    provisioned: Workspace, next_command: Next
) -> None:
    """A latecomer is served, the file keeps its comments, nobody else is touched."""
    report = operations.add(provisioned, Participant("joan", display_name="Joan Clarke"))

    assert report.ok
    assert [step.name for step in report.plan.steps if step.kind == "seat"] == ["joan"]
    assert "# front row" in provisioned.roster_path.read_text()
    assert next_command(provisioned).roster.participant("joan").display_name == "Joan Clarke"


def test_remove_takes_the_seat_and_its_route_first(
    provisioned: Workspace, next_command: Next
) -> None:
    """The route goes before the seat, and the file says so."""
    report = operations.remove(provisioned, "bob")

    assert report.ok
    assert [f"{step.kind} {step.name}" for step in report.plan.steps][:3] == [
        "wall firewall",
        "routes edge",
        "seat bob",
    ]
    assert "bob" not in running(provisioned)
    assert "bob" not in provisioned.roster_path.read_text()
    assert status(next_command(provisioned)).ok


def test_seat_deleted_from_the_roster_by_hand_stays_until_pruned(
    provisioned: Workspace, next_command: Next
) -> None:
    """Provision alone never removes a person's work."""
    path = provisioned.roster_path
    path.write_text(path.read_text().replace("  - bob\n", ""))
    operations.provision(next_command(provisioned))

    assert "bob" in running(provisioned)
    assert [s.state for s in status(next_command(provisioned)).seats if s.name == "bob"] == [
        "extra"
    ]
    assert operations.provision(next_command(provisioned), prune=None).ok
    assert "bob" not in running(provisioned)


def test_plan_says_what_provision_does_with_a_stray(
    provisioned: Workspace, next_command: Next
) -> None:
    """The plan without --prune is the plan of provision without --prune."""
    path = provisioned.roster_path
    path.write_text(path.read_text().replace("  - bob\n", ""))

    assert "seat bob: remove" not in str(operations.plan(next_command(provisioned)))
    assert "seat bob: remove" in str(operations.plan(next_command(provisioned), prune=True))


def test_add_while_another_apply_runs_leaves_the_roster_alone(
    provisioned: Workspace, next_command: Next
) -> None:
    """Exit 75 means that nothing was done."""
    before = provisioned.roster_path.read_text()

    with apply_lock(provisioned.state_directory / "lock"):
        for command in (
            lambda: operations.add(next_command(provisioned), Participant("joan")),
            lambda: operations.remove(next_command(provisioned), "bob"),
        ):
            with pytest.raises(Locked):
                command()
    assert provisioned.roster_path.read_text() == before


def test_restart_with_a_dead_edge_repairs_the_edge(
    provisioned: Workspace, next_command: Next
) -> None:
    """A restarted seat that nobody can reach is not what was asked for."""
    provisioned.engine.remove(running(provisioned)["edge"].id)

    assert operations.restart(next_command(provisioned), ["ada"]).ok
    assert "edge" in running(provisioned)


def test_edge_that_starts_afresh_starts_on_the_new_release(
    provisioned: Workspace, next_command: Next
) -> None:
    """The old release may name a port the new edge may not open."""
    path = provisioned.roster_path
    path.write_text(path.read_text().replace("18999", "18997"))
    provisioned.engine.remove(running(provisioned)["edge"].id)
    broken = EngineError("cannot run nginx -t")
    memory(provisioned).broken["run", "class-edge"] = broken
    operations.provision(next_command(provisioned))

    live = provisioned.directories.edge / "current" / "nginx.conf"
    assert "listen 18997" in live.read_text()


def test_part_of_a_newer_version_is_left_by_provision_and_taken_by_teardown(
    provisioned: Workspace, next_command: Next
) -> None:
    """An older command must not remove what it does not know, except when all goes."""
    from dataclasses import replace

    engine = memory(provisioned)
    ada = running(provisioned)["ada"]
    held = engine._held[ada.id]
    engine._held["new"] = replace(held, seen=replace(ada, id="new", role=None, key="gateway"))

    assert operations.provision(next_command(provisioned)).plan.is_empty
    assert teardown(next_command(provisioned)).left == ()


def test_restart_and_reset_touch_the_named_seats_alone(
    provisioned: Workspace, next_command: Next
) -> None:
    """Restart keeps the container, reset makes a new one."""
    before = {name: item.id for name, item in running(provisioned).items()}
    assert operations.restart(provisioned, ["ada"]).ok
    assert operations.reset(next_command(provisioned), ["bob"]).ok
    after = {name: item.id for name, item in running(provisioned).items()}

    assert after["ada"] == before["ada"]
    assert after["bob"] != before["bob"]
    assert after["grace"] == before["grace"]


def test_unknown_name_is_answered_with_the_nearest(provisioned: Workspace) -> None:
    """A slip of the fingers costs no look into the file."""
    with pytest.raises(InputError) as caught:
        operations.restart(provisioned, ["adda"])

    assert caught.value.hint == "did you mean ada?"


def test_second_apply_at_once_is_refused(provisioned: Workspace, next_command: Next) -> None:
    """Exit 75, with the process that is at work."""
    with apply_lock(provisioned.state_directory / "lock"), pytest.raises(Locked) as caught:
        operations.provision(next_command(provisioned))

    assert caught.value.exit_code == 75
    assert "process" in caught.value.message


def test_eight_applies_at_once_make_one_workshop(work: Workspace, next_command: Next) -> None:
    """Whoever comes second is refused; nothing stands twice."""
    work.engine.observe("class")
    ends: list[object] = []

    def one() -> None:
        try:
            ends.append(operations.provision(next_command(work)).ok)
        except Locked as exc:
            ends.append(exc.code)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(ends) <= {True, "locked"}
    assert True in ends
    assert len(running(work)) == 4


def test_taken_port_is_named_before_anything_is_created(work: Workspace) -> None:
    """Nothing is left behind by an apply that could not have succeeded."""
    import socket

    # The class's usual port is that of other sessions' classes too.
    port, path = free_port(), work.roster_path
    path.write_text(path.read_text().replace("18999", str(port)))
    with (
        socket.create_server(("", port)),
        pytest.raises(WorkshopError, match="is taken by"),
    ):
        operations.provision(work)

    assert memory(work).calls == []


def test_same_name_from_another_directory_is_refused(
    provisioned: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two directories must not fight over one workshop."""
    other = tmp_path_factory.mktemp("other")
    (other / "participants.yaml").write_text(provisioned.roster_path.read_text())
    (other / "participant_template").mkdir()
    (other / "participant_template" / "Dockerfile").write_text("FROM scratch\n")
    elsewhere = Workspace(
        other / "participants.yaml", lambda: provisioned.engine, provisioned.probe
    )

    for command in (operations.provision, operations.plan, teardown):
        with pytest.raises(InputError, match=str(provisioned.roster_path.parent)):
            command(elsewhere)  # type: ignore[operator]


def test_strict_provision_with_a_secret_in_the_roster_touches_nothing(work: Workspace) -> None:
    """Warnings stop a strict run before the first call."""
    text = work.roster_path.read_text()
    work.roster_path.write_text(text.replace("  - bob\n", "  - {name: bob, env: {API_KEY: x}}\n"))

    with pytest.raises(InputError, match="--strict"):
        operations.provision(work, strict=True)
    assert memory(work).calls == []


def test_network_in_use_elsewhere_is_avoided(work: Workspace, next_command: Next) -> None:
    """Two workshops on one engine get networks that do not overlap."""
    operations.provision(work)
    seen = work.engine.observe("other")
    choices = state.settle(None, seen, "class", ["x1"], None)

    taken = seen.taken_subnets[0]
    assert not state.ipaddress.IPv4Network(choices.network).overlaps(
        state.ipaddress.IPv4Network(taken)
    )


def test_network_somebody_else_took_meanwhile_is_chosen_anew(
    work: Workspace, next_command: Next
) -> None:
    """Two that begin at the same moment may choose the same; the slower one is not stuck with it."""
    operations.provision(work)
    seen = work.engine.observe("other")
    (taken,) = seen.taken_subnets
    chosen = str(state.ipaddress.IPv4Network(taken).supernet(new_prefix=21))
    mine = state.State("mine", "run", chosen, {"x1": 3})

    choices = state.settle(mine, seen, "mine", ["x1"], None)

    assert not state.ipaddress.IPv4Network(choices.network).overlaps(
        state.ipaddress.IPv4Network(taken)
    )
    assert choices.slots == {"x1": 3}


def test_teardown_leaves_nothing_and_says_what_went(provisioned: Workspace) -> None:
    """The receipt counts, the engine is empty, the state directory is gone."""
    receipt = teardown(provisioned)

    assert receipt.left == ()
    assert receipt.removed == {
        "edge": 1,
        "seat": 3,
        "network": 1,
        "image": 4,
        "wall": 1,
        "state directory": 1,
    }
    assert not provisioned.state_directory.exists()


def test_teardown_of_one_workshop_leaves_the_other(provisioned: Workspace) -> None:
    """Nothing else on the engine is touched."""
    from workshop.specs import NetworkSpec, Owner

    engine = memory(provisioned)
    engine.create_network(
        NetworkSpec("other-open-0", "wspx", "10.99.0.0/22", "10.99.0.1", "10.99.2.0/23"),
        Owner("other", "r", "/o"),
    )
    teardown(provisioned)

    assert [network.name for network in engine.observe("other").networks] == ["other-open-0"]


def test_teardown_that_leaves_something_says_so(provisioned: Workspace) -> None:
    """Leftovers are named, and the state stays so that the next try knows its way."""
    memory(provisioned).broken["remove", "class-bob"] = EngineError("device busy")
    receipt = teardown(provisioned)

    assert "container class-bob" in receipt.left
    assert provisioned.state_directory.exists()


def test_teardown_with_a_broken_roster_still_works(
    provisioned: Workspace, next_command: Next
) -> None:
    """A typing error must not keep a server from being cleaned."""
    provisioned.roster_path.write_text("workshop: {name: class}\nparticipants: [A]\n")

    assert teardown(next_command(provisioned)).left == ()


def test_teardown_twice_finds_nothing_the_second_time(
    provisioned: Workspace, next_command: Next
) -> None:
    """Tearing down nothing is fine."""
    teardown(provisioned)

    assert teardown(next_command(provisioned)).left == ()


def test_events_tell_each_step_once(work: Workspace) -> None:
    """Whoever listens can draw the whole apply."""
    ended: list[int] = []
    listener = Workspace(
        work.roster_path,
        lambda: work.engine,
        work.probe,
        lambda event: ended.append(event.step.number) if isinstance(event, StepEnded) else None,
    )
    report = operations.provision(listener)

    assert sorted(ended) == [step.number for step in report.plan.steps]


def test_state_directory_is_the_owners_alone(provisioned: Workspace) -> None:
    """Nobody else on the server reads the state."""
    assert provisioned.state_directory.stat().st_mode & 0o777 == 0o700
    assert json.loads((provisioned.state_directory / "state.json").read_text())["slots"] == {
        "ada": 0,
        "bob": 1,
        "grace": 2,
    }


def test_logs_and_run_need_a_container(work: Workspace) -> None:
    """Asking for what is not there says what creates it."""
    with pytest.raises(WorkshopError) as caught:
        operations.logs(work, "ada", tail=1, follow=False)

    assert caught.value.hint == "`workshop provision` creates it"


def test_edge_is_a_container_of_the_same_kind(provisioned: Workspace) -> None:
    """System parts are found by the same labels as seats."""
    edge = provisioned.engine.observe("class").container(Role.EDGE, "edge")

    assert edge is not None
    assert list(operations.logs(provisioned, "edge", tail=5, follow=False)) == ["edge says hello"]


def test_provision_after_an_unproven_one_asks_everybody_again(
    work: Workspace, next_command: Next
) -> None:
    """A command that ended before its proof leaves the proof to the next one."""
    work.probe.lies["ada"] = "bob"  # type: ignore[attr-defined]
    operations.provision(work)
    work.probe.lies.clear()  # type: ignore[attr-defined]
    report = operations.provision(next_command(work))

    assert [f"{step.action} {step.name}" for step in report.plan.steps] == ["verify identity"]
    assert operations.provision(next_command(work)).plan.is_empty


def test_seat_the_engine_refuses_to_start_is_made_anew(
    provisioned: Workspace, next_command: Next
) -> None:
    """An engine killed in the middle of a start refuses that container for ever."""
    bob = running(provisioned)["bob"]
    memory(provisioned).kill(bob.id)
    engine = memory(provisioned)
    refused = iter([EngineError("id already in use")])
    start = engine.start

    def start_but_not_at_first(container_id: str) -> None:
        for error in refused:
            raise error
        start(container_id)

    engine.start = start_but_not_at_first  # type: ignore[method-assign]
    report = operations.provision(next_command(provisioned))

    assert report.ok
    assert running(provisioned)["bob"].id != bob.id


def test_command_that_had_to_wait_works_with_what_the_other_wrote(
    provisioned: Workspace, next_command: Next
) -> None:
    """A roster that was read before the lock was held would take the newcomer's route away."""
    waiting = next_command(provisioned)
    assert [person.name for person in waiting.roster.participants] == ["ada", "bob", "grace"]
    assert operations.add(next_command(provisioned), Participant("eve")).ok

    assert operations.provision(waiting).ok

    assert operations.plan(next_command(provisioned)).is_empty


def test_restart_of_somebody_who_has_left_meanwhile_is_refused(
    provisioned: Workspace, next_command: Next
) -> None:
    """Names are looked up again once it is this command's turn."""
    waiting = next_command(provisioned)
    assert waiting.roster.participant("bob")
    assert operations.remove(next_command(provisioned), "bob").ok

    with pytest.raises(InputError, match="nobody"):
        operations.restart(waiting, ["bob"])

    assert operations.plan(next_command(provisioned)).is_empty
