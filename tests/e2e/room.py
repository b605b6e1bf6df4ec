"""A class for end-to-end tests, driven the way an instructor drives it: by commands."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import layers
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.engines.docker import DockerEngine

ROOT = Path(__file__).resolve().parents[2]


class Class:
    """One workshop, driven the way an instructor drives it: by commands."""

    def __init__(self, directory: Path, name: str, port: int) -> None:
        self.directory = directory
        self.name = name
        self.port = port

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command and require its exit status."""
        done = subprocess.run(
            [sys.executable, "-m", "workshop", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == status, (
            f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Run a command with --json and read its document."""
        command, *rest = arguments
        return json.loads(self.run(command, "--json", *rest, status=status).stdout)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Fetch ``path`` from the edge as a visitor does."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body
        finally:
            connection.close()

    def whoami(self, name: str) -> str:
        """Ask who answers under ``name``."""
        status, _, body = self.get(f"/{name}/whoami")
        assert status == 200, (name, status, body[:200])
        return str(json.loads(body)["participant"])

    def containers(self) -> dict[str, str]:
        """Map each participant to the id of the container, as the engine tells."""
        listed = subprocess.run(
            ["docker", "ps", "-a", "--no-trunc", "--filter", f"label=workshop.name={self.name}"]
            + ["--format", '{{.Label "workshop.participant"}} {{.ID}}'],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        # A build under way has containers too, which are nobody's.
        return dict(line.split() for line in listed.splitlines() if not line.startswith(" "))


@contextlib.contextmanager
def provisioned(
    engine: DockerEngine, directory: Path, name: str, roster: str, fill: Callable[[Path], object]
) -> Iterator[Class]:
    """Provision a class from nothing, and require that teardown leaves nothing.

    Args:
        engine: where to look for leftovers.
        directory: an empty one.
        name: what the workshop is called; the process' number is added.
        roster: its text, with ``{name}`` and ``{port}``.
        fill: puts sources into the directory before the roster is written.

    """
    layers.base(engine)
    port = free_port()
    name = f"{name}-{os.getpid()}"
    room = Class(directory, name, port)
    fill(directory)
    # Classes that begin at the same moment in sessions side by side must not choose the same one.
    own = f"workshop:\n  network: 10.{100 + os.getpid() % 100}.8.0/21\n"
    text = roster.format(name=name, port=port).replace("workshop:\n", own, 1)
    (directory / "participants.yaml").write_text(text)
    try:
        document = room.json("provision")
        assert document["ok"], document
        layers.keep(name)
        yield room
    finally:
        receipt = room.json("teardown", "--yes")
        assert receipt["leftovers"] == 0, receipt
    assert engine.leftovers(name) == []
    assert not (directory / ".workshop").exists()


def initialise(directory: Path) -> None:
    """Fill a directory as `workshop init` does."""
    Class(directory, "", 0).run("init", ".")
