"""The app under the server's rules, on the participant's own computer: a real compose, a real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests import layers
from tests.ports import free_port
from tests.template_files.files import COMPOSE, TEMPLATE, breakages, copy_app, read_yaml
from workshop.limits import MIB, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

KEPT_ON_THE_SERVER = {"DATA_DIR", "DOCUMENTS_DIR"}
"""Where an image keeps things is the image's affair."""


def test_every_setting_of_the_example_reaches_the_app() -> None:
    """A variable that stands in `.env` and is not passed on would be a riddle."""
    lines = (TEMPLATE / ".env.example").read_text("utf-8").splitlines()
    known = {line.removeprefix("# ").partition("=")[0] for line in lines if "=" in line}
    passed = set(read_yaml(COMPOSE)["services"]["app"]["environment"])

    assert passed == {name for name in known if name.isupper()} - KEPT_ON_THE_SERVER


def test_limits_are_the_servers() -> None:
    """What a seat gets by default is what the app gets here."""
    app, seat = read_yaml(COMPOSE)["services"]["app"], Limits()

    assert app["mem_limit"] == app["memswap_limit"] == f"{seat.memory // MIB}m"
    assert (app["cpus"], app["pids_limit"]) == (seat.cpus, seat.pids)


def test_breakages_of_the_readme_can_be_made(tmp_path: Path) -> None:
    """Each says what to find in which file, and it is there once."""
    found = breakages()
    for breakage in found:
        breakage.apply(copy_app(tmp_path / str(found.index(breakage))))

    assert len(found) == 5
    assert len({breakage.says for breakage in found}) == 5


class Composed:
    """The template's compose file, driven by its documented commands."""

    def __init__(self, app: Path, name: str, base: str) -> None:
        self.app = app
        self.name = name
        self.port = free_port()
        tool = shutil.which("docker-compose")
        assert tool, "scripts/ensure-test-tools installs docker-compose"
        self._command = [tool, "--project-name", name, "--ansi", "never"]
        # Variables of this machine must not decide a test.
        own = set(read_yaml(COMPOSE)["services"]["app"]["environment"])
        self._environment = {
            **{key: value for key, value in os.environ.items() if key not in own},
            "BASE_IMAGE": base,
            "APP_PORT": str(self.port),
        }

    def run(self, *words: str) -> str:
        """Run one command; it must succeed."""
        done = subprocess.run(
            [*self._command, *words],
            cwd=self.app,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str) -> str:
        """Ask the app, as soon as it answers."""
        until = time.monotonic() + 60
        while True:
            try:
                address = f"http://localhost:{self.port}{path}"
                with urllib.request.urlopen(address, timeout=5) as reply:
                    return str(reply.read().decode())
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < until, self.run("logs")
                time.sleep(0.05)

    def can(self, command: str) -> bool:
        """Whether a command succeeds inside the app's container."""
        words = ["docker", "exec", self.container(), "sh", "-c", command]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def container(self) -> str:
        """Find the app's container."""
        return self.run("ps", "--quiet", "app").strip()

    def left(self) -> list[str]:
        """Name what the engine still has of this project."""
        mark = f"label=com.docker.compose.project={self.name}"
        listings = (
            ["ps", "--all", "--quiet", "--filter", mark],
            ["network", "ls", "--quiet", "--filter", mark],
            ["volume", "ls", "--quiet", "--filter", mark],
        )
        found = (
            subprocess.run(["docker", *listing], capture_output=True, text=True, check=True).stdout
            for listing in listings
        )
        return "".join(found).split()


@pytest.fixture
def base(docker_engine: DockerEngine) -> str:
    """Find the base image, or make it."""
    return layers.base(docker_engine)


@pytest.fixture
def composed(base: str, unique_name: str, tmp_path: Path) -> Iterator[Composed]:
    """Copy the app, and take everything away again whatever happens."""
    found = Composed(copy_app(tmp_path), unique_name, base)
    yield found
    found.run("down", "--rmi", "all", "--volumes")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_up_serves_the_greeting_of_env_under_the_servers_rules(composed: Composed) -> None:
    """One command builds and starts; a change of `.env` is seen at the next; `down` leaves nothing."""
    composed.run("up", "--build", "--detach")
    assert "Hello!" in composed.get("/")

    (composed.app / ".env").write_text("GREETING=Servus\nDISPLAY_NAME=Ada L.\n", "utf-8")
    composed.run("up", "--build", "--detach")
    page = composed.get("/")
    assert "Servus!" in page
    assert "Ada L." in page
    assert_confined(composed)

    composed.run("down")
    assert composed.left() == []


def assert_confined(composed: Composed) -> None:
    """See with the engine's eyes, and from inside, that the rules are those of a seat."""
    listed = subprocess.run(
        ["docker", "inspect", composed.container()], capture_output=True, text=True, check=True
    )
    (found,) = json.loads(listed.stdout)
    host: dict[str, Any] = found["HostConfig"]
    seat = Limits()

    assert found["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == host["MemorySwap"] == seat.memory
    assert (host["NanoCpus"], host["PidsLimit"]) == (seat.cpus * 1e9, seat.pids)
    assert {port["HostIp"] for port in host["PortBindings"]["8000/tcp"]} == {"127.0.0.1"}
    assert composed.can("touch /tmp/x")
    assert not composed.can("touch /srv/x")
    assert not composed.can("test -e /srv/.env")
