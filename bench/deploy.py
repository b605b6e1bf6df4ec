"""Deploys against the bare engine, and a whole class redeployed under load.

    python bench/deploy.py [--rounds 5] [--seats 30]

1. *Push* of a one-line change to live. The clock runs from the moment ``docker push`` returns, and a
   second one from the moment the push was announced, until the new version answers ``/p0/whoami``
   through the edge. *Bare*: ``docker pull`` of the digest of another such push, made while the server
   of deploys was held, then create and start with the same flags, until ``/healthz`` answers.
   The push comes from an engine of its own, as it would from a laptop: what it holds, the server's
   engine does not.
2. *Upload* of a zip with a one-line change, from the first byte sent until the new version answers
   as above. *Bare*: the classic ``docker build`` of the same change with a warm cache, create,
   start, ``/healthz``.
3. *All at once*: ``workshop deploy --all --image`` while every seat has an open stream of events and
   a client that asks five times a second. Counted are requests that failed and streams that ended
   before their time: an old version's stream may end ``drain_seconds`` after its seat's route has
   moved, no other may end at all.

Bare arms go through the engine's API, not through a command, and wait on the same machine. Both
arms of a round run one after the other, in an order that changes; what counts is the ratio within a
round. It needs root, for the second engine, which has a network namespace of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http.client
import io
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from tests.engines.private import private_engine  # noqa: E402 - after the path
from tests.ports import free_port  # noqa: E402

from workshop import context  # noqa: E402 - after the path
from workshop.engines.docker import DockerEngine  # noqa: E402
from workshop.health import fetch  # noqa: E402
from workshop.specs import PORT  # noqa: E402
from workshop.subnets import REGISTRY_PORT, own_loopback, seat_address  # noqa: E402
from workshop.workspace import Workspace, survey  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.private import PrivateEngine

    from workshop.workspace import Survey

SOCKET = "/var/run/docker.sock"
DOCKER = "/usr/bin/docker"
PATIENCE = 180.0
LOOK = 0.01
DRAIN = 10
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


class RawEngine(http.client.HTTPConnection):
    """An HTTP connection to the engine's socket, and nothing else."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """Make one call and return the answer."""
        if not isinstance(body, bytes | None):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        self.request(method, path, body, headers)
        answer = self.getresponse()
        raw = answer.read()
        assert answer.status < 300, (path, answer.status, raw[-400:])
        return raw


