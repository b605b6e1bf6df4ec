"""The edge under reloads, slow clients and open streams, on the real engine with the real publisher.

1. *Reloads*: clients ask without a pause while ever other routes are brought live. A request that
   got no good answer is lost. An idle connection may be closed just as it is used again; a client
   that asks anew then, as browsers do, has lost nothing, and it is counted apart.
2. *Slow connections*: slowhttptest holds 5,000 that send headers, bodies or take answers slowly.
3. *Streams*: open streams of events, while other seats are redeployed and the edge is reloaded.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.torture.figure import Figure  # noqa: E402
from tests.e2e.room import provisioned  # noqa: E402 - the source tree is not installed here
from tests.hostile import (  # noqa: E402
    Asking,
    Reloads,
    Streams,
    fill,
    slow_connections,
    visit,
    workers,
)

from workshop.engines.docker import DockerEngine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.room import Class

REQUESTS, RELOADS, CLIENTS = 100_000, 50, 24
SLOW, SLOW_SECONDS = 5_000, 25.0
BLINK = 0.05
STREAMS, REDEPLOYS, STREAM_RELOADS = 300, 20, 10
MOST_WORKERS = 2 * (STREAM_RELOADS + 1)
"""Each reload leaves at most one old worker a core behind, for as long as a stream of it is open."""
ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: {{drain_seconds: 1, per_minute: 600, keep: 0}}
  board: false
  edge: {{requests_per_second: 1000000, connections: 400}}
participants: [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, d0, d1]
"""


def measure() -> Iterator[Figure]:
    """Yield what was lost, how long others waited, and which streams were cut."""
    engine = DockerEngine()
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        path = Path(directory)
        with provisioned(engine, path, "torture-edge", ROSTER, fill) as room:
            yield from _reloads(room)
            yield from _slow(room)
            yield from _streams(room)
    engine.close()


def _reloads(room: Class) -> Iterator[Figure]:
    reloads = Reloads(room)
    with Asking(room.port, [f"/s{number}/whoami" for number in range(10)], CLIENTS) as asking:
        for number in range(RELOADS):
            asking.wait(REQUESTS * number // RELOADS)
            reloads.reload(number + 1)
        asking.wait(REQUESTS)
    reloads.reload(0)
    tally = asking.tally
    yield Figure(
        f"requests lost over {RELOADS} reloads",
        f"0 of {REQUESTS:,}",
        f"{tally.bad} of {tally.good + tally.bad:,} (asked anew: {tally.again})",
        ok=tally.bad == 0 and tally.good >= REQUESTS,
    )


def _slow(room: Class) -> Iterator[Figure]:
    idle = visit(room.port, "/s1/whoami", 10.0)
    yield Figure("p99 without an attack", "-", f"{idle.p99 * 1000:.1f} ms", ok=True)
    for kind, name in (("-H", "headers"), ("-B", "bodies"), ("-X", "reads")):
        path = "/s0/large" if kind == "-X" else "/s0/whoami"
        with slow_connections(room.port, path, kind, SLOW) as held:
            look = visit(room.port, "/s1/whoami", SLOW_SECONDS)
        yield Figure(
            f"p99 under {SLOW:,} connections with slow {name}",
            "at most 50 ms",
            f"{look.p99 * 1000:.1f} ms, {look.bad} of {len(look.seconds)} not good"
            f" ({held[0]:,} were open)",
            ok=look.p99 <= BLINK and look.bad == 0,
        )


def _streams(room: Class) -> Iterator[Figure]:
    reloads, names = Reloads(room), [f"s{number}" for number in range(10)]
    with Streams(room.port, names, STREAMS) as streams:
        for number in range(REDEPLOYS):
            seat = f"d{number % 2}"
            _change(room, number)
            room.run("deploy", seat, "--source", str(room.directory / "participant_template"))
            if number % 2:
                reloads.reload(number + 1)
        most = workers(room)
        before, cut = streams.ticks, streams.cut
        threading.Event().wait(2)
        alive = streams.ticks - before
    reloads.reload(0)
    yield Figure(
        f"streams cut by {REDEPLOYS} redeploys and {STREAM_RELOADS} reloads",
        f"0 of {STREAMS}",
        f"{cut} of {STREAMS} ({alive} events in the last 2 s)",
        ok=cut == 0 and alive >= STREAMS,
    )
    yield Figure(
        "worker processes meanwhile", f"at most {MOST_WORKERS}", str(most), most <= MOST_WORKERS
    )


def _change(room: Class, number: int) -> None:
    path = room.directory / "participant_template" / "app.py"
    text = re.sub(r"\n# change \d+\n$", "\n", path.read_text("utf-8"))
    path.write_text(f"{text.rstrip()}\n# change {number}\n", "utf-8")
