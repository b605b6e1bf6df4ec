"""Others on the same engine: neither taken for ours, nor touched, nor given a seat's address.

Two classes, of which one's name begins with the other's, and strangers that look like parts of
the second.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults import killing
from tests.faults.room import drive, room

from tests import layers
from workshop import labels, operations
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient
    from tests.faults.room import Room

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(200)]

PEOPLE = ("ada", "bob", "carol")


@pytest.fixture(scope="module")
def standing(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    """Provision a class of three."""
    with room(tmp_path_factory.mktemp("strange"), "strange", PEOPLE) as found:
        drive([found.provision()])
        yield found


@pytest.fixture(scope="module")
def base(docker_engine: DockerEngine) -> str:
    """Have an image that strangers run."""
    return layers.base(docker_engine)


@contextlib.contextmanager
def stranger(
    api: APIClient, image: str, name: str, marks: dict[str, str] | None = None
) -> Iterator[str]:
    """Run somebody else's container."""
    config: Any = api.create_host_config(init=True)
    made = api.create_container(
        image, ["sleep", "600"], name=name, labels=marks, entrypoint=[], host_config=config
    )["Id"]
    try:
        api.start(made)
        yield made
    finally:
        api.remove_container(made, v=True, force=True)


def process_of(api: APIClient, container: str, file: str) -> int:
    """Read one number that the kernel keeps of a container's first process."""
    pid = api.inspect_container(container)["State"]["Pid"]
    return int(Path(f"/proc/{pid}/{file}").read_text("ascii"))


def test_server_without_memory_kills_a_seat_before_the_platform(standing: Room) -> None:
    """F41: in the kernel's own order every seat comes before edge and engine."""
    names = standing.names().values()
    seats = [name for name in names if name != f"{standing.name}-edge"]
    scores = [process_of(standing.api, name, "oom_score") for name in seats]
    told = {process_of(standing.api, name, "oom_score_adj") for name in seats}
    edge = f"{standing.name}-edge"
    engines = subprocess.run(["pidof", "dockerd"], capture_output=True, text=True, check=True)
    engine = [int(Path(f"/proc/{pid}/oom_score").read_text()) for pid in engines.stdout.split()]

    assert len(seats) == len(PEOPLE)
    assert told == {500}
    assert process_of(standing.api, edge, "oom_score_adj") == 0
    assert min(scores) > max([process_of(standing.api, edge, "oom_score"), *engine])


def test_stranger_on_a_seats_address_is_named_and_not_touched(standing: Room, base: str) -> None:
    """F23: who sits there, and the words that make the address free; the others are served."""
    api, name = standing.api, f"{standing.name}-bob"
    network = f"{standing.name}-open-0"
    address = api.inspect_container(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
    guest = f"guest-{os.getpid()}"
    with stranger(api, base, guest) as foreign:
        api.remove_container(name, force=True)
        api.connect_container_to_network(foreign, network, ipv4_address=address)
        before = json.dumps(api.inspect_container(foreign))

        report = operations.provision(standing.work())
        said = standing.listen()
        after = json.dumps(api.inspect_container(foreign))
        words = report.failed["bob"]
        advice = re.search(
            r"\((docker network disconnect .*), then the same command again\)", words
        )
        assert advice, words
        subprocess.run(shlex.split(advice[1]), check=True)
        drive([standing.provision()])

        assert f"{address} is held by the container {guest}, which is not of this workshop" in words
        assert set(report.failed) == {"bob"}
        assert [who for who, version in said.items() if version] == ["ada", "carol"]
        assert after == before
        assert all(standing.listen().values())
        mended = api.inspect_container(name)["NetworkSettings"]["Networks"][network]
        assert mended["IPAddress"] == address
        assert api.inspect_container(foreign)["State"]["Running"]


def test_teardown_of_one_leaves_everybody_elses_byte_for_byte(
    standing: Room, base: str, docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """T61: another class, and five strangers whose names and labels resemble this one's."""
    api, name = standing.api, standing.name
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(room(tmp_path_factory.mktemp("other"), f"{name}-b", ("ada",)))
        drive([other.provision()])
        alike = {labels.NAME: f"{name}x", labels.ROLE: Role.SEAT.value, labels.CONFIG_HASH: "0"}
        for image, made, marks in (
            (base, f"{name}-dora", None),
            (base, f"{name}x-ada", alike),
            (standing.tags("app")[0], f"{name}-by-hand", None),
        ):
            stack.enter_context(stranger(api, image, made, marks))
        stack.enter_context(network(api, f"{name}-open-1"))
        stack.enter_context(volume(api, f"{name}-data"))
        before = everybody_elses(other, name)

        drive([standing.teardown()])

        after = everybody_elses(other, name)
        assert len(before) >= 5 + 3
        assert {key: after.get(key) for key in before} == before
        assert all(other.listen().values())
    assert standing.inventory() == []


def everybody_elses(other: Room, name: str) -> dict[str, str]:
    """Describe what must not change: the other class whole, and every stranger, as inspected."""
    api = other.api
    containers = [item["Names"][0] for item in api.containers(all=True)]
    strangers = (f"/{name}-dora", f"/{name}x-ada", f"/{name}-by-hand")
    wanted = [it for it in containers if it in strangers or it.startswith(f"/{other.name}-")]
    networks = (f"{name}-open-1", f"{other.name}-open-0")
    images = [*other.tags("app"), *other.tags("edge")]
    found = {
        **{f"container {it}": api.inspect_container(it.lstrip("/")) for it in wanted},
        **{f"network {it}": api.inspect_network(it) for it in networks},
        **{f"image {it}": api.inspect_image(it) for it in images},
        f"volume {name}-data": api.inspect_volume(f"{name}-data"),
        "files": killing.tree(other.home),
        "rules": other.rules(),
    }
    return {key: json.dumps(value, sort_keys=True) for key, value in found.items()}


@contextlib.contextmanager
def network(api: APIClient, name: str) -> Iterator[None]:
    """Make somebody else's network, at a place that nobody is likely to have."""
    third, fourth = random.randrange(256), 16 * random.randrange(16)
    config: Any = {"Config": [{"Subnet": f"10.231.{third}.{fourth}/28"}]}
    made = api.create_network(name, driver="bridge", ipam=config)["Id"]
    try:
        yield
    finally:
        api.remove_network(made)


@contextlib.contextmanager
def volume(api: APIClient, name: str) -> Iterator[None]:
    """Make somebody else's volume."""
    api.create_volume(name, labels={labels.NAME: name})
    try:
        yield
    finally:
        api.remove_volume(name)
