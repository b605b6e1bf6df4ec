"""Commands killed before and after their side effects, on the real engine.

Three classes of three take turns, so that the engine always has work. Each class is killed on its
way up, provisioned, killed on its way down, and torn down or brought back, again and again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults import killing
from tests.faults.room import drive, room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.killing import Ending, Point
    from tests.faults.room import Room, Turns

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]

PEOPLE = ("ada", "bob", "carol")
LANES = 3
MOST = int(os.environ.get("WORKSHOP_TEST_KILL_POINTS", "32"))
"""Points tried of each command."""


@pytest.fixture
def rooms(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Room]]:
    """Make three classes."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(room(tmp_path_factory.mktemp("room"), f"kill{n}", PEOPLE))
            for n in range(LANES)
        ]


def measured(found: Room, ups: list[str], downs: list[str], wanted: dict[str, Any]) -> Turns:
    """Let a class come and go undisturbed: its side effects, and what it looks like."""
    ups += (yield from found.provision()).effects
    wanted |= found.described()
    downs += (yield from found.teardown()).effects
    assert found.inventory() == []


def battered(found: Room, ups: list[Point], downs: list[Point]) -> Turns:
    """Kill a class on its way up and on its way down, and see it right each time."""
    wanted: dict[str, Any] = {}
    yield from measured(found, [], [], wanted)
    for number, (coming, going) in enumerate(itertools.zip_longest(ups, downs)):
        if coming is not None:
            ending = yield from found.provision(coming)
            yield from mended(found, ending, coming, wanted)
        else:
            yield from found.provision()
        if going is None:
            yield from found.teardown()
            continue
        ending = yield from found.teardown(going)
        if number % 3 == 2:
            yield from mended(found, ending, going, wanted, neighbours=False)
        yield from found.teardown()
        assert found.inventory() == [], f"{going}, {ending.effects[-1]}"


def mended(
    found: Room, ending: Ending, point: Point, wanted: dict[str, Any], *, neighbours: bool = True
) -> Turns:
    """Provision once more: all is as undisturbed, and who ran already runs on.

    Who ran when a teardown was killed may have been told to stop, so those are not compared.
    """
    where = f"{found.name}: {point}, {ending.effects[-1]}"
    before = found.started()
    yield from found.provision()
    after = found.started()
    assert killing.difference(wanted, found.described()) == {}, where
    if neighbours:
        assert {key: after.get(key) for key in before} == before, where
    assert set(found.listen()) == set(found.people), where


def test_commands_killed_at_any_side_effect_are_made_up_for(rooms: list[Room]) -> None:
    """The same state as undisturbed, nobody led astray, neighbours untouched, nothing left."""
    ups: list[str] = []
    downs: list[str] = []
    drive([measured(rooms[0], ups, downs, {})])
    coming = killing.spread(killing.points(len(ups)), MOST)
    going = killing.spread(killing.points(len(downs)), MOST)

    drive(
        battered(found, coming[lane::LANES], going[lane::LANES]) for lane, found in enumerate(rooms)
    )

    assert len(coming) + len(going) >= min(60, 2 * MOST)
    assert [wrong for found in rooms for wrong in found.heard.wrong] == []
    assert all(found.heard.answers for found in rooms)
