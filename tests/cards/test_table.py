"""The table for mail merge: whatever people are called, no spreadsheet finds a formula."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.cards.deck import Card, Deck, Word
from workshop.cards.table import ENCODING, harmless, table

if TYPE_CHECKING:
    from collections.abc import Callable

FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
"""As the OWASP's page on CSV injection lists them."""
WICKED = st.text(st.sampled_from("=+-@\uff1d\uff20\t\r\n \"',;|a1é"), max_size=12)


def read(text: str, separator: str = ",") -> list[list[str]]:
    """Read cells the way a spreadsheet does that splits at ``separator``."""
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def one(display_name: str, email: str = "") -> Deck:
    """Make a deck of one card."""
    card = Card("ada", display_name, email, "http://localhost/ada/", "wk-1", "")
    return Deck("class", "Class", Word.KEY, (card,))


@given(WICKED, WICKED)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_begins_as_a_formula(separator: str, display_name: str, email: str) -> None:
    """Neither where the file is read as it is meant, nor where a spreadsheet splits elsewhere."""
    cells = [
        cell for row in read(table(one(display_name, email)), separator) for cell in row if cell
    ]

    assert [
        cell for cell in cells if cell.lstrip(" \"'\n").startswith(FORMULAS) and cell[0] != "'"
    ] == []


@given(st.text(st.characters(exclude_characters="\0"), max_size=30))
def test_harmless_name_is_kept_as_it_is(name: str) -> None:
    """Only a quote is ever added, and nothing is taken away or put elsewhere."""
    assert read(table(one(name)))[1][1].replace("'", "") == name.replace("'", "")


@pytest.mark.parametrize("name", ["Ada Lovelace", "O'Brien", "Šárka-Novák, M.A.", "+"])
def test_plain_name_gets_a_quote_only_where_it_could_be_a_formula(name: str) -> None:
    """A hyphen or a comma within a name is none."""
    assert harmless(name) == ("'+" if name == "+" else name)


@pytest.mark.parametrize(("kind", "column"), [(Word.KEY, "key"), (Word.CLAIM, "claim")])
def test_columns_are_named_by_what_they_hold(
    deck: Callable[..., Deck], kind: Word, column: str
) -> None:
    """The order is fixed, because letters refer to it."""
    made = deck(("ada", "Ada Lovelace"), kind=kind)
    head, row = read(table(made))

    assert head == ["name", "display_name", "email", "url", column, "me"]
    assert row == ["ada", "Ada Lovelace", "ada@example.org", "https://class.example.org/ada/",
                   made.cards[0].word, "https://board.class.example.org/me"]  # fmt: skip


def test_file_begins_with_the_mark_of_utf8(deck: Callable[..., Deck]) -> None:
    """Excel takes the letters for another alphabet's without it."""
    data = table(deck(("olena", "Олена"))).encode(ENCODING)

    assert data.startswith(b'\xef\xbb\xbf"name"')
    assert "Олена" in data.decode("utf-8")
