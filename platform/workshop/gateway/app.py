"""The request chain: authenticate, validate, admit, forward, account. One file for each."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from workshop.gateway import completions, pages
from workshop.gateway.admit import admit
from workshop.gateway.answer import headers
from workshop.gateway.authenticate import authenticate, holder
from workshop.gateway.config import PREFIX, Task, Upstream
from workshop.gateway.deliver import Delivery
from workshop.gateway.errors import SERVER, GatewayError, UpstreamFailed
from workshop.gateway.forward import Request
from workshop.gateway.validate import read_body, validate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from workshop.gateway.answer import Answer
    from workshop.gateway.calls import Call
    from workshop.gateway.service import Service


@dataclass(frozen=True)
class Endpoint:
    """Answers one kind of request."""

    service: Service
    task: Task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever becomes of it, and write down what it came to."""
        service, found = self.service, dict(scope["headers"])
        peer = holder(scope["client"][0], found, service.options.own)
        delivery = Delivery(send, service.options.patience.between)
        error: Exception | None = None
        with service.calls.open(peer) as call:
            try:
                await self._chain(call, delivery, scope, receive)
            except asyncio.CancelledError:
                if call.reason is None:
                    raise
                call.task.uncancel()
                error = call.reason
            except (GatewayError, ConnectionError) as exc:
                error = exc
            except Exception as exc:  # noqa: BLE001 - a fault of ours must not leave a client waiting
                error = internal(exc, service)
            finally:
                await service.accountant.close(call, delivery, error)
            if isinstance(error, GatewayError):
                await delivery.fail(error)

    async def _chain(self, call: Call, delivery: Delivery, scope: Scope, receive: Receive) -> None:
        service, view, found = self.service, self.service.view, dict(scope["headers"])
        seat = call.seat = authenticate(found, scope["query_string"], call.peer, view)
        raw = await read_body(receive, found, view.config.body_bytes)
        with call.watching(receive):
            ask = call.ask = validate(raw, self.task, view)
            call.admission = await admit(
                seat, ask, view, pacer=service.pacer, budgets=service.budgets, fault=service.fault
            )
            tell = partial(_tell, delivery, ask.model) if ask.stream else None
            answer = await service.forwarder.forward(Request(call, seat, ask, view, tell))
            try:
                await _relay(call, answer, delivery, service)
            finally:
                await answer.close()


async def _relay(call: Call, answer: Answer, delivery: Delivery, service: Service) -> None:
    """Pass an answer on; it is settled before its end is, so the next request meets true books."""
    delivery.mark()
    if answer.reader is None:
        await call.settle()
        await delivery.whole(200, answer.headers, answer.content)
    else:
        await _relay_stream(call, answer, delivery, service)
    service.accountant.keep(call, answer)


async def _relay_stream(call: Call, answer: Answer, delivery: Delivery, service: Service) -> None:
    if delivery.status:
        facts = {"upstream": answer.upstream.name, "toy": answer.upstream.toy}
        model = call.ask.model if call.ask else ""
        await delivery.write(completions.note(model, {"queue": 0, **facts}))
    else:
        await delivery.start(answer.headers)
    try:
        async with asyncio.timeout(service.options.patience.whole):
            async for piece in answer.pieces():
                if answer.over:
                    await call.settle()
                await delivery.write(piece, last=answer.over)
    except (UpstreamFailed, TimeoutError) as exc:
        failure = exc if isinstance(exc, UpstreamFailed) else UpstreamFailed("it took too long")
        # It is not left alone for that: it answers, and the next request finds out if it does not.
        service.log("answer broke off", upstream=answer.upstream.name, reason=failure.reason)
        raise broken_off() from exc
    await call.settle()
    if not delivery.ended:
        await delivery.write(b"", last=True)


async def _tell(delivery: Delivery, model: str, upstream: Upstream, ahead: int) -> None:
    if not delivery.status:
        await delivery.start(headers(upstream))
    await delivery.write(completions.note(model, {"queue": ahead}))


def broken_off() -> GatewayError:
    """Describe an answer that ends in the middle."""
    return GatewayError(
        502,
        "The model's provider broke off in the middle of the answer; what you have is not complete."
        " Send the request again.",
        code="upstream_broke_off",
        type=SERVER,
    )


def internal(exc: Exception, service: Service) -> GatewayError:
    """Describe a fault of the gateway itself; the log gets its kind and place, never its words."""
    place = exc.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    service.log("internal error", kind=type(exc).__name__, place=line)
    return GatewayError(
        500,
        "Something is wrong with the gateway itself. Tell your instructor, with the time.",
        code="internal_error",
        type=SERVER,
    )


def create_app(service: Service) -> FastAPI:
    """Put the chain behind its addresses."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    routes = [
        Route(f"{PREFIX}/chat/completions", Endpoint(service, Task.CHAT), methods=["POST"]),
        Route(f"{PREFIX}/embeddings", Endpoint(service, Task.EMBEDDING), methods=["POST"]),
        *pages.routes(service),
    ]
    return FastAPI(
        routes=list[Any](routes),
        lifespan=lifespan,
        openapi_url=None,
        exception_handlers=pages.HANDLERS,
        redirect_slashes=False,
    )
