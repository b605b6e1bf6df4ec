"""``workshop serve``, the control process: takes orders and gives each its turn.

It has nobody to talk to but files. Where the class has a board, it watches the class and grants the
board's wishes beside that (:mod:`workshop.watching`, :mod:`workshop.granting`).

It is the one process that holds the engine's socket for longer than a command. Nothing listens in
it: orders come as files (:mod:`workshop.intake.orders`), and so does what it is told. An order's
file stays until its last word is said, so a server that is killed begins it again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.deploys import config as configs
from workshop.deploys import versions
from workshop.deploys.config import ORDERS, SERVER, STARTERS, Config
from workshop.deploys.journal import Journal
from workshop.deploys.makers import Makers
from workshop.deploys.pipeline import Pipeline, Run
from workshop.deploys.queue import DeployQueue
from workshop.deploys.records import Records
from workshop.errors import WorkshopError
from workshop.granting import Granter
from workshop.intake import orders
from workshop.intake.orders import Order, Stage, What
from workshop.labels import Role
from workshop.serving import replace_whole
from workshop.watching.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.intake.orders import Finding

LOOK_SECONDS = 0.05
"""Between two looks for orders; what a participant waits at most before anything happens."""
BEAT_SECONDS = 1.0
WORKERS = 6
"""Orders under way: as many starts as two cores carry without slowing each other down."""
_INTAKE_MAY = frozenset({What.PUSH, What.SOURCE})


@dataclass(frozen=True)
class Box:
    """A directory that orders come from, and whether its writer may order anything."""

    path: Path
    trusted: bool


@dataclass
class ConfigFile:
    """What the server is told, read anew whenever the file has changed."""

    path: Path
    _seen: tuple[int, int] = (0, 0)
    _config: Config | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Config:
        """Return what holds now; a garbled file leaves what held before.

        Raises:
            OSError, ValueError, KeyError, TypeError: there never was a readable one.

        """
        with self._lock:
            try:
                stat = self.path.stat()
                if (stat.st_mtime_ns, stat.st_ino) != self._seen:
                    self._config = configs.load(self.path.read_text("utf-8"))
                    self._seen = (stat.st_mtime_ns, stat.st_ino)
            except (OSError, ValueError, KeyError, TypeError):
                if self._config is None:
                    raise
            if self._config is None:
                raise ValueError(f"{self.path} holds no configuration")
            return self._config


class Server:
    """The loop: looks for orders, starts those whose turn it is, tells how long others wait."""

    def __init__(self, home: Path, makers: Makers | None = None) -> None:
        self.home = home
        self.deploys = home / "deploys"
        self.config = ConfigFile(self.deploys / configs.FILE)
        self.journal = Journal(self.deploys / "shown")
        self.records = Records(self.deploys, home / "lock")
        self.makers = makers or Makers.on_docker(home, self.config.read())
        self.pipeline = Pipeline(self.makers, self.records, self.journal)
        self.boxes = (Box(self.deploys / ORDERS, trusted=True), Box(home / "inbox", trusted=False))
        told = self._told = self.config.read()
        per_minute, builds = told.options.per_minute, len(told.relays)
        self.queue = DeployQueue(per_minute, builds, WORKERS)
        self._relays = list(told.relays)
        self._boxes: dict[str, Box] = {}
        self._ended: list[Order] = []
        self._untold: dict[str, Finding] = {}
        self._warmed: set[str] = set()
        self._lock = threading.Lock()
        self._beaten = 0.0
        self._started = time.time()

    def tidy(self) -> None:
        """Bring the class to what is on record, after a server that was killed.

        A second container of a seat is a candidate nobody waits for any more, or a version whose
        time to drain is over.
        """
        told = self.config.read()
        self.makers.clear(told)
        with self.records.alone(lambda: False):
            told = self.config.read()
            greens = self.records.greens()
            live = {
                f"{seat.spec.name}.green" if seat.spec.key in greens else seat.spec.name
                for seat in told.seats
            }
            names = {name for seat in told.seats for name in _names(seat.spec.name)}
            # Routes first: one may still lead to what is about to go.
            self.makers.switch.settle(greens)
            for item in self.makers.engine.observe(told.owner.workshop).containers:
                if item.role is Role.SEAT and item.name in names - live:
                    self.makers.engine.remove(item.id)

    def step(self) -> None:
        """Do everything that is due, without waiting for anything."""
        self._collect()
        self._accept()
        while self._start_next():
            pass
        for order in self.queue.waiting():
            self.journal.ahead(order, self.queue.ahead(order))
        self._warm_next()
        self._beat()

    # -- taking orders ------------------------------------------------------------------------

    def _accept(self) -> None:
        told = self.config.read()
        if told is not self._told:
            self._told = told
            self.queue.per_minute = told.options.per_minute
            self.records.retain({seat.spec.key for seat in told.seats})
        for box in self.boxes:
            for order_id in orders.waiting(box.path):
                if order_id not in self._boxes:
                    self._take_in(order_id, box, told)

    def _take_in(self, order_id: str, box: Box, told: Config) -> None:
        order = orders.read_order(box.path, order_id)
        allowed = order is not None and (
            box.trusted or (order.what in _INTAKE_MAY and order.actor == order.seat)
        )
        if order is None or not allowed or self.journal.is_over(order_id):
            _discard(box, order_id)
            return
        if told.seat(order.seat) is None:
            self.journal.refuse(order, versions.unknown_seat(order.seat))
            _discard(box, order_id)
            return
        self.journal.accept(order, self.queue.ahead(order))
        self._boxes[order_id] = box
        older = self.queue.add(order)
        if older is not None:
            self.journal.end(older, Stage.SUPERSEDED)
            _discard(self._boxes.pop(older.id), older.id)

    # -- giving turns -------------------------------------------------------------------------

    def _start_next(self) -> bool:
        with self._lock:
            self.queue.builds = len(self._relays) + self.queue.building
            order = self.queue.take(time.monotonic())
            if order is None:
                return False
            relay = self._relays.pop() if order.what is What.SOURCE else ""
        threading.Thread(target=self._work, args=(order, relay), name=order.id, daemon=True).start()
        return True

    def _warm_next(self) -> None:
        """Build what the class starts from while nobody waits, one at a time."""
        with self._lock:
            cold = [name for name in self._told.starters if name not in self._warmed]
            if not (cold and self.queue.idle and len(self._relays) == len(self._told.relays)):
                return
            self._warmed.add(cold[0])
            relay = self._relays.pop()
        threading.Thread(
            target=self._warm, args=(cold[0], relay), name=f"warm-{cold[0]}", daemon=True
        ).start()

    def _warm(self, name: str, relay: str) -> None:
        try:
            starter = self.deploys / STARTERS / f"{name}.tar"
            self.makers.warm(self.config.read(), starter, relay)
            _log(f"built {name} for its steps")
        except WorkshopError as exc:
            # Its template may need what only the engine's own builder can do.
            _log(f"could not build {name} for its steps: {exc.message}")
        finally:
            with self._lock:
                self._relays.append(relay)

    def _work(self, order: Order, relay: str) -> None:
        run = Run(
            order,
            self.config.read,
            self._stop_for(order),
            lambda: self._give_way(order, relay),
            relay,
            self._boxes[order.id].path / f"{order.id}.tar",
        )
        try:
            self.pipeline.deploy(run)
        except WorkshopError as exc:
            self._fault(order, exc.message)
        except Exception as exc:  # noqa: BLE001 - one order's accident must not end the server
            traceback.print_exc()
            self._fault(order, f"{type(exc).__name__}: {exc}")
        finally:
            self._give_way(order, relay)
            with self._lock:
                self._ended.append(order)

    def _give_way(self, order: Order, relay: str) -> None:
        """Let the next order have the turn; once for each order."""
        with self._lock:
            if self.queue.end(order) and relay:
                self._relays.append(relay)

    def _fault(self, order: Order, words: str) -> None:
        finding = versions.platform_fault(words)
        try:
            self.journal.end(order, Stage.FAILED, finding=finding)
        except KeyError:
            traceback.print_exc()
        except OSError:
            # Its file stays until this is said, by this server or the next one.
            self._untold[order.id] = finding

    def _stop_for(self, order: Order) -> Callable[[], bool]:
        def overtaken() -> bool:
            with self._lock:
                return self.queue.overtaken(order, time.monotonic())

        return overtaken

    def _collect(self) -> None:
        with self._lock:
            ended = list(self._ended)
        for order in ended:
            if order.id in self._untold:
                self.journal.end(order, Stage.FAILED, finding=self._untold[order.id])
                del self._untold[order.id]
            _discard(self._boxes.pop(order.id), order.id)
            with self._lock:
                self._ended.remove(order)
        if ended:
            self.journal.forget_old()

    def _beat(self) -> None:
        now = time.time()
        if now - self._beaten < BEAT_SECONDS:
            return
        self._beaten = now
        facts = {
            "pid": os.getpid(),
            "started": self._started,
            "beat": now,
            "waiting": sum(1 for _ in self.queue.waiting()),
            "building": self.queue.building,
        }
        replace_whole(self.deploys / SERVER, json.dumps(facts) + "\n")


class Attendant:
    """What the server does for a board beside deploys: it watches the class and grants wishes.

    Without a board it does nothing; one that comes is attended to without a restart.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._board = server.home / "board"
        self._watcher: Watcher | None = None
        self._granter = Granter(server.home, server.config.read, server.makers.engine)

    def step(self) -> None:
        """Do what is due, without waiting for anything.

        Raises:
            OSError: the disk is full, or the board's files cannot be reached.

        """
        if not self._board.is_dir():
            self.stop()
            return
        if self._watcher is None:
            server = self._server
            self._watcher = Watcher(
                server.home, server.config.read, server.makers.engine, server.records.everybody
            )
            self._watcher.start()
        self._granter.step()

    def stop(self) -> None:
        """End the watch."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None


def serve(directory: Path) -> int:
    """Serve the workshop whose state lies in ``directory``, until told to stop.

    Raises:
        EngineUnreachable: no engine answers.

    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = Server(directory)
    _log("tidying")
    server.tidy()
    attendant = Attendant(server)
    _log("serving")
    while not ended.wait(LOOK_SECONDS):
        # One after the other's accident: neither a deploy nor a wish must wait for the other.
        if not all([_turn(server.step), _turn(attendant.step)]):
            ended.wait(BEAT_SECONDS)
    attendant.stop()
    _log("stopped")
    return 0


def _turn(step: Callable[[], None]) -> bool:
    """Take one step; whether it went well."""
    try:
        step()
    except (OSError, WorkshopError):
        # A full disk or an engine that restarts: what is due stays due.
        traceback.print_exc()
        return False
    return True


def _discard(box: Box, order_id: str) -> None:
    """Remove an order and its source: its last word is said."""
    for suffix in ("tar", "json"):
        (box.path / f"{order_id}.{suffix}").unlink(missing_ok=True)


def _names(blue: str) -> tuple[str, str]:
    return blue, f"{blue}.green"


def _log(text: str) -> None:
    sys.stderr.write(json.dumps({"time": time.time(), "event": text}) + "\n")
    sys.stderr.flush()
