"""Letters as they are drawn: joined Arabic, and what runs from right to left."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.cards.letters import drawn


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        # From left to right: dal's end, meem's and hah's middle, meem's beginning.
        ("محمد", [0xFEAA, 0xFEE4, 0xFEA4, 0xFEE3]),
        # Reh and alef join nothing that follows them.
        ("دار", [0xFEAD, 0xFE8D, 0xFEA9]),
        # Lam and alef are one sign, alone or behind another letter.
        ("لا", [0xFEFB]),
        ("سلام", [0xFEE1, 0xFEFC, 0xFEB3]),
        # A vowel mark parts no letters.
        ("بَب", [0xFE90, 0x064E, 0xFE91]),
    ],
)
def test_arabic_letters_take_the_forms_of_their_places(text: str, forms: list[int]) -> None:
    """By hand from the code charts."""
    signs = [ord(sign) for sign in drawn(text)]

    assert sorted(signs) == sorted(forms)
    if not any(unicodedata.combining(sign) for sign in text):
        assert signs == forms


def test_hebrew_is_turned_round_and_latin_within_it_is_not() -> None:
    """The brackets open to the other side with the text they enclose."""
    assert drawn("יעל (Yael) כהן") == "ןהכ (Yael) לעי"


@given(st.text(st.characters(codec="latin-1", categories=["L", "N", "Zs"]), max_size=40))
def test_text_from_left_to_right_stays_as_it_is(text: str) -> None:
    """Only its accents are put together with their letters."""
    assert drawn(text) == unicodedata.normalize("NFC", text)


@given(st.text(max_size=40))
def test_any_text_can_be_drawn(text: str) -> None:
    """Nobody's name may stop everybody's cards."""
    assert isinstance(drawn(text), str)
