"""One turn of a conversation: recall the past, search the documents, ask, remember."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from app import parts
from app.errors import ChatError
from app.events import Answering, Done, Event, Notice, Source, Sources, Token
from app.prompts import Exchange, make_prompt
from app.retrieval.store import Filter
from app.settings import Settings
from app.shapes import Question

T = TypeVar("T")


class Said:
    """What the assistant has said so far."""

    def __init__(self) -> None:
        self.text = ""
        self.model = ""
        self.end: Done | None = None

    def note(self, event: Event) -> None:
        """Take down what matters for the history."""
        match event:
            case Answering():
                self.model = event.model
            case Token():
                self.text += event.text
            case Done():
                self.end = event


async def reply(
    question: Question, browser: str, settings: Settings
) -> AsyncGenerator[Event, None]:
    """Yield what happens, and remember the answer, also when it was stopped halfway."""
    troubles: list[Notice] = []
    past = await or_notice(recall(question, browser, settings), [], troubles)
    found = await or_notice(search(question, settings), None, troubles)
    prompt = make_prompt(settings, question.message, past, found.sources if found else [])
    for event in (*troubles, found, prompt.context):
        if event:
            yield event

    assistant = await parts.find_assistant(settings)
    said = Said()
    troubles.clear()
    try:
        async with aclosing(assistant.answer(prompt)) as events:
            async for event in events:
                said.note(event)
                if event is not said.end:  # the end is told when the answer is safely kept
                    yield event
    finally:
        if said.text and question.conversation:
            exchange = Exchange(question.message, said.text, said.model, prompt.sources)
            saving = keep(exchange, question.conversation, browser, settings)
            await or_notice(saving, None, troubles)
    for event in (*troubles, said.end):
        if event:
            yield event


async def recall(question: Question, browser: str, settings: Settings) -> list[Exchange]:
    """Return what was said before."""
    if not question.conversation:
        return []
    history = await parts.get(parts.load_history, settings)
    return await history.recall(browser, question.conversation)


async def search(question: Question, settings: Settings) -> Sources | None:
    """Find what the chosen documents say about the question; None if none are chosen."""
    if not question.documents and not question.topics:
        return None
    library = await parts.get(parts.load_library, settings)
    where = Filter(
        sources=() if "*" in question.documents else tuple(question.documents),
        topics=tuple(question.topics),
    )
    found = await asyncio.to_thread(library.search, question.message, where)
    sources = [
        Source(number, chunk.source, chunk.section, chunk.text)
        for number, chunk in enumerate(found.chunks, start=1)
    ]
    return Sources(sources, found.by)


_saving: set[asyncio.Task[None]] = set()  # a task that nobody holds may vanish before its end


async def keep(exchange: Exchange, conversation: str, browser: str, settings: Settings) -> None:
    """Remember an exchange, even when the visitor leaves while it is being saved.

    Once a visitor has left, every `await` of this task fails; so another task does the saving.
    """

    async def save() -> None:
        history = await parts.get(parts.load_history, settings)
        await history.remember(browser, conversation, exchange)

    task = asyncio.create_task(save())
    _saving.add(task)
    task.add_done_callback(_saving.discard)
    await asyncio.shield(task)


async def or_notice(work: Awaitable[T], otherwise: T, notices: list[Notice]) -> T:
    """Do something the answer can do without: its failure becomes a notice."""
    try:
        return await work
    except ChatError as error:
        notices.append(Notice(**error.problem.model_dump()))
        return otherwise
