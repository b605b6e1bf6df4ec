"""What a seat is handed arrives on the real engine as it was written: variables and secrets."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import nasty
from tests.engines.scene import seat
from workshop.environment import quote
from workshop.errors import EngineError
from workshop.roster import Participant, parse
from workshop.rosterfile import block_entry
from workshop.specs import NO_NETWORK, SECRETS_PLACE
from workshop.vault.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.docker import DockerEngine
    from workshop.specs import ContainerSpec, Owner

pytestmark = pytest.mark.engine


@pytest.fixture
def engine(docker_engine: Any) -> DockerEngine:
    """Hand out the real engine."""
    found: DockerEngine = docker_engine
    return found


@pytest.fixture
def alone(owner: Owner, base: str) -> ContainerSpec:
    """Specify a seat without a network."""
    return replace(seat(owner, base), network=NO_NETWORK, address=None)


@pytest.fixture
def files() -> Iterator[Delivery]:
    """Make a place in memory."""
    with tempfile.TemporaryDirectory(prefix="handed-", dir="/dev/shm") as memory:
        yield Delivery(Path(memory) / "run" / "class")


def environ(engine: DockerEngine, container: str) -> dict[str, str]:
    """Read the variables of a container's first process, to the byte."""
    status, text = engine.run(container, ["cat", "/proc/1/environ"])
    assert status == 0, text
    return dict(pair.split("=", 1) for pair in text.split("\0")[:-1])


def test_two_hundred_nasty_values_arrive_as_they_were_written(
    engine: DockerEngine, alone: ContainerSpec, owner: Owner, directory: Path
) -> None:
    """T58: a hundred from the roster, a hundred from a file, none changed on the way."""
    wanted = {f"A{number}": value for number, value in enumerate(nasty.values(seed=9, count=200))}
    inline = {name: wanted[name] for name in list(wanted)[::2]}
    file = directory / "seat.env"
    lines = [f"{name}={quote(value)}\n" for name, value in wanted.items() if name not in inline]
    file.write_text("".join(lines), "utf-8")
    file.chmod(0o600)
    entry = "\n".join(block_entry(Participant("ada", env=inline), ""))
    text = f"workshop: {{name: class, llm: false}}\nparticipants:\n{entry}\n  env_file: seat.env\n"
    [ada] = parse(text, directory / "participants.yaml").participants
    container = engine.create(replace(alone, env=ada.env), owner)
    engine.start(container)
    found = environ(engine, container)

    assert {name: found.get(name) for name in wanted} == wanted


def test_secret_is_read_in_the_seat_and_can_be_changed_by_nobody_there(
    engine: DockerEngine, alone: ContainerSpec, owner: Owner, files: Delivery
) -> None:
    """A file of exactly the bytes, for the seat's user; neither written nor removed from inside."""
    directory = str(files.home / "ada" / "digest")
    files.write(directory, {"API_TOKEN": b"CANARY \xc3\xa9\n"})
    container = engine.create(replace(alone, secrets=directory), owner)
    engine.start(container)

    assert engine.run(container, ["cat", f"{SECRETS_PLACE}/API_TOKEN"]) == (0, "CANARY \xe9\n")
    for command in ("echo x > {}/API_TOKEN", "echo x > {}/NEW", "cat /dev/null >> {}/API_TOKEN"):
        status, said = engine.run(container, ["sh", "-c", command.format(SECRETS_PLACE)])
        assert status != 0, command
        assert "Read-only file system" in said or "Permission denied" in said
    assert "CANARY" not in str(engine._api.inspect_container(container))


def test_seat_whose_secrets_are_gone_waits_for_them(
    engine: DockerEngine, alone: ContainerSpec, owner: Owner, files: Delivery
) -> None:
    """After a reboot: no start without them, and no empty directory made in their place."""
    directory = str(files.home / "ada" / "digest")
    files.write(directory, {"API_TOKEN": b"1"})
    container = engine.create(replace(alone, secrets=directory), owner)
    files.remove()

    with pytest.raises(EngineError, match="does not exist"):
        engine.start(container)
    assert not files.home.exists()
    files.write(directory, {"API_TOKEN": b"2"})
    engine.start(container)
    assert engine.run(container, ["cat", f"{SECRETS_PLACE}/API_TOKEN"]) == (0, "2")


def test_image_that_wants_a_volume_there_gets_the_secrets(
    engine: DockerEngine, alone: ContainerSpec, owner: Owner, files: Delivery
) -> None:
    """`VOLUME /run/secrets` in somebody's Dockerfile does not hide them, nor stop the seat."""
    directory = str(files.home / "ada" / "digest")
    files.write(directory, {"A": b"1"})
    spec = replace(alone, secrets=directory, volumes=(SECRETS_PLACE, "/data"))
    container = engine.create(spec, owner)
    engine.start(container)

    assert engine.run(container, ["cat", f"{SECRETS_PLACE}/A"]) == (0, "1")
