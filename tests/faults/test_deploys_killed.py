"""The server of deploys killed before and after its side effects, and without a registry.

It runs on the real engine with its real makers. Every call that changes something on the engine
counts, and every change of a file; visitors ask all the while.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.deploys import registry_lab
from tests.faults import killing
from tests.faults.deploying import ADA, scene
from tests.faults.room import drive

from workshop.deploys import config as configs
from workshop.deploys import current, makers
from workshop.deploys.config import LOG
from workshop.deploys.images.fetch import Fetcher
from workshop.intake import orders
from workshop.intake.orders import Stage, What

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.deploys.registry_lab import Registry
    from tests.faults.deploying import Scene
    from tests.faults.killing import Ending, Point
    from tests.faults.room import Turns

    from workshop.deploys.server import Server
    from workshop.engines.docker import DockerEngine

PEOPLE = ("ada", "bob", "carol")
LANES = 3
MOST = int(os.environ.get("WORKSHOP_TEST_DEPLOY_KILLS", "16"))
"""Points tried; 0 tries every single one."""
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300 if MOST else 3600)]


@pytest.fixture(scope="module")
def scenes(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Scene]]:
    """Make three classes, so that one is at work while the others wait."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(scene(tmp_path_factory.mktemp("room"), f"dying{n}", PEOPLE))
            for n in range(LANES)
        ]


def undisturbed(found: Scene, effects: list[str]) -> Turns:
    """Deploy once without any trouble: its side effects, in their order."""
    found.order()
    ending: Ending = yield from found.serve()
    effects += ending.effects
    found.must_be_settled("undisturbed")


def battered(found: Scene, points: Sequence[Point]) -> Turns:
    """Deploy again and again, and die each time."""
    for point in points:
        yield from found.kill(point)


def test_deploys_killed_at_any_side_effect_leave_one_version_and_its_route(
    scenes: list[Scene],
) -> None:
    """The next server ends the order; Ada answered at every moment, and nobody was touched."""
    effects: list[str] = []
    drive([undisturbed(scenes[0], effects)])
    calls = killing.points(sum(map(_is_call, effects)), call=True)
    points = killing.points(len(effects))
    half = MOST // 2
    chosen = killing.spread(calls, half) + killing.spread(points, half) if MOST else points

    drive(battered(found, chosen[lane::LANES]) for lane, found in enumerate(scenes))

    # One verb of the engine is several calls: to take an image over needs a container.
    assert len(calls) >= 2 * 8
    assert len(points) > 2 * len(calls)
    assert all(found.room.heard.answers > 10 * len(PEOPLE) for found in scenes)


def _is_call(effect: str) -> bool:
    return effect.startswith(("POST ", "DELETE ", "PUT "))


# -- without a registry -----------------------------------------------------------------------


@pytest.fixture
def registry(
    scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Registry]:
    """Run a registry for the first class, whose server is patient for a second."""
    monkeypatch.setattr(makers, "Fetcher", functools.partial(Fetcher, patience=1.0))
    path = scenes[0].room.home / "deploys" / configs.FILE
    before = path.read_text("utf-8")
    with registry_lab.running(tmp_path_factory.mktemp("registry")) as found:
        told = replace(configs.load(before), registry=found.address)
        path.write_text(configs.dump(told), "utf-8")
        yield found
        path.write_text(before, "utf-8")


def test_registry_that_is_down_leaves_the_old_version_and_says_so(
    scenes: list[Scene], registry: Registry
) -> None:
    """What was pushed is safe: the same order goes live once the registry is back."""
    found = scenes[0]

    def knows_the_registry(server: Server) -> None:
        server.makers.signer = registry.signer

    def pushed(digest: str) -> Turns:
        found.order(What.PUSH, repository="ada/app", digest=digest)
        yield from found.serve(change=knows_the_registry)

    digest = registry_lab.push(found.room.api, registry, found.image, "ada/app")
    before, version = found.room.names(), found.room.listen()[ADA]
    registry.stop()
    drive([pushed(digest)])

    last = orders.history(found.room.home / "deploys/shown" / LOG)[-1]
    assert last.stage is Stage.FAILED
    assert last.finding is not None
    assert last.finding.cause == "registry-away"
    assert "still live, and your image is safe" in last.finding.message
    assert "docker push" in last.finding.next
    assert (found.room.names(), found.room.listen()[ADA]) == (before, version)
    assert found.room.plan_without_doors().is_empty

    registry.start()
    drive([pushed(digest)])

    live = current.load(found.room.home / "deploys")[ADA].live
    assert live is not None
    assert (live.digest, found.room.listen()[ADA]) == (digest, live.version)
    found.must_have_answered("registry down")
