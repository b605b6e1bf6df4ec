"""The instructor's way in and out: a one-time link, then a cookie."""
# No "from __future__ import annotations" here: FastAPI reads the annotations of endpoints.

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from workshop.board.guard import (
    INSTRUCTOR,
    Instructor,
    TheService,
    forget,
    peer_of,
    remember,
    session_of,
    visitor,
)
from workshop.board.refusal import Refused
from workshop.board.render import page
from workshop.board.sessions import SECONDS

router = APIRouter()


class Word(BaseModel):
    """What stands behind the # of a one-time link, where no server and no log sees it."""

    model_config = ConfigDict(extra="forbid")

    word: Annotated[str, Field(min_length=1, max_length=200)]


class Onward(BaseModel):
    """Where the page goes next."""

    to: str


@router.get("/login", response_class=HTMLResponse, dependencies=[Depends(visitor)])
async def show_login(request: Request) -> HTMLResponse:
    """Show the page that a one-time link opens; its script sends the word."""
    inside = session_of(request, INSTRUCTOR) is not None
    return page(request, "login.html", inside=inside, hours=round(SECONDS / 3600))


@router.post("/login", response_model=Onward, dependencies=[Depends(visitor)])
async def log_in(request: Request, service: TheService, sent: Word) -> JSONResponse:
    """Exchange the word of a one-time link for a session.

    Raises:
        Refused: it is no such word, it was used, or it has ended.

    """
    peer = peer_of(request)
    try:
        if not service.sessions.spend(sent.word):
            service.log("login refused", peer=peer)
            service.guesses.count(peer)
            raise Refused(
                401,
                "This link was used already, or is older than ten minutes. Run `workshop board`"
                " again and open the new one.",
            )
        session_id = service.sessions.begin()
    except OSError as exc:
        service.log("session not kept", error=type(exc).__name__)
        raise Refused(503, "The server's disk may be full; no login can be kept.") from exc
    service.log("login", peer=peer)
    answer = JSONResponse({"to": "/"})
    remember(answer, INSTRUCTOR, session_id)
    return answer


@router.post("/logout", response_model=Onward)
async def log_out(request: Request, service: TheService, session: Instructor) -> JSONResponse:
    """End the session."""
    service.sessions.end(session)
    service.log("logout", peer=peer_of(request))
    answer = JSONResponse({"to": "/login"})
    forget(answer, INSTRUCTOR)
    return answer
