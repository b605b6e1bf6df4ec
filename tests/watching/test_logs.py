"""Logs of seats are written while somebody looks at them, and only then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from workshop.board import shown
from workshop.board.shown import LOG_LINES
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineError
from workshop.watching.logs import KEPT_SECONDS, Logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.watching.room import Room

NOW = 1_800_000_000.0


class Reader:
    """Somebody who looks at logs, and who writes them down for them."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.logs = Logs(room.home / "board", room.engine)

    def want(self, name: str, now: float = NOW) -> None:
        """Say that a log is looked at."""
        path = self.room.home / "board/kept/wanted" / name
        path.touch()
        os.utime(path, (now, now))

    def step(self, now: float = NOW) -> bool:
        """Let what is due be written."""
        return self.logs.step(self.room.ids, now)

    def lines(self, name: str = "ada") -> tuple[str, ...] | None:
        """Read what is shown."""
        found = shown.read_log(self.room.shown, name)
        return found.lines if found else None


@pytest.fixture
def reader(room: Room) -> Reader:
    """Look at logs of a class of three."""
    return Reader(room)


def test_log_that_nobody_looks_at_is_not_read(reader: Reader) -> None:
    """Reading all of them would cost the engine a core."""
    assert not reader.step()
    assert reader.lines() is None


def test_log_that_somebody_looks_at_grows_with_the_apps(reader: Reader) -> None:
    """Once a second."""
    ada = reader.room.ids["ada"]
    reader.want("ada")
    assert reader.step()
    assert reader.lines() == ("ada says hello",)
    reader.room.engine.write(ada, "GET / 200\r")
    reader.step(NOW + 0.5)
    assert reader.lines() == ("ada says hello",)
    reader.step(NOW + 1)
    assert reader.lines() == ("ada says hello", "GET / 200")


def test_log_that_did_not_change_is_not_written_again(reader: Reader) -> None:
    """The board reads it whenever it is another file."""
    reader.want("ada")
    reader.step()
    before = (reader.room.shown / "logs/ada.json").stat().st_mtime_ns
    reader.step(NOW + 2)

    assert (reader.room.shown / "logs/ada.json").stat().st_mtime_ns == before


def test_long_log_is_cut_to_its_last_lines_and_long_lines_to_their_beginning(
    reader: Reader,
) -> None:
    """An app may write as much as it likes."""
    ada = reader.room.ids["ada"]
    for number in range(LOG_LINES + 50):
        reader.room.engine.write(ada, f"{number} " + "x" * 10_000)
    reader.want("ada")
    reader.step()
    lines = reader.lines()

    assert lines is not None
    assert len(lines) == LOG_LINES
    assert lines[-1].startswith(f"{LOG_LINES + 49} x")
    assert max(map(len, lines)) == 2000


def test_logs_may_be_read_by_the_board_whatever_the_servers_mask(reader: Reader) -> None:
    """It runs as somebody else."""
    mask = os.umask(0o077)
    try:
        reader.want("ada")
        reader.step()
    finally:
        os.umask(mask)

    assert (reader.room.shown / "logs").stat().st_mode & 0o777 == 0o755
    assert (reader.room.shown / "logs/ada.json").stat().st_mode & 0o777 == 0o644


def test_log_that_nobody_looks_at_any_more_goes_away(reader: Reader) -> None:
    """It stays for a while, in case they come back."""
    reader.want("ada")
    reader.step()
    assert not reader.step(NOW + 20)
    assert reader.lines() is not None
    reader.step(NOW + KEPT_SECONDS + 1)
    assert reader.lines() is None
    reader.want("ada", NOW + 90)
    reader.step(NOW + 90)
    assert reader.lines() == ("ada says hello",)


def test_logs_of_another_life_are_cleared(reader: Reader) -> None:
    """Nobody else would remove them."""
    reader.want("ada")
    reader.step()
    Logs(reader.room.home / "board", reader.room.engine)

    assert reader.lines() is None


@pytest.mark.parametrize("name", ["..", "Ada", "a b", "zoe", ".ada", "ada.json", "x" * 200])
def test_name_of_nobody_is_not_looked_up(reader: Reader, name: str) -> None:
    """The directory is another process's to write; it may hold anything."""
    if name != "..":
        (reader.room.home / "board/kept/wanted" / name).touch()
    os.utime(reader.room.home / "board/kept/wanted", (NOW, NOW))
    reader.step()

    assert not list((reader.room.home / "board").glob("shown/**/*.json"))


def test_link_in_the_place_of_a_wish_is_not_followed(reader: Reader) -> None:
    """Nor removed."""
    target = reader.room.home / "held.json"
    target.write_text("{}")
    os.utime(target, (NOW, NOW))
    (reader.room.home / "board/kept/wanted/ada").symlink_to(target)
    reader.step()

    assert reader.lines() is None
    assert target.exists()


def test_log_that_the_engine_refuses_says_so_and_others_are_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose file is damaged."""
    logs = MemoryEngine.logs

    def refuse(
        self: MemoryEngine, container: str, *, tail: int, follow: bool = False
    ) -> Iterator[str]:
        if container == reader.room.ids["ada"]:
            raise EngineError("invalid character")
        return logs(self, container, tail=tail, follow=follow)

    monkeypatch.setattr(MemoryEngine, "logs", refuse)
    for name in ("ada", "bob"):
        reader.want(name)
    reader.step()

    assert reader.lines("ada") == ("(the log cannot be read: invalid character)",)
    assert reader.lines("bob") == ("bob says hello",)


def test_seat_whose_container_is_gone_keeps_what_was_shown(reader: Reader) -> None:
    """What it wrote last is what somebody looks for."""
    reader.want("ada")
    reader.step()
    reader.room.engine.remove(reader.room.ids["ada"])
    reader.step(NOW + 2)

    assert reader.lines() == ("ada says hello",)


def test_everybodys_logs_are_read_in_turn(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at once take longer than one step may; none is forgotten."""
    monkeypatch.setattr("workshop.watching.logs._AT_ONCE_SECONDS", -1.0)
    for name in reader.room.ids:
        reader.want(name)
    reader.step()
    assert reader.lines() is None
    monkeypatch.setattr("workshop.watching.logs._AT_ONCE_SECONDS", 10.0)
    reader.step()

    assert all(reader.lines(name) for name in reader.room.ids)
