"""The instructor's addresses."""
# No "from __future__ import annotations" here: FastAPI reads the annotations of endpoints.

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from workshop.board.guard import Instructor, TheService
from workshop.board.instructor import drawer, room
from workshop.board.instructor.wall import Wall, teller
from workshop.board.refusal import Refused
from workshop.board.render import fragment, page
from workshop.board.streaming import MEDIA_TYPE, live, stream
from workshop.board.wishes import INSTRUCTOR, What

router = APIRouter()

Name = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
WishId = Annotated[str, Path(pattern=r"^[0-9]{13}-[0-9a-f]{8}$")]
Cursor = Annotated[str, Query(max_length=40)]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
}
_FOR_ALL = frozenset({What.PAUSE, What.RESUME})
"""May be for no seat in particular; then it is for the whole class."""
_FOR_NONE = frozenset({What.ANNOUNCE})


class Wanted(BaseModel):
    """An action."""

    model_config = ConfigDict(extra="forbid")

    what: What
    seats: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=500)] = []
    text: Annotated[str, Field(max_length=500)] = ""


class Placed(BaseModel):
    """An action was asked for."""

    id: str


class Said(BaseModel):
    """What became of an action."""

    id: str
    over: bool
    """Whether it was answered."""
    done: bool
    words: str


class Lines(BaseModel):
    """The last lines of a log."""

    ready: bool
    """Whether anything is known of the log."""
    lines: list[str]


@router.get("/", response_class=HTMLResponse)
async def show_wall(request: Request, service: TheService, session: Instructor) -> HTMLResponse:
    """Show everybody."""
    del session
    wall = _wall(request)
    wall.see(service.view)
    return page(
        request, "instructor/wall.html", wall=wall, needing=wall.needing(), rest=wall.rest()
    )


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def tell_wall(
    request: Request, service: TheService, session: Instructor, since: Cursor = ""
) -> StreamingResponse:
    """Tell a wall that has seen ``since`` what is new, as long as it listens."""
    return stream(live(service, session, teller(_wall(request), since)))


@router.get("/projector", response_class=HTMLResponse)
async def show_room(request: Request, service: TheService, session: Instructor) -> HTMLResponse:
    """Show what everybody in the room may see."""
    del session
    return page(request, "instructor/projector.html", room=room.room_text(service.view))


@router.get("/projector/events", response_class=StreamingResponse, responses=_STREAM)
async def tell_room(service: TheService, session: Instructor) -> StreamingResponse:
    """Tell the room's screen what is new: nothing else of the class enters that page."""
    return stream(live(service, session, room.teller()))


@router.get("/seats/{name}", response_class=HTMLResponse)
async def show_seat(service: TheService, session: Instructor, name: Name) -> HTMLResponse:
    """Show one seat: a piece of the wall's page.

    Raises:
        Refused: there is no such participant.

    """
    del session
    service.want_log(name)
    facts = drawer.facts(service.view, name)
    return HTMLResponse(fragment("instructor/drawer.html", oob="", **facts))


@router.get("/seats/{name}/facts", response_class=HTMLResponse)
async def show_facts(service: TheService, session: Instructor, name: Name) -> HTMLResponse:
    """Show what changes of one seat: pieces of what :func:`show_seat` answered.

    Raises:
        Refused: there is no such participant.

    """
    del session
    facts = drawer.facts(service.view, name)
    return HTMLResponse(fragment("instructor/facts.html", oob=drawer.OUT_OF_BAND, **facts))


@router.get("/seats/{name}/log")
async def show_log(service: TheService, session: Instructor, name: Name) -> Lines:
    """Tell the last lines of a seat's log; whoever asks keeps them coming.

    Raises:
        Refused: there is no such participant.

    """
    del session
    service.want_log(name)
    tail = service.log_tail(name)
    return Lines(ready=tail is not None, lines=list(tail.lines) if tail else [])


@router.post("/seats/{name}/hand", status_code=204, response_class=Response)
async def lower_hand(service: TheService, session: Instructor, name: Name) -> Response:
    """Take a participant's hand down.

    Raises:
        Refused: there is no such participant.

    """
    del session
    service.hand(name, up=False)
    return Response(status_code=204)


@router.post("/wishes", status_code=202)
async def wish(service: TheService, session: Instructor, wanted: Wanted) -> Placed:
    """Ask for an action.

    Raises:
        Refused: it is none of the instructor's, names nobody or somebody unknown, or many wait.

    """
    del session
    _check(wanted, {seat.name for seat in service.view.config.seats})
    return Placed(id=service.wish(INSTRUCTOR, wanted.what, wanted.seats, wanted.text))


@router.get("/answers/{wish_id}")
async def answer(service: TheService, session: Instructor, wish_id: WishId) -> Said:
    """Tell what became of an action.

    Raises:
        Refused: nobody asked for it.

    """
    del session
    found = service.answer(wish_id, INSTRUCTOR)
    if found is None:
        return Said(id=wish_id, over=False, done=False, words="")
    return Said(id=wish_id, over=True, done=found.done, words=found.words)


def _wall(request: Request) -> Wall:
    state = request.app.state
    if not hasattr(state, "wall"):
        state.wall = Wall()
    wall: Wall = state.wall
    return wall


def _check(wanted: Wanted, known: set[str]) -> None:
    """See that an action is for whom it can be for: an empty list must never mean everybody.

    Raises:
        Refused: it is not.

    """
    unknown = sorted(set(wanted.seats) - known)
    if unknown:
        raise Refused(404, "There is no such seat in this workshop any more. Load the page again.")
    fits = (
        not wanted.seats
        if wanted.what in _FOR_NONE
        else bool(wanted.seats) or wanted.what in _FOR_ALL
    )
    if wanted.what is What.CLAIM or not fits:
        raise Refused(400, "That is not something you can ask for here.")
