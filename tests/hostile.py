"""A class with one seat that misbehaves in every way a program can, and visitors who measure.

The app is the standard library alone, so that its image takes a second to build.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import docker

from workshop import resources
from workshop.labels import Role
from workshop.proxy.render import fingerprint, render
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.room import Class

PATIENCE = 60.0
ANSWER_SECONDS = 20.0
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /srv
COPY app.py .
CMD ["python3", "-u", "app.py"]
"""
APP = '''\
import asyncio, json, os, random, sys, time

ME = {"participant": os.environ["WORKSHOP_PARTICIPANT"], "version": os.environ["WORKSHOP_VERSION"]}


def child(work):
    """Run on in a process of its own, whatever becomes of it."""
    try:
        if os.fork() == 0:
            try:
                while True:
                    try:
                        work()
                    except (OSError, MemoryError):
                        time.sleep(0.01)
            finally:
                os._exit(0)
    except OSError:
        pass


def spin():
    while True:
        pass


def hog():
    held = []
    while True:
        held.append(b"x" * (16 << 20))


def talk():
    while True:
        os.write(1, b"x" * 4000 + b"\\n")


def fill():
    for place in ("/", "/srv", "/var/tmp", "/tmp", "/dev/shm", "/run"):
        try:
            with open(f"{place}/{random.random()}", "wb") as file:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
        except OSError:
            pass


def crowd():
    while True:
        os.close(os.open(f"/tmp/{random.random()}", os.O_CREAT | os.O_WRONLY))


def multiply():
    time.sleep(0.2)
    os.fork()


def explode():
    for work in (spin, hog, talk, fill, crowd, multiply):
        child(work)


async def answer(reader, writer):
    try:
        while line := await reader.readline():
            path, length, last = line.split()[1].decode(), 0, False
            while (header := await reader.readline()) not in (b"\\r\\n", b""):
                last = last or header.lower().startswith(b"connection: close")
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            if length:
                await reader.readexactly(length)
            if path.startswith("/events"):
                head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n"
                writer.write(head.encode())
                while True:
                    writer.write(b"data: tick\\n\\n")
                    await writer.drain()
                    await asyncio.sleep(0.5)
            if path.startswith("/explode"):
                explode()
            body = json.dumps(ME).encode()
            if path.startswith("/large"):
                body = bytes(4 << 20)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n"
                         b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
            await writer.drain()
            if last:
                break
    except (ConnectionError, asyncio.IncompleteReadError, IndexError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(answer, "0.0.0.0", 8000, backlog=1024)
    async with server:
        await server.serve_forever()

asyncio.run(main())
'''


def fill(directory: Path) -> None:
    """Lay the app down where a roster finds it."""
    source = directory / "participant_template"
    source.mkdir()
    (source / "Dockerfile").write_text(DOCKERFILE, "utf-8")
    (source / "app.py").write_text(APP, "utf-8")


# -- who measures -----------------------------------------------------------------------------


async def ask(port: int, path: str, address: str = "127.0.0.1") -> int:
    """Ask once, on a connection of its own; the status, or 0 where there was no answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                line = await reader.readline()
                await reader.read()
                return int(line.split()[1]) if line else 0
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return 0


@dataclass
class Look:
    """What visitors of one seat saw: seconds of each answer, and how many were not good."""

    seconds: list[float] = field(default_factory=list)
    bad: int = 0

    @property
    def p99(self) -> float:
        """Seconds that 99 of 100 answers did not take."""
        return statistics.quantiles(self.seconds, n=100)[98]

    @property
    def median(self) -> float:
        """Seconds of the one in the middle."""
        return statistics.median(self.seconds)


@contextlib.contextmanager
def _machine_of_ones_own() -> Iterator[None]:
    """Let this thread go before all others: a visitor does not share the server's processors."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    # Only root may; whoever else measures sees this thread's own waiting too.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


def visit(port: int, path: str, seconds: float, pause: float = 0.03) -> Look:
    """Ask again and again, each time on a new connection, and note how long it took."""

    async def run() -> Look:
        look, until = Look(), time.monotonic() + seconds
        while (begun := time.monotonic()) < until:
            status = await ask(port, path)
            look.seconds.append(time.monotonic() - begun)
            look.bad += status != 200
            await asyncio.sleep(pause)
        return look

    with _machine_of_ones_own():
        return asyncio.run(run())


# -- the seat that misbehaves -----------------------------------------------------------------


