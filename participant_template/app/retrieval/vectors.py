"""Find chunks by meaning: the nearest vectors, in an SQLite file."""

import heapq
import math
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from operator import itemgetter, mul
from pathlib import Path

from app.retrieval.database import conditions, connect
from app.retrieval.store import Chunk, Filter, Query, Stored, Vector

COLUMNS = "source, number, section, topic, text, version"


def make_vectors(file: Path) -> "VectorFile":
    """Use sqlite-vec where this Python can load it, else a search in plain Python."""
    extension = find_extension()
    return SqliteVec(file, extension) if extension else Scan(file)


def find_extension() -> str | None:
    """Return the path of sqlite-vec, or None where SQLite cannot load extensions (some macOS)."""
    try:
        import sqlite_vec  # noqa: PLC0415 - optional

        with closing(sqlite3.connect(":memory:")) as database:
            database.enable_load_extension(True)
            sqlite_vec.load(database)
    except (ImportError, AttributeError, sqlite3.Error):
        return None
    return sqlite_vec.loadable_path()


class VectorFile:
    """What both kinds have in common: a file with a table of chunks and their vectors."""

    extension: str | None = None

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Keep the chunks of one document; all of its former ones go."""
        with self._open() as database:
            size = len(chunks[0].vector or ())
            if dimensions(database) != size:  # another model's vectors cannot be compared
                self.make_table(database, size)
            database.execute("DELETE FROM vectors WHERE source = ?", [chunks[0].source])
            database.executemany(
                f"INSERT INTO vectors ({COLUMNS}, vector) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                map(as_row, chunks),
            )

    def search(self, query: Query, where: Filter, limit: int) -> list[Chunk]:
        """Return the nearest chunks, nearest first."""
        if query.vector is None:
            return []
        with self._open() as database:
            if dimensions(database) != len(query.vector):
                return []
            return [Chunk(*row) for row in self.nearest(database, query.vector, where, limit)]

    def delete(self, source: str) -> None:
        """Forget a document."""
        with self._open() as database:
            if dimensions(database):
                database.execute("DELETE FROM vectors WHERE source = ?", [source])

    def sources(self) -> dict[str, Stored]:
        """Return what is held of each document."""
        with self._open() as database:
            if not dimensions(database):
                return {}
            rows = database.execute("SELECT source, max(version), count(*) FROM vectors GROUP BY 1")
            return {source: Stored(version, count) for source, version, count in rows}

    def make_table(self, database: sqlite3.Connection, size: int) -> None:
        """Make an empty table for vectors of this size."""
        database.execute("DROP TABLE IF EXISTS vectors")
        database.execute(self.table(size))
        database.execute("DROP TABLE IF EXISTS shape")
        database.execute("CREATE TABLE shape (dimensions INTEGER)")
        database.execute("INSERT INTO shape VALUES (?)", [size])

    def table(self, size: int) -> str:
        """Return the SQL that makes the table."""
        raise NotImplementedError

    def nearest(
        self, database: sqlite3.Connection, vector: Vector, where: Filter, limit: int
    ) -> Iterator[tuple]:
        """Yield the nearest rows, nearest first."""
        raise NotImplementedError

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return connect(self._file, self.extension)


def dimensions(database: sqlite3.Connection) -> int:
    """Return the size of the vectors in the table, 0 without a table."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'shape'").fetchone():
        return 0
    return database.execute("SELECT dimensions FROM shape").fetchone()[0]


class SqliteVec(VectorFile):
    """The table belongs to sqlite-vec, which filters inside its search."""

    def __init__(self, file: Path, extension: str) -> None:
        super().__init__(file)
        self.extension = extension

    def table(self, size: int) -> str:
        """Return the SQL: columns with a + are kept, but cannot be filtered by."""
        return (
            f"CREATE VIRTUAL TABLE vectors USING vec0("
            f"vector float[{size}] distance_metric=cosine, source text, section text, topic text,"
            f"+number integer, +text text, +version text, chunk_size=64)"
        )

    def nearest(
        self, database: sqlite3.Connection, vector: Vector, where: Filter, limit: int
    ) -> Iterator[tuple]:
        """Yield the nearest rows; the filter is applied before, so the limit is filled."""
        filtered, values = conditions(where)
        yield from database.execute(
            f"SELECT {COLUMNS} FROM vectors"  # noqa: S608 - no value is part of the text
            f" WHERE vector MATCH ? AND k = ?{filtered} ORDER BY distance",
            [vector.tobytes(), limit, *values],
        )


class Scan(VectorFile):
    """A plain table: SQL filters, then Python compares every vector that is left."""

    def table(self, size: int) -> str:
        """Return the SQL; any size fits."""
        del size
        return f"CREATE TABLE vectors ({COLUMNS}, vector)"

    def nearest(
        self, database: sqlite3.Connection, vector: Vector, where: Filter, limit: int
    ) -> Iterator[tuple]:
        """Yield the nearest rows, nearest first."""
        filtered, values = conditions(where)
        rows = database.execute(
            f"SELECT vector, {COLUMNS} FROM vectors WHERE TRUE{filtered}",  # noqa: S608
            values,
        )
        scored = ((likeness(vector, array("f", row[0])), *row[1:]) for row in rows)
        for _, *row in heapq.nlargest(limit, scored, key=itemgetter(0)):
            yield tuple(row)


def likeness(a: Vector, b: Vector) -> float:
    """Return the cosine of the angle between two vectors: 1 for the same direction."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(map(mul, a, b)) / lengths if lengths else 0.0


def as_row(chunk: Chunk) -> tuple:
    """Write a chunk in the order of the table's columns."""
    vector = chunk.vector.tobytes() if chunk.vector else b""
    return (
        *(chunk.source, chunk.number, chunk.section, chunk.topic, chunk.text, chunk.version),
        vector,
    )
