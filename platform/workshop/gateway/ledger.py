"""The books: one row for each request, in SQLite.

Rows are gathered and written a few times a second, so a killed gateway loses at most the last
moment. Reservations are not written: they belong to requests that die with the process.

Only this module knows the tables. The service writes through :class:`Ledger`; the command reads
with :func:`totals`. It needs SQLAlchemy and nothing of the service.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

FILE = "usage.db"
_BUSY_SECONDS = 1.0

_METADATA = sa.MetaData()
_REQUESTS = sa.Table(
    "requests",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.Float, nullable=False, index=True),
    sa.Column("seat", sa.String, nullable=False, index=True),
    sa.Column("key_id", sa.String, nullable=False),
    sa.Column("upstream", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("money", sa.Integer, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("error", sa.String, nullable=False),
    sa.Column("first_byte_ms", sa.Float, nullable=False),
    sa.Column("total_ms", sa.Float, nullable=False),
    sa.Column("queue_ms", sa.Float, nullable=False),
)


class LedgerError(Exception):
    """The books cannot be read or written."""


@dataclass(frozen=True)
class Row:
    """One request. Holds no word of what was asked or answered."""

    time: float
    """When it was settled, in seconds of the epoch."""
    seat: str
    key_id: str
    upstream: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    money: int = 0
    """Nano-units."""
    status: int = 200
    """As HTTP counts; 499 is a client that left."""
    error: str = ""
    """The error's code, or nothing."""
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    queue_ms: float = 0.0


@dataclass(frozen=True)
class Totals:
    """What one seat used."""

    seat: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: int = 0
    errors: int = 0
    last_error: str = ""
    last_time: float = 0.0


class Ledger:
    """The writing side. Rows are added in one thread and written from any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: deque[Row] = deque()
        self._engine: sa.Engine | None = None
        self._inode = 0
        self._lock = threading.Lock()
        self.fault = "not open yet"
        """Why nothing can be written; empty while all is well."""

    def append(self, row: Row) -> None:
        """Take a row, to be written by the next flush."""
        self._pending.append(row)

    @property
    def pending(self) -> int:
        """Count the rows that are not written yet."""
        return len(self._pending)

    def flush(self) -> None:
        """Write what is pending; keep it if that fails.

        Raises:
            LedgerError: it failed, and :attr:`fault` says how.

        """
        with self._lock:
            # By index, and taken out only once written: another thread goes on adding meanwhile.
            rows = [self._pending[number] for number in range(len(self._pending))]
            try:
                with self._writing() as connection:
                    if rows:
                        connection.execute(sa.insert(_REQUESTS), [asdict(row) for row in rows])
            except (SQLAlchemyError, OSError) as exc:
                self.fault = _reason(exc)
                self._dispose()
                raise LedgerError(self.fault) from exc
            for _ in rows:
                self._pending.popleft()
            self.fault = ""

    def close(self) -> None:
        """Write the rest, if it can be written, and let go of the file."""
        try:
            if self._pending:
                self.flush()
        except LedgerError:
            pass
        finally:
            with self._lock:
                self._dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        if self._engine is not None and not self._same_file():
            self._dispose()
        if self._engine is None:
            self._engine = _open(self._path)
        with self._engine.begin() as connection:
            if not self._inode:
                connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            # Taken even with nothing to write: it shows whether writing is possible again.
            connection.execute(sa.text("BEGIN IMMEDIATE"))
            if not self._inode:
                _METADATA.create_all(connection)
            yield connection
        self._inode = self._path.stat().st_ino

    def _same_file(self) -> bool:
        # SQLite would go on writing into a file that somebody has removed.
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine, self._inode = None, 0


def sums(path: Path, since: float) -> dict[str, tuple[int, int]]:
    """Add up tokens and money by seat, of rows not older than ``since``.

    Raises:
        LedgerError: the books cannot be read.

    """
    c = _REQUESTS.c
    tokens = sa.func.sum(c.input_tokens + c.output_tokens)
    query = sa.select(c.seat, tokens, sa.func.sum(c.money)).where(c.time >= since).group_by(c.seat)
    return {seat: (used, money) for seat, used, money in _read(path, query)}


def totals(path: os.PathLike[str], since: float | None = None) -> list[Totals]:
    """Add up everything by seat, of rows not older than ``since``, in the order of names.

    A gateway that never ran has no books: that is an empty list.

    Raises:
        LedgerError: there are books, and they cannot be read.

    """
    c = _REQUESTS.c
    counted = c.time >= (since or 0.0)
    last = (
        sa.select(c.seat, sa.func.max(c.id).label("id"))
        .where(counted, c.error != "")
        .group_by(c.seat)
        .subquery()
    )
    errors = dict[str, str](
        (seat, error)
        for seat, error in _read(
            path, sa.select(c.seat, c.error).join(last, last.c.id == c.id).order_by(c.seat)
        )
    )
    query = (
        sa.select(
            c.seat,
            sa.func.count(),
            sa.func.sum(c.input_tokens),
            sa.func.sum(c.output_tokens),
            sa.func.sum(c.money),
            sa.func.sum(sa.case((c.error != "", 1), else_=0)),
            sa.func.max(c.time),
        )
        .where(counted)
        .group_by(c.seat)
        .order_by(c.seat)
    )
    return [
        Totals(seat, count, used, answered, money, failed, errors.get(seat, ""), time)
        for seat, count, used, answered, money, failed, time in _read(path, query)
    ]


def _open(path: Path) -> sa.Engine:
    # SQLite would make a file that only its owner may write, and readers need to share its log.
    path.touch(0o666, exist_ok=True)
    # Autocommit in the driver: transactions are begun by name, so that they take the lock at once.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={
            "timeout": _BUSY_SECONDS,
            "check_same_thread": False,
            "isolation_level": None,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _read(path: os.PathLike[str], query: sa.Select[Any]) -> Sequence[Any]:
    if not _exists(path):
        return []
    # Without a log beside it nobody has the file open, and opening it must not need to make one.
    how = "mode=ro" if _exists(f"{path}-wal") else "mode=ro&immutable=1"
    address = f"file:{quote(str(path))}?{how}"
    engine = sa.create_engine(
        "sqlite://",
        poolclass=NullPool,
        creator=lambda: sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS),
    )
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(_REQUESTS.name):
                return []
            return connection.execute(query).all()
    except SQLAlchemyError as exc:
        raise LedgerError(f"{path}: {_reason(exc)}") from exc
    finally:
        engine.dispose()


def _exists(path: str | os.PathLike[str]) -> bool:
    return Path(path).exists()


def _reason(exc: Exception) -> str:
    # SQLAlchemy's own text would show the statement and its values.
    return str(getattr(exc, "orig", None) or getattr(exc, "strerror", None) or type(exc).__name__)
