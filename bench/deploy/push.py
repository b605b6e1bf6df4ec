"""A push of a one-line change to live, against pull, create and start."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from bench.deploy.engine import DOCKER, Bare, build, docker, held, pull
from bench.deploy.ratio import Ratios, in_turn
from bench.deploy.room import NewVersion, settled
from tests.engines.private import private_engine

from workshop.subnets import REGISTRY_PORT, own_loopback

if TYPE_CHECKING:
    from bench.deploy.room import Room
    from tests.engines.private import PrivateEngine


def measure(room: Room, rounds: int) -> None:
    """Push a one-line change and compare with pull, start, ready."""
    with private_engine() as engine:
        laptop = Laptop(engine, room.port)
        _measure(room, laptop, rounds)
        laptop.stop()


def _measure(room: Room, laptop: Laptop, rounds: int) -> None:
    key, seen, base = room.key("p0"), room.survey(), room.base()
    registry = f"{own_loopback(seen.choices.network)}:{REGISTRY_PORT}/p0/app"
    bare = Bare(seen)
    laptop.login(room.host, "p0", key)
    returned, announced = Ratios("push, from its return"), Ratios("push, from its announcement")
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
