"""Who asks, and may they? The dependencies that every endpoint of the board stands behind.

Three things protect a session from other pages. The cookie is ``SameSite=Strict`` and begins with
``__Host-``, so no other host can send or set it. A request that a page of another origin caused, as
browsers say in ``Sec-Fetch-Site``, is refused, unless it is somebody who follows a link. And a POST
carries the session's token in a header, which a foreign page can neither know nor send, and the
board's own ``Origin``. Apps of participants may stand on the same site, even under the same host
name; that is why the cookie alone would not do.
"""
# No "from __future__ import annotations" here: FastAPI reads the annotations of dependencies.

import hmac
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from workshop.board.refusal import Refused
from workshop.board.service import Service
from workshop.board.sessions import SECONDS, Session

__all__ = ["Instructor", "Participant", "Refused", "TheService", "instructor", "participant"]

INSTRUCTOR = "__Host-workshop-board"
PARTICIPANT = "__Host-workshop-me"
"""Names of the cookies."""
CSRF = "x-csrf-token"
_SAFE = frozenset({"GET", "HEAD"})
_LOOPBACK = "127."


def service_of(connection: HTTPConnection) -> Service:
    """Find the board that a request came to."""
    service: Service = connection.app.state.service
    return service


# Those that FastAPI calls are coroutines, because it would give each call of others a thread.


async def _the_service(connection: HTTPConnection) -> Service:
    return service_of(connection)


TheService = Annotated[Service, Depends(_the_service)]


async def instructor(request: Request) -> Session:
    """See that the instructor asks.

    Raises:
        Refused: it is somebody else, or another page caused this request.

    """
    _check_site(request)
    session = session_of(request, INSTRUCTOR)
    if session is None:
        raise Refused(
            401,
            "You are not logged in here. On the server, run `workshop board` and open the link that"
            " it prints.",
        )
    _check_change(request, session)
    request.state.session = session
    return session


async def participant(request: Request) -> Session:
    """See that a participant asks; the session holds the name.

    Raises:
        Refused: it is somebody else, or another page caused this request.

    """
    _check_site(request)
    session = session_of(request, PARTICIPANT)
    if session is None:
        raise Refused(401, "You are not logged in here. Enter with the key on your card at /me.")
    _check_change(request, session)
    request.state.session = session
    return session


async def visitor(request: Request) -> None:
    """See that no other page caused this request, before anybody has logged in.

    Raises:
        Refused: one did.

    """
    _check_site(request)
    if request.method not in _SAFE:
        _check_origin(request)


def participant_socket(socket: WebSocket) -> Session:
    """See that a participant's own page opens a WebSocket; browsers send cookies from any page.

    Raises:
        Refused: it is not so.

    """
    _check_origin(socket)
    session = session_of(socket, PARTICIPANT)
    if session is None:
        raise Refused(401, "You are not logged in here.")
    return session


Instructor = Annotated[Session, Depends(instructor)]
Participant = Annotated[Session, Depends(participant)]


def session_of(connection: HTTPConnection, cookie: str) -> Session | None:
    """Find whoever is logged in with ``cookie``; ``None`` where nobody is."""
    service = service_of(connection)
    session = service.sessions.find(connection.cookies.get(cookie, ""))
    if session is None or bool(session.name) != (cookie == PARTICIPANT):
        return None
    return session if session.holds(service.view) else None


def still(service: Service, session: Session) -> bool:
    """Whether ``session`` has not ended meanwhile: what a stream asks before each event."""
    return service.sessions.lasts(session) and session.holds(service.view)


def remember(answer: Response, cookie: str, session_id: str) -> None:
    """Give the browser a session's id."""
    answer.set_cookie(
        cookie, session_id, int(SECONDS), path="/", secure=True, httponly=True, samesite="strict"
    )


def forget(answer: Response, cookie: str) -> None:
    """Take a session's id from the browser."""
    answer.delete_cookie(cookie, path="/", secure=True, httponly=True, samesite="strict")


def peer_of(connection: HTTPConnection) -> str:
    """Tell the address that a request comes from."""
    peer = connection.client.host if connection.client else ""
    if peer.startswith(_LOOPBACK):
        # The edge runs on this machine and names whoever called it.
        return connection.headers.get("x-real-ip", "").strip()[:64] or peer
    return peer


def _check_site(request: Request) -> None:
    site = request.headers.get("sec-fetch-site", "same-origin")
    followed = request.headers.get("sec-fetch-mode") == "navigate" and request.method in _SAFE
    framed = request.headers.get("sec-fetch-dest", "document") != "document"
    if site not in {"same-origin", "none"} and (framed or not followed):
        raise Refused(403, "This came from a page of another address. Open the board itself.")


def _check_change(request: Request, session: Session) -> None:
    if request.method in _SAFE:
        return
    _check_origin(request)
    if not hmac.compare_digest(request.headers.get(CSRF, "").encode(), session.csrf.encode()):
        raise Refused(403, "This page is out of date. Load it again, then try once more.")


def _check_origin(connection: HTTPConnection) -> None:
    if connection.headers.get("origin") not in service_of(connection).view.config.origins:
        raise Refused(
            403,
            "This did not come from the board's own page. Open the board at one of its own"
            " addresses; `workshop board` prints them.",
        )
