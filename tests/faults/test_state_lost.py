"""Choices that were lost, garbled, or made for somewhere else: nobody loses a seat in silence."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.faults import killing

from workshop import operations, state
from workshop.deploys import current
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.errors import InputError
from workshop.observed import Observed, ObservedNetwork
from workshop.teardown import teardown

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from workshop.state import State
    from workshop.workspace import Workspace

MODELS = """
workshop:
  name: class
  url: http://localhost:18999
  llm:
    upstreams:
      - name: openai
        url: https://api.openai.com/v1
        key_env: CLASS_KEY
        models:
          gpt-5-mini: {input: 0.25, output: 2}
    outage: [embedded]
participants: [ada, bob]
"""


@pytest.fixture
def models(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workshop of two with models and deploys."""
    monkeypatch.setenv("CLASS_KEY", "sk-canary")
    work.roster_path.write_text(MODELS, "utf-8")
    return work


def settled(known: State | None, taken: tuple[str, ...], network: str | None = None) -> State:
    """Choose for a class of one, with these networks in use by others."""
    return state.settle(known, Observed(taken_subnets=taken), "class", ["ada"], network)


def test_network_taken_since_it_was_chosen_is_chosen_anew() -> None:
    """A command killed before it made its network must not insist on what others use by now."""
    first = settled(None, ())
    again = settled(first, (first.network,))

    assert again.network != first.network
    assert (again.run, again.slots, again.secret) == (first.run, first.slots, first.secret)


def test_network_that_stands_is_kept_whatever_overlaps_it_later() -> None:
    """Seats that run are not moved because a route came up."""
    first = settled(None, ())
    own = ObservedNetwork("1", "class-open-0", first.run, "/here", "hash", first.network)
    seen = Observed(networks=(own,), taken_subnets=(first.network,))

    assert state.settle(first, seen, "class", ["ada"], None).network == first.network


@pytest.mark.parametrize("known", [None, "earlier"])
def test_network_of_the_roster_that_overlaps_a_route_is_refused_by_name(known: str | None) -> None:
    """The instructor's own choice is not replaced by another; the route is shown."""
    earlier = settled(None, (), "10.200.0.0/21") if known else None

    with pytest.raises(InputError, match=r"10\.200\.0\.0/21 overlaps 10\.200\.4\.0/24"):
        settled(earlier, ("10.200.4.0/24",), "10.200.0.0/21")


# -- garbled files, on a memory engine ----------------------------------------------------------

DAMAGES = 200


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """Cut a file short, or flip a few of its bits."""
    if dice.random() < 0.3:
        return whole[: dice.randrange(len(whole))]
    garbled = bytearray(whole)
    for _ in range(dice.randint(1, 4)):
        garbled[dice.randrange(len(garbled))] ^= 1 << dice.randrange(8)
    return bytes(garbled)


def places(work: Workspace) -> dict[str, tuple[str | None, str | None]]:
    """Map who runs to run and address."""
    seen = work.engine.observe("class").containers
    return {item.name: (item.run, item.address) for item in seen}


def test_state_damaged_at_random_never_costs_anybody_a_seat(
    work: Workspace, next_command: Callable[[Workspace], Workspace], dice: random.Random
) -> None:
    """Every damage is noticed: the file is set aside and the choices are read back from labels."""
    operations.provision(work)
    path, before = work.state_directory / "state.json", places(work)
    aside = path.with_suffix(".json.broken")
    for _ in range(DAMAGES):
        whole = path.read_bytes()
        garbled = damaged(whole, dice)
        path.write_bytes(garbled)
        try:
            known = state.load(work.state_directory)
        except InputError as exc:
            assert "newer workshop" in exc.message
            path.write_bytes(whole)
            continue
        assert known is None or garbled == whole or json.loads(garbled) == json.loads(whole)
        if known is None:
            assert aside.read_bytes() == garbled
        report = operations.provision(next_command(work))
        assert report.ok
        assert places(work) == before
        path.write_bytes(whole)


def test_garbled_state_is_told_with_what_becomes_of_it(
    work: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """A class whose participants get new keys must hear why."""
    operations.provision(work)
    (work.state_directory / "state.json").write_text("{")
    told: list[object] = []
    follow = next_command(work)
    follow.emit = told.append

    operations.provision(follow)

    assert any("state.json.broken" in str(event) and "labels" in str(event) for event in told)


def test_deploys_on_record_damaged_at_random_never_cost_anybody_a_seat(
    deploying: Workspace, next_command: Callable[[Workspace], Workspace], dice: random.Random
) -> None:
    """Who deployed runs that or what the roster says; nobody is removed, nothing is traced back."""
    operations.provision(deploying)
    live = Deployment("0000000000001-00000001", 1, "1-abc", "class/seat-ada:1", green=False)
    names = {name for name, _ in places(deploying).items()}
    whole = current.dump({"ada": SeatDeploys(live, count=1)}).encode()
    path = deploying.directories.deploys / current.FILE
    for _ in range(DAMAGES // 4):
        path.write_bytes(damaged(whole, dice))
        report = operations.provision(next_command(deploying))
        assert report.ok
        assert set(places(deploying)) == names


@pytest.mark.parametrize("part", ["gateway", "intake", "deploys", "board/told"])
def test_part_whose_file_was_changed_is_told_anew(
    models: Workspace, part: str, next_command: Callable[[Workspace], Workspace]
) -> None:
    """A part keeps working with what it read, so its word alone does not show the damage."""
    operations.provision(models)
    path = models.state_directory / part / "config.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    report = operations.provision(next_command(models))

    assert report.ok
    assert path.read_bytes() == whole
    assert operations.plan(next_command(models)).is_empty


@pytest.mark.parametrize("hand", ["changed", "emptied", "link"])
def test_edge_files_changed_by_hand_are_written_anew(
    work: Workspace, hand: str, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The edge serves what it has loaded; after its next start it would serve the damage."""
    operations.provision(work)
    edge = work.state_directory / "edge"
    whole = killing.tree(edge)
    release = (edge / "current").resolve()
    if hand == "changed":
        (release / "nginx.conf").write_text("nonsense")
    elif hand == "emptied":
        shutil.rmtree(release)
    else:
        (edge / "current").unlink()

    report = operations.provision(next_command(work))

    assert report.ok
    assert [step.name for step in report.plan.steps] == ["edge", "identity"]
    assert killing.difference(whole, killing.tree(edge)) == {}


# -- state of somebody else ----------------------------------------------------------------------


def test_state_of_another_workshop_is_neither_used_nor_overwritten_nor_removed(
    work: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Whoever renames a class that runs would lose track of it: nothing would ever remove it."""
    operations.provision(work)
    before, whole = places(work), killing.tree(work.state_directory)
    text = work.roster_path.read_text("utf-8").replace("name: class", "name: other", 1)
    work.roster_path.write_text(text.replace("18999", "18998"), "utf-8")

    for command in (operations.provision, operations.plan, teardown):
        with pytest.raises(InputError, match="belongs to the workshop 'class'"):
            command(next_command(work))

    assert places(work) == before
    skip = {"lock"}
    now = {key: text for key, text in killing.tree(work.state_directory).items() if key not in skip}
    assert killing.difference({k: v for k, v in whole.items() if k not in skip}, now) == {}
