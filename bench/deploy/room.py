"""The class that is deployed to, driven by commands, and when something new answers in it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.deploy.engine import PATIENCE
from tests.ports import free_port

from workshop.health import fetch
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.workspace import Survey

DRAIN = 10
"""Seconds that an old version's streams may go on."""
_PLATFORM = Path(__file__).parents[2] / "platform"
_LOOK = 0.01


@dataclass
class Room:
    """One workshop, driven by commands."""

    directory: Path
    seats: int
    port: int = 0
    greetings: Iterator[int] = field(default_factory=itertools.count)

    def write(self) -> None:
        """Write roster and template."""
        self.port = free_port()
        self.run("init", ".")
        people = "".join(f"  - p{number}\n" for number in range(self.seats))
        (self.directory / "participants.yaml").write_text(
            f"workshop:\n  name: bench-deploy\n  url: http://localhost:{self.port}\n  llm: false\n"
            f"  deploys: {{keep: 0, per_minute: 600, drain_seconds: {DRAIN}}}\n  board: false\n"
            f"participants:\n{people}",
            "utf-8",
        )

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Give the words of a command and its environment."""
        words = [sys.executable, "-m", "workshop", *arguments]
        return words, {**os.environ, "PYTHONPATH": str(_PLATFORM)}

    def run(self, *arguments: str) -> str:
        """Run a command and require that it succeeds."""
        words, environment = self.command(*arguments)
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def json(self, command: str, *arguments: str) -> Any:
        """Run a command and read its document."""
        return json.loads(self.run(command, *arguments, "--json"))

    @property
    def host(self) -> str:
        """What images are called by."""
        return f"localhost:{self.port}"

    def key(self, name: str) -> str:
        """Give a participant's key."""
        return str(self.json("keys", "show", name)[0]["key"])

    def survey(self) -> Survey:
        """Look at the class."""
        return survey(Workspace(self.directory / "participants.yaml"))

    def version(self, name: str) -> str:
        """Ask which version answers under ``name`` through the edge; empty while none does."""
        try:
            answer = asyncio.run(fetch("127.0.0.1", self.port, f"/{name}/whoami", "localhost"))
        except (OSError, EOFError, TimeoutError, ValueError):
            return ""
        said = answer.json()
        return str(said.get("version", "")) if isinstance(said, dict) else ""

    def change(self) -> Path:
        """Change one line of the app."""
        source = self.directory / "participant_template"
        path = source / "app" / "settings.py"
        lines = path.read_text("utf-8").splitlines()
        (place,) = [n for n, line in enumerate(lines) if line.strip().startswith("greeting: str")]
        lines[place] = f'    greeting: str = "Hello number {next(self.greetings)}"'
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return source

    def base(self) -> str:
        """Name the base image."""
        return next(spec.base for spec in self.survey().desired.images if spec.base) or ""


class NewVersion:
    """Watches one seat and notes when something else answers than before."""

    def __init__(self, room: Room, name: str) -> None:
        self.before = room.version(name)
        self.at = 0.0
        self._room, self._name = room, name
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self) -> float:
        """Give the moment, in seconds since 1970."""
        self._thread.join(PATIENCE)
        if not self.at:
            print(self._room.run("deploys", self._name))
            raise AssertionError("the new version never came live")
        return self.at

    def _watch(self) -> None:
        until = time.time() + PATIENCE
        while time.time() < until:
            if self._room.version(self._name) not in {"", self.before}:
                self.at = time.time()
                return
            time.sleep(_LOOK)


def settled(room: Room, name: str) -> dict[str, Any]:
    """Wait until the log has the last word on what is live; returns it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = room.json("deploys", name, "--last", "1")
        if found and found[-1]["stage"] == "live" and found[-1]["version"] == room.version(name):
            return dict(found[-1])
        time.sleep(0.2)
    raise AssertionError(f"the log knows nothing of what {name} runs: {found}")
