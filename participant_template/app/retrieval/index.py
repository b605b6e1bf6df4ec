"""The index: what the search knows of the documents.

Words are indexed at once. Vectors take time and need the model service, so `keeper.py` gets them in
the background; until then the search goes by words only.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from app.retrieval.files import DocumentError, read_bytes, read_chunks, version_of
from app.retrieval.keeper import Embedder, EmbeddingsError, VectorKeeper
from app.retrieval.ranking import merge
from app.retrieval.store import Chunk, Filter, Query, Store, Stored, StoreError
from app.retrieval.words import Words

logger = logging.getLogger(__name__)

BY_BOTH = "words and meaning"
BY_WORDS = "words"
MOST_CHUNKS = 1_500  # of all documents, so that the files stay small
CANDIDATES = 20  # taken from each ranking
SHARED_WORDS = 0.5  # of the question's words; fewer are chance, where meaning is known as well
FOUND = 4  # sent to the model
PATIENCE = 5.0  # seconds a question waits for its vector


@dataclass(frozen=True)
class Found:
    """What was found, best first, and how."""

    chunks: list[Chunk]
    by: str


class Index:
    """Two stores and the rankings they give, merged."""

    def __init__(self, words: Words, vectors: Store, embedder: Embedder | None) -> None:
        self._words = words
        self._vectors = vectors
        self._embedder = embedder
        self._keeper = VectorKeeper(words, vectors, embedder) if embedder else None
        self._updating = Lock()

    def update(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Index new and changed files by words; return what is wrong with the others."""
        problems: dict[str, str] = {}
        with self._updating:
            known = self._words.sources()
            for gone in known.keys() - files.keys():
                self._words.delete(gone)
                del known[gone]
            for name, file in files.items():
                try:
                    self._update_one(name, read_bytes(file), known)
                except DocumentError as error:
                    problems[name] = str(error)
                    self._words.delete(name)
        if self._keeper:
            self._keeper.start()
        return problems

    def _update_one(self, name: str, data: bytes, known: dict[str, Stored]) -> None:
        if name in known and known[name].version == version_of(data):
            return
        chunks = read_chunks(name, data)
        others = sum(stored.chunks for source, stored in known.items() if source != name)
        if others + len(chunks) > MOST_CHUNKS:
            raise DocumentError("There are too many documents.", "Delete some.")
        self._words.add(chunks)
        known[name] = Stored(chunks[0].version, len(chunks))

    def sources(self) -> dict[str, Stored]:
        """Return what is indexed of each document."""
        return self._words.sources()

    def topic_of(self, source: str) -> str:
        """Return the topic of a document."""
        return next((chunk.topic for chunk in self._words.chunks_of(source)), "")

    def search(self, text: str, where: Filter, limit: int = FOUND) -> Found:
        """Return the chunks that fit best by words and by meaning."""
        by_meaning = self._search_meaning(text, where)
        if not by_meaning:
            return Found(self._words.search(Query(text), where, limit), BY_WORDS)
        by_words = self._words.search(Query(text), where, CANDIDATES, SHARED_WORDS)
        return Found(merge([by_words, by_meaning], limit), BY_BOTH)

    def _search_meaning(self, text: str, where: Filter) -> list[Chunk]:
        if not self._embedder or not self.with_vectors:
            return []
        try:
            [vector] = self._embedder.embed([text], PATIENCE)
            return self._vectors.search(Query(text, vector), where, CANDIDATES)
        except (EmbeddingsError, StoreError) as error:
            logger.warning("Search goes by words only: %s", error)
            return []

    @property
    def with_vectors(self) -> frozenset[str]:
        """The documents that are found by meaning, too."""
        return self._keeper.complete if self._keeper else frozenset()

    @property
    def trouble(self) -> str:
        """Why there are no vectors just now; empty if there are, or none are wanted."""
        return self._keeper.trouble if self._keeper else ""

    def close(self) -> None:
        """Stop what works in the background."""
        if self._keeper:
            self._keeper.close()
