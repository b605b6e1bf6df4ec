"""What every engine must do: one suite, run against the shipped fake and against the real one."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engines.scene import SUBNET, place, seat
from workshop.engines.memory import MemoryEngine
from workshop.errors import BuildFailed, EngineError, NotFound
from workshop.labels import Role
from workshop.observed import State
from workshop.parts.wall import setter
from workshop.specs import ImageSpec, NetworkSpec, Owner

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.engines.base import Engine


@pytest.fixture(
    params=["memory", pytest.param("docker", marks=pytest.mark.engine)],
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Hand out each engine in turn."""
    if request.param == "memory":
        return MemoryEngine()
    found: Engine = request.getfixturevalue("docker_engine")
    return found


def kill(engine: Engine, container: str) -> None:
    """Kill from outside; no verb of the platform's own does that."""
    if isinstance(engine, MemoryEngine):
        engine.kill(container)
    else:
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)


def end_by_itself(engine: Engine, container: str, before: int) -> None:
    """Wait until the engine has started it once more than ``before``."""
    if isinstance(engine, MemoryEngine):
        engine.crash(container)
    deadline = time.monotonic() + 30
    while engine.uptime(container).restarts == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_engine_tells_what_it_is(engine: Engine) -> None:
    """The doctor and the memory warning rely on these."""
    info = engine.info()

    assert info.version
    assert info.cpus >= 1
    assert info.memory > 0


def test_nothing_is_observed_of_an_unknown_workshop(engine: Engine) -> None:
    """A name nobody uses is empty, not an error."""
    seen = engine.observe("nobody-uses-this-name")

    assert (seen.containers, seen.networks) == ((), ())


