"""Any text ends in faults with their places, or in a class whose every name and route is right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import rosters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

COUNTS = {"grown": 150, "mutated": 850, "raw": 2000}
"""`make torture` tries 100,000."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rosters.Place]:
    """Make a directory with every file that a roster may name."""
    with rosters.hurried():
        yield rosters.Place(tmp_path_factory.mktemp("rosters")).prepare()


@pytest.mark.parametrize("corpus", rosters.CORPORA)
def test_roster_of_a_corpus_obeys_the_law(corpus: str, place: rosters.Place) -> None:
    """Grown along the documentation, broken by hand, broken byte by byte: some are accepted."""
    accepted = 0

    @settings(
        max_examples=COUNTS[corpus],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # Shrinking one would take minutes; the failing roster is shown as it is.
        phases=(Phase.generate,),
        database=None,
    )
    @given(st.randoms(use_true_random=False))
    def obeys(chance: Random) -> None:
        nonlocal accepted
        accepted += rosters.judge(rosters.CORPORA[corpus](chance), place)

    obeys()

    assert accepted > 0


@pytest.mark.parametrize(
    "text", ["", "# nothing but a comment\n", "---\n", "...\n", "\n\n", "~", "[]"]
)
def test_roster_without_content_is_refused_at_a_place(text: str, place: rosters.Place) -> None:
    """Even of an empty file the message says where; it could be the wrong file."""
    assert not rosters.judge(text.encode(), place)


def test_every_documented_key_is_grown() -> None:
    """The grammar follows the documentation: a key that is described is a key that is tried."""
    import random

    wanted = {key.rpartition(".")[2].removesuffix("[]") for key in rosters.documented()}
    wanted -= {"NAME", "workshop", "participants", "defaults"}
    grown = b"".join(rosters.grown(random.Random(seed)) for seed in range(1500)).decode(
        "utf-8", "replace"
    )

    assert {key for key in wanted if not re.search(rf"\b{key}[\"']?: ", grown)} == set()
