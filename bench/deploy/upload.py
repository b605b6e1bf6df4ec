"""An upload of a zip with a one-line change, against a build by the engine, create and start."""

from __future__ import annotations

import contextlib
import http.client
import io
import threading
import time
import zipfile
from typing import TYPE_CHECKING

from bench.deploy.engine import PATIENCE, Bare, build, docker
from bench.deploy.ratio import Ratios, in_turn
from bench.deploy.room import NewVersion, settled

from workshop import context

if TYPE_CHECKING:
    from pathlib import Path

    from bench.deploy.room import Room


def measure(room: Room, rounds: int) -> None:
    """Upload a one-line change and compare with build, start, ready."""
    key, base = room.key("p0"), room.base()
    bare, figures = Bare(room.survey()), Ratios("upload")

    def ours() -> float:
        body = _packed(room.change())
        watched, begun = NewVersion(room, "p0"), time.time()
        answer = threading.Thread(target=_send, args=(room, key, body))
        answer.start()
        seconds = watched.wait() - begun
        answer.join(PATIENCE)
        settled(room, "p0")
        return seconds

    def floor() -> float:
        source, image = room.change(), "bench-deploy-bare:1"
        seconds = build(source, image, base) + bare.start(image)
        docker("rmi", image)
        return seconds

    ours(), floor()  # the caches
    for number in range(rounds):
        figures.add(*in_turn(number, ours, floor))
    figures.close()


def _packed(source: Path) -> bytes:
    """Make the zip a participant would."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in context.files(source):
            if (source / name).is_file():
                archive.write(source / name, name)
    return made.getvalue()


def _send(room: Room, key: str, body: bytes) -> None:
    """Upload like `curl -T`, and read the answer to its end."""
    connection = http.client.HTTPConnection("localhost", room.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("PUT", "/deploy/p0", body, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        said = answer.read().decode()
        assert said.split()[-1] == "deployed", (answer.status, said)
