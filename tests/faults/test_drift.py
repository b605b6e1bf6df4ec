"""What was deleted or altered by hand is repaired by one provision, and nothing else is touched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.faults import killing
from tests.faults.room import drive, room

from workshop import operations
from workshop.engines.memory import MemoryEngine

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.faults.room import Room, Turns

    from workshop.engines.docker import DockerEngine
    from workshop.workspace import Workspace

ROUNDS = 10
"""Each with three changes."""


def test_plan_altered_seat_is_replaced_and_says_what_was_altered(
    work: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The hash on its label is still right; what the engine holds it to is not."""
    operations.provision(work)
    engine = work.engine
    assert isinstance(engine, MemoryEngine)
    ada = next(item for item in engine.observe("class").containers if item.key == "ada")
    engine.alterations[ada.id] = "Memory 536870912 instead of 268435456"

    made = operations.plan(next_command(work))
    report = operations.provision(next_command(work))

    assert "seat ada: replace, changed by hand: Memory 536870912 instead of 268435456" in str(made)
    assert [step.name for step in made.steps] == ["ada", "identity"]
    assert report.ok
    assert operations.plan(next_command(work)).is_empty


@pytest.fixture
def standing(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    """Provision a class of six."""
    people = ("ada", "bob", "carol", "dan", "eve", "fay")
    with room(tmp_path_factory.mktemp("drift"), "drift", people) as found:
        drive([found.provision()])
        yield found


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thirty_changes_by_hand_are_repaired_and_nothing_else_is_touched(
    standing: Room, dice: random.Random
) -> None:
    """Three at a time; each round ends in the state it began with."""
    drive([drifted(standing, ROUNDS, dice)])
    assert standing.heard.wrong == []


def drifted(found: Room, rounds: int, dice: random.Random) -> Turns:
    """Alter three things at a time, provision, and compare."""
    (found.home / "edge/green").mkdir(mode=0o755, exist_ok=True)
    wanted = found.described()
    plan = operations.plan(found.work())
    assert plan.is_empty, str(plan)
    for _ in range(rounds):
        seats = dice.sample(found.people, 2)
        did = [alter_seat(found, seat, dice) for seat in seats] + [alter_rest(found, dice)]
        before, stood = found.started(), found.names()
        yield from found.provision()
        after = found.started()
        assert killing.difference(wanted, found.described()) == {}, did
        names = found.names()
        for key, name in names.items():
            if before.get(key) and name not in {f"{found.name}-{seat}" for seat in seats}:
                assert after[key] == before[key], (name, did)
        # An untagged image is missed once a seat is made again, and stays away until then.
        anew = {name.removeprefix(f"{found.name}-") for key, name in names.items() - stood.items()}
        assert found.tags("app") or anew.isdisjoint(found.people), did


def alter_seat(found: Room, seat: str, dice: random.Random) -> str:
    """Do to a seat what a hand can do."""
    name, api = f"{found.name}-{seat}", found.api
    network = f"{found.name}-open-0"
    changes: dict[str, Callable[[], object]] = {
        "removed": lambda: api.remove_container(name, force=True, v=True),
        "stopped": lambda: api.stop(name, timeout=1),
        "killed": lambda: api.kill(name),
        "paused": lambda: api.pause(name),
        "renamed": lambda: api.rename(name, f"{name}-old"),
        "given memory": lambda: api.update_container(name, mem_limit="200m", memswap_limit="200m"),
        "given shares": lambda: api.update_container(name, cpu_shares=2048),
        "pinned": lambda: api.update_container(name, cpuset_cpus="0"),
        "told not to restart": lambda: api.update_container(name, restart_policy={"Name": "no"}),
        "disconnected": lambda: api.disconnect_container_from_network(name, network),
        "connected elsewhere": lambda: api.connect_container_to_network(name, "bridge"),
    }
    what = dice.choice(sorted(changes))
    changes[what]()
    return f"{seat} {what}"


def alter_rest(found: Room, dice: random.Random) -> str:
    """Do to images, files and switches what a hand can do."""
    edge, tags = found.home / "edge", found.tags("app")
    changes: dict[str, Callable[[], object]] = {
        "app untagged": lambda: found.api.remove_image(tags[0], force=True, noprune=True),
        "edge release emptied": lambda: shutil.rmtree((edge / "current").resolve()),
        "edge file changed": lambda: (edge / "current/nginx.conf").write_text("nonsense"),
        "current removed": (edge / "current").unlink,
        "switch thrown": lambda: found.throw_switch("ada"),
        "state lost": (found.home / "state.json").unlink,
    }
    if not tags:
        del changes["app untagged"]
    what = dice.choice(sorted(changes))
    changes[what]()
    return what
