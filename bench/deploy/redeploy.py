"""A whole class redeployed at once, while everybody's app is visited."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.deploy.engine import PATIENCE, build, docker
from bench.deploy.room import DRAIN

if TYPE_CHECKING:
    from bench.deploy.room import Room

ASK_SECONDS = 0.2
NOTICE = 1.0
"""Seconds by which a client's own clock may be behind a move."""
STREAMS = """
import asyncio, os
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/healthz")
async def healthz():
    return {"status": "ok"}

@app.get("/whoami")
async def whoami():
    return {"participant": os.environ["WORKSHOP_PARTICIPANT"], "version": os.environ["WORKSHOP_VERSION"]}

@app.get("/events")
async def events():
    async def tell():
        while True:
            yield "data: LINE\\n\\n"
            await asyncio.sleep(0.5)
    return StreamingResponse(tell(), media_type="text/event-stream")
"""


def measure(room: Room) -> None:
    """Redeploy the whole class under load, and count what anybody noticed."""
    # What stands on the engine: the sources have changed since.
    (template,) = docker(
        "images", "--format", "{{.Repository}}:{{.Tag}}", "bench-deploy/app"
    ).split()
    images = [streaming_image(room, template, label) for label in ("old", "new")]
    room.run("deploy", "--all", "--image", images[0])
    crowd, seconds = asyncio.run(redeploy(room, images[1]))
    failures = [f"{seat.name}: {text}" for seat in crowd.seats for text in seat.failures]
    cut = [text for seat in crowd.seats for text in early(seat)]
    moved = sum(len(seat.versions) > 1 for seat in crowd.seats)
    for text in (*failures[:10], *cut[:10]):
        print(f"  {text}")
    asked, events = sum(s.asked for s in crowd.seats), sum(s.events for s in crowd.seats)
    print(
        f"all at once: {moved} of {room.seats} seats redeployed in {seconds:.1f} s, {asked} requests"
        f" of which {len(failures)} failed, {events} events on {room.seats} open streams of which"
        f" {len(cut)} ended before their time"
    )
    for image in images:
        docker("rmi", image)


@dataclass
class Watched:
    """What one seat's visitors saw."""

    name: str
    asked: int = 0
    failures: list[str] = field(default_factory=list)
    versions: list[tuple[float, str]] = field(default_factory=list)
    """When each version was first seen."""
    events: int = 0
    ends: list[tuple[float, str]] = field(default_factory=list)
    """When a stream ended, and which version it came from."""


class Crowd:
    """Every seat's two visitors: one asks again and again, one holds a stream open."""

    def __init__(self, room: Room) -> None:
        self.seats = [Watched(f"p{number}") for number in range(room.seats)]
        self._port = room.port
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Start all of them and return when every stream has begun."""
        for seat in self.seats:
            self._tasks += [
                asyncio.create_task(self._ask(seat)),
                asyncio.create_task(self._listen(seat)),
            ]
        async with asyncio.timeout(PATIENCE):
            while not all(seat.events and seat.versions for seat in self.seats):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def end(self) -> None:
        """Stop all of them; what stops now did not fail."""
        self._over.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(
        self, seat: Watched, path: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            f"GET /{seat.name}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        return reader, writer, int(head.split()[1])

    async def _ask(self, seat: Watched) -> None:
        while not self._over.is_set():
            begun = time.time()
            try:
                async with asyncio.timeout(10):
                    reader, writer, status = await self._open(seat, "/whoami")
                    said = json.loads(await reader.read())
                    writer.close()
                assert status == 200, status
                assert said["participant"] == seat.name, said
                if not seat.versions or seat.versions[-1][1] != said["version"]:
                    seat.versions.append((time.time(), said["version"]))
            except (OSError, EOFError, TimeoutError, ValueError, KeyError, AssertionError) as exc:
                seat.failures.append(f"{begun:.2f} {type(exc).__name__}: {exc}")
            seat.asked += 1
            await asyncio.sleep(max(0.0, ASK_SECONDS - (time.time() - begun)))

    async def _listen(self, seat: Watched) -> None:
        while not self._over.is_set():
            line = b""
            try:
                reader, writer, status = await self._open(seat, "/events")
                assert status == 200, status
                while found := await reader.readline():
                    if found.startswith(b"data:"):
                        line, seat.events = found, seat.events + 1
                writer.close()
            except (OSError, EOFError, AssertionError) as exc:
                seat.failures.append(f"{time.time():.2f} stream: {type(exc).__name__}: {exc}")
            seat.ends.append((time.time(), line.decode().removeprefix("data: ").strip()))


def streaming_image(room: Room, template: str, label: str) -> str:
    """Make an image whose app streams without end, and whose events carry ``label``."""
    tag = f"bench-deploy-streams:{label}"
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        (source / "streams.py").write_text(STREAMS.replace("LINE", label), "utf-8")
        (source / "Dockerfile").write_text(
            f"FROM {template}\nCOPY streams.py /srv/streams.py\n"
            'CMD ["python", "-m", "uvicorn", "streams:app", "--port", "8000", "--no-access-log"]\n'
        )
        build(source, tag, room.base())
    return tag


async def redeploy(room: Room, image: str) -> tuple[Crowd, float]:
    """Redeploy everybody while everybody is visited."""
    crowd = Crowd(room)
    await crowd.begin()
    begun = time.time()
    words, environment = room.command("deploy", "--all", "--image", image)
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=room.directory,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    seconds = time.time() - begun
    assert process.returncode == 0, said.decode()[-3000:]
    # The last seat's old stream still has its time.
    await asyncio.sleep(DRAIN + 3)
    await crowd.end()
    return crowd, seconds


def early(seat: Watched) -> list[str]:
    """Tell which streams ended before their time."""
    moved = {version: at for at, version in seat.versions[1:]}
    first_move = min(moved.values(), default=float("inf"))
    return [
        f"{seat.name}: a stream of {label or 'nobody'} ended {at - first_move:+.1f} s after the move"
        for at, label in seat.ends
        if label != "old" or at < first_move + DRAIN - NOTICE
    ]
