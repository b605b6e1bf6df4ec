"""Units that bring a workshop back: systemd's own checker reads them, and nothing else is touched."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from workshop import service
from workshop.errors import InputError
from workshop.service import Service

if TYPE_CHECKING:
    from pathlib import Path

NAMES = service.unit_names("class")


@pytest.fixture
def odd(tmp_path: Path) -> Service:
    """Describe a workshop at a path with everything systemd gives a meaning to."""
    home = tmp_path / "100% of $HOME \"q\" 'r' \\x my class"
    home.mkdir()
    program = tmp_path / "py thon %h $PATH"
    program.symlink_to(sys.executable)
    return Service("class", home / "participants.yaml", str(program), "games")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Stand in for systemd's directory."""
    found = tmp_path / "system"
    found.mkdir()
    return found


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    """Name a roster; the units need only its place."""
    (tmp_path / "class").mkdir()
    return tmp_path / "class" / "participants.yaml"


def test_units_satisfy_systemd(odd: Service, place: Path) -> None:
    """`systemd-analyze verify` has nothing to say, whatever stands in the paths."""
    for name, text in service.units(odd).items():
        (place / name).write_text(text, "utf-8")
    files = [str(place / name) for name in NAMES]

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files],
        capture_output=True,
        text=True,
        check=False,
    )

    said = [line for line in (done.stdout + done.stderr).splitlines() if str(place) in line]
    assert (done.returncode, said) == (0, [])


def test_units_name_the_roster_as_it_is(odd: Service) -> None:
    """Taken apart as systemd does, every word is the path again."""
    text = service.units(odd)[NAMES[0]]
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(command.removeprefix("ExecStart="))

    assert words[0].replace("%%", "%") == odd.interpreter
    assert words[-1].replace("%%", "%").replace("$$", "$") == str(odd.roster)


def test_wall_stands_before_the_engine(odd: Service) -> None:
    """Seats which the engine starts by itself at boot never run without it."""
    text = service.units(odd)[NAMES[1]]

    assert "\nBefore=docker.service\n" in text
    assert "\nWantedBy=docker.service multi-user.target\n" in text


def test_second_install_changes_nothing(
    roster: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be run by any script, any number of times."""
    monkeypatch.setenv("WORKSHOP_WORKERS", 'a "b" $c')
    monkeypatch.setenv("WORKSHOP_SECRETS_KEY", "canary")
    first = service.install(service.describe("class", roster), place)
    second = service.install(service.describe("class", roster), place)
    kept = roster.parent / ".workshop" / "service.env"

    assert [path.rpartition("/")[2] for path in first.written] == list(NAMES)
    assert (second.written, len(second.unchanged)) == ((), 4)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert 'WORKSHOP_WORKERS="a \\"b\\" \\$c"\n' in kept.read_text("utf-8")
    assert "canary" not in kept.read_text("utf-8")
    assert not first.told


def test_remove_takes_its_own_and_nothing_else(roster: Path, place: Path, tmp_path: Path) -> None:
    """A workshop of the same name in another directory keeps its units."""
    (place / "other.service").write_text("[Unit]\n", "ascii")
    service.install(service.describe("class", roster), place)
    foreign = service.remove("class", tmp_path / "elsewhere" / "participants.yaml", place)
    done = service.remove("class", roster, place)

    assert foreign.removed == ()
    assert len(done.removed) == 4
    assert [path.name for path in place.iterdir()] == ["other.service"]


def test_unit_of_somebody_else_is_not_overwritten(roster: Path, place: Path) -> None:
    """Two directories with workshops of one name would fight over the boot."""
    (place / NAMES[0]).write_text("[Unit]\n", "ascii")

    with pytest.raises(InputError, match="belongs to something else"):
        service.install(service.describe("class", roster), place)
    assert len(list(place.iterdir())) == 1


def test_machine_without_systemd_is_told_what_to_do(roster: Path, tmp_path: Path) -> None:
    """The units can still be looked at."""
    with pytest.raises(InputError, match="this machine has no systemd") as raised:
        service.install(service.describe("class", roster), tmp_path / "nowhere")
    assert "--print" in raised.value.hint


def test_other_users_are_told_to_become_root(
    roster: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step can be copied."""
    monkeypatch.setattr(os, "access", lambda path, _: path != place)

    with pytest.raises(InputError, match="only root may write") as raised:
        service.install(service.describe("class", roster), place)
    assert raised.value.hint.startswith("sudo ")
    assert f"install-service --roster {roster}" in raised.value.hint


@pytest.mark.parametrize("name", ["new\nline", "back\\"])
def test_path_that_no_unit_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    """A line end in a path would be a line of the unit."""
    (tmp_path / name).mkdir()
    path = tmp_path / name / "participants.yaml"
    if name.endswith("\\"):
        path = tmp_path / name / "participants\\"

    with pytest.raises(InputError, match="cannot stand in a systemd unit"):
        service.describe("class", path)
