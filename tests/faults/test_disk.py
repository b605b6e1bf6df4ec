"""A state directory that takes nothing more: old files stay whole, and the error says what helps.

The class's directory lies on a small file system of its own, which is filled; never the machine's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engines.private import lacking
from tests.small_disk import PAGE, fill, make_room, small_disk, use_up_files

from tests.conftest import TruthfulProbe, again
from workshop import operations, state, teardown
from workshop.engines.memory import MemoryEngine
from workshop.errors import InputError, WorkshopError
from workshop.workspace import Workspace

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason=lacking() or "mounting needs root")

SIZE = 2 << 20
INODES = 400
ROOM = [*range(0, 9 * PAGE, PAGE), 16 * PAGE]
"""Bytes left when the apply begins: each stops it at another file."""


@pytest.fixture
def disk(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put a file system of two mebibytes where the class lives."""
    template = directory / "participant_template"
    kept = tmp_path_factory.mktemp("kept") / "template"
    shutil.copytree(template, kept)
    with small_disk(directory, SIZE, INODES):
        shutil.copytree(kept, template)
        yield directory


@pytest.fixture
def small(work: Workspace, disk: Path) -> Workspace:
    """Provision a class of three, which deploys, on that disk."""
    text = CLASS
    path = disk / "participants.yaml"
    path.write_text(text, "utf-8")
    engine = MemoryEngine()
    found = Workspace(path, lambda: engine, TruthfulProbe(engine, "class"))
    del work
    assert operations.provision(found).ok
    path.write_text(text + "  - joan\n", "utf-8")
    return again(found)


CLASS = """
workshop:
  name: class
  url: http://localhost:18999
participants:
  - ada
  - bob
"""


def contents(home: Path) -> dict[str, bytes]:
    """Read every file below the state directory but the lock."""
    found = (path for path in sorted(home.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


def assert_whole(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """See that what was there is there, and that every file that matters can be read whole."""
    lost = before.keys() - after.keys()
    assert not {name for name in lost if "state.json" in name or "current" in name}, lost
    assert before["state.json"] == after["state.json"] or b'"joan"' in after["state.json"]
    told = ("deploys/config.json", "intake/config.json", "board/told/config.json")
    for name in ("intake/signing.pem", *told):
        if name in before:
            assert after[name].rstrip().endswith((b"}", b"-----")), name


@pytest.mark.parametrize("room", ROOM)
def test_full_disk_stops_provision_and_loses_nothing(
    small: Workspace, disk: Path, room: int
) -> None:
    """The error names the file and the room there is; with room, the same command goes on."""
    home = small.state_directory
    before = contents(home)
    fill(disk, room)

    try:
        report = operations.provision(small)
    except WorkshopError as exc:
        assert "No space left on device" in exc.message
        assert "MiB free" in exc.hint
        assert "make room" in exc.hint
    else:
        assert report.ok or any("No space left" in text for text in report.failed.values())
    assert_whole(before, contents(home))
    make_room(disk)

    assert operations.provision(again(small)).ok
    assert operations.plan(again(small)).is_empty
    found = state.load(home)
    assert found is not None
    assert dict(found.slots) == {"ada": 0, "bob": 1, "joan": 2}
    assert not [name for name in contents(home) if name.endswith(".new")]


def test_some_of_those_rooms_do_stop_it(small: Workspace, disk: Path) -> None:
    """The control: without any room, the apply must fail."""
    fill(disk, 0)

    with pytest.raises(WorkshopError, match="No space left on device"):
        operations.provision(small)


@pytest.mark.parametrize("left", [0, 1, 2, 3, 5, 8])
def test_used_up_inodes_stop_provision_and_lose_nothing(
    small: Workspace, disk: Path, left: int
) -> None:
    """There is room for bytes and none for files; the error says which."""
    home = small.state_directory
    before = contents(home)
    use_up_files(disk, left)

    with pytest.raises(WorkshopError) as caught:
        operations.provision(small)
    assert f" of {INODES}" in caught.value.hint
    assert_whole(before, contents(home))
    make_room(disk)

    assert operations.provision(again(small)).ok
    assert operations.plan(again(small)).is_empty


@pytest.mark.parametrize("how", ["bytes", "inodes"])
def test_teardown_needs_no_room(small: Workspace, disk: Path, how: str) -> None:
    """Whoever runs out of disk must be able to give everything back."""
    if how == "bytes":
        fill(disk, 0)
    else:
        use_up_files(disk, 0)

    receipt = teardown.teardown(small)

    assert receipt.left == ()
    assert not small.state_directory.exists()


def test_read_only_disk_is_told_before_anything_happens(small: Workspace, disk: Path) -> None:
    """Neither the engine nor a file is touched, by provision and by teardown."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    engine = small.engine
    assert isinstance(engine, MemoryEngine)
    calls = list(engine.calls)
    try:
        for command in (operations.provision, teardown.teardown):
            with pytest.raises(InputError, match="Read-only file system") as caught:
                command(again(small))
            assert "mounted read-only" in caught.value.hint
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert engine.calls == calls


OTHER = """
import os, sys
from pathlib import Path
from workshop import state
from workshop.errors import InputError
os.setuid(65534)
try:
    state.open_directory(Path(sys.argv[1]))
except InputError as exc:
    print(exc.message, "|", exc.hint)
"""


def test_somebody_elses_state_directory_is_told(tmp_path: Path) -> None:
    """Provisioned with sudo once, without it the next time: the classic."""
    (tmp_path / ".workshop").mkdir(mode=0o700)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and len(path.parts) > 2:
            path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / ".workshop").chmod(0o700)
    root = Path(__file__).parents[2] / "platform"
    done = subprocess.run(
        [sys.executable, "-c", OTHER, tmp_path / "participants.yaml"],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Permission denied" in done.stdout, done.stderr
    assert "ls -ld" in done.stdout


def test_random_rooms_never_end_in_a_traceback(
    small: Workspace, disk: Path, dice: random.Random
) -> None:
    """Twenty more, anywhere: an error of ours or none."""
    for _ in range(20):
        fill(disk, dice.randrange(20) * PAGE)
        (small.state_directory / "deploys/config.json").unlink(missing_ok=True)
        with contextlib.suppress(WorkshopError):
            operations.provision(again(small))
        make_room(disk)
    assert operations.provision(again(small)).ok
