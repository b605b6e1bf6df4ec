"""Does the search find the right piece? Asked with real vectors of all-MiniLM-L6-v2.

`retrieval/minilm.json.gz` holds them, for the app's own documents and a few more texts, so nothing
here needs a model. `retrieval/make_minilm.py` writes it anew.
"""

import base64
import gzip
import json
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pytest

from app.retrieval.files import find_files, read_chunks
from app.retrieval.index import BY_BOTH, CANDIDATES, Index
from app.retrieval.store import EVERYTHING, Chunk, Filter, Query, Vector
from app.retrieval.vectors import make_vectors
from app.retrieval.words import Words
from app.settings import HOME

HERE = Path(__file__).parent / "retrieval"
TOP = 5


@dataclass(frozen=True)
class Question:
    """A question, and how to know the chunk that answers it."""

    kind: str
    source: str
    words: str
    text: str

    def answered_by(self, chunk: Chunk) -> bool:
        """Tell whether this is the right chunk."""
        return chunk.source == self.source and self.words in chunk.text


def read_questions() -> list[Question]:
    """Read the questions."""
    lines = (HERE / "questions.txt").read_text("utf-8").splitlines()
    return [Question(*line.split(" | ")) for line in lines if not line.startswith("#")]


def unpack(text: str) -> Vector:
    """Read a vector in half precision."""
    data = base64.b64decode(text)
    return array("f", struct.unpack(f"{len(data) // 2}e", data))


@cache
def fixture() -> tuple[list[Chunk], dict[str, Vector]]:
    """Return all chunks with their vectors, and the vector of each question."""
    data = json.loads(gzip.decompress((HERE / "minilm.json.gz").read_bytes()))
    chunks = [Chunk(**fields) for fields in data["chunks"]]
    return (
        [replace(chunk, vector=unpack(str(chunk.vector))) for chunk in chunks],
        {text: unpack(vector) for text, vector in data["questions"].items()},
    )


class KnownVectors:
    """Stands in for the model."""

    model = "all-minilm-l6-v2"

    def embed(self, texts: list[str], _seconds: float = 0) -> list[Vector]:
        """Look the vectors up."""
        return [fixture()[1][text] for text in texts]


Search = Callable[[str], list[Chunk]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Fill an index with all chunks."""
    folder = tmp_path_factory.mktemp("index")
    words, vectors = Words(folder / "words.db"), make_vectors(folder / "vectors.db")
    for _, group in groupby(fixture()[0], attrgetter("source")):
        chunks = list(group)
        words.add(chunks)
        vectors.add(chunks)
    index = Index(words, vectors, KnownVectors())
    index._keeper.complete = frozenset(words.sources())  # noqa: SLF001 - nothing is missing
    return index


@pytest.fixture(scope="module")
def searches(index: Index) -> dict[str, Search]:
    """Return the three searches to compare."""
    words, vectors, embed = index._words, index._vectors, KnownVectors().embed  # noqa: SLF001
    return {
        "words": lambda text: words.search(Query(text), EVERYTHING, TOP),
        "meaning": lambda text: vectors.search(Query(text, embed([text])[0]), EVERYTHING, TOP),
        "both": lambda text: index.search(text, EVERYTHING, TOP).chunks,
    }


def count_hits(questions: list[Question], search: Search) -> int:
    """Count the questions whose chunk is found."""
    return sum(
        any(question.answered_by(chunk) for chunk in search(question.text))
        for question in questions
    )


def test_search_by_both_finds_more_than_by_words_or_meaning_alone(
    searches: dict[str, Search], capsys: pytest.CaptureFixture[str]
) -> None:
    """The right chunk is in the top 5 more often when both rankings are merged."""
    questions = read_questions()
    table = [f"the right one of {len(fixture()[0])} chunks is in the top {TOP} (of questions):"]
    hits = {}
    for kind in ("exact", "meaning", "natural", ""):
        asked = [question for question in questions if kind in ("", question.kind)]
        hits = {name: count_hits(asked, search) for name, search in searches.items()}
        rates = "  ".join(f"{name} {n} ({n / len(asked):.0%})" for name, n in hits.items())
        table.append(f"  {kind or 'all':8} {len(asked):3}:  {rates}")
    with capsys.disabled():
        print("\n" + "\n".join(table))  # noqa: T201 - figures to read

    assert hits["both"] > hits["words"]
    assert hits["both"] > hits["meaning"]


def test_questions_have_exactly_one_right_chunk() -> None:
    """Each question names words that stand in one chunk, or in two that overlap."""
    for question in read_questions():
        right = [chunk for chunk in fixture()[0] if question.answered_by(chunk)]
        assert 1 <= len(right) <= 2, question


def test_chunks_of_the_fixture_are_those_the_app_makes() -> None:
    """The figures are about the app as it is: texts that did not change are cut the same way."""
    files = [*find_files(HOME / "documents"), *find_files(HERE / "texts")]
    kept = {chunk.version: [] for chunk in fixture()[0]}
    for chunk in fixture()[0]:
        kept[chunk.version].append(replace(chunk, vector=None))
    compared = 0
    for file in files:
        chunks = read_chunks(file.name, file.read_bytes())
        if chunks[0].version in kept:  # you may change documents/ without changing the fixture
            assert chunks == kept[chunks[0].version], "run tests/retrieval/make_minilm.py"
            compared += 1

    assert compared >= 5


def test_search_filtered_by_source_and_topic_finds_nothing_else(index: Index) -> None:
    """Both rankings are filtered inside the search, so the places are filled."""
    question = "When was the beacon dark?"

    free = index.search(question, EVERYTHING, TOP)
    by_source = index.search(question, Filter(sources=("http.md", "dns.md")), TOP)
    by_topic = index.search(question, Filter(topics=("garden",)), TOP)

    assert free.by == BY_BOTH
    assert "harbour-log.md" in {chunk.source for chunk in free.chunks}
    assert {chunk.source for chunk in by_source.chunks} == {"http.md", "dns.md"}
    assert {chunk.topic for chunk in by_topic.chunks} == {"garden"}
    assert len(by_source.chunks) == len(by_topic.chunks) == TOP
    assert TOP <= CANDIDATES
