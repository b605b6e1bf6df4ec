"""Sessions: how long they last, what ends them, what is kept of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.board.lab import Lab, key_of, person
from workshop.board import config, sessions
from workshop.board.sessions import FILE, LINKS, SECONDS, USED, Sessions
from workshop.board.shown import Shown
from workshop.board.view import View

if TYPE_CHECKING:
    from pathlib import Path


GARBLED = '{"a": {"name": "", "ends": "soon", "key_hash": ""}}'


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


@pytest.fixture
def held(tmp_path: Path, clock: Clock) -> Sessions:
    """Make sessions in an empty directory."""
    (tmp_path / LINKS).mkdir()
    return Sessions(tmp_path, tmp_path, clock)


def view(*seats: config.Seat) -> View:
    """Make a view of a class."""
    return View(config.Config("class", "Class", "", (), seats), Shown("class", 0, 0))


def test_session_is_found_by_its_id_alone(held: Sessions) -> None:
    """Neither its hash nor nothing opens it."""
    session_id = held.begin("ada", "hash")
    found = held.find(session_id)
    assert found
    assert (found.name, found.key_hash) == ("ada", "hash")
    for other in ("", config.hashed(session_id), session_id[:-1], session_id.upper()):
        assert held.find(other) is None


def test_session_ends_after_twelve_hours(held: Sessions, clock: Clock) -> None:
    """Also for a stream that is open then."""
    session_id = held.begin()
    found = held.find(session_id)
    assert found
    clock.now += SECONDS - 1
    assert held.find(session_id)
    assert held.lasts(found)
    clock.now += 2
    assert held.find(session_id) is None
    assert not held.lasts(found)


def test_sessions_after_a_restart_are_the_same(
    tmp_path: Path, held: Sessions, clock: Clock
) -> None:
    """Nobody has to enter again because the board was replaced; the token stays too."""
    session_id = held.begin("ada", "hash")
    assert Sessions(tmp_path, tmp_path, clock).find(session_id) == held.find(session_id)


def test_file_of_sessions_is_for_its_owner_and_opens_nothing(
    tmp_path: Path, held: Sessions
) -> None:
    """No id stands in it, and no token."""
    session_id = held.begin("ada", config.hashed(key_of("ada")))
    found = held.find(session_id)
    assert found
    text = (tmp_path / FILE).read_text("utf-8")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert session_id not in text
    assert found.csrf not in text
    assert key_of("ada") not in text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"a": 7}', '{"a": {"name": "x"}}', "\0", GARBLED]
)
def test_file_of_sessions_that_is_garbled_logs_nobody_in_and_is_written_anew(
    tmp_path: Path, text: str
) -> None:
    """A full disk or a crash costs a login, never the board."""
    (tmp_path / FILE).write_text(text, "utf-8")
    found = Sessions(tmp_path, tmp_path)
    session_id = found.begin()
    assert Sessions(tmp_path, tmp_path).find(session_id)
    assert len(json.loads((tmp_path / FILE).read_text("utf-8"))) == 1


def test_whoever_enters_again_and_again_ends_only_own_sessions(held: Sessions) -> None:
    """Neither the memory nor the others feel it."""
    others = [held.begin(), held.begin("bob", "hash")]
    ids = [held.begin("ada", "hash") for _ in range(sessions._MOST + 3)]
    assert [held.find(one) is not None for one in ids] == 3 * [False] + sessions._MOST * [True]
    assert all(map(held.find, others))


def test_logout_on_a_full_disk_is_a_logout(tmp_path: Path, held: Sessions) -> None:
    """Out is out, even where it cannot be kept."""
    session_id = held.begin()
    (tmp_path / f".{FILE}.new").mkdir()
    found = held.find(session_id)
    assert found
    held.end(found)
    assert held.find(session_id) is None


def test_session_whose_key_was_rotated_or_revoked_holds_no_more() -> None:
    """The key on an old card opens nothing, and no more does what it opened."""
    ada = person("ada")
    session = sessions.Session("ada", 0, ada.key_hash)
    assert session.holds(view(ada))
    assert not session.holds(view(replace(ada, key_hash=config.hashed("another"))))
    assert not session.holds(view(replace(ada, key_hash="")))
    assert not replace(session, key_hash="").holds(view(replace(ada, key_hash="")))
    assert not session.holds(view(person("bob")))


def test_participant_whose_key_is_rotated_is_out_at_once(lab: Lab) -> None:
    """Also out of the stream that is open."""
    ada = lab.participant("ada")
    with ada.events("/me/events") as stream:
        assert next(stream)
        lab.configure(seats=(person("ada", key_hash=config.hashed("another")), person("bob")))
        rest = list(stream)
    assert len(rest) < 20
    assert ada.get("/me/events").status_code == 401


@pytest.mark.parametrize("ends", ["", "soon", "nan", "999999", "1000000\n2", "-inf", "\0"])
def test_link_whose_end_is_over_or_no_number_is_not_spent(
    tmp_path: Path, held: Sessions, ends: str
) -> None:
    """Only what surely goes on is good."""
    (tmp_path / LINKS / config.hashed("word")).write_text(ends, "utf-8")
    assert not held.spend("word")


def test_mark_of_a_link_that_is_gone_is_forgotten(tmp_path: Path, held: Sessions) -> None:
    """The directory does not grow from class to class."""
    for word in ("one", "two"):
        (tmp_path / LINKS / config.hashed(word)).write_text("1000600\n", "ascii")
    assert held.spend("one")
    (tmp_path / LINKS / config.hashed("one")).unlink()
    assert held.spend("two")
    assert [mark.name for mark in (tmp_path / USED).iterdir()] == [config.hashed("two")]
