"""A class of light seats on a private engine whose disk may be filled."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.engines.private import Disk, PrivateEngine, private_engine
from tests.faults.room import APP, ROSTER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKERFILE = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY . /srv/\nCMD ["python3", "/srv/app.py"]\n'


@dataclass
class Class:
    """A workshop on an engine whose disk may be filled."""

    engine: PrivateEngine
    roster: Path
    names: tuple[str, ...]
    port: int

    @property
    def root(self) -> Path:
        """The engine's own directory."""
        return self.engine.root

    @property
    def app(self) -> Path:
        """What seats are made of."""
        return self.roster.parent / "participant_template"

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command that must not end in a traceback; lines are as long as they are."""
        code, output = self.engine.workshop(self.roster, *words)
        assert "Traceback" not in output, output
        return code, " ".join(output.split())

    def must(self, *words: str) -> str:
        """Run a command that must succeed."""
        code, output = self.run(*words)
        assert code == 0, output
        return output

    def change(self, *, size: int = 0, files: int = 0) -> None:
        """Change what seats are made of, and add so many bytes and files."""
        (self.app / "change").write_text(uuid.uuid4().hex)
        (self.app / "payload").write_bytes(os.urandom(size))
        (self.app / "many").mkdir(exist_ok=True)
        for number in range(files):
            (self.app / "many" / str(number)).touch()

    def who(self) -> dict[str, str]:
        """Ask every seat through the edge who it is."""
        return self.engine.who_answers(self.port, self.names)

    def served(self) -> None:
        """See that everybody is at home."""
        assert self.who() == {name: name for name in self.names}

    def holds(self) -> dict[str, Any]:
        """Name everything the engine holds: containers, images without a name too, half uploads."""
        with contextlib.closing(self.engine.client()) as client:
            images = client.images(all=True)
            containers = client.containers(all=True)
        return {
            "containers": sorted((item["Id"], item["State"]) for item in containers),
            "images": sorted(item["Id"] for item in images),
            "half done": sorted(path.name for path in (self.root / "tmp").iterdir()),
        }


@contextlib.contextmanager
def provisioned(
    directory: Path, names: tuple[str, ...], port: int, disk: Disk, deploys: str = "false"
) -> Iterator[Class]:
    """Provision a class on an engine of its own; nothing of it stays."""
    app = directory / "participant_template"
    app.mkdir()
    (app / "Dockerfile").write_text(DOCKERFILE)
    (app / "app.py").write_text(APP)
    roster = directory / "participants.yaml"
    name = f"full-{uuid.uuid4().hex[:6]}"
    text = ROSTER.format(name=name, port=port, deploys=deploys, people=", ".join(names))
    roster.write_text(text)
    with private_engine(disk=disk) as engine:
        engine.take_images(roster)
        found = Class(engine, roster, names, port)
        found.must("provision")
        yield found
