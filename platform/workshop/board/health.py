"""For machines: whether the board answers, with which configuration, and the figures."""
# No "from __future__ import annotations" here: FastAPI reads the annotations of endpoints.

import asyncio
import hmac

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from workshop.board import exposition
from workshop.board.config import hashed
from workshop.board.guard import TheService, peer_of
from workshop.board.refusal import Refused

router = APIRouter()


class Health(BaseModel):
    """What the command looks for."""

    status: str
    config: str
    """The fingerprint of the configuration that holds."""


class _Figures(PlainTextResponse):
    media_type = exposition.CONTENT_TYPE


@router.get("/healthz")
async def healthz(service: TheService) -> Health:
    """Tell that the board answers."""
    return Health(status="ok", config=service.view.fingerprint)


@router.get("/metrics", response_class=_Figures)
async def metrics(request: Request, service: TheService) -> _Figures:
    """Give the figures of the class, to whoever has the token that `workshop metrics` prints.

    Raises:
        Refused: the token is missing, or another one.

    """
    view = service.view
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    expected = view.config.metrics_hash
    right = hmac.compare_digest(hashed(token.strip()), expected or "0" * 64)
    if scheme.lower() != "bearer" or not right or not expected:
        service.guesses.count(peer_of(request))
        raise Refused(
            401,
            "The figures are for whoever sends 'Authorization: Bearer TOKEN';"
            " `workshop metrics --token` prints it.",
        )
    text = await asyncio.to_thread(exposition.text, view.shown, view.config, view.hands)
    return _Figures(text)
