"""Wishes about seats: the same steps as the command's, with what the control process is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from workshop import carrying, held, operations, serving, state
from workshop.board.wishes import What
from workshop.carrying import Verb
from workshop.deploys import current
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.errors import EngineError, EngineUnreachable
from workshop.granting.seats import Seats
from workshop.health import HttpProbe
from workshop.labels import Role
from workshop.lock import apply_lock
from workshop.observed import State
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.granting.conftest import Room
    from workshop.plan import Plan
    from workshop.workspace import Workspace

    Next = Callable[[Workspace], Workspace]


def told(room: Room) -> Any:
    """Read what the control process is told."""
    from workshop.deploys.server import ConfigFile

    return ConfigFile(room.home / "deploys/config.json").read()


def seat_steps(plan: Plan) -> list[tuple[object, ...]]:
    """Say everything about a plan's steps but their numbers among others'."""
    return [
        (step.kind, step.name, step.action, step.cause, step.loses, step.target, step.old)
        for step in plan.steps
    ]


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("deployed", [False, True], ids=["as the roster says", "deployed, green"])
def test_steps_of_a_wish_are_the_commands(
    room: Room, next_command: Next, verb: Verb, *, deployed: bool
) -> None:
    """Both sides plan alike, down to each container's settings."""
    if deployed:
        go_live(room, "ada")
    if verb is Verb.START:
        operations.stop(next_command(room.work), ["ada"])
    seen = survey(next_command(room.work))
    config = told(room)
    seats = Seats(room.home, config, room.engine, HttpProbe())
    observed = seats._observe()
    commands = carrying.plan_for(verb, room.home, seen.desired, seen.observed, ["ada"])
    wished = carrying.plan_for(verb, room.home, seats.desired(observed), observed, ["ada"])

    assert seat_steps(wished) == seat_steps(commands)
    assert seat_steps(wished)
    assert (wished.about, wished.held) == (commands.about, commands.held)


def go_live(room: Room, name: str) -> Deployment:
    """Let a seat run what was deployed, at its green address, as the server would."""
    seat = told(room).seat(name)
    image = f"class/seat-{name}:1"
    room.engine._images[image] = ("i", told(room).owner.labels(Role.APP))
    made = Deployment("1795245898000-0f3c9a1b", 1, "1-abc", image, green=True)
    there = {name: SeatDeploys(live=made, count=1)}
    serving.replace_whole(room.home / "deploys" / current.FILE, current.dump(there))
    room.engine.remove(room.ids()[name])
    spec = seat.spec.placed(there[name], seat.green)
    room.engine.start(room.engine.create(spec, told(room).owner))
    (room.home / "edge/green").mkdir(exist_ok=True)
    (room.home / "edge/green" / name).touch()
    return made


def test_restart_by_the_instructor_restarts_these_seats_alone(room: Room) -> None:
    """The container stays the same."""
    before, calls = room.ids(), len(room.engine.calls)
    said = room.wish(What.RESTART, "ada", "bob")

    assert (said.done, said.words) == (True, "ada, bob restarted")
    assert room.ids() == before
    assert sorted(room.engine.calls[calls:]) == [("restart", "class-ada"), ("restart", "class-bob")]


def test_reset_puts_a_fresh_container_in_the_place(room: Room) -> None:
    """Of that seat alone, and provision finds nothing to do after it."""
    before = room.ids()
    said = room.wish(What.RESET, "ada", by="ada")
    after = room.ids()

    assert (said.done, said.words) == (True, "ada reset")
    assert after["ada"] != before["ada"]
    assert {**after, "ada": ""} == {**before, "ada": ""}


def test_class_that_was_moved_by_wishes_is_as_provision_wants_it(
    room: Room, next_command: Next
) -> None:
    """No label, no mark and no file differs from what the command would have left."""
    for what in (What.RESTART, What.RESET, What.STOP, What.START):
        assert room.wish(what, "ada").done

    assert operations.plan(next_command(room.work)).is_empty
    assert not state.is_unproven(room.home)


def test_reset_of_a_deployed_seat_brings_that_version_back(room: Room) -> None:
    """At the address its route leads to."""
    made = go_live(room, "ada")
    assert room.wish(What.RESET, "ada").done
    seen = [item for item in room.engine.observe("class").containers if item.key == "ada"]

    assert [(item.version, item.deploy, item.name) for item in seen] == [
        ("1-abc", made.id, "class-ada.green")
    ]


def test_stop_holds_and_start_ends_it(room: Room, next_command: Next) -> None:
    """The command sees the same hold."""
    assert room.wish(What.STOP, "ada").words == "ada stopped"
    assert held.load(room.home) == {"ada"}
    assert operations.provision(next_command(room.work)).plan.held == ("ada",)
    assert room.wish(What.STOP, "ada").words == "ada: stopped already"
    assert room.wish(What.START, "ada").words == "ada started"
    assert room.wish(What.START, "ada").words == "ada: up already"

    assert held.load(room.home) == frozenset()
    assert "ada" in room.ids()


