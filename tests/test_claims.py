"""Claim codes: what they look like, what people type, and that one is used once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop import claims

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "ab" * 32


def test_code_is_two_groups_of_four_that_nobody_misreads() -> None:
    """Cards are printed small and read across a table."""
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", claims.code(SECRET, "ada"))


def test_code_is_the_same_at_every_print_and_differs_between_people_and_runs() -> None:
    """It follows from the run's secret and the name alone."""
    names = [f"x{n}" for n in range(500)]

    assert claims.code(SECRET, "ada") == claims.code(SECRET, "ada")
    assert len({claims.code(SECRET, name) for name in names}) == len(names)
    assert claims.code(SECRET, "ada") != claims.code("cd" * 32, "ada")


@pytest.mark.parametrize(
    "typed", ["K7QX-3M0D", "k7qx-3m0d", " k7qx 3m0d ", "K7QX3MOD", "k7q-x3-mod"]
)
def test_code_as_people_type_it_is_the_same_code(typed: str) -> None:
    """Case, dashes, blanks and the letters that look like digits make no difference."""
    assert claims.normal(typed) == "K7QX3M0D"


@given(st.text(alphabet="abcdefghjkmnpqrstvwxyz0123456789ilo- ", max_size=20))
def test_normal_form_of_a_normal_form_is_itself(typed: str) -> None:
    """Board and command may both bring it into form."""
    assert claims.normal(claims.normal(typed)) == claims.normal(typed)


def test_nobody_has_claimed_anything_at_first(tmp_path: Path) -> None:
    """There is no file before the first one."""
    assert claims.claimed(tmp_path) == {}


def test_claims_add_up_and_the_first_moment_stays(tmp_path: Path) -> None:
    """A second mark of the same person changes nothing."""
    claims.mark(tmp_path, "ada")
    first = claims.claimed(tmp_path)["ada"]
    claims.mark(tmp_path, "bob")
    claims.mark(tmp_path, "ada")

    assert set(claims.claimed(tmp_path)) == {"ada", "bob"}
    assert claims.claimed(tmp_path)["ada"] == first


@pytest.mark.parametrize("garbage", ["", "[]", "3", '{"ada": []}', '{"ada": "x"}', "\xff"])
def test_garbled_record_counts_as_empty_and_is_written_anew(tmp_path: Path, garbage: str) -> None:
    """A room of latecomers is not told that their codes were used."""
    (tmp_path / claims.FILE).write_text(garbage, "utf-8")

    assert claims.claimed(tmp_path) == {}
    claims.mark(tmp_path, "ada")
    assert set(claims.claimed(tmp_path)) == {"ada"}
