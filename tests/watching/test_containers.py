"""How a container fares: by the engine's list, its events, and how often it started it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.watching.room import OWNER, spec
from workshop.board.shown import State
from workshop.engines.base import Event
from workshop.errors import EngineUnreachable, NotFound
from workshop.labels import Role
from workshop.limits import MIB
from workshop.observed import State as EngineState
from workshop.watching.containers import LOOK_SECONDS, NOBODY, Containers, Standing

if TYPE_CHECKING:
    from tests.watching.room import Room

NOW = 1_800_000_000.0
MEMORY = 256 * MIB


class Class:
    """Containers of a class, looked at at times of the test's choice."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.engine = room.engine
        self.found = Containers(room.engine, "class")

    def ada(self, now: float = NOW) -> Standing:
        """Look, and say how ada's container fares."""
        self.found.look_soon()
        self.found.step(now)
        return self.found.standing("class-ada", MEMORY, now)

    def tell(self, action: str, now: float = NOW, code: int | None = None) -> bool:
        """Let the engine tell of ada's container."""
        event = Event(self.room.ids["ada"], action, Role.SEAT, "ada", code)
        return self.found.note(event, now)

    def crash(self, now: float = NOW, code: int = 1) -> None:
        """Let ada's container end by itself and be started again."""
        self.engine.crash(self.room.ids["ada"])
        self.tell("die", now, code)
        self.tell("start", now)

    def become(self, state: EngineState, status: str) -> None:
        """Let the engine say of ada's container what the test wants."""
        held = self.engine._held[self.room.ids["ada"]]
        held.seen = replace(held.seen, state=state, status=status)
        self.tell("die")


@pytest.fixture
def seen(room: Room) -> Class:
    """Look at a class of three."""
    return Class(room)


def test_seat_that_runs_is_live_since_it_was_started(seen: Class) -> None:
    """The engine knows since when."""
    found = seen.ada()

    assert (found.fares, found.detail, found.restarts) == (State.LIVE, "runs", 0)
    assert (found.id, found.version) == (seen.room.ids["ada"], "v1")
    assert found.since == seen.engine.uptime(seen.room.ids["ada"]).since


def test_seat_that_just_ended_and_was_started_again_is_crashing(seen: Class) -> None:
    """By the engine's own measure: it has not run for ten seconds since."""
    seen.ada()
    seen.crash(code=3)
    found = seen.ada()

    assert (found.fares, found.restarts) == (State.CRASHING, 1)
    assert found.detail == "ends with exit code 3 again and again"


def test_seat_that_ended_once_is_live_again_when_it_has_run_for_a_while(seen: Class) -> None:
    """One accident is no habit; nobody has to ask the engine to see that."""
    seen.ada()
    seen.crash()
    assert seen.ada().fares is State.CRASHING
    assert not seen.found.step(NOW + 5)
    assert seen.found.step(NOW + 12), "what passes by itself is news as well"

    later = seen.found.standing("class-ada", MEMORY, NOW + 12)
    assert (later.fares, later.restarts) == (State.LIVE, 1)


def test_seat_that_ended_twice_in_a_minute_is_crashing_however_long_it_runs_between(
    seen: Class,
) -> None:
    """An app that ends every twenty seconds is of no use to anybody."""
    seen.ada()
    seen.crash(NOW)
    seen.ada(NOW)
    seen.crash(NOW + 20)
    seen.ada(NOW + 20)

    assert seen.found.standing("class-ada", MEMORY, NOW + 40).fares is State.CRASHING
    assert seen.found.standing("class-ada", MEMORY, NOW + 90).fares is State.LIVE


def test_seat_that_was_crashing_before_the_first_look_is_crashing(seen: Class) -> None:
    """A server that starts anew has heard no event."""
    seen.engine.crash(seen.room.ids["ada"])
    found = seen.ada()

    assert (found.fares, found.detail) == (State.CRASHING, "ends again and again")


