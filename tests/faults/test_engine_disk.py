"""F25, F27, F28: the engine's own disk is full, by bytes or by files; nobody who runs notices.

The engine is a private one whose directory lies on a file system of its own, in a file behind a
loop device; that one is filled. What commands do without an engine is in `tests/test_capacity.py`.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.engines.private import Disk, require
from tests.faults.full_engine import DOCKERFILE, Class, provisioned
from tests.faults.room import APP
from tests.small_disk import fill, make_room, take_all, use_up_files

from workshop import labels, sources
from workshop.deploys.builds.build import BuildJob, build
from workshop.deploys.failure import DeployFailed
from workshop.engines.steps import DockerSteps
from workshop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Building the images on a machine that has none of them takes a minute.
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 18479
NAMES = ("ada", "bob")
MIB = 1 << 20
DISK = Disk(size=2048 * MIB, files=14_000)
SHORT: dict[str, Callable[[Path], None]] = {
    "bytes": lambda root: fill(root, 24 * MIB),
    "files": lambda root: use_up_files(root, 330),
}
"""What lets it begin, and not end."""


@pytest.fixture(scope="module")
def standing(
    request: pytest.FixtureRequest, docker_engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Class]:
    """Provision two; ``docker_engine`` is where their images are built."""
    del docker_engine
    require(request)
    with provisioned(tmp_path_factory.mktemp("full"), NAMES, PORT, DISK) as found:
        yield found


@pytest.fixture
def room(standing: Class) -> Iterator[Class]:
    """Hand out a class that stands on a disk with room."""
    standing.served()
    yield standing
    make_room(standing.root)


def test_change_without_room_is_refused_and_everybody_is_served_on(room: Class) -> None:
    """Nothing was begun, and every command that only looks does so; files are counted elsewhere."""
    fill(room.root, 3 * MIB)
    room.must("restart", "ada")
    before = room.holds()
    room.change()

    code, output = room.run("provision")
    plan = room.must("plan")
    room.must("status")
    ill, doctor = room.run("doctor")

    assert (code, ill) == (1, 1), output
    assert f"no room on the engine's disk: {room.root} has" in output
    assert re.search(r"3\.0 MiB of [\d,.]+ MiB free, [\d,]+ of [\d,]+ files; at least", output)
    assert "nothing was touched" in output
    assert "make room, then run the same command again" in output
    assert "ada: replace" in plan
    assert re.search(rf"failed disk: [\d.]+ MiB free in {room.root}, about 1\.008 GiB", doctor), (
        doctor
    )
    assert room.holds() == before
    room.served()


@pytest.mark.parametrize("what", SHORT)
def test_disk_that_fills_up_in_a_build_costs_nobody_anything(room: Class, what: str) -> None:
    """The build fails in words; no half image, no container of its steps, no half upload stays."""
    before = room.holds()
    room.change(size=48 * MIB, files=400)
    SHORT[what](room.root)

    code, output = room.run("provision")

    assert code == 1, output
    assert "no space left on device" in output.lower()
    assert f"the engine's disk ({room.root}) has" in output
    assert "make room, then run the same command again" in output
    assert room.holds() == before
    room.served()
    make_room(room.root)
    assert "2 replaced" in room.must("provision")
    room.served()


@pytest.mark.parametrize("what", SHORT)
def test_disk_that_fills_up_in_a_participants_build_is_nobodys_fault(
    room: Class, tmp_path: Path, what: str
) -> None:
    """The finding says so; nothing of the build stays; with room the same source is built."""
    before = room.holds()
    SHORT[what](room.root)
    steps = DockerSteps(base_url=room.engine.endpoint)
    job = _job(tmp_path / "source.tar")
    try:
        with pytest.raises(DeployFailed) as failed:
            build(job, steps, lambda _line: None, lambda: False)
        after = room.holds()
        make_room(room.root)
        build(job, steps, lambda _line: None, lambda: False)
    finally:
        steps.close()
    _forget(room, job)

    assert failed.value.finding.cause == "server-full"
    assert "Nothing is wrong with your app" in failed.value.finding.next
    assert after == before
    room.served()


def _forget(room: Class, job: BuildJob) -> None:
    """Remove the image and those of its steps."""
    mine = {"label": f"{labels.NAME}={job.marks[labels.NAME]}"}
    with contextlib.closing(room.engine.client()) as client:
        for item in client.images(filters=mine):
            for tag in item["RepoTags"]:
                client.remove_image(tag)


def _job(source: Path) -> BuildJob:
    name = f"full-{uuid.uuid4().hex[:6]}"
    members = {"Dockerfile": DOCKERFILE.encode(), "app.py": APP.encode(), "big": bytes(48 * MIB)}
    members |= {f"many/{number}": b"" for number in range(400)}
    with tarfile.open(source, "w") as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    marks = {labels.NAME: name, labels.RUN: "r1", labels.ROLE: "build"}
    return BuildJob(source, f"{name}/app:1", marks, marks, base=sources.base_tag(Settings()))


def test_teardown_needs_no_room_and_leaves_nothing(room: Class) -> None:
    """F28: neither bytes nor files are left, and everything can be given back all the same."""
    take_all(room.root)

    output = room.must("teardown", "--yes")

    assert "leftovers: 0" in output
    held = room.holds()
    assert {key: value for key, value in held.items() if value} == {}
    assert room.engine.bridges() == []
