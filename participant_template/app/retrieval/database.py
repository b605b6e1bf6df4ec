"""One SQLite file for a store: opened for each use, mended by starting afresh."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.retrieval.store import Filter, StoreError


@contextmanager
def connect(file: Path, extension: str | None = None) -> Iterator[sqlite3.Connection]:
    """Open the file for one piece of work; all of it is saved, or nothing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=10)) as connection:
            if extension:
                connection.enable_load_extension(True)
                connection.load_extension(extension)
                connection.enable_load_extension(False)
            with connection:
                yield connection
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.DatabaseError) and is_damaged(error):
            file.unlink(missing_ok=True)  # an index can always be made again from the documents
        raise StoreError(f"the index {file.name} does not work: {error}") from error


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Tell whether the file is not, or no longer, a database."""
    return error.sqlite_errorcode in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


def conditions(where: Filter) -> tuple[str, list[str]]:
    """Write a filter as SQL: conditions that begin with AND, and the values for them."""
    sql = ""
    values: list[str] = []
    for column, allowed in (
        ("source", where.sources),
        ("section", where.sections),
        ("topic", where.topics),
    ):
        if allowed:
            sql += f" AND {column} IN ({', '.join('?' * len(allowed))})"
            values += allowed
    return sql, values
