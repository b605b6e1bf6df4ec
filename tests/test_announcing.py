"""What the instructor says to everybody, and where it is written."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from workshop.announcing import LONGEST, announce
from workshop.board.shown import read_announcement
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a state directory of a class with a board."""
    (tmp_path / "board/shown").mkdir(parents=True)
    return tmp_path


def said(home: Path) -> str | None:
    """Read what the board reads."""
    found = read_announcement(home / "board/shown")
    return found.text if found else None


def test_announcement_is_read_by_the_board(home: Path) -> None:
    """Its user is not the one who wrote it."""
    announce(home, "Lunch until one")
    path = home / "board/shown/announcement.json"

    assert said(home) == "Lunch until one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_cleared_announcement_is_none(home: Path) -> None:
    """What was said is taken back."""
    announce(home, "Lunch until one")
    announce(home, "")

    assert said(home) is None


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("  a \n\t b  ", "a b"),
        ("a\x00\x1b[31mb", "a [31mb"),
        ("Grüße an Ελένη", "Grüße an Ελένη"),
        ("a\u202eb", "a b"),
    ],
)
def test_announcement_is_one_line_of_what_can_be_seen(
    home: Path, typed: str, expected: str
) -> None:
    """It stands on thirty pages and in a terminal."""
    assert announce(home, typed) == expected
    assert said(home) == expected


def test_announcement_that_is_too_long_changes_nothing(home: Path) -> None:
    """A page of text belongs somewhere else."""
    announce(home, "x" * LONGEST)

    with pytest.raises(InputError, match="501 characters"):
        announce(home, "y" * (LONGEST + 1))
    assert said(home) == "x" * LONGEST


def test_announcement_without_a_board_says_what_is_missing(tmp_path: Path) -> None:
    """Nobody would read it."""
    with pytest.raises(WorkshopError) as caught:
        announce(tmp_path, "Lunch until one")

    assert "workshop.board" in caught.value.hint
