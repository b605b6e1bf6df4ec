"""The watcher on a real engine: its events, its list, its logs, and the kernel's control groups."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engines.scene import place, seat
from tests.watching.room import Shown, edge_line, told
from workshop.board.shown import State
from workshop.deploys.config import DeploySeat
from workshop.labels import Role
from workshop.routing import Place
from workshop.watching.watcher import Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.engines.base import Engine
    from workshop.specs import NetworkSpec, Owner

pytestmark = pytest.mark.engine
SECONDS = 1.0
"""What the issue allows between a crash and its place on the page."""
PATIENCE = 30.0


@pytest.fixture
def engine(docker_engine: Engine) -> Engine:
    """Take the real one."""
    return docker_engine


def test_seat_that_crashes_is_on_file_within_a_second(
    tmp_path: Path, engine: Engine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """And so are its neighbour's memory, and a request that the edge wrote down."""
    words = ("sh", "-c", "trap 'exit 3' USR1; while :; do sleep 0.05; done")
    ada = seat(owner, base, "ada", command=words)
    bob = seat(owner, base, "bob", slot=1)
    line = edge_line("bob", status="500", upstream_status="500").replace('"', '\\"')
    edge = seat(
        owner,
        base,
        "edge",
        slot=2,
        role=Role.EDGE,
        command=("sh", "-c", f'echo "{line}"; sleep 99'),
    )
    ids = [engine.create(spec, owner) for spec in (ada, bob, edge)]
    for container in ids:
        engine.start(container)
    home = tmp_path / "home"
    (home / "deploys/shown/progress").mkdir(parents=True)
    (home / "board").mkdir()
    seats = tuple(DeploySeat(spec, place(99), "", Place("http", "x", "/")) for spec in (ada, bob))
    config = replace(told([], owner), seats=seats)
    shown = Shown(home)
    watcher = Watcher(home, lambda: config, engine, dict)
    with shown.kept_by(watcher):
        shown.until(lambda: shown.seat("bob").memory and shown.seat("bob").errors, PATIENCE)
        assert [item.state for item in shown.see().seats] == [State.LIVE, State.LIVE]
        engine.run(ids[0], ("sh", "-c", "kill -USR1 1"))
        took = shown.until(lambda: shown.seat("ada").state is State.CRASHING, PATIENCE)
        shown.until(lambda: "exit code 3" in shown.seat("ada").detail, PATIENCE)

        assert took < SECONDS
        assert shown.seat("bob").state is State.LIVE
        assert shown.see().troubles == ()
        assert shown.see().parts == (("edge", "running"),)
