"""The participant's addresses. Each takes the seat from the session, and none from the request."""
# No "from __future__ import annotations" here: FastAPI reads the annotations of endpoints.

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, WebSocket
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from workshop.board import guard, streaming
from workshop.board.config import hashed
from workshop.board.guard import Participant, TheService
from workshop.board.me import entering, live, model, steps
from workshop.board.refusal import Refused
from workshop.board.render import page
from workshop.board.wishes import What
from workshop.serving import ID

router = APIRouter(prefix="/me", tags=["participant"])
visitor = Depends(guard.visitor)

_TICKS = 3
_TICK = 0.4
"""Seconds between two events of the check; where streams are held back they come at once."""
_ECHO_LONGEST = 64
_ECHO_SECONDS = 10.0
_FORBIDDEN = 1008
"""The code of a WebSocket that may not be."""
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {streaming.MEDIA_TYPE: {"schema": {"type": "object"}}}}
}


class May(StrEnum):
    """What participants may ask for, of their own seat."""

    RESTART = "restart"
    RESET = "reset"
    ROLLBACK = "rollback"


class Sent(BaseModel):
    """What a page sends has no other fields than those it is asked for."""

    model_config = ConfigDict(extra="forbid")


class Entering(Sent):
    """Somebody wants in."""

    word: str = Field(min_length=1, max_length=entering.LONGEST)
    """The own key, or the claim code of a card."""
    name: str = Field(default="", max_length=entering.LONGEST_NAME)
    """What a latecomer is called, where the code is that of a spare seat."""


class Entered(BaseModel):
    """What became of it."""

    ask_name: bool = False
    """Whether the code is right and the latecomer's name is missing."""
    name: str = ""
    key: str = ""
    """The key that a code was exchanged for; the browser keeps it, the board does not."""


class Key(Sent):
    """The own key, entered once more."""

    key: str = Field(min_length=1, max_length=entering.LONGEST)


class Hand(Sent):
    """Raise it or lower it."""

    up: StrictBool


class Asked(Sent):
    """Something to be done to the own seat."""

    what: May
    text: str = Field(default="", max_length=100)
    """The version to go back to."""


class Left(BaseModel):
    """Where the page goes next."""

    to: str


class Right(BaseModel):
    """Whether a key is the own one; a wrong one is refused."""

    right: bool


class Placed(BaseModel):
    """It is asked for; its id leads to what becomes of it."""

    id: str


class Became(BaseModel):
    """What became of it."""

    over: bool
    done: bool = False
    words: str = ""


@router.get("", response_class=HTMLResponse, dependencies=[visitor])
async def show(request: Request, service: TheService) -> HTMLResponse:
    """Show the own page to whoever has entered, and the way in to everybody else."""
    session, view = guard.session_of(request, guard.PARTICIPANT), service.view
    person = view.person(session.name) if session else None
    if session is None or person is None:
        return page(request, "me/enter.html", longest=entering.LONGEST, name=entering.LONGEST_NAME)
    request.state.session = session
    own = model.own(view, person.name)
    told = view.config
    return page(
        request,
        "me/page.html",
        connect=[*steps.origins(told, person), *_sockets(told.origins)],
        person=person,
        own=own,
        now=time.time(),
        dotenv=steps.dotenv(told),
        steps=steps.steps(told, person),
        archive=steps.archive(told, person),
    )


@router.post("/enter", response_model=Entered, dependencies=[visitor])
async def enter(request: Request, service: TheService, asked: Entering) -> JSONResponse:
    """Log a participant in with the own key, or with a claim code, which is exchanged for it.

    Raises:
        Refused: it is nobody's, it was used already, or nothing can be kept.

    """
    peer = guard.peer_of(request)
    found = await entering.enter(service, asked.word, asked.name, peer)
    if found is None:
        return JSONResponse(Entered(ask_name=True).model_dump())
    try:
        session_id = service.sessions.begin(found.name, hashed(found.key))
    except OSError as exc:
        service.log("session not kept", error=type(exc).__name__)
        raise Refused(503, "The server's disk may be full; no login can be kept.") from exc
    service.log("entered", seat=found.name, claimed=found.claimed, peer=peer)
    key = found.key if found.claimed else ""
    answer = JSONResponse(Entered(name=found.name, key=key).model_dump())
    guard.remember(answer, guard.PARTICIPANT, session_id)
    return answer


