"""Several commands at once, signals, and a holder of the lock that dies.

The large mixture, deploys among it, works on a memory engine that all its processes share: what is
looked for there is between commands, and containers would add nothing but time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.faults import killing
from tests.faults.room import ROOT, drive, room
from tests.faults.shared import World
from tests.waiting import SOON, until

from workshop import operations, roster
from workshop.deploys import current
from workshop.deploys.config import ORDERS
from workshop.errors import Locked
from workshop.intake import orders
from workshop.labels import Role
from workshop.lock import apply_lock
from workshop.proxy.switch import GREEN, Switch
from workshop.teardown import teardown

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.killing import Effects
    from tests.faults.room import Room, Turns

    from workshop.engines.docker import DockerEngine

ROUNDS = 3
COMMANDS = 8
ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
BUSY = 75
MINGLED = int(os.environ.get("WORKSHOP_TEST_MINGLED", "3"))
"""Rounds of the large mixture."""
CLASS = """\
workshop:
  name: class
  url: http://localhost:18999
  llm: false
  deploys: {drain_seconds: 0, per_minute: 600}
participants: [ada, bob, carol, dave]
"""
PEOPLE = ("ada", "bob", "carol", "dave")
PASSING = ("eve", "frank")
"""Who comes and goes."""
CODES = {
    "provision": {0, BUSY},
    "plan": {0},
    "status": {0, 1},
    "add": {0, 2, BUSY},
    "remove": {0, 2, BUSY},
    "restart": {0, 2, BUSY},
    "reset": {0, 2, BUSY},
    "deploy": {0, 1, 2},
    "rollback": {0, 1, 2},
}
"""Exit codes that the manual has for each command in a class that others change meanwhile."""


def test_dead_holder_of_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    """The kernel lets go of what a killed process held; the next one starts at once."""
    path = tmp_path / "lock"

    def hold(_: Effects) -> None:
        with apply_lock(path):
            (tmp_path / "held").touch()
            signal.pause()

    fork = killing.Fork(tmp_path, hold)
    while not (tmp_path / "held").exists():
        assert fork.running()
    with pytest.raises(Locked, match=f"process {fork.pid}"), apply_lock(path, seconds=0):
        pass

    fork.kill()
    begun = time.monotonic()
    with apply_lock(path):
        seconds = time.monotonic() - begun

    assert fork.wait().killed
    assert seconds < SOON


@pytest.fixture(scope="module")
def standing(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    """Make a class of three whose images stand ready."""
    with room(tmp_path_factory.mktemp("once"), "once", ("ada", "bob", "carol")) as found:
        drive([found.provision()])
        yield found


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_eight_commands_at_once_have_one_result(standing: Room, dice: random.Random) -> None:
    """Each does its work alone, or is told whose turn it is; nothing ever stands twice."""
    drive([mixed(standing, ROUNDS, dice)])

    assert standing.heard.wrong == []


def mixed(found: Room, rounds: int, dice: random.Random) -> Turns:
    """Start commands all at once, see how each ends, and that one provision makes it whole."""

    def command(effects: Effects, what: str) -> None:
        try:
            if what == "up":
                operations.provision(found.work(effects))
            elif what == "down":
                teardown(found.work(effects), keep_images=True)
            else:
                operations.restart(found.work(effects), [dice.choice(found.people)])
        except Locked as exc:
            assert "process" in exc.message
            assert exc.exit_code == BUSY

    for _ in range(rounds):
        words = [dice.choice(("up", "up", "down", "again")) for _ in range(COMMANDS)]
        forks = [
            killing.Fork(found.home, lambda effects, what=what: command(effects, what))
            for what in words
        ]
        while sum(fork.running() for fork in forks if not fork.over):
            found.listen()
            yield
        for fork in forks:
            assert not fork.ended().words, words
        yield from found.provision()
        names = Counter(found.names().values())
        assert sorted(names) == sorted(f"{found.name}-{who}" for who in (*found.people, "edge"))
        assert set(names.values()) == {1}
        assert operations.plan(found.work()).is_empty


@pytest.fixture
def as_from_a_terminal(number: signal.Signals) -> Iterator[None]:
    """Let programs that are started heed a signal, which those in the background may ignore."""
    before = signal.signal(number, signal.default_int_handler)
    yield
    signal.signal(number, before)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.usefixtures("as_from_a_terminal")
@pytest.mark.parametrize("number", list(ENDS))
def test_signalled_command_ends_with_its_number_and_is_taken_up(
    standing: Room, number: signal.Signals, dice: random.Random
) -> None:
    """128 and the signal's number, as shells count; what it left is a difference like any other."""
    drive([standing.teardown()])
    with subprocess.Popen(
        [sys.executable, "-m", "workshop", "provision", "--roster", str(standing.roster)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform"), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        while not (standing.home / "unproven").exists():
            assert command.poll() is None
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.5))
        command.send_signal(number)
        output, _ = command.communicate(timeout=60)

    assert command.returncode == ENDS[number], output
    assert "Traceback" not in output
    drive([standing.provision()])
    assert operations.plan(standing.work()).is_empty


