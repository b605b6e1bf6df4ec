"""The plan: state in, text out. Each test compares the whole text a person would read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import operations
from workshop.observed import State
from workshop.plan import make_plan, make_restart, make_start, make_stop, make_teardown
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.observed import ObservedContainer
    from workshop.workspace import Survey, Workspace


@pytest.fixture
def running(work: Workspace, next_command: Callable[[Workspace], Workspace]) -> Survey:
    """Take the survey of a class of three that runs as it should."""
    assert operations.provision(work).ok
    return survey(next_command(work))


def changed(seen: Survey, key: str, **fields: object) -> tuple[ObservedContainer, ...]:
    """Copy the observed containers with one of them altered."""
    return tuple(
        replace(item, **fields) if item.key == key else item  # type: ignore[arg-type]
        for item in seen.observed.containers
    )


def text(seen: Survey, **observed: object) -> str:
    """Plan against an altered snapshot and return the text without its heading's hashes."""
    return str(make_plan(seen.desired, replace(seen.observed, **observed)))  # type: ignore[arg-type]


def test_plan_from_nothing_creates_everything_in_order(
    work: Workspace, golden: Callable[[str, str], None]
) -> None:
    """An empty engine gets images, then network and edge, then seats, then routes, then the proof."""
    plan = str(operations.plan(work))
    for image in survey(work).desired.images:
        plan = plan.replace(image.tag.rpartition(":")[2], "HASH")

    golden("plan/from-nothing.txt", plan + "\n")


def test_plan_of_what_runs_is_empty(running: Survey) -> None:
    """A second look finds nothing to do."""
    plan = make_plan(running.desired, running.observed)

    assert plan.is_empty
    assert str(plan) == "class: 3 unchanged"