def test_seat_that_waits_to_be_started_again_is_crashing_with_the_engines_exit_code(
    seen: Class,
) -> None:
    """The engine waits longer each time."""
    seen.become(EngineState.RESTARTING, "Restarting (7) 4 seconds ago")

    assert seen.ada().fares is State.CRASHING
    assert seen.ada().detail == "ends with exit code 7 again and again"


def test_seat_that_was_started_anew_by_hand_has_no_past(seen: Class) -> None:
    """The engine begins to count again, and so does the watcher."""
    seen.ada()
    seen.crash(NOW)
    seen.ada(NOW)
    seen.crash(NOW + 5)
    seen.ada(NOW + 5)
    seen.engine._held[seen.room.ids["ada"]].restarts = 0
    seen.tell("start", NOW + 10)

    assert seen.ada(NOW + 10).fares is State.LIVE


@pytest.mark.parametrize("order", [("oom", "die"), ("die", "oom")])
def test_seat_that_used_too_much_memory_is_told_so(seen: Class, order: tuple[str, str]) -> None:
    """In whichever order the engine tells of it."""
    seen.ada()
    seen.engine.kill(seen.room.ids["ada"])
    for action in order:
        seen.tell(action, NOW, 137 if action == "die" else None)
    found = seen.ada()

    assert (found.fares, found.detail) == (State.STOPPED, "killed: used more than its 256 MB")


def test_seat_that_runs_out_of_memory_again_and_again_is_told_so(seen: Class) -> None:
    """It is started again each time."""
    seen.ada()
    seen.tell("oom")
    seen.crash(code=137)
    found = seen.ada()

    assert found.fares is State.CRASHING
    assert found.detail == "killed again and again: used more than its 256 MB"


def test_seat_that_ran_out_of_memory_long_ago_ended_for_another_reason(seen: Class) -> None:
    """A worker process may be killed without the app's end."""
    seen.ada()
    seen.tell("oom", NOW)
    seen.engine.kill(seen.room.ids["ada"])
    seen.tell("die", NOW + 60, 1)

    assert seen.ada(NOW + 60).detail == "ended with exit code 137", "the engine's sentence says so"


@pytest.mark.parametrize(
    ("state", "status", "fares", "words"),
    [
        (EngineState.EXITED, "Exited (0) 2 hours ago", State.STOPPED, "ended with exit code 0"),
        (EngineState.DEAD, "Dead", State.STOPPED, "ended"),
        (
            EngineState.PAUSED,
            "Up 2 hours (Paused)",
            State.STOPPED,
            "is frozen; a start lets it go on",
        ),
        (EngineState.CREATED, "Created", State.STOPPED, "was made, and not started yet"),
        (EngineState.REMOVING, "Removal In Progress", State.MISSING, "is being removed"),
    ],
)
def test_seat_that_does_not_run_is_told_in_words(
    seen: Class, state: EngineState, status: str, fares: State, words: str
) -> None:
    """Whatever the engine calls it."""
    seen.become(state, status)
    found = seen.ada()

    assert (found.fares, found.detail) == (fares, words)


def test_seat_without_a_container_is_missing(seen: Class) -> None:
    """A hand may have removed it."""
    seen.engine.remove(seen.room.ids["ada"])

    assert seen.ada() == NOBODY


def test_second_container_of_a_seat_has_a_standing_of_its_own(seen: Class) -> None:
    """A candidate that crashes says nothing of the version that is live."""
    second = spec("ada").moved("10.86.1.2")
    seen.engine.crash(seen.room.run(second))

    assert seen.ada().fares is State.LIVE
    assert seen.found.standing(second.name, MEMORY, NOW).fares is State.CRASHING


def test_event_brings_the_next_look_near_and_only_the_first_one_says_so(seen: Class) -> None:
    """A class that starts anew tells of everybody at once."""
    seen.ada()
    seen.found._rested = 0.0
    assert seen.found.wait(NOW) == LOOK_SECONDS

    assert seen.tell("die")
    assert seen.found.wait(NOW) < 0.3
    assert not seen.tell("start")


