"""Several commands at once, signals, and a holder of the lock that dies."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.faults import killing
from tests.faults.room import ROOT, drive, room

from workshop import operations
from workshop.errors import Locked
from workshop.lock import apply_lock
from workshop.teardown import teardown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.killing import Effects
    from tests.faults.room import Room, Turns

    from workshop.engines.docker import DockerEngine

ROUNDS = 3
COMMANDS = 8
ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
BUSY = 75


def test_dead_holder_of_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    """The kernel lets go of what a killed process held; the next one starts within a second."""
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
    assert seconds < 1


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
def test_eight_commands_at_once_have_one_result(standing: Room) -> None:
    """Each does its work alone, or is told whose turn it is; nothing ever stands twice."""
    drive([mixed(standing, ROUNDS, random.Random())])

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


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", list(ENDS))
def test_signalled_command_ends_with_its_number_and_is_taken_up(
    standing: Room, number: signal.Signals
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
        time.sleep(random.uniform(0, 0.5))
        command.send_signal(number)
        output, _ = command.communicate(timeout=60)

    assert command.returncode == ENDS[number], output
    assert "Traceback" not in output
    drive([standing.provision()])
    assert operations.plan(standing.work()).is_empty
