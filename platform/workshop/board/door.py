"""What holds for every request: headers, HEAD, the size of bodies, faults, a line in the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request

from workshop.board.guard import peer_of
from workshop.board.problems import TOO_LARGE, refuse
from workshop.board.refusal import Refused
from workshop.board.render import policy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from workshop.board.service import Service

LARGEST_BODY = 64 * 1024
"""Bytes."""
_HEADERS = {
    "content-security-policy": policy(),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_STATIC = "/static/"
_FOREVER = "public, max-age=31536000, immutable"
_LOOK_AGAIN = "no-cache"
_UNLOGGED = frozenset({"/healthz"})
_GONE = 499
"""In the log only: the client did not wait for its answer."""


class _Answered(Exception):
    """The head of an answer is all that was asked for."""


class Door:
    """Stands before the addresses."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, receive, send)
        began = time.monotonic()
        try:
            if visit.said_length > LARGEST_BODY:
                await visit.answer(Refused(413, TOO_LARGE))
            else:
                await self._app(visit.scope, visit.receive, visit.send)
        except _Answered:
            pass
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not leave a client waiting
            await self._fail(visit, exc)
        finally:
            self._write(visit, time.monotonic() - began)

    async def _fail(self, visit: _Visit, exc: Exception) -> None:
        """Describe a fault of the board itself; the log gets its kind and place, no words."""
        place = exc.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        self._service.log("internal error", kind=type(exc).__name__, place=line)
        if visit.status == _GONE:
            words = "Something is wrong with the board itself. Tell your instructor, with the time."
            await visit.answer(Refused(500, words))

    def _write(self, visit: _Visit, seconds: float) -> None:
        scope = visit.scope
        if scope["path"] in _UNLOGGED or scope["path"].startswith(_STATIC):
            return
        route = scope.get("route")
        self._service.log(
            "request",
            method=visit.method[:20],
            # Not the address itself: somebody may have put a key into it.
            path=getattr(route, "path", ""),
            status=visit.status,
            peer=peer_of(Request(scope)),
            ms=round(1000 * seconds),
        )


class _Visit:
    """One request, and what is sent to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        # The answer to HEAD is that to GET, without its body.
        self.scope = {**scope, "method": "GET"} if self.method == "HEAD" else scope
        self.status = _GONE
        self._receive = receive
        self._send = send
        self._left = LARGEST_BODY

    @property
    def said_length(self) -> int:
        """How many bytes the body will have, as its sender says; 0 where nothing is said."""
        said = Headers(scope=self.scope).get("content-length", "")
        return int(said) if said.isdecimal() else 0

    async def answer(self, no: Refused) -> None:
        """Answer without asking the app."""
        await refuse(Request(self.scope), no)(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        """Take a piece of the body in.

        Raises:
            HTTPException: it becomes too large.

        """
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413)
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self.scope["path"].startswith(_STATIC):
                kept = _FOREVER if b"v=" in self.scope["query_string"] else _LOOK_AGAIN
                headers["cache-control"] = kept
        elif self.method == "HEAD":
            # A stream would go on for as long as somebody listens.
            await self._send({"type": "http.response.body"})
            raise _Answered
        await self._send(message)