@router.post("/leave", response_model=Left)
async def leave(service: TheService, session: Participant) -> JSONResponse:
    """End the session."""
    service.sessions.end(session)
    service.log("left", seat=session.name)
    answer = JSONResponse(Left(to="/me").model_dump())
    guard.forget(answer, guard.PARTICIPANT)
    return answer


@router.post("/key")
async def key(request: Request, service: TheService, session: Participant, sent: Key) -> Right:
    """See that a key is the own one, so that a browser that lost it can hold it again.

    Raises:
        Refused: it is not.

    """
    entering.check_key(service, sent.key, session.key_hash, guard.peer_of(request))
    return Right(right=True)


@router.get("/events", response_class=StreamingResponse, responses=_EVENTS)
async def events(service: TheService, session: Participant) -> StreamingResponse:
    """Stream the pieces of the page that change."""
    return streaming.stream(streaming.live(service, session, live.Pieces(session.name)))


@router.get("/log", response_class=StreamingResponse, responses=_EVENTS)
async def log(service: TheService, session: Participant) -> StreamingResponse:
    """Stream the last lines of the own app, and new ones as they come."""
    return streaming.stream(live.log(service, session))


@router.post("/wishes", status_code=202)
async def wish(service: TheService, session: Participant, asked: Asked) -> Placed:
    """Ask for something to be done to the own seat.

    Raises:
        Refused: there is no such version to go back to, or it cannot be asked for now.

    """
    version = asked.text if asked.what is May.ROLLBACK else ""
    if version and version not in model.versions(service.view, session.name):
        raise Refused(404, "This version is not kept any more. Choose one of those below.")
    what = What(asked.what)
    return Placed(id=service.wish(session.name, what, (session.name,), version))


@router.get("/answers/{wish_id}")
async def answer(
    service: TheService,
    session: Participant,
    wish_id: Annotated[str, Path(pattern=f"^{ID.pattern}$")],
) -> Became:
    """Tell what became of something that was asked for.

    Raises:
        Refused: this participant asked for no such thing.

    """
    found = service.answer(wish_id, session.name)
    if found is None:
        return Became(over=False)
    return Became(over=True, done=found.done, words=found.words)


@router.post("/hand")
async def hand(service: TheService, session: Participant, wanted: Hand) -> Hand:
    """Raise the own hand, or lower it."""
    service.hand(session.name, up=wanted.up)
    return wanted


@router.get("/ready/sse", response_class=StreamingResponse, responses=_EVENTS)
async def ready_events(_: Participant) -> StreamingResponse:
    """Send three events, a while apart, for the browser to see whether they come one by one."""

    async def ticks() -> AsyncIterator[str]:
        for count in range(_TICKS):
            yield streaming.event("tick", str(count))
            await asyncio.sleep(_TICK)

    return streaming.stream(ticks())


@router.websocket("/ready/ws")
async def ready_socket(socket: WebSocket) -> None:
    """Send back the one short text that comes: so the browser sees that WebSockets work."""
    try:
        guard.participant_socket(socket)
    except Refused:
        await socket.close(_FORBIDDEN)
        return
    await socket.accept()
    with suppress(WebSocketDisconnect, TimeoutError, KeyError):
        async with asyncio.timeout(_ECHO_SECONDS):
            await socket.send_text((await socket.receive_text())[:_ECHO_LONGEST])
    with suppress(RuntimeError):
        await socket.close()


def _sockets(origins: Sequence[str]) -> Iterator[str]:
    """Name the board's own origins for WebSockets, which not every browser counts to 'self'."""
    for origin in origins:
        yield origin.replace("http", "ws", 1)
