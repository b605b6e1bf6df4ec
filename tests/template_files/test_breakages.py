"""The README's five ways to break the app: each is really broken, and the platform says what it promises."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploys.broken.stage import Stage, stage
from tests.template_files.files import TEMPLATE, Breakage, breakages, copy_app
from workshop.deploys.diagnosis.candidate import Ready, await_ready
from workshop.deploys.failure import DeployFailed
from workshop.labels import Role
from workshop.limits import Limits
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.intake.orders import Finding

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(420)]

SECONDS = 60.0


@pytest.fixture(scope="module")
def scene(docker_engine: Any) -> Iterator[Stage]:
    """Set the stage."""
    with stage(docker_engine, f"t{uuid.uuid4().hex[:10]}") as found:
        yield found


def deploy(scene: Stage, app: Path, name: str) -> Ready | Finding:
    """Build and start what a participant would send, the way a seat is started."""
    tag = f"{scene.owner.workshop}/{name}:1"
    spec = ImageSpec(tag, Role.APP, app, base=scene.base)
    scene.engine.build(spec, scene.owner.labels(Role.APP))
    seat = scene.specify(name, tag, command=(), limits=Limits())
    with scene.running(seat) as container:
        try:
            return await_ready(seat, container, scene.remains, seconds=SECONDS, stop=lambda: False)
        except DeployFailed as failed:
            return failed.finding


def test_unbroken_app_is_ready(scene: Stage, tmp_path: Path) -> None:
    """Otherwise the five prove nothing."""
    assert isinstance(deploy(scene, copy_app(tmp_path), "whole"), Ready)


@pytest.mark.parametrize("breakage", breakages(), ids=lambda breakage: breakage.says)
def test_breakage_is_explained_as_the_readme_says(
    breakage: Breakage, scene: Stage, tmp_path: Path
) -> None:
    """Whoever follows the README reads the words it promises."""
    app = copy_app(tmp_path)
    breakage.apply(app)
    found = deploy(scene, app, f"broken-{breakages().index(breakage)}")

    assert not isinstance(found, Ready)
    assert breakage.says in "\n".join((found.message, *found.evidence, found.next))
    shutil.rmtree(app)


def test_failure_shown_in_the_readme_is_the_one_that_is_told(scene: Stage, tmp_path: Path) -> None:
    """The example's sentences are the doctor's own."""
    app = copy_app(tmp_path)
    breakages()[0].apply(app)
    found = deploy(scene, app, "example")
    readme = (TEMPLATE / "README.md").read_text("utf-8")

    assert not isinstance(found, Ready)
    assert f"Not live: {found.message}\n    {found.evidence[0]}\n" in readme
    assert f"What to do: {found.next.partition(';')[0]}; ...\n" in readme