def test_seat_that_does_not_come_up_is_named_with_the_reason(room: Room) -> None:
    """The others are done, and said to be."""
    room.engine.broken["restart", "class-bob"] = EngineError("the driver failed")
    said = room.wish(What.RESTART, "ada", "bob", "grace")

    assert not said.done
    assert said.words == "ada, grace restarted; bob: the driver failed"


def test_many_failures_are_counted(room: Room) -> None:
    """A toast is no list."""
    people = ("ada", "bob", "grace", "spare-1", "spare-2")
    for name in people:
        room.engine.broken["restart", f"class-{name}"] = EngineError("no")
    said = room.wish(What.RESTART, *people)

    assert said.words == "ada: no; bob: no; grace: no; and 2 more failed"


def test_seat_without_its_image_is_refused_and_nothing_is_pulled(room: Room) -> None:
    """Whatever a registry has of that name is somebody else's."""
    images = {item.spec.image for item in told(room).seats}
    for image in images:
        del room.engine._images[image]
    calls = len(room.engine.calls)
    said = room.wish(What.RESET, "ada")

    assert not said.done
    assert "is not on this server; `workshop provision` makes it" in said.words
    assert room.engine.calls[calls:] == []


def test_lost_container_is_made_again_by_a_restart(room: Room) -> None:
    """As the command does it."""
    room.engine.remove(room.ids()["ada"])

    assert room.wish(What.RESTART, "ada").done
    assert "ada" in room.ids()


def test_engine_that_is_gone_is_said(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next wish finds the thread alive."""

    def gone(*_: object) -> None:
        raise EngineUnreachable("no Docker engine answers")

    with monkeypatch.context() as patched:
        patched.setattr(room.engine, "observe", gone)
        said = room.wish(What.RESTART, "ada")
    assert (said.done, said.words) == (False, "no Docker engine answers")
    assert room.wish(What.RESTART, "ada").done


def test_fault_of_the_platforms_own_ends_one_wish_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is written to the log, and the next wish is granted."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(room.engine, "observe", broken)
        said = room.wish(What.RESTART, "ada")
    assert "workshop logs serve" in said.words
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert room.wish(What.RESTART, "ada").done


def test_wish_waits_for_a_command_that_is_at_work(room: Room) -> None:
    """The step returns at once; the wish is granted once the lock is free."""
    with apply_lock(room.home / "lock"):
        wish = room.place(What.RESTART, "ada")
        room.granter.step()
        assert not room.granter.idle
        assert not (room.answers / f"{wish}.json").exists()

    assert room.answered(wish).done


def test_wish_gives_up_when_a_command_is_at_work_for_long(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever pressed the button may press it again."""
    monkeypatch.setattr("workshop.granting.deeds.LOCK_SECONDS", 0.1)
    with apply_lock(room.home / "lock"):
        said = room.wish(What.RESTART, "ada")

    assert (said.done, said.words) == (False, "another command is at work; try again")


def test_wish_that_waited_works_with_what_the_command_wrote(room: Room, next_command: Next) -> None:
    """Bob has left while the wish for his seat waited."""
    work = next_command(room.work)
    _ = work.roster
    with apply_lock(room.home / "lock"):
        wish = room.place(What.RESTART, "bob")
        room.granter.step()
        path = room.home / "deploys/config.json"
        from workshop.deploys import config

        before = told(room)
        seats = tuple(seat for seat in before.seats if seat.spec.key != "bob")
        serving.replace_whole(path, config.dump(replace(before, seats=seats)))
    said = room.answered(wish)

    assert (said.done, said.words) == (
        False,
        "nobody in this class is called bob (any more)",
    )


def test_failed_stop_says_what_the_engine_said(room: Room) -> None:
    """The hold stays, and the next provision stops it."""
    room.engine.broken["stop", "class-ada"] = EngineError("the engine is busy")
    said = room.wish(What.STOP, "ada")

    assert (said.done, said.words) == (False, "ada: the engine is busy")
    assert held.load(room.home) == {"ada"}


def test_what_the_command_was_interrupted_in_removing_is_finished_first(room: Room) -> None:
    """A container that was to go is not taken for the seat's own."""
    ada = room.ids()["ada"]
    (room.home / "removing").write_text(f"{ada}\n")
    assert room.wish(What.RESTART, "ada").done

    assert room.ids()["ada"] != ada
    assert not (room.home / "removing").exists()


def test_second_container_of_a_seat_is_left_to_the_deploy(room: Room) -> None:
    """Its candidate stands beside it while a restart comes."""
    seat = told(room).seat("ada")
    candidate = seat.spec.placed(SeatDeploys(green=True), seat.green)
    spec = replace(candidate, deploy="1795245898000-0f3c9a1b")
    other = room.engine.create(spec, told(room).owner)
    room.engine.start(other)
    assert room.wish(What.RESET, "ada").done
    there = {item.id: item.state for item in room.engine.observe("class").containers}

    assert there[other] is State.RUNNING
