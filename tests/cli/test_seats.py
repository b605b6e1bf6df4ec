"""Commands for seats as a process: stop, start, announce, and the line of the journal each leaves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import typer

from tests.cli.test_cli import GOOD, workshop
from workshop import journal
from workshop.cli.app import Act, boundary
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(directory: Path) -> Path:
    """Make a directory with a good roster."""
    (directory / "participants.yaml").write_text(GOOD)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a directory whose class was provisioned; its roster."""
    (tmp_path / ".workshop").mkdir()
    return tmp_path / "participants.yaml"


def noted(roster: Path) -> list[dict[str, Any]]:
    """Read the journal beside a roster."""
    return [
        {"event": entry.event, **entry.facts} for entry in journal.read(roster.parent / ".workshop")
    ]


@pytest.mark.parametrize("command", ["stop", "start", "announce"])
def test_help_carries_an_example(tmp_path: Path, command: str) -> None:
    """Nobody needs the manual for the common case."""
    done = workshop(tmp_path, command, "--help")

    assert done.returncode == 0
    assert f"Example: workshop {command}" in done.stdout


@pytest.mark.parametrize("command", ["stop", "start", "restart"])
def test_command_without_a_name_or_with_both_is_exit_2(place: Path, command: str) -> None:
    """Nobody is stopped by a slip."""
    for arguments in ((), ("ada", "--all")):
        done = workshop(place, command, *arguments)

        assert done.returncode == 2
        assert f"workshop {command} ada" in done.stderr


def test_stop_without_anybody_to_ask_is_refused(place: Path) -> None:
    """What a seat holds in memory is lost."""
    done = workshop(place, "stop", "ada")

    assert done.returncode == 2
    assert "add --yes" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("  ",), ("Lunch", "--clear")])
def test_announce_needs_either_words_or_clear(place: Path, arguments: tuple[str, ...]) -> None:
    """An empty line would take back what was said."""
    done = workshop(place, "announce", *arguments)

    assert done.returncode == 2
    assert "--clear" in done.stderr


def test_announcement_and_its_end_are_written_and_noted(place: Path) -> None:
    """What was said stands on the pages, not in the journal."""
    shown = place / ".workshop/board/shown"
    shown.mkdir(parents=True)
    done = workshop(place, "announce", "Lunch until one", "--json")
    text = json.loads((shown / "announcement.json").read_text())["text"]
    cleared = workshop(place, "announce", "--clear")

    assert (done.returncode, cleared.returncode) == (0, 0)
    assert json.loads(done.stdout) == {"ok": True, "text": "Lunch until one"}
    assert text == "Lunch until one"
    assert (
        noted(place / "participants.yaml")
        == [{"event": "announce", "by": "instructor", "done": True, "exit": 0}] * 2
    )


def test_command_that_finds_no_engine_is_noted_with_its_words(place: Path) -> None:
    """Whoever looks later sees that it was tried."""
    (place / ".workshop").mkdir()
    done = workshop(place, "restart", "ada")
    (line,) = noted(place / "participants.yaml")

    assert done.returncode == 3
    assert (line["event"], line["seats"], line["done"], line["exit"]) == (
        "restart",
        ["ada"],
        False,
        3,
    )
    assert "no Docker engine answers" in line["words"]


def test_command_before_the_first_provision_makes_no_journal(place: Path) -> None:
    """A directory of its own would look as if something ran."""
    workshop(place, "restart", "ada")

    assert not (place / ".workshop").exists()


# -- the boundary ---------------------------------------------------------------------------------


def test_act_that_ends_well_is_one_line(home: Path) -> None:
    """A normal end and an exit with 0 are the same."""
    with boundary(as_json=False, act=Act("restart", home, ["ada", "bob"])):
        pass
    with pytest.raises(typer.Exit), boundary(as_json=False, act=Act("provision", home)):
        raise typer.Exit(0)

    assert noted(home) == [
        {"event": "restart", "by": "instructor", "done": True, "exit": 0, "seats": ["ada", "bob"]},
        {"event": "provision", "by": "instructor", "done": True, "exit": 0},
    ]


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (WorkshopError("it broke"), 1, "it broke"),
        (typer.Exit(1), 1, None),
        (KeyboardInterrupt(15), 143, None),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_act_that_fails_is_noted_with_its_exit_code(
    home: Path, failure: BaseException, code: int, words: str | None
) -> None:
    """Interrupted ones as well."""
    with pytest.raises(typer.Exit), boundary(as_json=False, act=Act("restart", home, ["ada"])):
        raise failure
    (line,) = noted(home)

    assert (line["done"], line["exit"], line.get("words")) == (False, code, words)


def test_act_that_ends_in_a_fault_of_ours_is_noted_too(home: Path) -> None:
    """The traceback goes to the terminal; that it was tried stays."""
    with pytest.raises(ZeroDivisionError), boundary(as_json=False, act=Act("restart", home)):
        raise ZeroDivisionError

    assert [line["exit"] for line in noted(home)] == [1]


def test_act_with_a_wrong_input_is_not_noted(home: Path) -> None:
    """Nothing was touched."""
    with pytest.raises(typer.Exit), boundary(as_json=False, act=Act("restart", home)):
        raise InputError("nobody is called adda")

    assert noted(home) == []


def test_quiet_act_is_noted_only_where_it_fails(home: Path) -> None:
    """The timer's repair comes every five minutes."""
    act = Act("provision", home, quiet=True)
    with boundary(as_json=False, act=act):
        pass
    with pytest.raises(typer.Exit), boundary(as_json=False, act=act):
        raise WorkshopError("the engine is busy")

    assert [line["done"] for line in noted(home)] == [False]


def test_what_looks_and_does_nothing_is_not_noted(home: Path) -> None:
    """A status a minute is no history."""
    with boundary(as_json=False):
        pass

    assert noted(home) == []
