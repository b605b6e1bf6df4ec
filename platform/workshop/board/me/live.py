"""What is streamed to a participant's page: pieces of it that changed, and the log's new lines."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from workshop.board.guard import still
from workshop.board.me import model
from workshop.board.render import fragment
from workshop.board.streaming import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from workshop.board.me.model import Own
    from workshop.board.service import Service
    from workshop.board.sessions import Session
    from workshop.board.view import View

PARTS = ("app", "deploys", "models", "says", "hand")
"""Each is a field of :class:`workshop.board.me.model.Own`, a template, an event and an element."""
_LOOK = 0.4
"""Seconds between two looks at a log; the file changes at most once a second."""


class Pieces:
    """Makes events of what changed for one page."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sent: Own | None = None

    def __call__(self, view: View) -> Iterator[str]:
        """Yield one event for each part that looks different now."""
        own, sent = model.own(view, self._name), self._sent
        self._sent = own
        for part in PARTS:
            found = getattr(own, part)
            if found is not None and (sent is None or getattr(sent, part) != found):
                yield event(part, render(part, own))


def render(part: str, own: Own) -> str:
    """Render one part of the page."""
    return fragment(f"me/{part}.html", now=time.time(), **{part: getattr(own, part)})


async def log(service: Service, session: Session) -> AsyncIterator[str]:
    """Yield the last lines of the own seat, then new ones as they come, until the session ends."""
    options, name = service.options, session.name
    began = spoke = time.monotonic()
    known: tuple[str, ...] | None = None
    while not service.stopping and still(service, session):
        service.want_log(name)
        tail, now = service.log_tail(name), time.monotonic()
        if tail is not None and tail.lines != known:
            for text in _changed(known, tail.lines):
                yield text
            known, spoke = tail.lines, now
        elif now - spoke >= options.heartbeat:
            # Also finds out whether anybody still listens.
            yield ": alive\n\n"
            spoke = now
        if now - began >= options.longest:
            return
        await asyncio.sleep(_LOOK)


def fresh(old: Sequence[str], new: Sequence[str]) -> Sequence[str] | None:
    """Find the lines of ``new`` that follow those of ``old``; ``None`` where none go on from it."""
    for start in range(len(old)):
        kept = old[start:]
        if tuple(new[: len(kept)]) == tuple(kept):
            return new[len(kept) :]
    return None


def _changed(known: Sequence[str] | None, lines: Sequence[str]) -> Iterator[str]:
    added = fresh(known, lines) if known else None
    if added is None:
        yield event("log", json.dumps(lines))
    else:
        yield event("more", json.dumps(added))
