"""Server-sent events: one stream for each page, all fed by the one watcher of the service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from workshop.board.guard import still

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from workshop.board.service import Service
    from workshop.board.sessions import Session
    from workshop.board.view import View

MEDIA_TYPE = "text/event-stream"
_RETRY = "retry: 1000\n\n"
"""Milliseconds until a browser whose stream was cut opens the next."""
_ALIVE = ": alive\n\n"


def event(name: str, data: str) -> str:
    """Write one event; ``data`` may have several lines."""
    # Lines end wherever the format says, so that no foreign text can begin a field of its own.
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join([f"event: {name}\n", *(f"data: {line}\n" for line in lines), "\n"])


async def live(
    service: Service, session: Session, told: Callable[[View], Iterable[str]]
) -> AsyncIterator[str]:
    """Yield what ``told`` makes of the view now and after each change, until the session ends.

    ``told`` returns events as :func:`event` writes them, none where nothing changed for this page.
    """
    options, began = service.options, time.monotonic()
    view, spoke = service.view, began
    yield _RETRY
    while not service.stopping and still(service, session):
        for text in told(view):
            spoke = time.monotonic()
            yield text
        left = options.longest - (time.monotonic() - began)
        if left <= 0:
            return
        view = await service.changed(view.number, min(options.heartbeat, left))
        # Also finds out whether anybody still listens.
        if time.monotonic() - spoke >= options.heartbeat:
            spoke = time.monotonic()
            yield _ALIVE


def stream(pieces: AsyncIterator[str]) -> StreamingResponse:
    """Answer with a stream that no proxy keeps back."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(pieces, headers=headers, media_type=MEDIA_TYPE)
