"""The intake's addresses, and the only place that knows the web framework."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from workshop.intake import announcements, login, page, results
from workshop.intake.config import EVENTS, PAGE, TOKEN
from workshop.intake.exchange import JSON, TEXT, Ask, Gone, Reply, json_reply
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from workshop.intake.service import Service

    Handler = Callable[[Ask], Awaitable[Reply]]

_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}
"""Distribution's words for what docker is told."""
_CORS = {
    # The page has an origin of its own, which calls itself "null". Only keys count here, and no
    # browser sends one by itself, so every origin may ask.
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "x-deploy-id, retry-after",
}
_PREFLIGHT = {
    **_CORS,
    "access-control-allow-methods": "GET, HEAD, POST, PUT, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, accept",
    "access-control-max-age": "600",
}
_SAFE = {
    # What a build prints is foreign; no browser must take it for a page of this host.
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_GONE = 499
"""In the log only: the client did not wait for its answer."""


class Endpoint:
    """Answers the requests of one address, whatever becomes of them, with one line in the log."""

    def __init__(self, service: Service, handlers: Mapping[str, Handler]) -> None:
        self._service = service
        self._handlers = handlers
        self._allow = ", ".join(sorted({*handlers, "HEAD", "OPTIONS"} - _no_head(handlers)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.monotonic()
        ask = _ask(scope, receive, self._service.options.idle)
        status = _GONE
        try:
            reply = await self._reply(ask)
            status = reply.status
            await _response(ask, reply)(scope, receive, send)
        except Gone:
            pass
        finally:
            if ask.path != "/healthz":
                self._service.log(
                    "request",
                    method=ask.method,
                    path=ask.path[:200],
                    status=status,
                    peer=ask.peer,
                    ms=round(1000 * (time.monotonic() - began)),
                )

    async def _reply(self, ask: Ask) -> Reply:
        try:
            if ask.method == "OPTIONS":
                return Reply(b"", 204, headers={"allow": self._allow, **_PREFLIGHT})
            method = "GET" if ask.method == "HEAD" else ask.method
            handler = self._handlers.get(method)
            if handler is None:
                return _refusal(
                    ask,
                    Refused(f"This address takes {self._allow}, not {ask.method[:20]}.", 405),
                    {"allow": self._allow},
                )
            return await handler(ask)
        except Refused as exc:
            return _refusal(ask, exc)
        except Gone:
            raise
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not leave a client waiting
            return _refusal(ask, _internal(exc, self._service))


def create_app(service: Service) -> Starlette:
    """Put the handlers behind their addresses."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    async def healthz(_: Ask) -> Reply:
        return json_reply({"status": "ok", "config": service.view.fingerprint})

    async def to_page(_: Ask) -> Reply:
        return Reply(b"", 308, headers={"location": f"{PAGE}/"})

    async def nothing(_: Ask) -> Reply:
        raise Refused(
            f"There is nothing at this address. Uploads go to {service.view.url}{PAGE}/NAME, the"
            f" page is at {service.view.url}{PAGE}/, and docker pushes to"
            f" {service.view.host}/NAME/app.",
            404,
        )

    token = partial(login.token, service)
    endpoints: dict[str, dict[str, Handler]] = {
        "/healthz": {"GET": healthz},
        TOKEN: {"GET": token, "POST": token},
        EVENTS: {"POST": partial(announcements.events, service)},
        PAGE: {"GET": to_page},
        f"{PAGE}/": {"GET": partial(page.show, service)},
    }
    routes = [Route(path, Endpoint(service, found)) for path, found in endpoints.items()]
    routes.append(Route(f"{PAGE}/{{name}}", _Named(service)))
    # curl -T adds the file's name to an address that ends with a slash.
    routes.append(Route(f"{PAGE}/{{name}}/{{rest:path}}", _Named(service)))
    elsewhere = dict.fromkeys(("GET", "POST", "PUT", "DELETE", "PATCH"), nothing)
    routes.append(Route("/{rest:path}", Endpoint(service, elsewhere)))
    return Starlette(routes=routes, lifespan=lifespan)


class _Named:
    """The address of one participant's deploys."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, service = scope["path_params"]["name"], self._service

        async def upload(ask: Ask) -> Reply:
            return await results.upload(service, ask, name)

        async def show(ask: Ask) -> Reply:
            return await results.show(service, ask, name)

        endpoint = Endpoint(service, {"GET": show, "POST": upload, "PUT": upload})
        await endpoint(scope, receive, send)


def _no_head(handlers: Mapping[str, Handler]) -> set[str]:
    return set() if "GET" in handlers else {"HEAD"}


def _ask(scope: Scope, receive: Receive, idle: float) -> Ask:
    headers = {
        name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in scope["headers"]
    }
    client = scope.get("client")
    peer = client[0] if client else ""
    if peer.startswith("127.") or not peer:
        # The edge runs on this machine and names whoever called it.
        peer = headers.get("x-real-ip", "").strip()[:64] or peer
    return Ask(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        peer=peer,
        body=partial(_body, receive, idle),
    )


async def _body(receive: Receive, idle: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle):
                message = await receive()
        except TimeoutError:
            raise Refused(
                f"Nothing came for {idle:.0f} s in the middle of the upload. Send it again.", 408
            ) from None
        if message["type"] == "http.disconnect":
            raise Gone
        if content := message.get("body", b""):
            yield content
        if not message.get("more_body", False):
            return


def _response(ask: Ask, reply: Reply) -> Response:
    headers = {**_SAFE, **reply.headers}
    if ask.path == PAGE or ask.path.startswith(f"{PAGE}/"):
        headers = {**_CORS, **headers}
    if isinstance(reply.content, bytes) or ask.method == "HEAD":
        content = reply.content if isinstance(reply.content, bytes) else b""
        media = reply.media_type if content else None
        return Response(content, reply.status, headers, media)
    return StreamingResponse(reply.content, reply.status, headers, reply.media_type)


def _refusal(ask: Ask, exc: Refused, more: dict[str, str] | None = None) -> Reply:
    """Say no in the language of whoever asked."""
    headers = {**exc.headers(), "cache-control": "no-store", **(more or {})}
    if ask.path.startswith("/v2/"):
        code = _CODES.get(exc.status, "UNSUPPORTED")
        error = {"code": code, "message": exc.message, "detail": None}
        return Reply(_json({"errors": [error]}), exc.status, JSON, headers)
    if ask.wants_json():
        content = {"error": exc.message, "text": [exc.message, "failed"]}
        return Reply(_json(content), exc.status, JSON, headers)
    return Reply(f"{exc.message}\n".encode("utf-8", "replace"), exc.status, TEXT, headers)


def _json(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _internal(exc: Exception, service: Service) -> Refused:
    """Describe a fault of the intake itself; the log gets its kind and place, never its words."""
    place = exc.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    service.log("internal error", kind=type(exc).__name__, place=line)
    return Refused(
        "Something is wrong with the deploy service itself. Tell your instructor, with the time.",
        500,
    )
