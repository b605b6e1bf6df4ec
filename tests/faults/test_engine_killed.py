"""Engines and commands that die at the worst moment: whoever comes back sits on the own seat.

The engine is a private one, so it can be killed. Moments are drawn anew in every run; a failure
names the one it happened at.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.engines.private import PrivateEngine, private_engine, require, write_class

from workshop import roster as rosters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

# Building the images on a machine that has none of them takes a minute.
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 18471
NAMES = ("ada", "bob", "carol", "dan", "eve", "fay")
OWN = dict(zip(NAMES, NAMES, strict=True))
SETTLE_SECONDS = 30.0
DOWN = ("teardown", "--yes", "--keep-images")
STREAM = f"""
import json, urllib.request
body = json.dumps({{"message": "word " * 200}}).encode()
asked = urllib.request.Request(
    "http://localhost:{PORT}/ada/chat", body, {{"Content-Type": "application/json"}}
)
with urllib.request.urlopen(asked, timeout=30) as answer:
    print(answer.readline(), flush=True)
    rest = answer.read()
    print(rest.count(b'"word '), b"event: done" in rest)
"""
"""Reads an answer of some eight seconds, word by word."""
ENGINE_KILLS = 2
COMMAND_KILLS = 6


@dataclass
class Classroom:
    """A workshop of six on a private engine."""

    engine: PrivateEngine
    roster: Path

    @property
    def name(self) -> str:
        """The workshop's name, which begins the names of all its objects."""
        return rosters.load(self.roster).name

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command that must not end in a traceback."""
        code, output = self.engine.workshop(self.roster, *words)
        assert "Traceback" not in output, output
        return code, output

    def must(self, *words: str) -> str:
        """Run a command that must succeed."""
        code, output = self.run(*words)
        assert code == 0, output
        return output

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that something is going to happen to."""
        return self.engine.begin(self.roster, *words)

    def said(self) -> dict[str, str]:
        """Ask every seat through the edge who it is."""
        return self.engine.who_answers(PORT, NAMES)


