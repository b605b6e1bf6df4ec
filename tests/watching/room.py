"""A class of a few seats on a memory engine, and everything a watcher looks at, as real files."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from tests.waiting import PATIENCE
from workshop.board import shown
from workshop.deploys.config import LOG, PROGRESS, Config, DeploySeat
from workshop.deploys.options import DeployOptions
from workshop.engines.memory import MemoryEngine
from workshop.intake import orders
from workshop.intake.orders import Progress, Stage, What
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.routing import Place
from workshop.specs import ContainerSpec, Owner
from workshop.watching.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from workshop.board.shown import Seat
    from workshop.deploys.current import SeatDeploys

OWNER = Owner("class", "run1", "/somewhere")
LIMITS = Limits(memory=256 * MIB, cpus=0.5)
IMAGE = "class/app:1"


def spec(name: str, number: int = 0) -> ContainerSpec:
    """Specify a seat that the memory engine takes."""
    return ContainerSpec(
        role=Role.SEAT,
        key=name,
        name=f"class-{name}",
        image=IMAGE,
        version="v1",
        limits=LIMITS,
        slot=number,
        network="none",
        address=f"10.86.0.{number + 2}",
    )


def told(names: Sequence[str], owner: Owner = OWNER) -> Config:
    """Tell the server of deploys who is in the class."""
    seats = tuple(
        DeploySeat(spec(name, k), f"10.86.1.{k + 2}", "", Place("http", "localhost", f"/{name}"))
        for k, name in enumerate(names)
    )
    return Config(
        owner=owner,
        url="http://localhost:8080",
        edge_address="127.0.0.1",
        edge_port=8080,
        registry="",
        base="",
        base_reference="",
        relays=(),
        ready_seconds=10,
        options=DeployOptions(),
        seats=seats,
    )


def edge_line(seat: str, **changes: Any) -> str:
    """Write a line as the edge does; every field may be given otherwise."""
    fields: dict[str, Any] = {
        "time": round(time.time(), 3),
        "seat": seat,
        "method": "GET",
        "path": f"/{seat}/",
        "status": "200",
        "bytes": 500,
        "seconds": 0.02,
        "upstream_seconds": "0.020",
        "upstream_status": "200",
        "type": "text/html",
        "remote": "127.0.0.1",
        "length": 120,
    }
    return json.dumps({**fields, **changes})


def unanswered(seat: str, **changes: Any) -> str:
    """Write the line of a request that the edge answered itself, because the seat did not."""
    return edge_line(seat, **{"status": "503", "upstream_status": "502", **changes})


class Shown:
    """What is shown of a class below one state directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.shown = home / "board" / "shown"

    def see(self) -> shown.Shown:
        """Read what is shown."""
        found = shown.read(self.shown)
        assert found is not None
        return found

    def seat(self, name: str) -> Seat:
        """Read what is shown of one seat."""
        found = self.see().seat(name)
        assert found is not None
        return found

    @contextlib.contextmanager
    def kept_by(self, watcher: Watcher) -> Iterator[None]:
        """Let a watcher run on its own threads."""
        watcher.start()
        try:
            self.until(lambda: shown.read(self.shown) is not None)
            yield
        finally:
            watcher.stop()

    def until(self, true: Callable[[], object], seconds: float = PATIENCE) -> float:
        """Wait until ``true``; how long that took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, shown.read(self.shown)
            time.sleep(0.01)
        return time.monotonic() - began


class Room(Shown):
    """The class, its files and its watcher."""

    def __init__(self, home: Path, names: Sequence[str] = ("ada", "bob", "cleo")) -> None:
        super().__init__(home)
        self.cgroups = home / "cgroup"
        self.engine = MemoryEngine()
        self.engine._images[IMAGE] = (IMAGE, {})
        self.config = told(names)
        self.current: dict[str, SeatDeploys] = {}
        self.ids = {seat.spec.key: self.run(seat.spec) for seat in self.config.seats}
        self.edge = self.part(Role.EDGE)
        for path in (home / "board" / "kept" / "wanted", home / "deploys" / "shown" / PROGRESS):
            path.mkdir(parents=True)
        (self.cgroups / "memory").mkdir(parents=True)
        self.watcher = self.watch()

    def watch(self) -> Watcher:
        """Make a watcher, as the server does when it starts."""
        return Watcher(
            self.home, lambda: self.config, self.engine, lambda: self.current, self.cgroups
        )

    def run(self, wanted: ContainerSpec) -> str:
        """Start a container."""
        container = self.engine.create(wanted, OWNER)
        self.engine.start(container)
        return container

    def part(self, role: Role) -> str:
        """Start one of the platform's own containers."""
        key = role.value
        return self.run(
            ContainerSpec(role, key, f"class-{key}", IMAGE, "v1", LIMITS, network="none")
        )

    # -- what others write --------------------------------------------------------------------

    def progress(self, name: str, stage: Stage, **changes: Any) -> Progress:
        """Say how far an order of a seat has come; what is over goes into the log first."""
        now = time.time()
        item = Progress(orders.new_id(), name, What.PUSH, name, now, stage, number=1)
        item = replace(item, ended=now if stage.over else None)
        return self.tell(replace(item, **changes))

    def tell(self, item: Progress) -> Progress:
        """Write down what became of an order."""
        directory = self.home / "deploys" / "shown"
        if item.stage.over:
            with (directory / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(item)) + "\n")
        orders.tell(directory / PROGRESS, item)
        return item

    def use(self, name: str, memory: int, seconds: float, cache: int = 0) -> None:
        """Let the kernel say what a seat uses, with control groups of the first version."""
        place = f"docker/{self.ids[name]}"
        for controller, file, text in (
            ("memory", "memory.usage_in_bytes", f"{memory + cache}\n"),
            ("memory", "memory.stat", f"inactive_file 7\ntotal_inactive_file {cache}\n"),
            ("cpuacct", "cpuacct.usage", f"{int(seconds * 1e9)}\n"),
        ):
            path = self.cgroups / controller / place
            path.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text, "ascii")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Let the watcher run on its own threads."""
        with self.kept_by(self.watcher):
            yield
