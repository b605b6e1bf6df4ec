"""A class with models and deploys on a memory engine: killed at every single side effect.

The engine's state outlives each death in a file; the class's own files are real. What comes out
must equal an undisturbed run byte for byte, so every random choice is made the same each time.
"""

from __future__ import annotations

import functools
import os
import pickle
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.deploys.test_server import FakeMakers
from tests.faults import killing

from tests.conftest import TruthfulProbe
from workshop import host, operations, sources, workspace
from workshop.deploys import current
from workshop.deploys.config import ORDERS
from workshop.deploys.server import Server
from workshop.engines.memory import MemoryEngine
from workshop.intake import orders
from workshop.intake.config import CERTIFICATE, SIGNING_KEY
from workshop.intake.orders import Order, Stage, What
from workshop.labels import Role
from workshop.observed import State
from workshop.proxy.render import fingerprint, render
from workshop.proxy.switch import GREEN, Switch
from workshop.teardown import teardown
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.specs import Sources

ROSTER = """
workshop:
  name: class
  url: http://localhost:18999
  llm:
    upstreams:
      - name: openai
        url: https://api.openai.com/v1
        key_env: CLASS_KEY
        models:
          gpt-5-mini: {input: 0.25, output: 2}
    outage: [embedded]
participants: [ada, bob, grace]
"""
KEYS = (CERTIFICATE, SIGNING_KEY)
MOST = int(os.environ.get("WORKSHOP_TEST_KILL_POINTS", "30"))
"""Points of each command tried in the suite; 0 tries every single one."""
OWN = ("lock", *(f"intake/{name}" for name in KEYS), f"registry/{CERTIFICATE}")
"""Files that differ between any two runs."""


class World:
    """A class's directory, and the engine that survives every death."""

    def __init__(self, directory: Path) -> None:
        self.roster = directory / "participants.yaml"
        self.home = directory / ".workshop"
        self._kept = directory.parent / "engine"
        self._one_writer = threading.Lock()
        self.engine = MemoryEngine()

    def work(self, engine: Any = None) -> Workspace:
        """Begin a command."""
        held = engine or self.engine
        return Workspace(self.roster, lambda: held, TruthfulProbe(self.engine, "class"))

    def die(
        self, act: Callable[[Workspace], object], point: killing.Point | None
    ) -> killing.Ending:
        """Do one command in a process that dies at ``point``."""

        def command(effects: killing.Effects) -> None:
            act(self.work(effects.engine(self.engine, self.persist)))

        return self.run(command, point)

    def run(
        self, act: Callable[[killing.Effects], object], point: killing.Point | None
    ) -> killing.Ending:
        """Do ``act`` in a process that dies at ``point``; the engine is as it left it."""
        self._kept.unlink(missing_ok=True)
        ending = killing.run(self.home, act, point)
        if self._kept.exists():
            self.restore(self._kept.read_bytes())
        return ending

    def persist(self) -> None:
        """Write the engine's state beside the class."""
        with self._one_writer:
            unfinished = self._kept.with_suffix(".new")
            unfinished.write_bytes(self.frozen())
            unfinished.replace(self._kept)

    def frozen(self) -> bytes:
        """Give the engine's state as bytes."""
        return pickle.dumps({k: v for k, v in vars(self.engine).items() if k != "_lock"})

    def restore(self, state: bytes) -> None:
        """Take an engine's state over."""
        self.engine = MemoryEngine()
        vars(self.engine).update(pickle.loads(state), _lock=threading.RLock())  # noqa: S301

    def seen(self) -> dict[str, Any]:
        """Describe everything, apart from the engine's own numbers."""
        looked = self.engine.observe("class")
        boxes = {
            item.name: (item.role, item.key, item.run, item.slot, item.address, item.config_hash)
            + (item.version, item.deploy, item.state)
            for item in looked.containers
        }
        assert len(boxes) == len(looked.containers)
        nets = sorted((net.name, net.subnet, net.config_hash, net.run) for net in looked.networks)
        images = sorted(image.tag for image in looked.images)
        return {
            **{f"container {name}": facts for name, facts in boxes.items()},
            "networks": nets,
            "images": images,
            **killing.tree(self.home, OWN),
        }


