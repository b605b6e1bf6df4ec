"""The board's addresses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from workshop.board import health, login, problems
from workshop.board.door import Door
from workshop.board.instructor.router import router as instructor
from workshop.board.me.router import router as me
from workshop.board.refusal import Refused
from workshop.board.render import STATIC

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workshop.board.service import Service

_WORTH_PACKING = 1000
"""Bytes; streams are never packed."""


def create_app(service: Service, *, openapi: bool = False) -> FastAPI:
    """Put everything behind its addresses; ``openapi`` also serves their description."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="Workshop board",
        lifespan=lifespan,
        openapi_url="/openapi.json" if openapi else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.REFUSALS,
    )
    app.state.service = service
    for router in (health.router, login.router, instructor, me):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(Refused, problems.on_refused)
    app.add_exception_handler(HTTPException, problems.on_http)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_PACKING, compresslevel=4)
    app.add_middleware(Door, service=service)
    return app