def test_created_seat_is_observed_as_specified(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Every label written is read back."""
    spec = seat(owner, base, slot=7)
    container = engine.create(spec, owner)
    (found,) = engine.observe(owner.workshop).containers

    assert found.id == container
    assert (found.role, found.key, found.slot, found.run) == (Role.SEAT, "ada", 7, "run1")
    assert (found.config_hash, found.version, found.name) == (spec.config_hash, "v1", spec.name)
    assert (found.directory, found.state, found.address) == ("/somewhere", State.CREATED, None)


def test_started_seat_has_its_own_address(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The slot's address is the one the engine gives."""
    engine.start(engine.create(seat(owner, base, slot=3), owner))
    (found,) = engine.observe(owner.workshop).containers

    assert (found.state, found.address) == (State.RUNNING, place(5))


def test_killed_seat_is_observed_as_exited(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """What died is not called running."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    kill(engine, container)
    for _ in range(100):
        (found,) = engine.observe(owner.workshop).containers
        if found.state is State.EXITED:
            break

    assert found.state is State.EXITED
    assert "137" in found.status


def test_restarted_seat_is_the_same_container(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A restart keeps identity and address."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    engine.restart(container)
    (found,) = engine.observe(owner.workshop).containers

    assert (found.id, found.state, found.address) == (container, State.RUNNING, place(2))


def test_uptime_of_a_seat_that_runs_has_no_restarts(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A seat that has just been started is not one that crashes."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    time.sleep(0.1)
    uptime = engine.uptime(container)

    assert 0 < uptime.seconds < 60
    assert (uptime.restarts, uptime.crashing) == (0, False)


def test_uptime_of_a_container_that_is_gone_is_not_found(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A deploy asks so whether its candidate is still there."""
    container = engine.create(seat(owner, base), owner)
    engine.remove(container)

    with pytest.raises(NotFound):
        engine.uptime(container)


def test_uptime_of_a_seat_that_ends_by_itself_counts_its_restarts(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """It crashes, whether it runs at this moment or waits to be started again."""
    container = engine.create(seat(owner, base, command=("sleep", "0.5")), owner)
    engine.start(container)
    seen = []
    for _ in range(3):
        before = engine.uptime(container).restarts
        end_by_itself(engine, container, before)
        seen.append(engine.uptime(container))

    assert seen[-1].restarts >= 3
    assert all(uptime.crashing for uptime in seen)


def test_uptime_tells_when_a_seat_started_and_when_it_ended(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The board shows since when a seat is what it is."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    started = engine.uptime(container).since
    kill(engine, container)
    deadline = time.monotonic() + 30
    while (ended := engine.uptime(container).since) == started:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert time.time() - 20 < started < ended < time.time() + 1


def test_containers_are_those_of_the_whole_look(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The quick look leaves out images and networks, and no container."""
    engine.create(seat(owner, base), owner)
    engine.create(seat(owner, base, key="bob", slot=1), owner)

    assert tuple(engine.containers(owner.workshop)) == engine.observe(owner.workshop).containers
    assert engine.containers("nobody-uses-this-name") == ()


def test_events_tell_what_happens_to_a_container(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Whoever watches learns of each change, and whose container it is."""
    stream = engine.events(owner.workshop)
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    engine.remove(container)
    heard = []
    for event in stream:
        heard.append(event)
        if event.action == "destroy":
            break
    stream.close()

    assert {(event.container, event.role, event.key) for event in heard} == {
        (container, Role.SEAT, "ada")
    }
    actions = [event.action for event in heard if event.action in {"create", "start", "destroy"}]
    assert actions == ["create", "start", "destroy"]


def test_events_of_another_workshop_are_not_told(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Classes on one engine do not disturb each other."""
    other = replace(owner, workshop=f"{owner.workshop}x")
    stream = engine.events(owner.workshop)
    of_other = seat(other, base, network=None, address=None)
    engine.remove(engine.create(of_other, other))
    engine.remove(engine.create(seat(owner, base, key="bob"), owner))
    first = next(iter(stream))
    stream.close()

    assert (first.action, first.key) == ("create", "bob")


def test_closed_stream_ends_for_whoever_waits_in_it(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A server that is told to stop does not wait for the next event."""
    stream = engine.events(owner.workshop)
    heard: list[object] = []
    reader = threading.Thread(target=lambda: heard.extend(stream))
    reader.start()
    reader.join(0.2)
    stream.close()
    reader.join(10)

    assert (reader.is_alive(), heard) == (False, [])


def test_followed_log_has_what_was_written_before_and_goes_on(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Lines come with times that sort as text, and end with the container."""
    words = "echo one; sleep 0.5; echo two; sleep 3600"
    container = engine.create(seat(owner, base, command=("sh", "-c", words)), owner)
    engine.start(container)
    if isinstance(engine, MemoryEngine):
        engine.write(container, "one")
    stream = engine.follow(container, time.time() - 60)
    lines = iter(stream)
    found = [next(lines)]
    if isinstance(engine, MemoryEngine):
        engine.write(container, "two")
    found.append(next(lines))
    engine.remove(container)

    assert [text for _, text in found] == ["one", "two"]
    assert found[0][0] < found[1][0]
    assert list(lines) == []
    stream.close()


def test_followed_log_leaves_out_what_is_older(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Whoever goes on after a break does not read everything again."""
    words = "echo one; sleep 1.5; echo two; sleep 3600"
    container = engine.create(seat(owner, base, command=("sh", "-c", words)), owner)
    engine.start(container)
    if isinstance(engine, MemoryEngine):
        engine.write(container, "one")
    time.sleep(0.3)
    stream = engine.follow(container, time.time())
    if isinstance(engine, MemoryEngine):
        engine.write(container, "two")
    _, text = next(iter(stream))
    stream.close()

    assert text == "two"


def test_log_of_a_container_that_is_gone_is_not_followed(engine: Engine) -> None:
    """The edge may be replaced at any time."""
    with pytest.raises(NotFound):
        engine.follow("0" * 64, time.time())


def test_stopped_container_stays_as_it_ended_until_it_is_started(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The engine counts no end of its own against it, and gives it its address back."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    engine.stop(container)
    (stopped,) = engine.observe(owner.workshop).containers
    engine.start(container)
    (started,) = engine.observe(owner.workshop).containers

    assert (stopped.id, stopped.state, stopped.address) == (container, State.EXITED, None)
    assert (started.id, started.state, started.address) == (container, State.RUNNING, place(2))
    assert engine.uptime(container).restarts == 0


def test_stop_of_what_has_ended_is_no_error_and_of_what_is_gone_is_one(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Two may press the same button."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    engine.stop(container)
    engine.stop(container)
    (stopped,) = engine.observe(owner.workshop).containers
    engine.remove(container)

    assert stopped.state is State.EXITED
    with pytest.raises(NotFound):
        engine.stop(container)


def test_stop_ends_the_restarts_of_what_crashes(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Stopped is stopped, also between two ends."""
    container = engine.create(seat(owner, base, command=("sleep", "0.2")), owner)
    engine.start(container)
    end_by_itself(engine, container, 0)
    engine.stop(container)
    before = engine.uptime(container).restarts
    if not isinstance(engine, MemoryEngine):
        time.sleep(1.5)
    (seen,) = engine.observe(owner.workshop).containers

    assert seen.state is State.EXITED
    assert engine.uptime(container).restarts == before


def test_second_container_of_a_name_is_refused(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Two seats never share a name."""
    engine.create(seat(owner, base), owner)

    with pytest.raises(EngineError):
        engine.create(seat(owner, base), owner)


def test_second_container_at_an_address_is_refused(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Two seats never share an address."""
    engine.start(engine.create(seat(owner, base), owner))
    other = engine.create(seat(owner, base, key="bob"), owner)

    with pytest.raises(EngineError, match="Address already in use"):
        engine.start(other)


def test_missing_image_is_refused(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The error is of the kind that says: it is not there."""
    with pytest.raises(NotFound):
        engine.create(seat(owner, f"{owner.workshop}/nothing:1"), owner)


def test_removal_of_what_is_gone_is_no_error(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A teardown may be repeated."""
    container = engine.create(seat(owner, base), owner)
    engine.remove(container)
    engine.remove(container)
    (seen,) = engine.observe(owner.workshop).networks
    engine.remove_network(seen.id)
    engine.remove_network(seen.id)
    engine.remove_image(f"{owner.workshop}/nothing:1")

    assert engine.observe(owner.workshop).containers == ()


def test_network_in_use_cannot_be_removed(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Order matters, and the engine says so."""
    engine.start(engine.create(seat(owner, base), owner))
    (seen,) = engine.observe(owner.workshop).networks

    with pytest.raises(EngineError, match="active endpoints"):
        engine.remove_network(seen.id)


def test_networks_of_others_are_known_as_taken(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """A new workshop chooses around what is there."""
    assert SUBNET in engine.observe("somebody-else").taken_subnets
    assert SUBNET not in engine.observe(owner.workshop).taken_subnets


def test_what_runs_once_leaves_nothing(engine: Engine, owner: Owner, base: str) -> None:
    """Its status and output come back; it may run while another one of its name stands."""
    spec = replace(setter(owner.workshop, base), command=("true", "show"))
    standing = engine.create(spec, owner)

    assert engine.once(spec, owner) == (0, "")
    assert engine.once(spec, owner) == (0, "")
    assert [item.id for item in engine.observe(owner.workshop).containers] == [standing]


def test_what_runs_once_needs_its_image(engine: Engine, owner: Owner) -> None:
    """The error is of the kind that says: it is not there."""
    with pytest.raises(NotFound):
        engine.once(setter(owner.workshop, f"{owner.workshop}/nothing:1"), owner)


def test_leftovers_name_everything(
    engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The inventory sees containers, networks and images."""
    engine.create(seat(owner, base), owner)

    assert sorted(engine.leftovers(owner.workshop)) == [
        f"container {owner.workshop}-ada",
        f"image {base}",
        f"network {owner.workshop}-open-0",
    ]


def test_build_makes_a_labelled_image(
    engine: Engine, owner: Owner, base: str, tmp_path: Path
) -> None:
    """An image built here is known by its labels."""
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nENV A=1\n")
    spec = ImageSpec(f"{owner.workshop}/app:1", Role.APP, tmp_path, base=base)
    engine.build(spec, owner.labels(Role.APP))
    found = [image for image in engine.observe(owner.workshop).images if image.tag == spec.tag]

    assert [(image.role, image.workshop) for image in found] == [(Role.APP, owner.workshop)]


def test_build_from_a_missing_base_fails_with_its_name(
    engine: Engine, owner: Owner, tmp_path: Path
) -> None:
    """The operator reads what was missing."""
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    spec = ImageSpec(f"{owner.workshop}/app:1", Role.APP, tmp_path, base="workshop-no-such:1")

    with pytest.raises(BuildFailed, match="workshop-no-such"):
        engine.build(spec, owner.labels(Role.APP))


def test_fetch_of_what_is_nowhere_fails(engine: Engine) -> None:
    """A pull that cannot work is a build failure, not a traceback."""
    with pytest.raises(BuildFailed, match="cannot pull"):
        engine.fetch("localhost:1/nobody/has-this:1")


def test_verbs_on_an_unknown_container_are_not_found(engine: Engine) -> None:
    """Each verb says the same of what is not there."""
    for verb in (engine.start, engine.restart, engine.uptime):
        with pytest.raises(NotFound):
            verb("0" * 64)
    with pytest.raises(NotFound):
        engine.run("0" * 64, ["true"])
    with pytest.raises(NotFound):
        list(engine.logs("0" * 64, tail=1))
