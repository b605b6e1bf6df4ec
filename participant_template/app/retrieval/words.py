"""Find chunks by their words, with SQLite's full-text search (FTS5).

Words such as "the" or "how" are in almost every text. Asked for, they would find chunks that have
nothing else in common with the question, so `stopwords.txt` (a usual list of English ones) is left
out of questions.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from app.retrieval.database import conditions, connect
from app.retrieval.store import Chunk, Filter, Query, Stored

STOPWORDS = frozenset((Path(__file__).parent / "stopwords.txt").read_text("utf-8").split())
MOST_WORDS = 50  # of a question

# `porter` cuts endings off, so that "proxies" finds "proxy"; an UNINDEXED column is only kept.
TABLE = """
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    section, text,
    source UNINDEXED, number UNINDEXED, topic UNINDEXED, version UNINDEXED,
    tokenize = 'porter unicode61'
)
"""


class Words:
    """A store that needs no model: rare words that question and chunk share count most."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Keep the chunks of one document; all of its former ones go."""
        with connect(self._file) as database:
            database.execute(TABLE)
            for source in {chunk.source for chunk in chunks}:
                database.execute("DELETE FROM words WHERE source = ?", [source])
            database.executemany(
                "INSERT INTO words VALUES (?, ?, ?, ?, ?, ?)",
                [(c.section, c.text, c.source, c.number, c.topic, c.version) for c in chunks],
            )

    def search(self, query: Query, where: Filter, limit: int, share: float = 0.0) -> list[Chunk]:
        """Return the chunks that fit best, best first (`rank` is BM25).

        Each has at least this share of the question's words.
        """
        terms = terms_of(query.text)
        if not terms:
            return []
        filtered, values = conditions(where)
        each_term = " UNION ALL ".join(["SELECT rowid FROM words WHERE words MATCH ?"] * len(terms))
        with connect(self._file) as database:
            database.execute(TABLE)
            rows = database.execute(
                "SELECT source, number, section, topic, text, version FROM words"  # noqa: S608
                f" WHERE words MATCH ?{filtered} AND rowid IN"
                f" (SELECT rowid FROM ({each_term}) GROUP BY rowid HAVING count(*) >= ?)"
                " ORDER BY rank LIMIT ?",
                [" OR ".join(terms), *values, *terms, share * len(terms), limit],
            )
            return [Chunk(*row) for row in rows]

    def chunks_of(self, source: str) -> list[Chunk]:
        """Return all chunks of a document, in order."""
        with connect(self._file) as database:
            database.execute(TABLE)
            rows = database.execute(
                "SELECT source, number, section, topic, text, version FROM words"
                " WHERE source = ? ORDER BY number",
                [source],
            )
            return [Chunk(*row) for row in rows]

    def delete(self, source: str) -> None:
        """Forget a document."""
        with connect(self._file) as database:
            database.execute(TABLE)
            database.execute("DELETE FROM words WHERE source = ?", [source])

    def sources(self) -> dict[str, Stored]:
        """Return what is held of each document."""
        with connect(self._file) as database:
            database.execute(TABLE)
            rows = database.execute("SELECT source, max(version), count(*) FROM words GROUP BY 1")
            return {source: Stored(version, count) for source, version, count in rows}


def terms_of(text: str) -> list[str]:
    """Return the words of a question for FTS5; in quotation marks none is a command.

    What is joined by a hyphen or a dot, such as a part number, is looked for as a whole.
    """
    words = dict.fromkeys(word.lower() for word in re.findall(r"\w+(?:[-.]\w+)*", text))
    return [f'"{word}"' for word in words if word not in STOPWORDS][:MOST_WORDS]
