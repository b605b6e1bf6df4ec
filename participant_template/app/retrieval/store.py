"""What every store of chunks can do, wherever it keeps them.

`words.py` finds chunks by their words; `vectors.py` and `pinecone_store.py` find them by meaning.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Vector = array  # of 32-bit floats: a text as a point in space; texts alike in meaning are near


@dataclass(frozen=True)
class Chunk:
    """A piece of a document, with what is known about it."""

    source: str  # the document's file name
    number: int  # its place in the document
    section: str  # the heading above it, or the page
    topic: str
    text: str
    version: str  # changes with the document's content
    vector: Vector | None = None

    @property
    def id(self) -> tuple[str, int]:
        """What tells this chunk from all others."""
        return self.source, self.number


@dataclass(frozen=True)
class Filter:
    """Which chunks may be found. An empty field allows all."""

    sources: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


EVERYTHING = Filter()


@dataclass(frozen=True)
class Query:
    """What is looked for; a store uses the half it understands."""

    text: str
    vector: Vector | None = None


@dataclass(frozen=True)
class Stored:
    """What a store holds of one document."""

    version: str
    chunks: int


class StoreError(Exception):
    """A store does not work just now."""


class Store(Protocol):
    """A place for chunks. Every method may raise StoreError."""

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Keep the chunks of one document; all of its former ones go."""

    def search(self, query: Query, where: Filter, limit: int) -> list[Chunk]:
        """Return the chunks that fit best, best first."""

    def delete(self, source: str) -> None:
        """Forget a document."""

    def sources(self) -> dict[str, Stored]:
        """Return what is held of each document."""