def engine(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make one call on a connection of its own; a stream of documents comes back as a list."""
    with contextlib.closing(RawEngine("engine")) as connection:
        raw = connection.call(method, path, body, **headers)
    found = [json.loads(line) for line in raw.splitlines() if line]
    assert not [item for item in found if isinstance(item, dict) and "error" in item], found[-3:]
    return found


def docker(*words: str, host: str = "", **more: Any) -> str:
    """Run the docker command."""
    at = ["--host", host] if host else []
    done = subprocess.run(
        [DOCKER, *at, *words],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **more,
    )
    assert done.returncode == 0, (words, done.stdout[-2000:])
    return str(done.stdout)


# -- the class --------------------------------------------------------------------------------


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

    def run(self, *arguments: str) -> str:
        """Run a command and require that it succeeds."""
        done = subprocess.run(
            [sys.executable, "-m", "workshop", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
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
            time.sleep(LOOK)


# -- bare -------------------------------------------------------------------------------------


class Bare:
    """A container with a seat's flags and no workshop around it."""

    def __init__(self, seen: Survey) -> None:
        spec = seen.desired.seats[0]
        # The green address of a slot nobody has.
        self.address = seat_address(seen.choices.network, 249, green=True)
        self._spec = replace(spec, name="bench-deploy-bare", address=self.address)
        self._docker = DockerEngine()

    def start(self, image: str) -> float:
        """Create, start and wait for /healthz; returns the seconds, and removes it again."""
        spec, api = self._spec, self._docker
        config = api._api.create_container_config(
            image,
            None,
            hostname=spec.key,
            user=spec.user,
            environment=dict(spec.env),
            healthcheck={"test": ["NONE"]},
            stop_timeout=3,
            host_config=api._host_config(spec),
            networking_config=api._networking(spec),
        )
        begun = time.monotonic()
        (made,) = engine("POST", f"/containers/create?name={spec.name}", config)
        try:
            engine("POST", f"/containers/{made['Id']}/start")
            asyncio.run(self._answering())
            return time.monotonic() - begun
        finally:
            engine("DELETE", f"/containers/{made['Id']}?force=1&v=1")

    async def _answering(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
                if (await fetch(self.address, PORT, "/healthz")).status == 200:
                    return
            await asyncio.sleep(LOOK / 2)
        raise AssertionError("the bare container does not answer")


def pull(image: str, user: str, key: str) -> float:
    """Pull by digest as the engine does it; something must really have been fetched."""
    said = {"username": user, "password": key, "serveraddress": image.partition("/")[0]}
    auth = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    name, _, digest = image.partition("@")
    query = urllib.parse.urlencode({"fromImage": name, "tag": digest})
    begun = time.monotonic()
    lines = engine("POST", f"/images/create?{query}", **{"X-Registry-Auth": auth})
    seconds = time.monotonic() - begun
    fetched = [line for line in lines if line.get("status") == "Pull complete"]
    assert fetched, f"the engine had {image} already: {lines}"
    return seconds


def build(source: Path, tag: str, base: str) -> float:
    """Build as the classic builder does, with its cache."""
    query = urllib.parse.urlencode(
        {"t": tag, "rm": 1, "buildargs": json.dumps({"BASE_IMAGE": base})}
    )
    begun = time.monotonic()
    with contextlib.closing(context.archive(source, "Dockerfile")) as packed:
        engine("POST", f"/build?{query}", packed.read(), **{"Content-Type": "application/x-tar"})
    return time.monotonic() - begun


# -- pushing ----------------------------------------------------------------------------------


class Laptop:
    """An engine that only holds images and pushes them, in a network namespace of its own.

    On the machine's own network it would take away the first engine's bridge. The edge is led in
    under the address people use, for docker trusts a registry on localhost without TLS.
    """

    def __init__(self, engine: PrivateEngine, port: int) -> None:
        self._engine = engine
        self._config = engine.directory / "client"
        self._config.mkdir()
        self._port = port
        door = engine.inside(lambda number: socket.create_server(("127.0.0.1", number)), port)
        assert isinstance(door, socket.socket)
        self._door = door
        threading.Thread(target=self._open, daemon=True).start()

    @property
    def host(self) -> str:
        """Where its API answers."""
        return self._engine.endpoint

    def _open(self) -> None:
        """Join each connection from inside with one to the edge."""
        with contextlib.suppress(OSError):
            while True:
                inside, _ = self._door.accept()
                outside = socket.create_connection(("127.0.0.1", self._port))
                for one, other in ((inside, outside), (outside, inside)):
                    threading.Thread(target=_carry, args=(one, other), daemon=True).start()

    def stop(self) -> None:
        """Close the way in."""
        self._door.close()

    def login(self, host: str, user: str, key: str) -> None:
        """Log in as a participant does."""
        words = ("login", host, "-u", user, "--password-stdin")
        docker("--config", str(self._config), *words, host=self.host, input=key)

    def take(self, image: str) -> None:
        """Bring an image here, and remove it from the machine's engine."""
        with subprocess.Popen([DOCKER, "save", image], stdout=subprocess.PIPE) as saving:
            loading = [DOCKER, "--host", self.host, "load", "--quiet"]
            subprocess.run(loading, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
        assert saving.returncode == 0, image
        docker("rmi", image)

    def push(self, image: str) -> str:
        """Push; returns the digest."""
        said = docker("--config", str(self._config), "push", image, host=self.host)
        return next(word for word in said.split() if word.startswith("sha256:"))


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(256 * 1024):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@dataclass
class Figures:
    """Ratios of rounds, and the seconds they come from."""

    name: str
    ratios: list[float] = field(default_factory=list)

    def add(self, ours: float, bare: float, note: str = "") -> None:
        """Print one round and keep its ratio."""
        self.ratios.append(ours / bare)
        print(
            f"  {self.name}: bare {bare:.2f} s, ours {ours:.2f} s, ratio {self.ratios[-1]:.2f}{note}"
        )

    def close(self) -> None:
        """Print what counts."""
        print(
            f"{self.name}, ours / bare: median {statistics.median(self.ratios):.2f}"
            f" (min {min(self.ratios):.2f}, max {max(self.ratios):.2f}; at most 2 is wanted)"
        )


def in_turn(
    number: int, ours: Callable[[], float], bare: Callable[[], float]
) -> tuple[float, float]:
    """Run both arms, in an order that changes from round to round."""
    if number % 2:
        second = bare()
        return ours(), second
    first = ours()
    return first, bare()


def settled(room: Room, name: str) -> dict[str, Any]:
    """Wait until the log has the last word on what is live; returns it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = room.json("deploys", name, "--last", "1")
        if found and found[-1]["stage"] == "live" and found[-1]["version"] == room.version(name):
            return dict(found[-1])
        time.sleep(0.2)
    raise AssertionError(f"the log knows nothing of what {name} runs: {found}")


def measure_push(room: Room, laptop: Laptop, rounds: int) -> None:
    """Push a one-line change and compare with pull, start, ready."""
    key, seen, base = room.key("p0"), room.survey(), room.base()
    registry = f"{own_loopback(seen.choices.network)}:{REGISTRY_PORT}/p0/app"
    bare = Bare(seen)
    laptop.login(room.host, "p0", key)
    returned, announced = Figures("push, from its return"), Figures("push, from its announcement")
    times: list[tuple[float, float, float]] = []
    tags = itertools.count()

    def prepare() -> str:
        image = f"{room.host}/p0/app:{next(tags)}"
        build(room.change(), image, base)
        laptop.take(image)
        return image

    def ours() -> float:
        image = prepare()
        watched, begun = NewVersion(room, "p0"), time.time()
        laptop.push(image)
        pushed = time.time()
        live = watched.wait()
        received = settled(room, "p0")["received"]
        times.append((live - pushed, live - received, pushed - begun))
        return live - pushed

    def floor() -> float:
        image = prepare()
        with held(f"{seen.desired.owner.workshop}-serve"):
            watched = NewVersion(room, "p0")
            fetched = f"{registry}@{laptop.push(image)}"
            seconds = pull(fetched, "p0", key)
            seconds += bare.start(fetched)
            docker("rmi", fetched)
        # Nobody's deploy is under way when the next arm begins.
        watched.wait()
        settled(room, "p0")
        return seconds

    ours(), floor()  # the caches
    for number in range(rounds):
        _, seconds = in_turn(number, ours, floor)
        after, since, pushing = times[-1]
        returned.add(after, seconds, f"; the push itself took {pushing:.2f} s")
        announced.add(since, seconds)
    returned.close()
    announced.close()


@contextlib.contextmanager
def held(container: str) -> Iterator[None]:
    """Hold a container still."""
    docker("pause", container)
    try:
        yield
    finally:
        docker("unpause", container)


def measure_upload(room: Room, rounds: int) -> None:
    """Upload a one-line change and compare with build, start, ready."""
    key, base = room.key("p0"), room.base()
    bare, figures = Bare(room.survey()), Figures("upload")

    def ours() -> float:
        body = packed(room.change())
        watched, begun = NewVersion(room, "p0"), time.time()
        answer = threading.Thread(target=send, args=(room, key, body))
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


def packed(source: Path) -> bytes:
    """Make the zip a participant would."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in context.files(source):
            if (source / name).is_file():
                archive.write(source / name, name)
    return made.getvalue()


def send(room: Room, key: str, body: bytes) -> None:
    """Upload like `curl -T`, and read the answer to its end."""
    connection = http.client.HTTPConnection("localhost", room.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("PUT", "/deploy/p0", body, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        said = answer.read().decode()
        assert said.split()[-1] == "deployed", (answer.status, said)


# -- all at once ------------------------------------------------------------------------------


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
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workshop", "deploy", "--all", "--image", image),
        cwd=room.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
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


def measure_redeploy(room: Room) -> None:
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


def main() -> None:
    """Provision, measure, tear down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seats", type=int, default=30)
    parser.add_argument("--only", choices=["push", "upload", "redeploy"], help="one of the three")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workshop-bench-") as name:
        room = Room(Path(name), options.seats)
        room.write()
        try:
            room.run("provision")
            if options.only in {None, "push"}:
                with private_engine() as engine:
                    laptop = Laptop(engine, room.port)
                    measure_push(room, laptop, options.rounds)
                    laptop.stop()
            if options.only in {None, "upload"}:
                measure_upload(room, options.rounds)
            if options.only in {None, "redeploy"}:
                measure_redeploy(room)
        finally:
            room.run("teardown", "--yes")


if __name__ == "__main__":
    main()
