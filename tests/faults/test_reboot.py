"""F17: the host is rebooted. The written units bring the class back, behind its wall.

A private engine plays the machine: all processes are killed, and network, firewall and /run are
gone. Then the command lines of the unit files are run, in the order systemd keeps.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.engines.private import PrivateEngine, private_engine, require, write_class

from workshop import roster as rosters
from workshop import service, state
from workshop.subnets import bridge_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 18477
NAMES = ("ada", "bob", "carol")
OWN = dict(zip(NAMES, NAMES, strict=True))
PATIENCE = 120.0


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[PrivateEngine]:
    """Run a private engine; ``docker_engine`` is where its images are built."""
    del docker_engine
    require(request)
    with private_engine(default_bridge=True) as started:
        yield started


def must(engine: PrivateEngine, roster: Path, *words: str) -> str:
    """Run a command that must succeed."""
    code, output = engine.workshop(roster, *words)
    assert code == 0, output
    return output


def lines(unit: Path, key: str) -> list[str]:
    """Read the values of one key of a unit."""
    found = (line.partition("=") for line in unit.read_text("utf-8").splitlines())
    return [value for name, _, value in found if name == key]


def plain(text: str) -> str:
    """Take systemd's escapes out of what is no list of words."""
    return text.replace("%%", "%")


def run_unit(engine: PrivateEngine, unit: Path) -> str:
    """Do what systemd does with a oneshot unit, as far as it concerns a command."""
    for condition in lines(unit, "ConditionPathExists"):
        if not os.path.exists(plain(condition)):  # noqa: PTH110 - the text as systemd takes it
            return "skipped"
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for file in lines(unit, "EnvironmentFile"):
        with contextlib.suppress(FileNotFoundError), open(plain(file.lstrip("-"))) as text:  # noqa: PTH123
            environment |= dict(item.split("=", 1) for item in shlex.split(text.read()))
    environment |= dict(item.split("=", 1) for item in lines(unit, "Environment"))
    said = ""
    for command in (*lines(unit, "ExecStartPre"), *lines(unit, "ExecStart")):
        words = [plain(word).replace("$$", "$") for word in shlex.split(command.lstrip("-+"))]
        done = subprocess.run(
            ["nsenter", f"--net={engine.namespace}", *words],
            env=environment,
            cwd=next(map(plain, lines(unit, "WorkingDirectory")), "/"),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        said += done.stdout + done.stderr
        assert done.returncode == 0, said
    return said


def wall_problem(engine: PrivateEngine, prefix: str) -> str:
    """Say what of the wall is missing, or is too late in its chain; empty where it stands."""
    rules = engine._output("iptables-save", "-t", "filter")
    wanted = {
        "FORWARD": "-A FORWARD -j DOCKER-USER",
        "DOCKER-USER": f"-A DOCKER-USER -i {prefix}+ -j {prefix}-forward",
        "INPUT": f"-A INPUT -i {prefix}+ -j {prefix}-input",
    }
    for chain, line in wanted.items():
        found = [rule for rule in rules.splitlines() if rule.startswith(f"-A {chain} ")]
        if line not in found[:1]:
            return f"{chain} begins with {found[:1]}, not {line}"
    for chain in ("forward", "input"):
        if f"-A {prefix}-{chain} -g {prefix}-refuse" not in rules:
            return f"{prefix}-{chain} does not end in a refusal"
    return ""


class Guard:
    """Looks again and again, while something starts, whether a seat has a way out past the wall."""

    def __init__(self, engine: PrivateEngine, prefix: str) -> None:
        self.looks = 0
        self.gaps: list[str] = []
        self._engine, self._prefix = engine, prefix
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            # A seat is connected before its first process runs.
            connected = f"master {self._prefix}" in self._engine._output("ip", "-o", "link")
            trouble = wall_problem(self._engine, self._prefix)
            self.looks += connected
            if connected and trouble:
                self.gaps.append(trouble)


def test_rebooted_host_has_its_wall_first_and_then_everybody_on_the_own_seat(
    engine: PrivateEngine, tmp_path: Path
) -> None:
    """The wall stands before the engine starts and never opens; everybody is back, nobody moved."""
    home = tmp_path / "class of 100% $HOME"
    roster = write_class(home, PORT, NAMES)
    engine.take_images(roster)
    must(engine, roster, "provision")
    units = tmp_path / "units"
    units.mkdir()
    must(engine, roster, "install-service", "--directory", str(units))
    name = rosters.load(roster).name
    boot, wall, repair, _ = (units / item for item in service.unit_names(name))
    prefix = bridge_name(name, 0)[:11]
    before = engine.containers()
    assert wall_problem(engine, prefix) == ""

    engine.power_off()
    (home / state.DIRECTORY / "lock").write_text("1\n", "ascii")
    engine.prepare()
    bare = wall_problem(engine, prefix)
    begun = time.monotonic()
    run_unit(engine, wall)
    with Guard(engine, prefix) as guard:
        engine.start()
        said = run_unit(engine, boot)
        # The engine starts what it was to start; an app needs a moment more.
        while (answers := engine.who_answers(PORT, NAMES)) != OWN:
            assert set(answers.items()) <= {*OWN.items(), *((name, "") for name in NAMES)}
            assert time.monotonic() - begun < 120, said
            time.sleep(0.1)
    seconds = time.monotonic() - begun

    assert bare, "the power failure left the wall standing, so this test proves nothing"
    assert guard.gaps == []
    assert guard.looks > 2
    assert engine.containers() == before
    assert seconds < 120, "F17: everybody is up two minutes after the engine"
    assert "nothing to do" in run_unit(engine, repair)

    must(engine, roster, "teardown", "--yes")
    assert run_unit(engine, boot) == run_unit(engine, repair) == run_unit(engine, wall) == "skipped"
    assert engine.bridges() == []
