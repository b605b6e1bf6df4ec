"""Neighbours and the edge under attack: the short form of `make torture`, where correctness counts.

Times are bounded generously, because tests share the machine; the figures are measured by
bench/torture/neighbours.py and bench/torture/edge.py.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

import pytest
from tests.e2e.room import provisioned
from tests.hostile import (
    Ada,
    Asking,
    Reloads,
    Streams,
    fill,
    has_tools,
    slow_connections,
    status_works,
    visit,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.room import Class

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: false
participants: [ada, bob, carl, grace]
"""
SLOWER = 10
"""Times as slow as idle, at most: a machine that other tests share can hold no closer bound."""
BLINK = 0.5
RELOADS = 6
PAUSE = 0.03
"""Seconds between two questions to one seat: below its limit, which is not what is tested."""


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision a class of four whose apps can misbehave."""
    if missing := has_tools():
        pytest.fail(f"{missing}; scripts/ensure-test-tools installs them")
    directory = tmp_path_factory.mktemp("hostile")
    with provisioned(docker_engine, directory, "hostile", ROSTER, fill) as room:
        yield room


def test_bob_is_served_while_ada_misbehaves_in_every_way(room: Class) -> None:
    """Fork bomb, memory hog, busy loop, log flood, disk filler and flood of visitors, all at once."""
    ada = Ada(room)
    idle = visit(room.port, "/bob/whoami", 2.0)
    with ada.misbehaving():
        visit(room.port, "/bob/whoami", 2.0)
        under = visit(room.port, "/bob/whoami", 4.0)
        status_works(room)
        killed, written = ada.killed(), ada.on_disk()
    ada.close()

    assert (idle.bad, under.bad) == (0, 0)
    assert under.median <= max(SLOWER * idle.median, BLINK), (idle.median, under.median)
    # It really did what it is accused of, and left no more than its log's two files.
    assert killed > 0
    assert 0 < written <= 10 << 20
    assert [room.whoami(name) for name in ("ada", "bob", "carl")] == ["ada", "bob", "carl"]


def test_reloads_lose_no_request_and_cut_no_stream(room: Class) -> None:
    """Routes change while clients ask without a pause and pages are open."""
    reloads, names = Reloads(room), ["bob", "carl", "grace"]
    paths = [f"/{name}/whoami" for name in names]
    with Streams(room.port, names, 60) as streams:
        with Asking(room.port, paths, 3, pause=PAUSE) as asking:
            for number in range(RELOADS):
                asking.wait(40 * number)
                reloads.reload(number + 1)
            asking.wait(40 * RELOADS)
        room.run("reset", "ada", "--yes")
        before = streams.ticks
        reloads.reload(0)
        most = workers(room)
        while streams.ticks < before + 120 and not streams.cut:
            visit(room.port, "/ada/whoami", 0.2)
        cut = streams.cut

    assert cut == 0
    assert asking.tally.bad == 0
    assert asking.tally.good >= 40 * RELOADS
    # One set of workers for each configuration that a stream is still open in.
    assert most <= (os.cpu_count() or 1) * (RELOADS + 2)


@pytest.mark.parametrize("kind", ["-H", "-B", "-X"])
def test_slow_connections_do_not_keep_others_waiting(room: Class, kind: str) -> None:
    """Two thousand clients that are slow with headers, bodies or reads; everybody else is served."""
    path = "/ada/large" if kind == "-X" else "/ada/whoami"
    with slow_connections(room.port, path, kind, 2000) as held:
        look = visit(room.port, "/bob/whoami", 2.0)

    assert look.bad == 0
    assert statistics.median(look.seconds) <= BLINK
    assert held[0] > 200
