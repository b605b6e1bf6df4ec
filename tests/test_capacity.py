"""Room on the engine's disk: what the doctor says of it, and what is not begun without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from tests.small_disk import fill, make_room, small_disk, use_up_files
from workshop import doctor, operations
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.workspace import Workspace

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
MIB = 1 << 20
ENOUGH = (4096 * MIB, 200_000)


def checks(work: Workspace) -> list[tuple[str, str]]:
    """Ask the doctor about the disk; verdict and what was found."""
    found = doctor.examine(work.roster, work.settings, lambda: work.engine)
    return [(check.verdict.value, check.found) for check in found if check.name == "disk"]


def put(work: Workspace, root: Path) -> None:
    """Have the engine keep everything below ``root``."""
    assert isinstance(work.engine, MemoryEngine)
    work.engine.root = str(root)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a directory for an engine."""
    found = tmp_path / "engine"
    found.mkdir()
    return found


@needs_root
@pytest.mark.parametrize(
    ("size", "files", "verdicts"),
    [
        (*ENOUGH, ["ok", "ok"]),
        (1500 * MIB, 200_000, ["warning", "ok"]),
        (1000 * MIB, 200_000, ["failed", "ok"]),
        (4096 * MIB, 100_000, ["ok", "warning"]),
        (4096 * MIB, 60_000, ["ok", "failed"]),
    ],
)
def test_doctor_warns_of_little_room_and_fails_of_too_little(
    work: Workspace, place: Path, size: int, files: int, verdicts: list[str]
) -> None:
    """A class of three needs 1,036 MiB and 60,300 files; below twice that a change may not fit."""
    put(work, place)
    with small_disk(place, size, files):
        found = checks(work)

    assert [verdict for verdict, _ in found] == verdicts
    assert [text.startswith("little room: ") for _, text in found] == [
        verdict == "warning" for verdict in verdicts
    ]
    assert f"free in {place}, about 1.012 GiB needed" in found[0][1]
    assert f"files may be made in {place}, about 60,300 needed" in found[1][1]


@needs_root
def test_doctor_says_nothing_of_files_that_are_not_counted(work: Workspace, place: Path) -> None:
    """Some file systems make room for files as they go; 0 of 0 is not too few."""
    put(work, place)
    with small_disk(place, ENOUGH[0], 0):
        assert [verdict for verdict, _ in checks(work)] == ["ok"]


def test_doctor_says_that_it_cannot_look(work: Workspace, place: Path) -> None:
    """An engine may lie where this user sees nothing."""
    put(work, place / "elsewhere")

    assert checks(work) == [("warning", f"cannot look at {place / 'elsewhere'}")]
    assert operations.provision(work).ok


@pytest.fixture
def disk(work: Workspace, place: Path) -> Iterator[Path]:
    """Give the engine a disk of 256 MiB."""
    put(work, place)
    with small_disk(place, 256 * MIB, 5000) as found:
        yield found


@needs_root
@pytest.mark.parametrize("what", ["bytes", "files"])
def test_change_that_cannot_fit_is_not_begun(work: Workspace, disk: Path, what: str) -> None:
    """F25, F27: full is said in words and numbers; nothing was touched; with room it converges."""
    assert isinstance(work.engine, MemoryEngine)
    if what == "bytes":
        fill(disk, 3 * MIB)
    else:
        use_up_files(disk, 30)

    with pytest.raises(WorkshopError) as caught:
        operations.provision(work)

    assert caught.value.exit_code == 1
    assert caught.value.message.startswith(f"there is no room on the engine's disk: {disk} has ")
    assert ("3.0 MiB of 256.0 MiB free" if what == "bytes" else ", 30 of 5,000 files;") in (
        caught.value.message
    )
    assert " MiB and 1," in caught.value.message
    assert caught.value.message.endswith("files are needed; nothing was touched")
    assert "docker system df" in caught.value.hint
    assert work.engine.calls == []
    make_room(disk)
    assert operations.provision(again(work)).ok


@needs_root
def test_what_makes_nothing_needs_no_room(work: Workspace, disk: Path) -> None:
    """Whoever stands still is started and restarted on a full disk; a fresh seat is not made."""
    assert operations.provision(work).ok
    fill(disk)

    assert operations.provision(again(work)).ok
    assert operations.restart(again(work), ["ada"]).ok
    with pytest.raises(WorkshopError, match="no room on the engine's disk"):
        operations.reset(again(work), ["ada"])


@needs_root
def test_disk_that_fills_up_on_the_way_is_named_with_its_room(work: Workspace, disk: Path) -> None:
    """The engine's own words name a file of its own; what helps stands behind them."""
    assert isinstance(work.engine, MemoryEngine)
    words = "mkdir /var/lib/docker/overlay2/abc: no space left on device"
    work.engine.broken["start", "class-bob"] = EngineError(words)

    report = operations.provision(work)

    assert report.failed == {
        "bob": f"{words} (the engine's disk ({disk}) has 256.0 MiB of 256.0 MiB free, 4,999 of "
        "5,000 files; `docker system df` shows what lies there; make room, then run the same command "
        "again)"
    }