class Ada:
    """One seat with every bomb lit, and its visitors who never stop asking."""

    def __init__(self, room: Class, name: str = "ada") -> None:
        self.client: Any = docker.from_env()
        self.container = self.client.containers.get(f"{room.name}-{name}")
        networks = self.container.attrs["NetworkSettings"]["Networks"].values()
        self.address = next(iter(networks))["IPAddress"]
        self.name = name
        self._port = room.port
        self._over = threading.Event()

    @contextlib.contextmanager
    def misbehaving(self, *, flood: bool = True) -> Iterator[None]:
        """Light all bombs, and again whenever the seat was killed for it."""
        self._over.clear()
        again = threading.Thread(target=self._light, daemon=True)
        again.start()
        crowd = self._crowd() if flood else None
        try:
            yield
        finally:
            self._over.set()
            again.join()
            if crowd is not None:
                crowd.kill()
                crowd.wait()
            self.container.restart(timeout=1)
            self._recover()

    def _recover(self) -> None:
        until = time.monotonic() + PATIENCE
        while asyncio.run(ask(8000, "/whoami", self.address)) != 200:
            assert time.monotonic() < until, "the seat does not come back"
            time.sleep(0.1)

    def _light(self) -> None:
        while not self._over.is_set():
            asyncio.run(ask(8000, "/explode", self.address))
            self._over.wait(1.5)

    def _crowd(self) -> subprocess.Popen[bytes]:
        # A crowd has machines of its own; here it may have what the others leave.
        wrk = shutil.which("wrk")
        assert wrk, "wrk is missing; scripts/ensure-test-tools installs it"
        url = f"http://127.0.0.1:{self._port}/{self.name}/whoami"
        return subprocess.Popen(
            ["nice", "-n", "19", wrk, "-t1", "-c200", "-d600", "--timeout", "5", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def killed(self) -> int:
        """Count its processes that the kernel ended for want of memory, since it was started."""
        self.container.reload()
        groups = Path(f"/proc/{self.container.attrs['State']['Pid']}/cgroup").read_text("ascii")
        for line in groups.splitlines():
            _, controllers, place = line.split(":", 2)
            root = Path("/sys/fs/cgroup", controllers if controllers == "memory" else "")
            for name in ("memory.oom_control", "memory.events"):
                path = root / place.lstrip("/") / name
                if (controllers in {"memory", ""}) and path.exists():
                    found = dict(line.split() for line in path.read_text("ascii").splitlines())
                    return int(found.get("oom_kill", 0))
        return 0

    def on_disk(self) -> int:
        """Count the bytes it has on the server's disk: its log, and what lies over its image."""
        found = self.client.api.containers(all=True, size=True, filters={"id": self.container.id})
        layer = int(found[0].get("SizeRw") or 0)
        return layer + sum(path.stat().st_size for path in self.logs())

    def logs(self) -> list[Path]:
        """Find its log files, as far as this user may look."""
        self.container.reload()
        newest = Path(self.container.attrs["LogPath"])
        return [path for path in newest.parent.glob(f"{newest.name}*") if path.is_file()]

    def close(self) -> None:
        """Give the connection back."""
        self.client.close()


# -- streams ----------------------------------------------------------------------------------


class Streams:
    """Open streams of events, in a thread of their own; a stream that ends is a stream that was cut."""

    def __init__(self, port: int, names: list[str], count: int) -> None:
        self.opened = 0
        self.cut = 0
        self.ticks = 0
        self._port, self._names, self._count = port, names, count
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        """Open all and wait until each has said something."""
        self._thread.start()
        until = time.monotonic() + PATIENCE
        while self.opened < self._count and time.monotonic() < until:
            time.sleep(0.05)
        assert self.opened == self._count, f"{self.opened} of {self._count} streams are open"
        return self

    def __exit__(self, *_: object) -> None:
        """Close all; from here on nothing counts as cut."""
        self._over.set()
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        names = (self._names[number % len(self._names)] for number in range(self._count))
        listening = [asyncio.create_task(self._listen(name)) for name in names]
        await asyncio.to_thread(self._over.wait)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)

    async def _listen(self, name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            head = f"GET /{name}/events HTTP/1.1\r\nHost: localhost:{self._port}\r\n\r\n"
            writer.write(head.encode())
            first = False
            while line := await reader.readline():
                if line.startswith(b"data:"):
                    self.ticks += 1
                    self.opened += not first
                    first = True
        except ConnectionError:
            pass
        finally:
            writer.close()
        self.cut += not self._over.is_set()


# -- requests ---------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of many requests."""

    good: int = 0
    bad: int = 0
    """Another status than 200, or an answer that broke off."""
    again: int = 0
    """An idle connection that was closed just as it was used again: asked once more, as browsers do."""


class Asking:
    """Clients that ask on connections they keep, until told to stop or a number is reached."""

    def __init__(self, port: int, paths: list[str], clients: int, pause: float = 0.0) -> None:
        self.tally = Tally()
        self._port, self._paths, self._clients, self._pause = port, paths, clients, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a request has not come to its end"

    def wait(self, number: int) -> None:
        """Wait until so many were asked."""
        while self.tally.good + self.tally.bad < number:
            assert self._thread.is_alive()
            time.sleep(0.05)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def _client(self, number: int) -> None:
        path = self._paths[number % len(self._paths)]
        head = f"GET {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\n\r\n".encode()
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._over.is_set():
            kept, said = link is not None, b""
            for _ in range(2):
                link = link or await asyncio.open_connection("127.0.0.1", self._port)
                said, closes = await self._exchange(head, *link)
                if closes or not said:
                    link[1].close()
                    link = None
                if said or not kept:
                    break
                self.tally.again += 1
                kept = False
            good = said.startswith(b"HTTP/1.1 200")
            self.tally.good += good
            self.tally.bad += not good
            await asyncio.sleep(self._pause)
        if link is not None:
            link[1].close()

    async def _exchange(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bytes, bool]:
        """Ask; give the first line, whole answers alone, and whether the connection is over."""
        begun = b""
        try:
            writer.write(head)
            begun = await reader.readline()
            length, closes = 0, False
            while (line := await reader.readline()) not in {b"\r\n", b""}:
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
                closes = closes or (name == b"connection" and b"close" in value)
            await reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):
            # What has begun and broken off is lost; what never began may be asked again.
            return (b"broken off" if begun else b""), True
        return begun, closes or not begun


# -- the edge ---------------------------------------------------------------------------------


def workers(room: Class) -> int:
    """Count the edge's worker processes, draining ones included."""
    client: Any = docker.from_env()
    try:
        listed = client.containers.get(f"{room.name}-edge").top(ps_args="-eo pid,args")["Processes"]
    finally:
        client.close()
    return sum("worker process" in line[-1] for line in listed)


def status_works(room: Class) -> float:
    """Run `workshop status` and give the seconds it took."""
    begun = time.monotonic()
    room.run("status")
    return time.monotonic() - begun


def has_tools() -> str:
    """Say what is missing to attack the edge; empty where nothing is."""
    missing = [tool for tool in ("wrk", "slowhttptest") if shutil.which(tool) is None]
    return f"{', '.join(missing)} missing" if missing else ""


@contextlib.contextmanager
def slow_connections(port: int, path: str, kind: str, count: int) -> Iterator[list[int]]:
    """Hold connections that are slow with headers (-H), bodies (-B) or reads (-X).

    The list ends up with the largest number that was open at once.
    """
    tool = shutil.which("slowhttptest")
    assert tool, "slowhttptest is missing; scripts/ensure-test-tools installs it"
    how = {
        "-H": ["-H", "-i", "5", "-x", "24", "-t", "GET"],
        "-B": ["-B", "-i", "5", "-s", "8192", "-x", "10", "-t", "POST"],
        "-X": ["-X", "-w", "1", "-y", "64", "-n", "5", "-z", "32", "-k", "1"],
    }[kind]
    url = f"http://127.0.0.1:{port}{path}"
    words = [tool, *how, "-c", str(count), "-r", str(count // 5), "-l", "600", "-u", url]
    held, over = [0], threading.Event()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * count)), hard))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        attack = subprocess.Popen(["nice", "-n", "19", *words], **quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def watch() -> None:
        while not over.wait(0.5):
            held[0] = max(held[0], _open_connections(port))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        # The tool opens a fifth of them each second; the edge may refuse most of them.
        until = time.monotonic() + 15
        while held[0] < 0.95 * count and time.monotonic() < until:
            over.wait(0.2)
        yield held
    finally:
        over.set()
        watching.join()
        attack.kill()
        attack.wait()


def _open_connections(port: int) -> int:
    """Count established connections to a port of this machine, their clients' ends alone."""
    place = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return sum(line.split()[2].endswith(place) and line.split()[3] == "01" for line in lines)


def free_bytes() -> int:
    """Count what is free where the engine keeps its containers."""
    client: Any = docker.from_env()
    try:
        found = os.statvfs(client.info()["DockerRootDir"])
    finally:
        client.close()
    return found.f_bavail * found.f_frsize


class Reloads:
    """Brings ever other routes live, the way an apply does."""

    def __init__(self, room: Class) -> None:
        self._work = Workspace(room.directory / "participants.yaml")
        seen = survey(self._work)
        assert seen.desired.edge is not None
        self._edge = seen.desired.edge
        running = seen.observed.container(Role.EDGE, Role.EDGE.value)
        assert running is not None
        self._id = running.id
        self._publisher = self._work.publisher(self._edge)

    def reload(self, number: int) -> None:
        """Publish one route more than the class has, or with 0 the class's own again."""
        templates = resources.nginx_templates()
        first = self._edge.routes[0]
        # Nobody lives there; nobody asks for it either.
        nobody = replace(first, name=f"more-{number}", address="127.0.0.9", green="")
        more = (nobody,) if number else ()
        edge = replace(self._edge, routes=(*self._edge.routes, *more))
        print_of = fingerprint(edge, templates)
        self._publisher.stage(print_of, render(edge, templates))
        self._publisher.publish(self._work.engine, self._id, print_of)
