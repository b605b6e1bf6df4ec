"""The engine's disk full at random moments, by bytes or by files, whatever the instructor does.

A class that deploys stands on an engine whose directory is a file system of its own. Each round
takes most of it, lets commands run into the end of it, gives the room back and lets the next
command mend what is left. ``TORTURE_SEED`` repeats an earlier run's draws.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.torture.figure import Figure  # noqa: E402 - the source tree is not installed here
from tests.engines.private import Disk, lacking  # noqa: E402
from tests.faults.full_engine import Class, provisioned  # noqa: E402
from tests.small_disk import fill, make_room, take_all, use_up_files  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 18480
NAMES = ("ada", "bob", "carol")
MIB = 1 << 20
DISK = Disk(size=4096 * MIB, files=200_000)
ROUNDS = 40
PART_SECONDS = float(os.environ.get("TORTURE_SECONDS", "1200"))
WORDS = (("provision",), ("reset", "bob", "--yes"), ("restart", "--all"), ("doctor",))
FULL = ("no room on the engine's disk", "no space left on device", "disk is full")


@dataclass
class Tally:
    """What happened so far."""

    rounds: int = 0
    refused: int = 0
    wordless: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong, and the disk was full indeed."""
        return self.refused > 0 and not (self.wordless or self.away or self.left or self.stuck)

    def __str__(self) -> str:
        bad = [*self.wordless, *self.away, *self.left, *self.stuck][:2]
        counts = (
            f"{self.rounds} rounds, {self.refused} commands refused: {len(self.wordless)} without "
            f"words, {len(self.away)} seats lost, {len(self.left)} left over, {len(self.stuck)} not "
            "converged"
        )
        return "; ".join([counts, *bad])


def rounds(seats: Class, chance: random.Random) -> Tally:
    """Fill, try, give back, mend."""
    tally, until = Tally(), time.monotonic() + PART_SECONDS
    commands = (*WORDS, ("deploy", "ada", "--source", str(seats.app)))
    while tally.rounds < ROUNDS and time.monotonic() < until:
        tally.rounds += 1
        seats.change(size=chance.randrange(32 * MIB), files=chance.randrange(600))
        if chance.random() < 0.5:
            fill(seats.root, chance.randrange(64 * MIB))
        else:
            use_up_files(seats.root, chance.randrange(1200))
        for words in chance.sample(commands, 3):
            attempt(seats, words, tally)
        make_room(seats.root)
        code, output = seats.run("provision")
        if code:
            code, output = seats.run("provision")
        if code or set(seats.who().items()) != {(name, name) for name in NAMES}:
            tally.stuck.append(f"{output[-300:]} {seats.who()}")
        tally.left += leftovers(seats)
    return tally


def attempt(seats: Class, words: tuple[str, ...], tally: Tally) -> None:
    """Run one command on what is left of the disk; whoever ran before must run after."""
    try:
        code, output = seats.run(*words)
    except AssertionError as exc:
        tally.wordless.append(f"{' '.join(words)}: {str(exc)[-300:]}")
        return
    tally.refused += code == 1 and words[0] != "doctor"
    if code not in {0, 1} or (
        code == 1 and words[0] != "doctor" and not any(text in output.lower() for text in FULL)
    ):
        tally.wordless.append(f"{' '.join(words)}: exit {code}: {output[-300:]}")
    lost = [name for name, said in seats.who().items() if said != name]
    tally.away += [f"{name} after {' '.join(words)}: {output[-200:]}" for name in lost]


def leftovers(seats: Class) -> list[str]:
    """Name containers that never started and images that nobody can find any more."""
    with contextlib.closing(seats.engine.client()) as client:
        created = client.containers(all=True, filters={"status": "created"})
        nameless = client.images(filters={"dangling": True})
    half = [path.name for path in (seats.root / "tmp").iterdir()]
    return [
        *(f"container {item['Names']}" for item in created),
        *(f"image {item['Id']}" for item in nameless),
        *(f"half done {name}" for name in half),
    ]


def measure() -> Iterator[Figure]:
    """Run the rounds, then give everything back on a full disk."""
    if reason := lacking():
        yield Figure("the engine's disk full", "measured", reason, ok=False)
        return
    seed = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(2**32)))
    print(f"disks: TORTURE_SEED={seed}", flush=True)
    deploys = "{per_minute: 600, drain_seconds: 1}"
    with (
        tempfile.TemporaryDirectory() as directory,
        provisioned(Path(directory), NAMES, PORT, DISK, deploys) as seats,
    ):
        found = rounds(seats, random.Random(seed))
        yield Figure(
            "the engine's disk full by bytes or files, at random: nobody lost, nothing left over",
            f"{ROUNDS} rounds, all told in words, all converged",
            str(found),
            found.ok and found.rounds >= ROUNDS,
        )
        take_all(seats.root)
        code, output = seats.run("teardown", "--yes")
        yield Figure(
            "teardown of a class that deploys, on an engine's disk without a byte or a file left",
            "leftovers: 0",
            output[output.find("leftovers") :][:60] or output[-200:],
            code == 0 and "leftovers: 0" in output,
        )
