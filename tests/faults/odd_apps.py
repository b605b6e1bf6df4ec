"""Apps that are wrong in one way each, as images beside a class's own."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING

from tests.faults.room import APP

from workshop import roster as rosters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from docker import APIClient
    from tests.engines.private import PrivateEngine

CRASHES = "import sys; sys.exit('the database is not where I was told')"
SILENT = "import time; time.sleep(3600)"
UNWELL = APP.replace("send_response(200)", "send_response(503)")
DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{APP}"
"""It runs on until the engine kills it."""


@contextlib.contextmanager
def instead(engine: PrivateEngine, roster: Path, programs: Mapping[str, str]) -> Iterator[None]:
    """Let some participants, by name, ask for an image that runs a program of Python.

    At the end everybody is back at the class's own.
    """
    text = roster.read_text("utf-8")
    with contextlib.closing(engine.client()) as client:
        own = f"{rosters.load(roster).name}/app:"
        tags = [tag for item in client.images() for tag in item["RepoTags"] or ()]
        base = next(tag for tag in tags if tag.startswith(own))
        made = [_build(client, base, name, program) for name, program in programs.items()]
        changed = text
        for name, tag in zip(programs, made, strict=True):
            changed = changed.replace(f"  - {name}\n", f"  - {{name: {name}, image: '{tag}'}}\n")
        roster.write_text(changed, "utf-8")
        try:
            yield
        finally:
            roster.write_text(text, "utf-8")
            code, output = engine.workshop(roster, "provision")
            for tag in made:
                client.remove_image(tag)
    assert code == 0, output


def _build(client: APIClient, base: str, name: str, program: str) -> str:
    tag = f"odd.example.org/{name}:1"
    command = json.dumps(["python3", "-c", program])
    recipe = io.BytesIO(f"FROM {base}\nCMD {command}\n".encode())
    said = list(client.build(fileobj=recipe, tag=tag, rm=True, forcerm=True, decode=True))
    assert not any("error" in line for line in said), said
    return tag
