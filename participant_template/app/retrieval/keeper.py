"""A thread of its own that gets the missing vectors, and comes back while their service is away."""

import logging
from dataclasses import replace
from threading import Event, Thread
from typing import Protocol

from app.retrieval.store import Chunk, Store, Stored, StoreError, Vector
from app.retrieval.words import Words

logger = logging.getLogger(__name__)

BATCH = 16  # texts in one request: small, because the whole class asks the same service
BATCH_PAUSE = 5.0  # seconds between two batches of a document: questions share the key's budget
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds until a service that failed is asked again


class EmbeddingsError(Exception):
    """There are no vectors just now."""


class Embedder(Protocol):
    """Something that turns texts into vectors."""

    model: str

    def embed(self, texts: list[str], seconds: float = ...) -> list[Vector]:
        """Return a vector for each text, in time; may raise EmbeddingsError."""


class VectorKeeper:
    """Keeps a store of vectors in line with the words."""

    def __init__(self, words: Words, vectors: Store, embedder: Embedder) -> None:
        self._words = words
        self._vectors = vectors
        self._embedder = embedder
        self._closing = Event()
        self._thread: Thread | None = None
        self._fetched: dict[str, Vector] = {}  # vectors of a document that is not whole yet
        self.complete: frozenset[str] = frozenset()  # documents that have all their vectors
        self.trouble = ""  # why there are no vectors just now

    def start(self) -> None:
        """Look for missing vectors, unless that goes on already."""
        if not (self._thread and self._thread.is_alive()):
            self._thread = Thread(target=self._work, name="vectors", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closing.set()
        if self._thread:
            self._thread.join()

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                if not self._catch_up():
                    return
                pause = FIRST_PAUSE
            except (EmbeddingsError, StoreError) as error:
                logger.warning("No vectors, next try in %.0f s: %s", pause, error)
                self.trouble = str(error)
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _catch_up(self) -> bool:
        """Delete and add what differs; return whether there was anything to do."""
        wanted = {
            source: replace(stored, version=f"{stored.version} {self._embedder.model}")
            for source, stored in self._words.sources().items()
        }
        held = self._vectors.sources()
        gone = held.keys() - wanted.keys()
        missing = {name: stored for name, stored in wanted.items() if held.get(name) != stored}
        self.complete = frozenset(wanted.keys() - missing.keys())
        for source in gone:
            self._vectors.delete(source)
        for source, stored in missing.items():
            self._add(source, stored)
        self.trouble = ""
        return bool(gone or missing)

    def _add(self, source: str, stored: Stored) -> None:
        """Add the vectors of one document when all of them are there."""
        chunks = self._words.chunks_of(source)
        texts = [as_text(chunk) for chunk in chunks]
        self._fetch([text for text in texts if text not in self._fetched])
        if not chunks or self._closing.is_set():
            return
        self._vectors.add(
            [
                replace(chunk, vector=self._fetched[text], version=stored.version)
                for chunk, text in zip(chunks, texts, strict=True)
            ]
        )
        self._fetched.clear()
        self.complete |= {source}

    def _fetch(self, texts: list[str]) -> None:
        """Get vectors; those that came before a failure are kept for the next try."""
        for start in range(0, len(texts), BATCH):
            if start and self._closing.wait(BATCH_PAUSE):
                return
            batch = texts[start : start + BATCH]
            self._fetched.update(zip(batch, self._embedder.embed(batch), strict=True))


def as_text(chunk: Chunk) -> str:
    """Write a chunk with its heading, which often says what the text is about."""
    return f"{chunk.section}\n{chunk.text}"
