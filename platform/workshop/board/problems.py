"""Says no, and "not here", as a small page or as JSON, by what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from workshop.board.refusal import Refused
from workshop.board.render import page

if TYPE_CHECKING:
    from starlette.requests import Request

TOO_LARGE = "This is too large."
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_WORDS = {
    400: "This request is not readable.",
    404: "There is nothing at this address.",
    405: "This address takes another method.",
    413: TOO_LARGE,
}
_HEADINGS = {
    401: "Not logged in",
    403: "Not from here",
    404: "Nothing here",
    429: "A little slower",
    500: "A fault of the board",
}
_CONTENT: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"error": {"type": "string"}},
            "required": ["error"],
        }
    },
    "text/html": {"schema": {"type": "string"}},
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": _CONTENT}
    for status, words in {
        400: "Not readable, or nothing one can ask for",
        401: "Not logged in",
        403: "Caused by a page of another address, or without the page's token",
        404: "Nobody of that name, or nothing known of it",
        413: "Larger than 64 KB",
        422: "Not of the form that is asked for",
        429: "Too many within a minute",
        500: "A fault of the board itself",
        503: "Cannot be done right now",
    }.items()
}
"""What every endpoint may answer beside its own; for the routers' ``responses``."""


def refuse(request: Request, exc: Refused) -> Response:
    """Say no."""
    if _wants_page(request):
        heading = _HEADINGS.get(exc.status, "That did not work")
        facts = {"heading": heading, "words": exc.message}
        answer: Response = page(request, "problem.html", status=exc.status, **facts)
    else:
        answer = JSONResponse({"error": exc.message}, exc.status)
    answer.headers.update(exc.headers())
    return answer


async def on_refused(request: Request, exc: Exception) -> Response:
    """Answer what an endpoint refused."""
    return refuse(request, exc if isinstance(exc, Refused) else Refused(400, _WORDS[400]))


async def on_http(request: Request, exc: Exception) -> Response:
    """Answer what the framework refused: an unknown address, a wrong method, a body too large."""
    status = exc.status_code if isinstance(exc, HTTPException) else 400
    words = _WORDS.get(status, _WORDS[400])
    answer = refuse(request, Refused(status, words))
    if status == 405:  # noqa: PLR2004 - the method was wrong
        answer.headers["allow"] = _allowed(request)
    return answer


async def on_invalid(request: Request, exc: Exception) -> Response:
    """Name the fields that have not the form that is asked for; never repeat what was sent."""
    errors = exc.errors() if isinstance(exc, RequestValidationError) else []
    # The name of an unknown field is the sender's own word.
    found = (error["loc"] for error in errors if error["type"] != "extra_forbidden")
    fields = sorted({str(part) for place in found for part in place[1:] if isinstance(part, str)})
    words = f"Not of the form that is asked for: {', '.join(fields) or 'the whole of it'}."
    return refuse(request, Refused(422, words[:200]))


def _wants_page(request: Request) -> bool:
    headers = request.headers
    return "text/html" in headers.get("accept", "") and "hx-request" not in headers


def _allowed(request: Request) -> str:
    """Name the methods of an address; several routes may share one."""
    routes, scope = request.app.routes, request.scope
    found = {
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))
