"""A class that deploys, as the planner sees it: the parts, what they are told, what deploys change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import operations
from workshop.deploys import current
from workshop.deploys.config import FILE
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.labels import Role
from workshop.specs import NO_NETWORK
from workshop.subnets import own_loopback, seat_address
from workshop.teardown import teardown
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.workspace import Workspace


@pytest.fixture
def running(deploying: Workspace, next_command: Callable[[Workspace], Workspace]) -> Workspace:
    """Provision a class of three that deploys."""
    report = operations.provision(deploying)
    assert report.ok, report.failed
    return next_command(deploying)


def test_plan_of_a_class_that_deploys(
    deploying: Workspace, golden: Callable[[str, str], None]
) -> None:
    """Registry, intake, egress, relays and the server, each with its cause."""
    plan = str(operations.plan(deploying))
    for image in survey(deploying).desired.images:
        plan = plan.replace(image.tag.rpartition(":")[2], "HASH")

    golden("plan/with-deploys.txt", plan + "\n")


def test_second_provision_changes_nothing(running: Workspace) -> None:
    """The intake answers with what it should know, and the server's file holds it."""
    assert operations.plan(running).is_empty


def test_only_the_server_has_the_socket_and_nothing_listens_in_it(running: Workspace) -> None:
    """Who faces participants has none."""
    parts = survey(running).desired.parts
    holders = [
        spec
        for spec in parts
        if any("docker.sock" in place for pair in spec.mounts for place in pair)
    ]

    assert [(spec.role, spec.port) for spec in holders] == [(Role.SERVE, 0)]


def test_intake_sees_no_seats_environment(running: Workspace) -> None:
    """It gets hashes of keys and the directory of results, not the server's own."""
    seen = survey(running)
    intake = seen.desired.part(Role.INTAKE)
    assert intake is not None
    mounted = [place for place, _ in (*intake.mounts, *intake.data)]

    assert str(running.directories.deploys) not in mounted
    assert str(running.directories.home) not in mounted
    assert str(running.directories.shown) in mounted
    told = (running.directories.deploys / FILE).stat()
    assert told.st_mode & 0o077 == 0


def test_relays_have_no_network_and_no_port(running: Workspace) -> None:
    """A build's network is a loopback."""
    relays = [spec for spec in survey(running).desired.parts if spec.role is Role.RELAY]

    assert [(spec.network, spec.port) for spec in relays] == [(NO_NETWORK, 0), (NO_NETWORK, 0)]


def test_registry_and_intake_listen_on_the_workshops_own_loopback(running: Workspace) -> None:
    """Seats cannot reach it, and two workshops do not collide."""
    seen = survey(running)
    address = own_loopback(seen.choices.network)
    parts = [seen.desired.part(Role.REGISTRY), seen.desired.part(Role.INTAKE)]

    assert [spec.listen for spec in parts if spec] == [(address,), (address,)]
    assert address.startswith("127.")


def test_rotated_key_is_told_to_the_intake_and_the_server(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The old one opens nothing any more."""
    from workshop import keyring

    before = (running.directories.intake / "config.json").read_text()
    assert keyring.rotate(running, ["ada"]).ok
    after = (running.directories.intake / "config.json").read_text()

    changed = [
        old["name"]
        for old, new in zip(json.loads(before)["seats"], json.loads(after)["seats"], strict=True)
        if old != new
    ]
    assert changed == ["ada"]
    assert operations.plan(next_command(running)).is_empty


def test_deployed_seat_stands_at_the_address_on_record(running: Workspace) -> None:
    """The next provision puts it there again, whatever happened to it."""
    seen = survey(running)
    app = next(spec for spec in seen.desired.images if spec.role is Role.APP)
    deployment = Deployment("1795257007649-2effa15f", 1, "1-abc", app.tag, green=True)
    (running.directories.deploys / current.FILE).write_text(
        current.dump({"ada": SeatDeploys(live=deployment, green=True, count=1)})
    )
    seat = survey(running).desired.seats[0]

    slot = seen.choices.slots["ada"]
    assert seat.address == seat_address(seen.choices.network, slot, green=True)
    assert seat.name == "class-ada.green"
    assert (seat.version, seat.env["WORKSHOP_VERSION"]) == ("1-abc", "1-abc")
    assert survey(running).desired.greens == {"ada"}


def test_switch_that_points_at_the_wrong_address_is_put_right(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Whoever touched the files by hand sees it in the plan."""
    running.publisher().switch.move("bob", green=True)
    plan = operations.plan(running)
    assert "switches: publish, some point at the wrong address" in str(plan)

    assert operations.provision(next_command(running)).ok
    assert running.publisher().switch.greens() == frozenset()


def test_roster_without_deploys_removes_their_parts(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """`deploys: false` in the middle of a class: everybody is back at the roster's own image."""
    app = next(spec for spec in survey(running).desired.images if spec.role is Role.APP)
    deployment = Deployment("1795257007649-2effa15f", 1, "1-abc", app.tag, green=True)
    (running.directories.deploys / current.FILE).write_text(
        current.dump({"ada": SeatDeploys(live=deployment, green=True, count=1)})
    )
    text = running.roster_path.read_text().replace("llm: false", "llm: false\n  deploys: false")
    running.roster_path.write_text(text)
    assert operations.provision(next_command(running)).ok
    seen = running.engine.observe("class").containers

    assert {item.role for item in seen} == {Role.EDGE, Role.SEAT}
    assert {item.name for item in seen if item.key == "ada"} == {"class-ada"}


def test_teardown_ends_the_server_first(running: Workspace) -> None:
    """It would start new seats while the others go."""
    calls = running.engine.calls  # type: ignore[attr-defined]
    calls.clear()
    receipt = teardown(running)

    assert receipt.left == ()
    removed = [name for verb, name in calls if verb == "remove"]
    assert removed[0] == "class-serve"


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99, "seats": {}}', '{"schema": 1}'])
def test_garbled_record_is_set_aside(running: Workspace, text: str) -> None:
    """Every seat then runs what the roster says."""
    path = running.directories.deploys / current.FILE
    path.write_text(text)

    assert current.load(path.parent) == {}
    assert path.with_suffix(".json.broken").is_file()


def test_record_survives_its_file(running: Workspace) -> None:
    """What is written is what is read."""
    one = Deployment("1795257007649-2effa15f", 4, "4-abc", "class/seat-ada:4", green=True)
    held = {"ada": SeatDeploys(one, green=True, kept=(replace(one, number=3),), count=4)}
    (running.directories.deploys / current.FILE).write_text(current.dump(held))

    assert current.load(running.directories.deploys) == held
