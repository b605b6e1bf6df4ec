"""The service's few addresses: who answers what."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.embedded import chat, fields, texts
from workshop.embedded.faults import ApiError
from workshop.embedded.relay import ChatRelay, error_response, while_connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from workshop.embedded.embeddings import Embedder
    from workshop.embedded.slots import Slots

LARGEST_BODY = 1024 * 1024
"""Bytes; far beyond what either model reads."""
_PATIENCE = httpx2.Timeout(10, read=300)
_WATCH_SECONDS = 5.0
_WATCH_FAILURES = 3


class Service:
    """Answers from a chat engine that listens elsewhere and an embedder that is held here."""

    def __init__(self, engine: httpx2.AsyncClient, embedder: Embedder, slots: Slots) -> None:
        self._engine = engine
        self._embedder = embedder
        self._slots = slots

    async def healthz(self, request: Request) -> Response:
        """Say that both models are loaded, and how busy the chat model is."""
        del request
        slots = self._slots
        counts = {"slots": slots.size, "busy": slots.busy, "waiting": slots.waiting}
        return JSONResponse({"status": "ok", **counts})

    async def models(self, request: Request) -> Response:
        """List both models."""
        del request
        names = (chat.MODEL, texts.MODEL)
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "workshop"} for name in names
        ]
        return JSONResponse({"object": "list", "data": data})

    async def completions(self, request: Request) -> Response:
        """Answer a conversation, at once or as it is written."""
        asked = chat.engine_request(fields.parse(await _body(request)))
        return ChatRelay(asked, self._engine, self._slots)

    async def embeddings(self, request: Request) -> Response:
        """Answer texts with vectors."""
        asked = texts.texts_request(fields.parse(await _body(request)))
        return EmbeddingsResponse(asked, self._embedder)


class EmbeddingsResponse(Response):
    """Vectors, computed while the caller is there to wait for them."""

    def __init__(self, asked: texts.TextsRequest, embedder: Embedder) -> None:
        super().__init__()
        self._asked = asked
        self._embedder = embedder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compute and send them."""

        async def work() -> None:
            vectors = await self._embedder.embed(self._asked.texts)
            await JSONResponse(self._asked.answer(vectors))(scope, receive, send)

        await while_connected(receive, work())


def create_app(address: str, embedder: Embedder, slots: Slots) -> Starlette:
    """Put the service together for an engine at an address."""
    engine = httpx2.AsyncClient(base_url=address, timeout=_PATIENCE, trust_env=False)
    service = Service(engine, embedder, slots)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        del app
        watch = asyncio.create_task(end_without_engine(engine))
        yield
        watch.cancel()
        await engine.aclose()

    return Starlette(
        lifespan=life,
        exception_handlers={ApiError: _refuse, HTTPException: _refuse_address},
        routes=[
            Route("/healthz", service.healthz),
            Route("/v1/models", service.models),
            Route("/v1/chat/completions", service.completions, methods=["POST"]),
            Route("/v1/embeddings", service.embeddings, methods=["POST"]),
        ],
    )


async def end_without_engine(engine: httpx2.AsyncClient, seconds: float = _WATCH_SECONDS) -> None:
    """End the process when the engine no longer answers: the restart policy brings both back."""
    failures = 0
    while failures < _WATCH_FAILURES:
        await asyncio.sleep(seconds)
        failures = 0 if await _answers(engine) else failures + 1
    sys.stderr.write("the chat engine does not answer any more; the service ends\n")
    sys.stderr.flush()
    # Not sys.exit: the engine's own threads would hold the process.
    os._exit(1)


async def _answers(engine: httpx2.AsyncClient) -> bool:
    try:
        return (await engine.get("/health", timeout=_WATCH_SECONDS)).is_success
    except httpx2.HTTPError:
        return False


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise ApiError(f"the body is larger than {LARGEST_BODY} bytes", 413, "too_large")
        parts.append(part)
    return b"".join(parts)


async def _refuse(request: Request, error: Any) -> Response:  # noqa: ANN401 - registered for ApiError
    del request
    return error_response(error)


async def _refuse_address(request: Request, error: Any) -> Response:  # noqa: ANN401 - registered for HTTPException
    message = f"{request.method} {request.url.path}: {error.detail}"
    return error_response(ApiError(message, error.status_code, "unknown_address"))