@pytest.fixture
def quick() -> Iterator[Path]:
    """Make a directory in memory: every command flushes each of its files to the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
def world(quick: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Set the scene; the same run, secret and order of steps come up in each process."""
    for name in [name for name in os.environ if name.startswith("WORKSHOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLASS_KEY", "sk-canary")
    monkeypatch.setenv("WORKSHOP_WORKERS", "1")
    monkeypatch.setattr(secrets, "token_hex", lambda size=32: "5e" * size)
    # What hundreds of commands would read and render alike is read and rendered once.
    content, text, mark = sources.read, functools.cache(render), functools.cache(fingerprint)
    read: list[Sources] = []
    monkeypatch.setattr(sources, "read", lambda *asked: once(content, read, asked))
    monkeypatch.setattr(operations, "render", text)
    monkeypatch.setattr(workspace, "fingerprint", mark)
    monkeypatch.setattr(host, "firewall_rules", list)
    template = quick / "room/participant_template"
    template.mkdir(parents=True)
    (template / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n", "utf-8")
    found = World(quick / "room")
    found.roster.write_text(ROSTER, "utf-8")
    return found


def once(content: Callable[..., Sources], read: list[Sources], asked: Any) -> Sources:
    """Read what images are made of the first time; nothing of it changes afterwards."""
    if not read:
        read.append(content(*asked))
    return read[0]


def up(work: Workspace) -> None:
    """Provision, and mean it."""
    report = operations.provision(work)
    assert report.ok, report.failed


def down(work: Workspace) -> None:
    """Tear down, and mean it."""
    receipt = teardown(work)
    assert not receipt.left, receipt.left


def chosen(effects: list[str]) -> list[killing.Point]:
    """Choose the points to try."""
    found = killing.points(len(effects))
    return killing.spread(found, MOST) if MOST else found


def cold(work: Workspace) -> None:
    """Tear down and let the base image go too, so that each round does the same."""
    down(work)
    for image in work.engine.observe("class").images:
        work.engine.remove_image(image.tag)


def test_provision_killed_anywhere_ends_as_if_undisturbed(world: World) -> None:
    """Whatever was done and whatever was not, one more provision makes the difference up."""
    up(world.work())
    cold(world.work())
    effects = world.die(up, None).must_finish().effects
    undisturbed = world.seen()
    cold(world.work())

    for point in chosen(effects):
        ending = world.die(up, point)
        assert ending.killed, f"{point}: {ending.words}"
        where = f"{point}, {ending.effects[-1]}"
        up(world.work())
        assert killing.difference(undisturbed, world.seen()) == {}, where
        assert operations.plan(world.work()).is_empty, where
        cold(world.work())
        assert not list(world.home.parent.glob(f"{world.home.name}*")), where
        assert world.engine.leftovers("class") == [], where


def test_teardown_killed_anywhere_ends_empty_and_can_be_taken_back(world: World) -> None:
    """A further teardown ends it; a provision instead brings everybody back to the same seats."""
    up(world.work())
    undisturbed, held = world.seen(), world.frozen()
    files = world.home.with_name("kept")
    shutil.copytree(world.home, files, symlinks=True)
    effects = world.die(down, None).must_finish().effects

    for number, point in enumerate(chosen(effects)):
        shutil.rmtree(world.home, ignore_errors=True)
        shutil.copytree(files, world.home, symlinks=True)
        world.restore(held)
        ending = world.die(down, point)
        assert ending.killed, f"{point}: {ending.words}"
        where = f"{point}, {ending.effects[-1]}"
        if number % 2:
            up(world.work())
            assert killing.difference(undisturbed, world.seen()) == {}, where
        down(world.work())
        assert not list(world.home.parent.glob(f"{world.home.name}*")), where
        assert world.engine.leftovers("class") == [], where


def deployed(world: World, effects: killing.Effects | None = None) -> None:
    """Run a server of deploys until Ada's orders are over and nothing drains any more."""
    engine = effects.engine(world.engine, world.persist) if effects else world.engine
    if effects:
        world.persist()
    switch = Switch(world.home / "edge" / GREEN)
    if effects:
        effects.look = lambda name: must_lead_to_ada(world, switch, name)
    server = Server(world.home, FakeMakers(engine, switch))
    server.tidy()
    deadline = time.monotonic() + killing.PATIENCE
    while orders.waiting(world.home / "deploys" / ORDERS) or seats(world) != 1:
        server.step()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    # The last to go may still be on its way into the file.
    world.persist()


def seats(world: World) -> int:
    """Count Ada's containers."""
    found = world.engine.observe("class").containers
    return sum((item.role, item.key) == (Role.SEAT, "ada") for item in found)


def must_lead_to_ada(world: World, switch: Switch, moment: str) -> None:
    """Whatever goes on, the route leads to a container of Ada's that runs."""
    led = "class-ada.green" if "ada" in switch.greens() else "class-ada"
    found = {item.name: item for item in world.engine.observe("class").containers}
    assert led in found, moment
    assert found[led].state is State.RUNNING, moment


def test_deploy_killed_anywhere_leaves_one_version_and_a_route_to_it(world: World) -> None:
    """The server that starts next begins the order again; nobody was ever led astray."""
    up(world.work())
    held = world.frozen()
    order = Order("0000000000001-00000001", "ada", What.IMAGE, "instructor", 1.0, image="class/app")
    orders.place(world.home / "deploys" / ORDERS, order)
    files = world.home.with_name("kept")
    shutil.copytree(world.home, files, symlinks=True)

    def again() -> None:
        shutil.rmtree(world.home)
        shutil.copytree(files, world.home, symlinks=True)
        world.restore(held)

    def serve(effects: killing.Effects) -> None:
        deployed(world, effects)

    effects = world.run(serve, None).must_finish().effects
    # How often it says that it waits depends on the clock, so the last of them may not come.
    for point in chosen(effects):
        again()
        ending = world.run(serve, point)
        assert not ending.words, ending.words
        where = f"{point}, {ending.effects[-1]}"
        switch = Switch(world.home / "edge" / GREEN)
        must_lead_to_ada(world, switch, where)
        if ending.killed:
            world.run(serve, None).must_finish()
        assert seats(world) == 1, where
        must_lead_to_ada(world, switch, where)
        live = current.load(world.home / "deploys")["ada"]
        assert live.live is not None, where
        assert (switch.greens() == {"ada"}) == live.is_green, where
        assert operations.plan(world.work()).is_empty, where
        history = orders.history(world.home / "deploys/shown/log.jsonl")
        assert [item.stage for item in history] in ([Stage.LIVE], [Stage.LIVE] * 2), where
