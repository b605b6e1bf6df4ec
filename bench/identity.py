"""Does anybody ever get somebody else's seat: `python bench/identity.py --seats 30 --rounds 20`.

Each round stops every seat and starts all of them again in an order drawn anew, through the
engine's own API, which is what a crash, an upgrade or a helper at the keyboard does. All the while
the seats come back, each `/<name>/whoami` is asked through the edge; a name that is not the one in
the path is a wrong answer, whenever it is heard. Then the engine itself is killed (-9), started
and provisioned again. Silence is counted apart: a seat that is not up yet is no wrong seat.

Runs on a private engine in a network namespace of its own, so nothing else is disturbed; needs
root. The images come from the machine's engine.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.engines.private import (  # noqa: E402 - the source tree is not installed here
    lacking,
    private_engine,
    write_class,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.private import PrivateEngine

PORT = 18472
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


def main() -> int:
    """Run the rounds and the kills; exit 1 when a single answer was wrong or missing."""
    arguments = _arguments()
    if reason := lacking():
        sys.exit(reason)
    random.seed(arguments.seed)
    names = [f"p{number:03}" for number in range(arguments.seats)]
    tally = Tally()
    with tempfile.TemporaryDirectory() as directory, private_engine() as engine:
        roster = write_class(Path(directory, "class"), PORT, names)
        engine.take_images(roster)
        room = Class(engine, roster, names)
        room.provision()
        for number in range(1, arguments.rounds + 1):
            _measured(f"round {number}: restarted in random order", room.shuffle, room, tally)
        for number in range(1, arguments.kills + 1):
            _measured(
                f"kill {number}: engine killed, provisioned", lambda: _kill(room), room, tally
            )
    for line in tally.wrong:
        print(line)
    asked = f"{arguments.seats}*{arguments.rounds + arguments.kills}"
    print(f"names heard: {tally.answers}; silent seats: {tally.silent} of {asked}")
    print(f"wrong answers: {len(tally.wrong)} of {asked}")
    return 1 if tally.wrong or tally.silent else 0


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seats", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument(
        "--seed", type=int, default=None, help="repeat the orders of an earlier run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
