"""The heavy parts of the app, each loaded when it is first needed, so that the app starts quickly.

The imports stand inside the functions for that reason: SQLAlchemy and openai alone take longer to
import than everything the start needs. Here is how the parts depend on each other:

    main -> chat -> history (SQLAlchemy), library (documents), model (openai) or echo
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

from app.settings import Settings

if TYPE_CHECKING:
    from app.events import Event
    from app.history import History
    from app.prompts import Prompt
    from app.retrieval.library import Library

Part = TypeVar("Part")
_one_at_a_time = Lock()


class Assistant(Protocol):
    """Whoever answers: the echo, a model, or something you write."""

    def answer(self, prompt: "Prompt") -> AsyncGenerator["Event", None]:
        """Yield events: who answers, the answer in small pieces, and `done`."""


async def get(make: Callable[[Settings], Part], settings: Settings) -> Part:
    """Return a part; the first time is slow, so it happens in a thread and others need not wait."""
    return await asyncio.to_thread(get_now, make, settings)


def get_now(make: Callable[[Settings], Part], settings: Settings) -> Part:
    """Return a part, made once."""
    with _one_at_a_time:
        return make(settings)


async def find_assistant(settings: Settings) -> Assistant:
    """Return the model, or the echo while there is no key."""
    if settings.openai_api_key is None:
        from app.echo import Echo  # noqa: PLC0415

        return Echo()
    return await get(load_model, settings)


@cache
def load_model(settings: Settings) -> Assistant:
    """Connect to the model."""
    from app.model import Model  # noqa: PLC0415

    if settings.chain == "langchain":
        from app.chain_langchain import LangChain  # noqa: PLC0415 - also an optional library

        return LangChain(Model(settings))
    return Model(settings)


@cache
def load_history(settings: Settings) -> "History":
    """Open the history of conversations."""
    from app.history import History  # noqa: PLC0415

    return History(settings.data_dir / "history.db")


@cache
def load_library(settings: Settings) -> "Library":
    """Open the documents and their index."""
    from app.retrieval.library import make_library  # noqa: PLC0415

    return make_library(settings)
