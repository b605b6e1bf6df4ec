"""The small answers: the list of models, the state of health, the metrics, and "not here"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workshop.gateway.authenticate import authenticate, holder
from workshop.gateway.config import PREFIX
from workshop.gateway.errors import DENIED, GatewayError

if TYPE_CHECKING:
    from starlette.requests import Request

    from workshop.gateway.service import Service
    from workshop.gateway.view import View


def routes(service: Service) -> list[Route]:
    """Make the routes of everything that is not the chain itself."""

    async def healthz(_: Request) -> Response:
        ups = {name: "up" if up else "down" for name, up in service.upstreams().items()}
        fault = service.fault
        content = {"status": "failing" if fault else "ok", "config": service.view.fingerprint}
        if fault:
            content["ledger"] = fault
        return JSONResponse({**content, "upstreams": ups}, status_code=503 if fault else 200)

    async def metrics(request: Request) -> Response:
        peer = _peer(request)
        if peer not in service.options.own and not peer.startswith("127."):
            return _refuse(
                GatewayError(
                    403,
                    "The metrics are for the instructor's machine only.",
                    code="forbidden",
                    type=DENIED,
                )
            )
        text = service.metrics.text(
            queued=service.forwarder.queue.length(),
            in_flight=len(service.calls),
            upstreams=service.upstreams(),
        )
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(request: Request) -> Response:
        found = dict(request.scope["headers"])
        peer = holder(_peer(request), found, service.options.own)
        try:
            authenticate(found, request.scope["query_string"], peer, service.view)
            return JSONResponse(_models(service.view, request.path_params.get("name")))
        except GatewayError as exc:
            return _refuse(exc)

    return [
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        Route(f"{PREFIX}/models", models),
        Route(f"{PREFIX}/models/{{name:path}}", models),
    ]


def _models(view: View, name: str | None) -> dict[str, Any]:
    known = {
        model: {"id": model, "object": "model", "created": 0, "owned_by": found[0][0].name}
        for model, found in view.models.items()
    }
    if name is None:
        return {"object": "list", "data": list(known.values())}
    if name not in known:
        raise GatewayError(
            404,
            f"There is no model '{name[:64]}' here. Known: {', '.join(known) or 'none'}.",
            code="model_not_found",
            param="model",
        )
    return known[name]


def _refuse(error: GatewayError) -> Response:
    return Response(
        error.body(),
        status_code=error.status,
        headers=error.headers(),
        media_type="application/json",
    )


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


async def _elsewhere(_: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 404
    headers = exc.headers if isinstance(exc, HTTPException) else None
    message = (
        "This address takes another method: POST for chat/completions, embeddings; GET for models."
        if status == 405  # noqa: PLR2004 - the method was wrong
        else f"There is nothing at this address. The gateway answers {PREFIX}/chat/completions,"
        f" {PREFIX}/embeddings and {PREFIX}/models; base_url must end with {PREFIX}."
    )
    code = "method_not_allowed" if status == 405 else "unknown_url"  # noqa: PLR2004
    answer = _refuse(GatewayError(status, message, code=code))
    answer.headers.update(headers or {})
    return answer


HANDLERS: dict[Any, Any] = {HTTPException: _elsewhere}
