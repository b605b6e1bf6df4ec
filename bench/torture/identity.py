"""Nobody ever gets somebody else's seat, in whatever order the engine brings seats back.

Each round stops every seat and starts all of them again in an order drawn anew, through the
engine's own API, which is what a crash, an upgrade or a helper at the keyboard does. All the while
the seats come back, each `/<name>/whoami` is asked through the edge; a name that is not the one in
the path is a wrong answer, whenever it is heard. Then the engine itself is killed (-9), started
and provisioned again. Silence is counted apart: a seat that is not up yet is no wrong seat.

Runs on a private engine in a network namespace of its own, so nothing else is disturbed; needs
root. The images come from the machine's engine.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.torture.figure import Figure
from tests.engines.private import PrivateEngine, lacking, private_engine, write_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORT = 18472
SEATS, ROUNDS, KILLS = 30, 20, 3
WORKERS = 6
STOP_SECONDS = 3
SETTLE_SECONDS = 120.0
PAUSE = 0.1


@dataclass
class Tally:
    """What was heard so far."""

    answers: int = 0
    silent: int = 0
    """Seats that had not answered when their round's time was up."""
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Class:
    """A workshop on a private engine."""

    engine: PrivateEngine
    roster: Path
    names: list[str]

    def provision(self) -> None:
        """Bring everybody up; who stays down is silent when asked, and counted there."""
        code, output = self.engine.workshop(self.roster, "provision")
        if code:
            print(f"provision failed:\n{output}", flush=True)

    def shuffle(self) -> None:
        """Stop all seats, then start them in random order, a few at a time."""
        with contextlib.closing(self.engine.client()) as client:
            seats = [item["Id"] for item in client.containers(filters=_seats())]
            random.shuffle(seats)
            _each(seats, lambda seat: client.stop(seat, timeout=STOP_SECONDS))
            random.shuffle(seats)
            _each(seats, client.start)

    def listen(self, tally: Tally, done: Callable[[], bool]) -> None:
        """Ask everybody until each has answered once after ``done``; note every name heard."""
        awaited = set(self.names)
        deadline = time.monotonic() + SETTLE_SECONDS
        while awaited and time.monotonic() < deadline:
            settled = done()
            for name, answer in self.engine.who_answers(PORT, sorted(awaited)).items():
                if answer:
                    tally.answers += 1
                if answer and settled:
                    awaited.discard(name)
                if answer not in {"", name}:
                    tally.wrong.append(f"/{name}/ answered as {answer!r}")
            time.sleep(PAUSE)
        tally.silent += len(awaited)


def _seats() -> dict[str, str]:
    return {"label": "workshop.role=seat"}


def _each(seats: list[str], act: Callable[..., object]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(act, seats))


def measure() -> Iterator[Figure]:
    """Run the rounds and the kills; a single wrong or missing answer is too many."""
    if reason := lacking():
        raise RuntimeError(reason)
    names = [f"p{number:03}" for number in range(SEATS)]
    tally = Tally()
    with tempfile.TemporaryDirectory() as directory, private_engine() as engine:
        roster = write_class(Path(directory, "class"), PORT, names)
        engine.take_images(roster)
        room = Class(engine, roster, names)
        room.provision()
        for number in range(1, ROUNDS + 1):
            _measured(f"round {number}: restarted in random order", room.shuffle, room, tally)
        for number in range(1, KILLS + 1):
            _measured(
                f"kill {number}: engine killed, provisioned", lambda: _kill(room), room, tally
            )
    for line in tally.wrong:
        print(line)
    asked = f"{SEATS} seats, {ROUNDS} orders, {KILLS} kills, {tally.answers:,} names heard"
    yield Figure("wrong-seat answers", "0", f"{len(tally.wrong)} ({asked})", not tally.wrong)
    yield Figure("seats that stay silent", "0", str(tally.silent), not tally.silent)


def _kill(room: Class) -> None:
    room.engine.kill()
    room.engine.start()
    room.provision()


def _measured(title: str, act: Callable[[], None], room: Class, tally: Tally) -> None:
    begun, before, silent = time.monotonic(), len(tally.wrong), tally.silent
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        room.listen(tally, acting.done)
        acting.result()
    seconds = time.monotonic() - begun
    wrong, silent = len(tally.wrong) - before, tally.silent - silent
    print(f"{title}: {wrong} wrong, {silent} silent, {seconds:.1f} s", flush=True)