# -- the large mixture ------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Provision a class of four on an engine that many processes share, with a server at work."""
    for name in [name for name in os.environ if name.startswith("WORKSHOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WORKSHOP_WORKERS", "2")
    template = tmp_path / "room/participant_template"
    template.mkdir(parents=True)
    (template / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n", "utf-8")
    (tmp_path / "room/participants.yaml").write_text(CLASS, "utf-8")
    found = World(tmp_path / "room")
    try:
        code, said = found.command("provision").ended()
        assert code == 0, said
        found.serve()
        yield found
    finally:
        found.end()


@pytest.mark.timeout(3600)
def test_commands_and_deploys_at_once_have_one_result(world: World, dice: random.Random) -> None:
    """Deploy, add, remove, restart, reset, provision and status all at once, again and again."""
    ends = Counter(end for _ in range(MINGLED) for end in mingled(world, dice))

    # A mixture in which nothing gets through would show nothing.
    done = {what for what, code in ends if code == 0}
    assert done & {"provision", "add", "remove", "restart", "reset"}
    assert done & {"deploy", "rollback"}


def mingled(world: World, dice: random.Random) -> list[tuple[str, int]]:
    """Begin a dozen commands at once; how each ended, once one result was seen."""
    begun = [world.command(*_drawn(dice, what)) for what in (*CODES, "add", "deploy", "provision")]
    ends = []
    for command in begun:
        code, said = command.ended()
        assert "Traceback" not in said, (command.words, said)
        assert code in CODES[command.words[0]], (command.words, code, said)
        assert code == 0 or said.strip(), command.words
        ends.append((command.words[0], code))
    until(lambda: _is_quiet(world))
    _must_be_one(world)
    return ends


def _drawn(dice: random.Random, what: str) -> tuple[str, ...]:
    one = dice.choice((*PEOPLE, *PASSING))
    return {
        "add": (what, dice.choice(PASSING)),
        "remove": (what, dice.choice(PASSING), "--yes"),
        "restart": (what, one),
        "reset": (what, one, "--yes"),
        "deploy": (what, dice.choice((one, "ada")), "--image", "class/other:1"),
        "rollback": (what, one, "--to", "template"),
    }.get(what, (what,))


def _is_quiet(world: World) -> bool:
    """Whether no order is left, and no version is on its way out."""
    if orders.waiting(world.home / "deploys" / ORDERS):
        return False
    seen = world.engine.observe("class").containers
    return max(Counter(item.key for item in seen if item.role is Role.SEAT).values()) == 1


def _must_be_one(world: World) -> None:
    """Require that roster, record, routes and engine say the same, without any further command."""
    people = {person.name for person in roster.load(world.roster).participants}
    greens = {
        name for name, held in current.load(world.home / "deploys").items() if held.is_green
    } & people
    seen = world.engine.observe("class").containers
    seats = sorted(item.name for item in seen if item.role is Role.SEAT)
    assert seats == sorted(f"class-{n}.green" if n in greens else f"class-{n}" for n in people)
    assert Switch(world.home / "edge" / GREEN).greens() & people == greens
    made = operations.plan(world.work())
    assert made.is_empty, str(made)
