"""The gateway's books and budgets, read as it writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop.gateway import config
from workshop.gateway.config import Budget, Config, Seat, Window
from workshop.gateway.ledger import FILE, Ledger, Row
from workshop.serving import replace_whole
from workshop.watching import books
from workshop.watching.books import Books, Spent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
HOUR = 3600.0
TOLD = Config(
    "class",
    (
        Seat("ada", "ada-1", "", budget=Budget(tokens=1000, window=Window.HOUR)),
        Seat("bob", "bob-1", "", budget=Budget(money=5000, window=Window.WORKSHOP)),
    ),
)


class Shelf:
    """The files of a gateway, and who reads them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("gateway", "usage"):
            (home / name).mkdir()
        self.ledger = Ledger(home / "usage" / FILE)
        self.books = Books(home)

    def tell(self, told: Config) -> None:
        """Configure the gateway."""
        replace_whole(self.home / "gateway" / config.FILE, config.dump(told))

    def write(self, seat: str, time: float = NOW, tokens: int = 10, money: int = 7) -> None:
        """Write one request down."""
        self.ledger.append(
            Row(time, seat, f"{seat}-1", input_tokens=tokens, output_tokens=5, money=money)
        )
        self.ledger.flush()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Set up a gateway's files."""
    found = Shelf(tmp_path)
    yield found
    found.ledger.close()


def test_seat_spent_what_the_window_of_its_budget_holds(shelf: Shelf) -> None:
    """And in all, everything."""
    shelf.tell(TOLD)
    for name in ("ada", "bob"):
        shelf.write(name, NOW - 2 * HOUR)
        shelf.write(name, NOW)
    assert shelf.books.step(NOW)

    assert shelf.books.of("ada") == Spent(15, 1000, 7, None, False, 2, 20, 10)
    assert shelf.books.of("bob") == Spent(30, None, 14, 5000, False, 2, 20, 10)
    assert shelf.books.of("cleo") == Spent()


def test_books_that_did_not_change_are_not_read_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading them is the dearest thing here."""
    shelf.tell(TOLD)
    shelf.write("ada")
    shelf.books.step(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(books.ledger, "sums", None)
        assert not shelf.books.step(NOW + 10)
    shelf.write("ada")
    assert shelf.books.step(NOW + 20)


def test_books_that_change_all_the_time_are_read_every_two_seconds(shelf: Shelf) -> None:
    """At most."""
    shelf.tell(TOLD)
    shelf.write("ada")
    shelf.books.step(NOW)
    shelf.write("ada")
    assert not shelf.books.step(NOW + 1)
    assert shelf.books.step(NOW + 10)
    assert shelf.books.of("ada").requests == 2


def test_clock_that_was_set_back_does_not_put_off_the_books(shelf: Shelf) -> None:
    """For hours, that would be."""
    shelf.tell(TOLD)
    shelf.write("ada", NOW - HOUR * 10)
    shelf.books.step(NOW)
    shelf.write("ada", NOW - HOUR * 10)

    assert shelf.books.step(NOW - HOUR * 5)


def test_budget_is_full_again_when_its_hour_is_over(shelf: Shelf) -> None:
    """Although nobody wrote anything."""
    shelf.tell(TOLD)
    shelf.write("ada")
    shelf.books.step(NOW)
    assert shelf.books.of("ada").tokens == 15
    assert shelf.books.step(NOW + HOUR)

    assert shelf.books.of("ada").tokens == 0
    assert shelf.books.of("ada").input_tokens == 10


def test_pause_is_told_as_soon_as_the_gateway_is_told(shelf: Shelf) -> None:
    """Of one seat, and of everybody."""
    shelf.tell(TOLD)
    shelf.books.step(NOW)
    ada, bob = TOLD.seats
    shelf.tell(replace(TOLD, seats=(replace(ada, paused=True), bob)))
    assert shelf.books.step(NOW + 0.3)
    assert (shelf.books.of("ada").paused, shelf.books.paused) == (True, False)
    shelf.tell(replace(TOLD, paused=True))
    assert shelf.books.step(NOW + 0.6)
    assert (shelf.books.of("ada").paused, shelf.books.paused) == (False, True)


def test_class_without_models_has_spent_nothing(shelf: Shelf) -> None:
    """There are no files at all."""
    assert not shelf.books.step(NOW)
    assert (shelf.books.of("ada"), shelf.books.paused, shelf.books.trouble) == (Spent(), False, "")


def test_garbled_configuration_leaves_what_held_and_is_told(shelf: Shelf) -> None:
    """It may be half a file of somebody's editor."""
    shelf.tell(replace(TOLD, paused=True))
    shelf.books.step(NOW)
    (shelf.home / "gateway" / config.FILE).write_text("{", "utf-8")
    shelf.books.step(NOW + 3)
    assert shelf.books.paused
    assert "config.json cannot be read" in shelf.books.trouble
    shelf.tell(TOLD)
    shelf.books.step(NOW + 6)
    assert shelf.books.trouble == ""


def test_garbled_books_are_told_and_read_once_they_are_whole(tmp_path: Path) -> None:
    """What is no database has no figures."""
    shelf = Shelf(tmp_path)
    shelf.tell(TOLD)
    path = tmp_path / "usage" / FILE
    path.write_bytes(b"not a database" * 400)
    shelf.books.step(NOW)
    assert "books cannot be read" in shelf.books.trouble
    path.unlink()
    shelf.write("ada")
    assert shelf.books.step(NOW + 3)
    shelf.ledger.close()

    assert (shelf.books.of("ada").requests, shelf.books.trouble) == (1, "")
