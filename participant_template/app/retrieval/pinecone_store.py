"""Find chunks by meaning at Pinecone, a service for vectors, for those who have a key.

Make an index there with the size of your model's vectors and the metric cosine. Install
requirements-pinecone.txt, and set PINECONE_API_KEY and PINECONE_INDEX_HOST. Only `library.py`
imports this module.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

from pinecone import Pinecone, PineconeException

from app.retrieval.store import Chunk, Filter, Query, Stored, StoreError

BATCH = 100  # vectors in one request


class PineconeStore:
    """The vectors in a namespace of one index.

    A record's id tells all that `sources` must know: document, version and number of the chunk.
    """

    def __init__(self, key: str, host: str, namespace: str) -> None:
        self._namespace = namespace
        self._index = Pinecone(api_key=key).index(host=host)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Keep the chunks of one document; all of its former ones go."""
        self.delete(chunks[0].source)
        records = [as_record(chunk) for chunk in chunks]
        with as_store_error():
            for start in range(0, len(records), BATCH):
                self._index.upsert(
                    vectors=records[start : start + BATCH], namespace=self._namespace
                )

    def search(self, query: Query, where: Filter, limit: int) -> list[Chunk]:
        """Return the nearest chunks, nearest first."""
        if query.vector is None:
            return []
        with as_store_error():
            found = self._index.query(
                vector=list(query.vector),
                top_k=limit,
                filter=as_filter(where),
                include_metadata=True,
                namespace=self._namespace,
            )
        return [as_chunk(match.metadata) for match in found.matches]

    def delete(self, source: str) -> None:
        """Forget a document."""
        with as_store_error():
            ids = list(self._ids(prefix=f"{quote(source, safe='')}#"))
            for start in range(0, len(ids), BATCH):
                self._index.delete(ids=ids[start : start + BATCH], namespace=self._namespace)

    def sources(self) -> dict[str, Stored]:
        """Return what is held of each document."""
        held: dict[str, Stored] = {}
        with as_store_error():
            for record in self._ids():
                source, version, _ = map(unquote, record.split("#"))
                count = held[source].chunks if source in held else 0
                held[source] = Stored(version, count + 1)
        return held

    def _ids(self, prefix: str | None = None) -> Iterator[str]:
        for page in self._index.list(prefix=prefix, namespace=self._namespace):
            yield from (record.id for record in page.vectors)


@contextmanager
def as_store_error() -> Iterator[None]:
    """Tell trouble with the service in the words of every store."""
    try:
        yield
    except PineconeException as error:
        raise StoreError(f"Pinecone did not do it ({type(error).__name__})") from error


def as_record(chunk: Chunk) -> dict[str, Any]:
    """Write a chunk the way Pinecone keeps it."""
    parts = (chunk.source, chunk.version, f"{chunk.number:05}")
    return {
        "id": "#".join(quote(part, safe="") for part in parts),
        "values": list(chunk.vector or ()),
        "metadata": {
            "source": chunk.source,
            "section": chunk.section,
            "topic": chunk.topic,
            "number": chunk.number,
            "version": chunk.version,
            "text": chunk.text,
        },
    }


def as_chunk(metadata: dict[str, Any]) -> Chunk:
    """Read a chunk; Pinecone returns every number as a float."""
    return Chunk(**{**metadata, "number": int(metadata["number"])})


def as_filter(where: Filter) -> dict[str, Any] | None:
    """Write a filter in Pinecone's language."""
    allowed = {"source": where.sources, "section": where.sections, "topic": where.topics}
    return {name: {"$in": list(values)} for name, values in allowed.items() if values} or None
