"""What was said before, in a small SQLite database.

A model remembers nothing by itself: we send it the past with each question. Only `parts.py` imports
this module, when it is first needed.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, Row, UniqueConstraint, delete, event, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from app.errors import ChatError
from app.events import Source
from app.prompts import Exchange

LONGEST_ANSWER = 8_000  # characters kept of one answer
MOST_LINES = 20  # exchanges of one conversation
MOST_CONVERSATIONS = 30  # of one browser
MOST_CHARACTERS = 2_000_000  # of everything together, so that the file stays small


class Table(DeclarativeBase):
    """The tables of the database."""


class Conversation(Table):
    """One conversation of one browser."""

    __tablename__ = "conversation"
    __table_args__ = (UniqueConstraint("browser", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    browser: Mapped[str]
    name: Mapped[str]  # the id the page made up
    title: Mapped[str]
    updated: Mapped[datetime]


class Line(Table):
    """One question and its answer."""

    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey(Conversation.id, ondelete="CASCADE"), index=True
    )
    question: Mapped[str]
    answer: Mapped[str]
    model: Mapped[str]
    sources: Mapped[str]  # as JSON, without their texts


class History:
    """The latest conversations; older ones are forgotten."""

    def __init__(self, file: Path) -> None:
        self._file = file
        # A connection for each use: nothing stays open, and a file that was replaced is noticed.
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{file}", poolclass=NullPool)
        self._tables_exist = False
        self._preparing = asyncio.Lock()
        event.listen(self._engine.sync_engine, "connect", switch_on_foreign_keys)

    async def recall(self, browser: str, name: str) -> list[Exchange]:
        """Return what was said in this conversation, oldest first."""
        async with self._session() as session:
            lines = await session.scalars(
                select(Line)
                .join(Conversation)
                .where(Conversation.browser == browser, Conversation.name == name)
                .order_by(Line.id)
            )
            return [as_exchange(line) for line in lines]

    async def remember(self, browser: str, name: str, exchange: Exchange) -> None:
        """Add an exchange to a conversation; one without an id is not kept."""
        if not name:
            return
        async with self._session() as session:
            conversation = await find_or_add(session, browser, name, exchange.question)
            session.add(as_line(conversation.id, exchange))
            await session.flush()
            await forget_oldest_lines(session, conversation.id)
            await forget_oldest_conversations(session, browser)

    async def conversations(self, browser: str) -> list[Row[Any]]:
        """Return name, title and time of this browser's conversations, latest first."""
        async with self._session() as session:
            rows = await session.execute(
                select(Conversation.name, Conversation.title, Conversation.updated)
                .where(Conversation.browser == browser)
                .order_by(Conversation.updated.desc(), Conversation.id.desc())
            )
            return list(rows)

    async def forget(self, browser: str, name: str) -> None:
        """Delete a conversation."""
        async with self._session() as session:
            await session.execute(
                delete(Conversation).where(
                    Conversation.browser == browser, Conversation.name == name
                )
            )

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[AsyncSession, None]:
        """Open the database for one piece of work; all of it is saved, or nothing."""
        try:
            await self._make_tables()
            async with AsyncSession(self._engine) as session, session.begin():
                yield session
        except (SQLAlchemyError, OSError) as error:
            self._tables_exist = False  # look again next time: somebody may have mended the file
            raise ChatError(
                "The history of conversations does not work just now.",
                f"Delete the file {self._file}; if its disk is full, make room.",
            ) from error

    async def _make_tables(self) -> None:
        async with self._preparing:
            if self._tables_exist:
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            async with self._engine.begin() as connection:
                await connection.run_sync(Table.metadata.create_all)
            self._tables_exist = True


def switch_on_foreign_keys(connection: Any, _: object) -> None:  # noqa: ANN401 - any SQLite driver's
    """Make SQLite delete the lines of a conversation with it."""
    connection.execute("PRAGMA foreign_keys = ON")


async def find_or_add(
    session: AsyncSession, browser: str, name: str, question: str
) -> Conversation:
    """Return the conversation, marked as used just now.

    One statement does both: two questions at the same moment make one conversation.
    """
    now = datetime.now(UTC)
    row = insert(Conversation).values(browser=browser, name=name, title=question[:80], updated=now)
    found = await session.scalars(
        row.on_conflict_do_update(
            index_elements=["browser", "name"], set_={"updated": now}
        ).returning(Conversation)
    )
    return found.one()


async def forget_oldest_lines(session: AsyncSession, conversation_id: int) -> None:
    """Keep a conversation within its bound."""
    lines = select(Line.id).where(Line.conversation_id == conversation_id)
    too_many = lines.order_by(Line.id.desc()).offset(MOST_LINES)
    await session.execute(delete(Line).where(Line.id.in_(too_many)))


async def forget_oldest_conversations(session: AsyncSession, browser: str) -> None:
    """Keep this browser, and all browsers together, within their bounds."""
    latest_first = (Conversation.updated.desc(), Conversation.id.desc())
    mine = select(Conversation.id).where(Conversation.browser == browser)
    too_many = list(await session.scalars(mine.order_by(*latest_first).offset(MOST_CONVERSATIONS)))
    size = func.sum(
        func.length(Line.question) + func.length(Line.answer) + func.length(Line.sources)
    )
    total = 0
    for row in await session.execute(
        select(Conversation.id, size).join(Line).group_by(Conversation.id).order_by(*latest_first)
    ):
        total += row[1]
        if total > MOST_CHARACTERS:
            too_many.append(row[0])
    await session.execute(delete(Conversation).where(Conversation.id.in_(too_many)))


def as_line(conversation_id: int, exchange: Exchange) -> Line:
    """Write an exchange the way the database keeps it."""
    return Line(
        conversation_id=conversation_id,
        question=exchange.question,
        answer=exchange.answer[:LONGEST_ANSWER],
        model=exchange.model,
        sources=json.dumps([asdict(replace(source, text="")) for source in exchange.sources]),
    )


def as_exchange(line: Line) -> Exchange:
    """Read an exchange."""
    sources = tuple(Source(**source) for source in json.loads(line.sources))
    return Exchange(line.question, line.answer, line.model, sources)