@pytest.mark.parametrize("role", [None, Role.BUILD, Role.WALL])
def test_event_of_what_passes_is_no_reason_to_look(seen: Class, role: Role | None) -> None:
    """Each step of a build is a container."""
    seen.ada()

    assert not seen.found.note(Event("1" * 64, "start", role, "x"), NOW)
    assert seen.found.wait(NOW) == LOOK_SECONDS


def test_engine_is_looked_at_again_without_any_event(seen: Class) -> None:
    """An event may be lost."""
    seen.ada()
    seen.engine.remove(seen.room.ids["ada"])
    assert not seen.found.step(NOW + LOOK_SECONDS - 1)
    assert seen.found.step(NOW + LOOK_SECONDS)

    assert seen.found.standing("class-ada", MEMORY, NOW).fares is State.MISSING


def test_clock_that_is_set_back_does_not_put_off_the_look(seen: Class) -> None:
    """For hours, that would be."""
    seen.ada()

    assert seen.found.step(NOW - 3600)


def test_engine_that_is_gone_leaves_what_was_known_and_is_asked_again_soon(
    seen: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs, runs on without it."""
    seen.ada()

    def gone(_: str) -> None:
        raise EngineUnreachable("no Docker engine answers")

    with monkeypatch.context() as patch:
        patch.setattr(seen.engine, "containers", gone)
        with pytest.raises(EngineUnreachable):
            seen.found.step(NOW + LOOK_SECONDS)
        assert seen.found.standing("class-ada", MEMORY, NOW).fares is State.LIVE
    assert seen.found.wait(NOW + LOOK_SECONDS) <= 2
    assert seen.found.step(NOW + LOOK_SECONDS + 2)


def test_container_that_goes_while_it_is_looked_at_hides_no_other(
    seen: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the list, and nobody knows it a moment later."""
    uptime = seen.engine.uptime

    def gone(container: str) -> object:
        if container == seen.room.ids["ada"]:
            raise NotFound("no such container")
        return uptime(container)

    monkeypatch.setattr(seen.engine, "uptime", gone)
    seen.engine.crash(seen.room.ids["bob"])
    seen.ada()

    assert seen.found.standing("class-bob", MEMORY, NOW).fares is State.CRASHING
    assert 0 < seen.found.wait(NOW) <= 2


def test_closer_look_that_the_engine_refused_is_taken_again(
    seen: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened to the container is not forgotten over it."""

    def refused(_: str) -> None:
        raise EngineUnreachable("it broke off")

    seen.engine.crash(seen.room.ids["ada"])
    with monkeypatch.context() as patch:
        patch.setattr(seen.engine, "uptime", refused)
        with pytest.raises(EngineUnreachable):
            seen.ada()

    assert seen.ada().fares is State.CRASHING


def test_parts_are_told_in_the_engines_words(seen: Class) -> None:
    """Seats are no parts."""
    seen.engine.kill(seen.room.part(Role.GATEWAY))
    seen.ada()

    assert seen.found.parts == (("edge", "running"), ("gateway", "exited"))
    assert seen.found.edge == seen.room.edge


def test_whole_class_is_asked_about_a_few_at_a_time(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The first look at 60 seats must not hold up what is due meanwhile; those that crash first."""
    from tests.watching.room import Room

    room = Room(tmp_path_factory.mktemp("many"), [f"seat-{number}" for number in range(60)])
    room.engine.crash(room.ids["seat-59"])
    found = Containers(room.engine, OWNER.workshop)
    asked = 0
    for _ in range(4):
        assert found.wait(NOW) == 0
        found.step(NOW)
        known = sum(1 for life in found._lives.values() if life.uptime)
        assert known - asked <= 25
        asked = known
        if asked == 60:
            break

    assert asked == 60
    assert found.wait(NOW) == LOOK_SECONDS
    assert found.standing("class-seat-59", MEMORY, NOW).fares is State.CRASHING
