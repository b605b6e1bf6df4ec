"""Pass a chat request on to the engine and its bytes back, for as long as the caller is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.responses import Response

from workshop.embedded.chat import MODEL
from workshop.embedded.faults import ApiError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from starlette.types import Receive, Scope, Send

    from workshop.embedded.slots import Slots

_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; end it in the middle when the caller leaves."""
    tasks = [asyncio.create_task(work), asyncio.create_task(_gone(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        tasks[0].result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def error_response(error: ApiError) -> Response:
    """Answer with an error."""
    headers = {"Retry-After": "5"} if error.code == "overloaded" else {}
    return Response(error.body(), error.status, headers, "application/json")


class ChatRelay(Response):
    """One chat request on its way: a place at the engine, the question in, the answer's bytes out.

    Place and connection are held in one block, so whatever ends it gives both back. The engine
    stops writing when its connection is closed.
    """

    def __init__(
        self, request: Mapping[str, Any], client: httpx2.AsyncClient, slots: Slots
    ) -> None:
        super().__init__()
        self._request = request
        self._client = client
        self._slots = slots
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the engine and send what it says."""
        await while_connected(receive, self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._slots.place():
                await self._forward(send)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
        except httpx2.HTTPError as exc:
            await self._break_off(exc, scope, receive, send)

    async def _forward(self, send: Send) -> None:
        path = "/v1/chat/completions"
        async with self._client.stream("POST", path, json=self._request) as answer:
            if answer.is_error:
                raise engine_error(answer.status_code, await answer.aread())
            await self._begin(answer.headers.get("content-type", "application/json"), send)
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _begin(self, content_type: str, send: Send) -> None:
        head = Response(headers={**_UNBUFFERED, "Content-Type": content_type})
        del head.headers["content-length"]
        self._begun = True
        await send({"type": "http.response.start", "status": 200, "headers": head.raw_headers})

    async def _break_off(
        self, cause: httpx2.HTTPError, scope: Scope, receive: Receive, send: Send
    ) -> None:
        error = ApiError("the toy model broke off; try again in a moment", 502, "engine_failed")
        if not self._begun:
            await error_response(error)(scope, receive, send)
        elif self._request["stream"]:
            last = b"data: " + error.body() + b"\n\n"
            await send({"type": "http.response.body", "body": last})
        else:
            # Half a JSON document must not look like a whole one: the connection is cut.
            raise RuntimeError("the chat engine broke off in the middle of an answer") from cause


def engine_error(status: int, raw: bytes) -> ApiError:
    """Translate the engine's refusal."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(raw)["error"]
        if found["type"] == "exceed_context_size_error":
            return ApiError(
                f"this conversation has {found['n_prompt_tokens']} tokens; {MODEL} reads"
                f" {found['n_ctx']} with its answer. Send fewer or shorter messages",
                code="context_length_exceeded",
                param="messages",
            )
        if status < 500:  # noqa: PLR2004 - HTTP's own border
            return ApiError(f"the toy model refused: {found['message']}", status)
    return ApiError("the toy model failed; try again in a moment", 502, "engine_failed")
