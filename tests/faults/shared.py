"""A memory engine that many processes work with at once, and real commands in forks around it.

A command costs what it does: nothing is imported anew and no container starts, so that dozens can
get into each other's way within seconds.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.deploys.test_server import FakeMakers
from tests.faults import killing
from tests.waiting import until

from tests.conftest import TruthfulProbe
from workshop import workspace
from workshop.cli.main import main
from workshop.deploys.makers import Made
from workshop.deploys.server import LOOK_SECONDS, Server
from workshop.engines.memory import MemoryEngine
from workshop.labels import Role
from workshop.proxy.switch import GREEN, Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from workshop.deploys.makers import Task


class SharedEngine:
    """A memory engine that lives in a process of its own; every verb is one question to it."""

    has_kernel = False

    def __init__(self, place: Path) -> None:
        self._place = place

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb.startswith("_"):
            raise AttributeError(verb)

        def ask(*arguments: Any, **named: Any) -> Any:
            with Client(str(self._place), "AF_UNIX") as line:
                line.send((verb, arguments, named))
                fine, answer = line.recv()
            if fine:
                return answer
            raise answer

        return ask

    @staticmethod
    def live(place: Path) -> None:
        """Be the engine, until the process is killed."""
        engine = MemoryEngine()

        def answer(line: Connection) -> None:
            with line, contextlib.suppress(EOFError, OSError):
                verb, arguments, named = line.recv()
                try:
                    line.send((True, getattr(engine, verb)(*arguments, **named)))
                except Exception as exc:  # noqa: BLE001 - whoever asked has to hear it
                    line.send((False, exc))

        with Listener(str(place), "AF_UNIX", backlog=128) as door:
            while True:
                line = door.accept()
                threading.Thread(target=answer, args=(line,), daemon=True).start()


class RoutedProbe(TruthfulProbe):
    """Answers for the container that a seat's route leads to; during a deploy it has two."""

    def __init__(self, engine: Any, workshop: str, switch: Switch) -> None:
        super().__init__(engine, workshop)
        self._switch = switch

    def _running(self) -> dict[str, Any]:
        greens = self._switch.greens()
        seen = self.engine.observe(self.workshop).containers
        return {
            item.key: item
            for item in seen
            if item.state == "running"
            and (item.role is not Role.SEAT or item.name.endswith(".green") == (item.key in greens))
        }


class Makers(FakeMakers):
    """Makers whose images are known to an engine in another process."""

    def make(self, task: Task, say: Callable[[str], None], stop: Callable[[], bool]) -> Made:
        """Make an image of nothing."""
        del say, stop
        tag = f"{task.config.owner.workshop}/seat-{task.order.seat}:{task.number}"
        labels = task.config.owner.labels(Role.APP)
        self.engine.load_rootfs(Path(), tag, labels, {})
        return Made(tag, f"sha256:{task.number:064x}", "", ())


class World:
    """A class's directory, an engine that everybody shares, and a server of deploys at work."""

    def __init__(self, directory: Path) -> None:
        self.roster = directory / "participants.yaml"
        self.home = directory / ".workshop"
        self.outputs = directory.parent / "outputs"
        self.outputs.mkdir()
        place = directory.parent / "engine"
        self._engine = killing.Fork(self.home, lambda _: SharedEngine.live(place))
        until(place.exists)
        self.engine = SharedEngine(place)
        self._server: killing.Fork | None = None
        self._begun = 0

    def work(self) -> workspace.Workspace:
        """Begin a command."""
        switch = Switch(self.home / "edge" / GREEN)
        probe = RoutedProbe(self.engine, "class", switch)
        return workspace.Workspace(self.roster, lambda: self.engine, probe)

    def serve(self) -> None:
        """Let a server of deploys work from now on."""

        def act(_: killing.Effects) -> None:
            engine: Any = self.engine
            server = Server(self.home, Makers(engine, Switch(self.home / "edge" / GREEN)))
            server.tidy()
            while True:
                server.step()
                time.sleep(LOOK_SECONDS)

        self._server = killing.Fork(self.home, act)
        until((self.home / "deploys/serve.json").exists)

    def end(self) -> None:
        """End both."""
        for fork in (self._server, self._engine):
            if fork is not None:
                fork.end()

    def command(self, *words: str) -> Command:
        """Begin a real command in a fork, as a shell would."""
        self._begun += 1
        return Command(self, words, self.outputs / str(self._begun))


class Command:
    """A command under way: its exit code and all it wrote come when it is over."""

    def __init__(self, world: World, words: Sequence[str], output: Path) -> None:
        self.words = words
        self._output = output
        self._code = output.with_suffix(".code")
        self._fork = killing.Fork(world.home, lambda _: self._run(world))

    def _run(self, world: World) -> None:
        written = self._output.open("w", encoding="utf-8")
        sys.stdout = sys.stderr = written
        sys.argv = ["workshop", *self.words, "--roster", str(world.roster)]
        _begin_with(world.work)
        code: object = 0
        try:
            main()
        except SystemExit as exc:
            code = exc.code or 0
        written.flush()
        self._code.write_text(str(code), "ascii")

    def ended(self) -> tuple[int, str]:
        """Wait for its end; the exit code, and what it wrote, a traceback included."""
        ending = self._fork.wait()
        code = int(self._code.read_text("ascii")) if self._code.exists() else -1
        return code, self._output.read_text("utf-8") + ending.words


def _begin_with(make: Callable[[], workspace.Workspace]) -> None:
    """Give every workspace of this process the engine and the probe of the one that is made."""
    given, begin = make(), workspace.Workspace.__init__

    def init(self: workspace.Workspace, path: Path, **named: Any) -> None:
        begin(self, path, given.connect, given.probe, **named)

    workspace.Workspace.__init__ = init  # type: ignore[method-assign,assignment]