def moments(count: int, seconds: float) -> list[float]:
    """Draw one moment out of each of ``count`` equal parts of a command that takes ``seconds``."""
    drawn = [(part + random.random()) * seconds / count for part in range(count)]
    random.shuffle(drawn)
    return drawn


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[PrivateEngine]:
    """Run a private engine; ``docker_engine`` is where its images are built."""
    del docker_engine
    require(request)
    with private_engine() as started:
        yield started


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a roster of six around the shipped template."""
    return write_class(tmp_path_factory.mktemp("torture"), PORT, NAMES)


@pytest.fixture
def classroom(engine: PrivateEngine, roster: Path) -> Classroom:
    """Hand out a workshop that stands, whatever the test before has left."""
    found = Classroom(engine, roster)
    with contextlib.closing(engine.client()) as client:
        images = client.images()
    if not images:
        engine.take_images(roster)
    found.must("provision")
    assert found.said() == OWN
    return found


@pytest.fixture(scope="module")
def pace() -> dict[str, float]:
    """Keep how long whole commands take, measured once."""
    return {}


@pytest.fixture
def seconds(classroom: Classroom, pace: dict[str, float]) -> dict[str, float]:
    """Measure teardown and provision, so that others can be interrupted at any part of them."""
    for words in () if pace else (DOWN, ("provision",)):
        begun = time.monotonic()
        classroom.must(*words)
        pace[words[0]] = time.monotonic() - begun
    return pace


def test_swapped_seats_are_heard_and_put_right(classroom: Classroom) -> None:
    """The control of all that follows: two addresses change hands, and the question tells."""
    names = [f"{classroom.name}-{seat}" for seat in ("ada", "bob")]
    containers = classroom.engine.containers()
    addresses = [containers[name][1] for name in names]
    network = f"{classroom.name}-open-0"
    with contextlib.closing(classroom.engine.client()) as client:
        for name in names:
            client.disconnect_container_from_network(name, network)
        for name, address in zip(names, reversed(addresses), strict=True):
            client.connect_container_to_network(name, network, ipv4_address=address)

    swapped = classroom.said()
    # An address is free for its owner once the other one has left it: perhaps in the second go.
    classroom.run("provision")
    classroom.must("provision")

    assert swapped == {**OWN, "ada": "bob", "bob": "ada"}
    assert classroom.said() == OWN


def test_killed_engine_is_told_truly_and_provision_brings_everybody_back(
    classroom: Classroom,
) -> None:
    """Without live-restore a kill ends every container; provision starts all where they were."""
    before = classroom.engine.containers()

    classroom.engine.kill()
    without_engine, _ = classroom.run("status")
    classroom.engine.start()
    after_kill, table = classroom.run("status")
    classroom.must("provision")

    assert without_engine == 3
    assert after_kill == 1
    assert "0 of 6 live" in table
    assert classroom.said() == OWN
    assert classroom.engine.containers() == before


def test_restarted_engine_brings_everybody_back_by_itself(classroom: Classroom) -> None:
    """The restart policy returns seats and edge in any order, each to its own address."""
    before = classroom.engine.containers()

    classroom.engine.stop()
    classroom.engine.start()
    wrong: list[tuple[str, str]] = []
    deadline = time.monotonic() + SETTLE_SECONDS
    while (said := classroom.said()) != OWN and time.monotonic() < deadline:
        wrong += [pair for pair in said.items() if pair[1] not in {"", pair[0]}]
        time.sleep(0.1)

    assert wrong == []
    assert classroom.engine.containers() == before
    assert said == OWN
    assert classroom.run("status")[0] == 0


def test_killed_engine_with_live_restore_costs_nobody_anything(classroom: Classroom) -> None:
    """F09: seats, edge and streams outlive it, and the next engine takes them over as they are."""
    before = lives(classroom.engine)
    with live_restore(classroom.engine):
        command = ["nsenter", f"--net={classroom.engine.namespace}", sys.executable, "-c", STREAM]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as visitor:
            assert visitor.stdout is not None
            assert visitor.stdout.readline()
            classroom.engine.kill()
            meanwhile = classroom.said()
            classroom.engine.start()
            running = visitor.poll() is None
            words, _ = visitor.communicate(timeout=60)
        said = classroom.must("provision")
        after = lives(classroom.engine)

        assert running, "the answer was over before the engine was back, so it proves nothing"
        assert visitor.returncode == 0
        assert words.split() == ["200", "True"]
        assert meanwhile == classroom.said() == OWN
        assert after == before
        assert "nothing to do" in said
        classroom.must("reset", "ada", "--yes")
        assert classroom.said() == OWN


def lives(engine: PrivateEngine) -> dict[str, str]:
    """Map each container that runs to the moment it was started."""
    with contextlib.closing(engine.client()) as client:
        found = [client.inspect_container(item["Id"]) for item in client.containers()]
    return {item["Id"]: item["State"]["StartedAt"] for item in found}


@contextlib.contextmanager
def live_restore(engine: PrivateEngine) -> Iterator[None]:
    """Let containers outlive the engine for the length of the block."""
    _settle(engine, wanted=True)
    try:
        yield
    finally:
        _settle(engine, wanted=False)


def _settle(engine: PrivateEngine, *, wanted: bool) -> None:
    (engine.directory / "daemon.json").write_text(json.dumps({"live-restore": wanted}), "ascii")
    assert engine.process is not None
    engine.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + SETTLE_SECONDS
    with contextlib.closing(engine.client()) as client:
        while client.info()["LiveRestoreEnabled"] is not wanted:
            assert time.monotonic() < deadline, "the engine does not take its settings over"
            time.sleep(0.05)


def test_engine_killed_during_provision_leaves_what_the_next_one_mends(
    classroom: Classroom, seconds: dict[str, float]
) -> None:
    """The interrupted command ends by itself with an error; the next one finds its way."""
    for moment in moments(ENGINE_KILLS, seconds["provision"]):
        classroom.must(*DOWN)

        with classroom.begin("provision") as command:
            time.sleep(moment)
            classroom.engine.kill()
            output, _ = command.communicate(timeout=60)
        classroom.engine.start()
        code, mended = classroom.run("provision")

        assert "Traceback" not in output, f"{moment:.2f} s\n{output}"
        assert command.returncode in {0, 1, 3}, f"{moment:.2f} s\n{output}"
        assert code == 0, f"{moment:.2f} s\n{output}\n{mended}"
        assert classroom.said() == OWN


def test_command_killed_at_any_moment_leaves_what_the_next_one_mends(
    classroom: Classroom, seconds: dict[str, float]
) -> None:
    """A killed provision is taken up by provision or teardown, and so is a killed teardown."""
    downs = moments(COMMAND_KILLS, seconds["teardown"])
    ups = moments(COMMAND_KILLS, seconds["provision"])
    pairs = zip(downs, ups, strict=True)
    for number, (going, coming) in enumerate(pairs):
        _kill_after(going, classroom.begin(*DOWN))
        if number % 4 == 2:
            _must_be_empty(classroom, f"killed after {going:.2f} s")
        _kill_after(coming, classroom.begin("provision"))
        if number % 4 == 0:
            code, output = classroom.run("provision")
            assert code == 0, f"killed after {going:.2f} s and {coming:.2f} s\n{output}"
            assert classroom.said() == OWN
    assert "nothing to do" in (classroom.must("provision") and classroom.must("provision"))


def test_teardown_of_a_battered_workshop_leaves_nothing(classroom: Classroom) -> None:
    """After a crash of the engine, teardown still ends with an empty inventory."""
    classroom.engine.kill()
    classroom.engine.start()

    receipt = classroom.must("teardown", "--yes")

    assert "leftovers: 0" in receipt
    with contextlib.closing(classroom.engine.client()) as client:
        assert client.containers(all=True) == []
        assert client.images() == []
        assert client.volumes()["Volumes"] in (None, [])
        own = {"bridge", "host", "none"}
        assert [net["Name"] for net in client.networks() if net["Name"] not in own] == []
    assert classroom.engine.bridges() == []


def _kill_after(seconds: float, command: subprocess.Popen[str]) -> None:
    with command:
        time.sleep(seconds)
        command.kill()


def _must_be_empty(classroom: Classroom, when: str) -> None:
    code, receipt = classroom.run(*DOWN)
    assert code == 0, f"{when}\n{receipt}"
    assert classroom.engine.containers() == {}, when
    assert classroom.engine.bridges() == [], when
