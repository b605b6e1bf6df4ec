"""Our own processes killed at random side effects, on the machine's engine: 300 at 30 seats.

``KILLS`` and ``KILL_SEATS`` in the environment make it smaller. All is chained: up (killed), up,
down (killed), down or up, so that each death costs two commands. At the end deploys are killed at
every point of theirs, on a memory engine and on the real one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.torture.figure import Figure
from tests.faults import killing
from tests.faults.room import ROOT, drive, room
from tests.faults.test_drift import drifted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.room import Room, Turns

KILLS = int(os.environ.get("KILLS", "300"))
SEATS = int(os.environ.get("KILL_SEATS", "30"))
CHANGES = 200
_DRAWN_FROM = 3


@dataclass
class Tally:
    """What became of the kills so far."""

    kills: int = 0
    converged: int = 0
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    changes: int = 0


def measure() -> Iterator[Figure]:
    """Kill at random points, alter at random, and sweep every point on a memory engine."""
    tally, dice = Tally(), random.Random()
    people = [f"p{number:03}" for number in range(SEATS)]
    with (
        tempfile.TemporaryDirectory(prefix="kills") as directory,
        room(Path(directory, "class"), "kills", people) as found,
    ):
        drive([_battered(found, dice, tally)])
        drive([_drifted(found, dice, tally)])
        tally.wrong += found.heard.wrong
    name = f"{tally.kills} kills at {SEATS} seats"
    yield Figure(
        f"{name}: converged", "100 %", f"{tally.converged}", tally.converged == tally.kills
    )
    yield Figure(f"{name}: left over", "0", f"{len(tally.left)} {tally.left[:3]}", not tally.left)
    wrong = f"{len(tally.wrong)} of {found.heard.answers} answers {tally.wrong[:3]}"
    yield Figure(f"{name}: wrong seats", "0", wrong, not tally.wrong)
    yield Figure("changes by hand repaired", "all", f"{tally.changes}", tally.changes > 0)
    whole = KILLS >= 300
    points = "0" if whole else "12"
    yield _tests(
        "every point on a memory engine" if whole else "12 points on a memory engine",
        "tests/faults/test_killed_anywhere.py",
        WORKSHOP_TEST_KILL_POINTS=points,
    )
    yield _tests(
        f"the server of deploys killed at {'every point' if whole else '12 points'}",
        "tests/faults/test_deploys_killed.py",
        WORKSHOP_TEST_DEPLOY_KILLS=points,
    )
    rounds = "100" if whole else "10"
    yield _tests(
        f"{rounds} rounds of a dozen commands and deploys at once",
        "tests/faults/test_at_once.py::test_commands_and_deploys_at_once_have_one_result",
        WORKSHOP_TEST_MINGLED=rounds,
    )


def _battered(found: Room, dice: random.Random, tally: Tally) -> Turns:
    """Let a class come and go, dying at a point drawn anew each time."""
    ups = (yield from found.provision()).effects
    wanted = found.described()
    downs = (yield from found.teardown()).effects
    begun = time.monotonic()
    while tally.kills < KILLS:
        yield from found.provision(_drawn(dice, ups))
        yield from _mended(found, wanted, tally)
        if tally.kills >= KILLS:
            break
        yield from found.teardown(_drawn(dice, downs))
        if dice.random() < 1 / _DRAWN_FROM:
            yield from _mended(found, wanted, tally, neighbours=False)
        else:
            tally.kills += 1
            tally.converged += 1
        yield from found.teardown()
        tally.left += found.inventory()
        seconds = (time.monotonic() - begun) / tally.kills
        print(
            f"    {tally.kills} kills, {seconds:.1f} s each, {seconds * KILLS / 60:.0f} min in all"
        )
    yield from found.provision()


def _drawn(dice: random.Random, effects: list[str]) -> killing.Point:
    return killing.Point(dice.randint(1, len(effects)), dice.random() < 0.5)


def _mended(found: Room, wanted: dict[str, Any], tally: Tally, *, neighbours: bool = True) -> Turns:
    """Provision once more, and count whether all is as undisturbed and neighbours ran on.

    Who ran when a teardown was killed may have been told to stop, so those are not compared.
    """
    before = found.started()
    yield from found.provision()
    after = found.started()
    tally.kills += 1
    differs = killing.difference(wanted, found.described())
    touched = {key for key in before if neighbours and after.get(key) != before[key]}
    if differs or touched:
        print(f"    differs: {sorted(differs)}, touched: {touched}")
    else:
        tally.converged += 1


def _drifted(found: Room, dice: random.Random, tally: Tally) -> Turns:
    rounds = max(1, CHANGES * KILLS // 300 // 3)
    yield from drifted(found, rounds, dice)
    tally.changes += 3 * rounds


def _tests(name: str, tests: str, **amounts: str) -> Figure:
    """Run tests of the suite in another amount, told by the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", tests, "-q", "-p", "no:cacheprovider", "--timeout=3000"],
        cwd=ROOT,
        env={**os.environ, **amounts},
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    return Figure(name, "all pass", last, done.returncode == 0)
