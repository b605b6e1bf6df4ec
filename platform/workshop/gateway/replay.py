"""Good answers kept for the hour in which no provider answers.

An answer is found again by the whole conversation, or else by the last question alone. Of questions
only hashes are kept; answers are kept as they were.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from workshop.gateway import completions
from workshop.gateway.config import Model, Task, Upstream
from workshop.gateway.doors import Reply
from workshop.gateway.echo import nothing, paced, text_of, whole
from workshop.gateway.tally import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.gateway.validate import Ask

FILE = "replay.db"
KEPT = 10_000
LARGEST = 256 * 1024
UPSTREAM = Upstream("replay", "replay:", concurrency=1_000_000)
FREE = Model("replay")

_METADATA = sa.MetaData()
_ANSWERS = sa.Table(
    "answers",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("exact", sa.String, nullable=False, unique=True),
    sa.Column("loose", sa.String, nullable=False, index=True),
    sa.Column("answer", sa.String, nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)


class Replay:
    """The kept answers. Slow calls: use them in another thread."""

    def __init__(self, path: Path, *, kept: int = KEPT) -> None:
        self._path = path
        self._kept = kept
        self._engine: sa.Engine | None = None
        self._lock = threading.Lock()

    def keep(self, ask: Ask, answer: str, usage: Usage) -> bool:
        """Keep an answer; tell whether that was possible."""
        exact, loose = keys(ask)
        row = {
            "exact": exact,
            "loose": loose,
            "answer": answer,
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "time": time.time(),
        }
        newest = sa.select(sa.func.max(_ANSWERS.c.id)).scalar_subquery()
        try:
            with self._lock, self._open().begin() as connection:
                connection.execute(sa.delete(_ANSWERS).where(_ANSWERS.c.exact == exact))
                connection.execute(sa.insert(_ANSWERS).values(row))
                connection.execute(sa.delete(_ANSWERS).where(_ANSWERS.c.id <= newest - self._kept))
        except SQLAlchemyError:
            return False
        return True

    def find(self, ask: Ask) -> Reply | None:
        """Answer from what is kept, in the form the request wants."""
        exact, loose = keys(ask)
        c = _ANSWERS.c
        query = (
            sa.select(c.answer, c.input_tokens, c.output_tokens)
            .where(sa.or_(c.exact == exact, c.loose == loose))
            .order_by(c.exact == exact, c.id)
        )
        try:
            with self._lock, self._open().connect() as connection:
                rows = connection.execute(query).all()
        except SQLAlchemyError:
            return None
        if not rows:
            return None
        answer, input_tokens, output_tokens = rows[-1]
        return _reply(ask, answer, Usage(input_tokens, output_tokens))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _open(self) -> sa.Engine:
        if self._engine is None:
            engine = sa.create_engine(
                sa.URL.create("sqlite", database=str(self._path)),
                poolclass=StaticPool,
                connect_args={"timeout": 1.0, "check_same_thread": False},
            )
            _METADATA.create_all(engine)
            self._engine = engine
        return self._engine


def keys(ask: Ask) -> tuple[str, str]:
    """Name a request by hashes: as it is, and by its last question alone."""
    if ask.task is Task.EMBEDDING:
        shape = [ask.body.get("encoding_format"), ask.body.get("dimensions")]
        name = _hash(["embedding", ask.model, ask.body["input"], *shape])
        return name, name
    messages = ask.body["messages"]
    asked = [text_of(message) for message in messages if message["role"] == "user"] or [""]
    question = " ".join(asked[-1].casefold().split()).strip(" .?!")
    return _hash(["chat", ask.model, messages]), _hash(["question", ask.model, question])


def _reply(ask: Ask, answer: str, usage: Usage) -> Reply:
    if ask.task is Task.EMBEDDING:
        return whole(completions.vectors(ask.model, json.loads(answer), usage))
    name = f"chatcmpl-replay-{keys(ask)[0][:12]}"
    if not ask.stream:
        return whole(completions.answer(name, ask.model, answer, "stop", usage))
    events = completions.stream(name, ask.model, answer, "stop", usage)
    return Reply(200, "text/event-stream", paced(events, 0), nothing)


def _hash(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
