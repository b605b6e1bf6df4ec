"""The real nginx in front of stand-in apps, and a client that sends exactly the bytes it is given.

curl, requests and httpx normalise paths before sending, which hides the very faults looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ports import free_port

from workshop.proxy.render import render
from workshop.proxy.routes import Edge, Limits, Route
from workshop.proxy.switch import GREEN, Switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "nginx_templates"
SEATS = ("al", "alice", "bob", "carl", "carl-2", "carlos")
GENEROUS = Limits(requests_per_second=100_000, burst=100_000, connections=1_000)
PATIENCE = 60.0


@dataclass(frozen=True)
class Reply:
    """One answer as it came; `head` still holds every byte of the header."""

    status: int
    head: bytes
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of one header."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [v.strip().decode("latin-1") for n, _, v in lines if n.lower() == name.encode()]

    def header(self, name: str) -> str | None:
        """Find the first value of a header, if it is there."""
        values = self.all(name)
        return values[0] if values else None


@dataclass(frozen=True)
class Lab:
    """A running edge."""

    edge: Edge
    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def switch(self) -> Switch:
        """The switches between blue and green which this edge looks at."""
        return Switch(self.directory / GREEN)

    def get(self, target: bytes | str, *headers: str, host: str = "localhost") -> Reply:
        """GET a raw target."""
        raw = target.encode() if isinstance(target, str) else target
        lines = [f"Host: {host}", "Connection: close", *headers]
        return self.send(
            b"GET " + raw + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n"
        )

    def send(self, request: bytes) -> Reply:
        """Send any bytes at all and read one answer, or until the edge closes."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
            received = b""
            with contextlib.suppress(ConnectionError):
                while not _whole(received) and (data := connection.recv(65536)):
                    received += data
        return parse(received)

    def connect(self) -> socket.socket:
        """Open a connection to the edge."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def log(self) -> list[dict[str, object]]:
        """Read the access log, once nginx has written its buffer."""
        time.sleep(0.5)  # flush=250ms is the file's own clock; there is nothing to wait on
        lines = (self.directory / "access.log").read_text("utf-8", "replace").splitlines()
        return [json.loads(line) for line in lines]


def _whole(received: bytes) -> bool:
    """Whether a body of known length is there; nginx lingers for seconds after refusing one."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
    return bool(end and length and head[9:12] == b"413" and len(body) >= int(length[1]))


def parse(received: bytes) -> Reply:
    """Split an answer; a body sent in chunks is joined."""
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if words[0].startswith(b"HTTP/") else 0
    if b"transfer-encoding: chunked" in head.lower():
        body = unchunk(body)
    return Reply(status, head, body)


def unchunk(data: bytes) -> bytes:
    """Join chunks."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            break
    return body


def nginx_binary() -> str:
    """Find nginx. Without it nothing here is proved, so the tests fail rather than skip."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.fail("nginx is not installed; scripts/ensure-test-tools installs it")
    return found


def write(edge: Edge, directory: Path) -> Path:
    """Render an edge into a directory; return its nginx.conf."""
    for name, text in render(edge, TEMPLATES).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")
    return directory / "nginx.conf"


def check(configuration: Path) -> subprocess.CompletedProcess[str]:
    """`nginx -t`."""
    command = [nginx_binary(), "-t", "-c", str(configuration)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def apps(names: Iterable[str] = SEATS) -> Iterator[dict[str, int]]:
    """Run the stand-in apps; yields the port of each. `name@address:port` says where one listens."""
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def edge_for(
    ports: dict[str, int], directory: Path, limits: Limits = GENEROUS, listen: int = 0
) -> Edge:
    """Describe an edge in front of local apps, writing nowhere but into `directory`."""
    port = listen or free_port()
    return Edge(
        title="Proof",
        url=f"http://workshop.example:{port}",
        routes=tuple(Route(name, "127.0.0.1", at, name.title()) for name, at in ports.items()),
        listen=port,
        limits=limits,
        workers=1,
        directory=str(directory),
        scratch=str(directory),
        access_log=str(directory / "access.log"),
        switches=str(directory / GREEN),
    )


def moved(edge: Edge) -> Edge:
    """Put every app at its seat's second address; nobody listens at the first."""
    routes = (replace(r, address="127.0.0.3", green=r.address) for r in edge.routes)
    return replace(edge, routes=tuple(routes))


@contextlib.contextmanager
def running(edge: Edge, directory: Path) -> Iterator[Lab]:
    """Render an edge and run nginx on it until the block ends."""
    write(edge, directory)
    with running_at(edge, directory) as lab:
        yield lab


@contextlib.contextmanager
def running_at(edge: Edge, directory: Path) -> Iterator[Lab]:
    """Run nginx on what is rendered already."""
    configuration = directory / "nginx.conf"
    command = [nginx_binary(), "-c", str(configuration), "-g", f"daemon off; {_keep_user()}"]
    with (directory / "error.log").open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        _wait(process, edge.listen)
        yield Lab(edge, edge.listen, directory, process)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _keep_user() -> str:
    """Let workers of a root-run nginx read a directory only root may enter."""
    return "" if os.geteuid() else "user root;"


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    pytest.fail(f"nginx did not start; exit code {process.poll()}")


@dataclass
class Crowd:
    """Asks for many raw targets over a few kept connections."""

    port: int
    replies: dict[int, Reply] = field(default_factory=dict)

    def ask(self, targets: list[bytes], connections: int = 16) -> list[Reply]:
        """GET every target; the answers come in the order of the targets."""
        asyncio.run(self._ask(targets, connections))
        return [self.replies[number] for number in range(len(targets))]

    async def _ask(self, targets: list[bytes], connections: int) -> None:
        work = iter(enumerate(targets))
        await asyncio.gather(*(self._visitor(work) for _ in range(connections)))

    async def _visitor(self, work: Iterator[tuple[int, bytes]]) -> None:
        writer: asyncio.StreamWriter | None = None
        for number, target in work:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = self.replies[number] = await _one_reply(reader)
            if reply.header("connection") == "close":
                writer.close()
                writer = None
        if writer is not None:
            writer.close()


async def _one_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    reply = parse(head + b"\r\n\r\n")
    length = reply.header("content-length")
    body = await reader.readexactly(int(length or 0))
    return Reply(reply.status, head, body)