def test_plan_exited_container_is_started(running: Survey) -> None:
    """A container that ended is started again: its settings are right."""
    exited = changed(
        running, "bob", state=State.EXITED, status="Exited (137) 2 minutes ago", address=None
    )

    assert text(running, containers=exited) == (
        "class: 1 to start, 2 unchanged\n"
        "  #1 seat bob: start, not running: Exited (137) 2 minutes ago\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_container_that_never_started_is_replaced(running: Survey) -> None:
    """What an interrupted command created is not trusted to start at its address."""
    created = changed(running, "bob", state=State.CREATED, status="Created", address=None)

    assert "#1 seat bob: replace, never started" in text(running, containers=created)


def test_plan_after_an_unproven_apply_is_the_proof(running: Survey) -> None:
    """Nothing to change, but every seat must still show who it is."""
    plan = make_plan(running.desired, running.observed, unproven=True)

    assert str(plan) == (
        "class: 3 unchanged\n"
        "  #1 routes identity: verify, the last command ended before every seat had answered"
    )


def test_plan_paused_container_is_resumed(running: Survey) -> None:
    """A paused seat goes on where it stopped."""
    paused = changed(running, "bob", state=State.PAUSED, status="Up 3 minutes (Paused)")

    assert "#1 seat bob: resume, paused" in text(running, containers=paused)


def test_plan_crashing_container_is_replaced(running: Survey) -> None:
    """A seat in a restart loop is made anew."""
    looping = changed(running, "bob", state=State.RESTARTING, status="Restarting (1) 2 seconds ago")

    assert "#1 seat bob: replace, not running: Restarting (1)" in text(running, containers=looping)


def test_plan_seats_at_each_others_address_are_both_removed_first(running: Survey) -> None:
    """Ada's app under Bob's name is put right in one apply: both go before either comes."""
    ada, bob = (seat.address for seat in running.desired.seats[:2])
    swapped = replace(
        running, observed=replace(running.observed, containers=changed(running, "ada", address=bob))
    )
    both = changed(swapped, "bob", address=ada)

    assert text(running, containers=both) == (
        "class: 2 to create, 2 to remove, 1 unchanged\n"
        f"  #1 seat bob: remove, has address {ada} instead of {bob}"
        " (loses conversations in memory and /tmp)\n"
        f"  #2 seat ada: remove, has address {bob} instead of {ada}"
        " (loses conversations in memory and /tmp)\n"
        "  [1-2] -> #3 seat ada: create, no container\n"
        "  [1-2] -> #4 seat bob: create, no container\n"
        "  [3-4] -> #5 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_container_with_other_settings_is_replaced_and_says_what_is_lost(
    running: Survey,
) -> None:
    """A changed setting costs what the seat holds in memory, and the plan says so."""
    other = changed(running, "bob", config_hash="other")

    assert text(running, containers=other) == (
        "class: 1 to replace, 2 unchanged\n"
        "  #1 seat bob: replace, settings changed (loses conversations in memory and /tmp)\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_container_of_other_version_names_both(running: Survey) -> None:
    """A new image is a new version, and the cause names the old one."""
    bob = running.desired.seats[1]
    other = changed(running, "bob", config_hash="other", version="abc")

    assert f"replace, version {bob.version} instead of abc" in text(running, containers=other)


def test_plan_missing_container_is_created_alone(running: Survey) -> None:
    """One lost seat touches nobody else."""
    left = tuple(item for item in running.observed.containers if item.key != "bob")

    assert text(running, containers=left) == (
        "class: 1 to create, 2 unchanged\n"
        "  #1 seat bob: create, no container\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_two_containers_of_one_seat_become_one(running: Survey) -> None:
    """Two claims to one seat end in one fresh container."""
    bob = running.observed.container(running.desired.seats[1].role, "bob")
    assert bob is not None
    twice = (*running.observed.containers, replace(bob, id="second", name="class-bob-2"))
    plan = make_plan(running.desired, replace(running.observed, containers=twice))

    assert "#1 seat bob: replace, stands twice" in str(plan)
    assert plan.steps[0].old == (bob.id, "second")


def test_plan_seat_not_in_roster_stays_unless_pruned(running: Survey) -> None:
    """Deleting a line by mistake must not delete a seat."""
    bob = running.observed.container(running.desired.seats[1].role, "bob")
    assert bob is not None
    more = (*running.observed.containers, replace(bob, id="x", key="joan"))
    observed = replace(running.observed, containers=more)

    assert str(make_plan(running.desired, observed, prune=frozenset())) == (
        "class: 3 unchanged\n"
        "  warning: joan is not in the roster but still runs; --prune removes the seat"
    )
    assert str(make_plan(running.desired, observed)) == (
        "class: 1 to remove, 3 unchanged\n"
        "  #1 seat joan: remove, not in the roster (loses conversations in memory and /tmp)\n"
        "  #2 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_stale_routes_are_published_once(running: Survey) -> None:
    """Changed routes cost one reload and no seat."""
    assert text(running, edge_config="old") == (
        "class: 3 unchanged\n"
        "  #1 routes edge: publish, routes or settings changed\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat"
    )


def test_plan_silent_edge_is_published_to(running: Survey) -> None:
    """An edge that does not answer gets its configuration again."""
    assert "publish, the edge does not answer" in text(running, edge_config=None)


def test_plan_needs_no_image_for_what_already_runs(running: Survey) -> None:
    """An image somebody deleted is not rebuilt until a seat needs it."""
    assert make_plan(running.desired, replace(running.observed, images=())).is_empty


def test_plan_altered_network_is_a_warning(running: Survey) -> None:
    """A network cannot be changed under running seats; the operator is told what renews it."""
    network = replace(running.observed.networks[0], config_hash="other")
    left = tuple(item for item in running.observed.containers if item.key != "bob")
    plan = make_plan(
        running.desired, replace(running.observed, networks=(network,), containers=left)
    )

    assert plan.warnings == (
        "network class-open-0 was made with other settings; teardown and provision renew it",
    )


def test_restart_of_two_leaves_the_third(running: Survey) -> None:
    """Only the named seats are restarted."""
    plan = make_restart(running.desired, running.observed, ["ada", "bob"], fresh=False)

    assert str(plan) == (
        "class: 2 to restart, 1 unchanged\n"
        "  #1 seat ada: restart, restart (loses conversations in memory and /tmp)\n"
        "  #2 seat bob: restart, restart (loses conversations in memory and /tmp)\n"
        "  [1-2] -> #3 routes identity: verify, each name must lead to its own seat"
    )


def test_reset_of_missing_seat_creates_it(running: Survey) -> None:
    """Resetting what is not there brings it there."""
    left = tuple(item for item in running.observed.containers if item.key != "bob")
    plan = make_restart(
        running.desired, replace(running.observed, containers=left), ["bob"], fresh=True
    )

    assert "#1 seat bob: create, no container" in str(plan)


def test_restart_of_one_asks_that_one_alone_who_it_is(running: Survey) -> None:
    """What others do must not fail it."""
    plan = make_restart(running.desired, running.observed, ["bob", "ada"], fresh=False)

    assert plan.about == ("ada", "bob")


def test_stop_of_two_stops_them_and_nothing_else(running: Survey) -> None:
    """Neither a missing edge nor a crashing neighbour is mended on the way."""
    left = tuple(item for item in running.observed.containers if item.key != "edge")
    broken = replace(running.observed, containers=left, edge_config=None)
    plan = make_stop(running.desired, broken, ["ada", "bob"], held={"ada", "bob"})

    assert str(plan) == (
        "class: 2 to stop, 1 unchanged\n"
        "  #1 seat ada: stop, stop (loses conversations in memory and /tmp)\n"
        "  #2 seat bob: stop, stop (loses conversations in memory and /tmp)\n"
        "  held: ada, bob"
    )


@pytest.mark.parametrize("state", [State.EXITED, State.CREATED, State.DEAD])
def test_stop_of_what_does_not_run_is_nothing(running: Survey, state: State) -> None:
    """Two may press the same button."""
    still = replace(running.observed, containers=changed(running, "bob", state=state, address=None))
    plan = make_stop(running.desired, still, ["bob"], held={"bob"})

    assert str(plan) == "class: 3 unchanged\n  held: bob"


@pytest.mark.parametrize("state", [State.RUNNING, State.RESTARTING, State.PAUSED])
def test_plan_held_seat_that_runs_is_stopped_without_a_proof(running: Survey, state: State) -> None:
    """A stop that was interrupted is finished by the next command."""
    seen = replace(running.observed, containers=changed(running, "bob", state=state))
    plan = make_plan(running.desired, seen, held={"bob"})

    assert str(plan) == (
        "class: 1 to stop, 2 unchanged\n"
        "  #1 seat bob: stop, held, but it runs (loses conversations in memory and /tmp)\n"
        "  held: bob"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"state": State.EXITED, "status": "Exited (143) 2 hours ago", "address": None},
        {"state": State.EXITED, "config_hash": "other", "address": None},
        None,
    ],
    ids=["stopped", "with other settings", "gone"],
)
def test_plan_held_seat_is_left_as_it_is(running: Survey, fields: dict[str, object] | None) -> None:
    """Whatever else is wrong with it waits until somebody starts it."""
    left = tuple(item for item in running.observed.containers if item.key != "bob")
    found = left if fields is None else changed(running, "bob", **fields)
    plan = make_plan(
        running.desired, replace(running.observed, containers=found), held={"bob", "left-long-ago"}
    )

    assert plan.is_empty
    assert str(plan) == "class: 3 unchanged\n  held: bob"


def test_plan_after_an_unproven_apply_asks_nobody_where_all_are_held(running: Survey) -> None:
    """There is nobody who could answer."""
    resting = tuple(
        replace(item, state=State.EXITED, address=None) if item.slot is not None else item
        for item in running.observed.containers
    )
    seen = replace(running.observed, containers=resting)
    plan = make_plan(running.desired, seen, unproven=True, held={"ada", "bob", "grace"})

    assert plan.is_empty


def test_start_brings_up_what_is_stopped_and_leaves_what_runs(running: Survey) -> None:
    """One of the two was up already."""
    ended = changed(running, "bob", state=State.EXITED, status="Exited (143) 1 hour ago")
    plan = make_start(running.desired, replace(running.observed, containers=ended), ["ada", "bob"])

    assert str(plan) == (
        "class: 1 to start, 2 unchanged\n"
        "  #1 seat bob: start, not running: Exited (143) 1 hour ago\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat"
    )


def test_start_of_a_seat_whose_settings_changed_meanwhile_replaces_it(running: Survey) -> None:
    """The roster was edited and provisioned while it was held."""
    old = changed(running, "bob", state=State.EXITED, config_hash="other")
    plan = make_start(running.desired, replace(running.observed, containers=old), ["bob"])

    assert "#1 seat bob: replace, settings changed\n" in str(plan)


def test_restart_of_one_leaves_out_who_is_held(running: Survey) -> None:
    """Bob is stopped and nobody speaks of it but the last line."""
    ended = changed(running, "bob", state=State.EXITED, status="Exited (143) 1 hour ago")
    seen = replace(running.observed, containers=ended)
    plan = make_restart(running.desired, seen, ["ada"], fresh=False, held={"bob"})

    assert str(plan) == (
        "class: 1 to restart, 2 unchanged\n"
        "  #1 seat ada: restart, restart (loses conversations in memory and /tmp)\n"
        "  [1] -> #2 routes identity: verify, each name must lead to its own seat\n"
        "  held: bob"
    )


def test_teardown_removes_everything_edge_first(
    running: Survey, golden: Callable[[str, str], None]
) -> None:
    """Nobody is sent to a seat that is going, and images go after what runs from them."""
    plan = str(make_teardown(running.desired, running.observed))
    for image in running.desired.images:
        plan = plan.replace(image.tag.rpartition(":")[2], "HASH")

    golden("plan/teardown.txt", plan + "\n")


def test_teardown_keeps_the_base_another_workshop_uses(running: Survey) -> None:
    """The shared base goes with the last workshop."""
    app = next(image for image in running.observed.images if image.workshop == "class")
    others = (*running.observed.images, replace(app, tag="other/app:1", workshop="other"))
    plan = make_teardown(running.desired, replace(running.observed, images=others))

    assert not [step for step in plan.steps if step.name.startswith("workshop-base")]
    assert not [step for step in plan.steps if step.name == "other/app:1"]
