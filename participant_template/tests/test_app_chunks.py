"""Cutting texts into chunks, reading PDF, and merging rankings."""

import zlib
from itertools import pairwise

import pytest
from test_app_documents import make_pdf

from app.retrieval import pdf
from app.retrieval.chunks import CHUNK, OVERLAP, Section, make_chunks, pack, split_sections
from app.retrieval.pdf import PdfError, read_pdf
from app.retrieval.ranking import merge
from app.retrieval.store import Chunk


def test_sections_follow_the_headings() -> None:
    """Text before the first heading counts too; a heading without text does not."""
    text = "Before.\n# One\n## Two ##\nInside.\n\nStill.\n###### Six\nLast."

    assert split_sections(text) == [
        Section("", "Before."),
        Section("Two", "Inside.\n\nStill."),
        Section("Six", "Last."),
    ]


def test_sections_a_comment_in_code_is_no_heading() -> None:
    """Between fences a # is part of the code."""
    text = "# Run\n```sh\n# not a heading\nls\n```\n#hashtag"

    assert split_sections(text) == [Section("Run", "```sh\n# not a heading\nls\n```\n#hashtag")]


def test_chunks_short_text_is_one_chunk() -> None:
    """Paragraphs stay paragraphs."""
    assert list(pack("One. Two.\n\nThree.")) == ["One. Two.\n\nThree."]


def test_chunks_long_text_is_cut_between_sentences_with_overlap() -> None:
    """No chunk is too long, each ends with a sentence, and the next repeats its last one."""
    sentences = [f"This is sentence number {n} of a long text about tea." for n in range(60)]

    chunks = list(pack(" ".join(sentences)))

    assert len(chunks) > 4
    assert all(len(chunk) <= CHUNK and chunk.endswith("tea.") for chunk in chunks)
    for before, after in pairwise(chunks):
        assert after.startswith(before[before.rindex("This is") :])
    assert all(any(sentence in chunk for chunk in chunks) for sentence in sentences)


def test_chunks_endless_sentence_is_cut_and_nothing_lost() -> None:
    """A text without any end of a sentence still fits."""
    text = "x" * (3 * CHUNK + 7)

    chunks = list(pack(text))

    assert max(map(len, chunks)) <= CHUNK
    assert "".join(chunks) == text


@pytest.mark.parametrize("length", range(OVERLAP - 2, OVERLAP + 3))
def test_chunks_at_the_edge_of_the_overlap_never_repeat_for_ever(length: int) -> None:
    """Whatever the sentences' length, the text is walked through once."""
    chunks = list(pack(". ".join("A" * length for _ in range(30))))

    assert len(chunks) <= 30
    assert all(len(chunk) <= CHUNK for chunk in chunks)


def test_chunks_know_where_they_come_from() -> None:
    """Numbers run through the document, headings belong to their text."""
    chunks = make_chunks("a.md", "tea", "v1", [Section("One", "First."), Section("Two", "Second.")])

    assert chunks == [
        Chunk("a.md", 1, "One", "tea", "First.", "v1"),
        Chunk("a.md", 2, "Two", "tea", "Second.", "v1"),
    ]


def test_pdf_that_unpacks_to_gigabytes_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that reads it has little memory and little time; the app survives."""
    monkeypatch.setattr(pdf, "SECONDS", 10)
    bomb = zlib.compress(b"(" + b"A" * 400_000_000, 1)
    stream = b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(bomb), bomb)
    data = make_pdf(["x"])
    start, end = data.index(b"<< /Length"), data.index(b"\nendobj", data.index(b"<< /Length"))

    with pytest.raises(PdfError):
        read_pdf(data[:start] + stream + data[end:])


def named(*numbers: int) -> list[Chunk]:
    """Return chunks with these numbers."""
    return [Chunk("a.md", number, "", "", "", "") for number in numbers]


def test_merge_prefers_what_stands_high_in_both_rankings() -> None:
    """Second in both beats first in one; each chunk comes once."""
    merged = merge([named(1, 2, 3), named(4, 2, 5)], limit=3)

    assert merged[0] == named(2)[0]
    assert {chunk.number for chunk in merged[1:]} == {1, 4}


def test_merge_one_ranking_stays_as_it_is() -> None:
    """Nothing to merge, nothing to change, but the limit holds."""
    assert merge([named(3, 1, 2), []], limit=2) == named(3, 1)
