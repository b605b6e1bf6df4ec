"""One seat misbehaves in every way at once, and its visitors flood it: what do Bob's notice.

Rounds alternate: idle, then with Ada's bombs lit. A round's ratio is of the two 99th percentiles it
saw itself, so that whatever else the machine does meets both; what counts is the median of ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.torture.figure import Figure  # noqa: E402
from tests.e2e.room import provisioned  # noqa: E402 - the source tree is not installed here
from tests.hostile import Ada, Look, fill, free_bytes, status_works, visit  # noqa: E402

from workshop.engines.docker import DockerEngine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.room import Class

ROUNDS = 7
SECONDS = 10.0
BLINK = 0.1
"""Seconds below which nobody notices."""
MIB = 1 << 20
ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: false
participants: [ada, bob, carl]
"""


def measure() -> Iterator[Figure]:
    """Yield what Bob's visitors saw, what of Ada is on the disk, and whether the command works."""
    engine = DockerEngine()
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        path = Path(directory)
        with provisioned(engine, path, "torture-neighbours", ROSTER, fill) as room:
            yield from _measure(room)
    engine.close()


def _measure(room: Class) -> Iterator[Figure]:
    ada, free = Ada(room), free_bytes()
    visit(room.port, "/bob/whoami", 2.0)
    rounds, seconds, most, killed = [], [], 0, 0
    try:
        for number in range(ROUNDS):
            idle = visit(room.port, "/bob/whoami", SECONDS)
            with ada.misbehaving():
                visit(room.port, "/bob/whoami", 2.0)
                under = visit(room.port, "/bob/whoami", SECONDS)
                seconds.append(status_works(room))
                most, killed = max(most, ada.on_disk()), killed + ada.killed()
            rounds.append((idle, under))
            print(f"    round {number + 1}: {_shown(idle)} idle, {_shown(under)} under load")
        change = abs(free - free_bytes())
    finally:
        ada.close()
    ratio = statistics.median(under.p99 / idle.p99 for idle, under in rounds)
    worst = statistics.median(under.p99 for _, under in rounds)
    bad = sum(look.bad for pair in rounds for look in pair)
    asked = sum(len(look.seconds) for pair in rounds for look in pair)
    yield Figure(
        "Bob's p99 under all of Ada's bombs",
        "at most 2 x idle",
        f"{ratio:.2f} x (median of {ROUNDS} rounds)",
        ok=ratio <= 2,
    )
    yield Figure("the same in seconds", "at most 100 ms", f"{worst * 1000:.0f} ms", worst <= BLINK)
    yield Figure("Bob's answers that were not good", "0", f"{bad} of {asked}", bad == 0)
    yield Figure(
        "what Ada has on the server's disk",
        "at most 10 MiB",
        f"{most / MIB:.1f} MiB (free space changed by {change / MIB:.1f} MiB)",
        ok=most <= 10 * MIB,
    )
    slowest = max(seconds)
    yield Figure("workshop status meanwhile", "works", f"at most {slowest:.1f} s", slowest <= 30)
    yield Figure("Ada's processes killed for want of memory", "some", f"{killed}", killed > 0)


def _shown(look: Look) -> str:
    return f"p50 {look.median * 1000:.1f} ms, p99 {look.p99 * 1000:.1f} ms"
