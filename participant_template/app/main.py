"""The app: every address it answers stands in this file."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi_offline import FastAPIOffline  # FastAPI, with a docs page that needs no internet

from app import errors, parts
from app.page import show_page
from app.settings import Settings
from app.shapes import Conversation, Overview, PastExchange, Question

logger = logging.getLogger(__name__)
settings = Settings()

app = FastAPIOffline(
    title="My chat app",
    exception_handlers=errors.HANDLERS,
    responses={"default": {"model": errors.ErrorBody, "description": "Any error"}},
)

# A random text each browser makes up and sends along: who knows it sees its conversations.
Browser = Annotated[str, Header(alias="X-Browser", pattern="^[A-Za-z0-9_-]{0,64}$")]


@app.get("/", include_in_schema=False)
def page() -> HTMLResponse:
    """Show the chat page."""
    return show_page(settings)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell the server that the app is ready."""
    return {"status": "ok"}


@app.get("/whoami")
async def whoami() -> dict[str, str]:
    """Tell whose app this is, and which version of it."""
    return {"participant": settings.workshop_participant, "version": settings.workshop_version}


async def at_the_end() -> AsyncGenerator[AsyncExitStack, None]:
    """Hand out a list of things to close when the answer is over or the visitor has left."""
    async with AsyncExitStack() as stack:
        yield stack


# What is wrong with a question is said before the stream begins, as JSON.
AS_JSON = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}


@app.post(
    "/chat",
    response_class=EventSourceResponse,
    responses={"default": {"description": "Any error", "content": AS_JSON}},
)
async def chat(
    question: Question,
    closing: Annotated[AsyncExitStack, Depends(at_the_end)],
    browser: Browser = "",
) -> AsyncGenerator[ServerSentEvent, None]:
    """Answer a question as a stream of events.

    `context` is what the model is sent, `sources` what was found in the documents, `model` who
    answers. Then come many `token` with the answer's text, and `done` or `error`. In between:
    `queue` and `retry` while the model is busy, `notice` when something else does not work.
    """
    from app.chat import reply  # noqa: PLC0415 - the start is quicker without

    try:
        answer = reply(question, browser, settings)
        closing.push_async_callback(answer.aclose)
        async for event in answer:
            yield ServerSentEvent(event=event.name, data=event.data())
    except errors.ChatError as error:
        yield ServerSentEvent(event="error", data=error.problem)
    except Exception:
        logger.exception("The answer broke off")
        yield ServerSentEvent(event="error", data=errors.UNEXPECTED)


@app.get("/conversations")
async def list_conversations(browser: Browser = "") -> list[Conversation]:
    """List this browser's conversations, latest first. Without `X-Browser` there are none."""
    if not browser:
        return []
    history = await parts.get(parts.load_history, settings)
    rows = await history.conversations(browser)
    return [Conversation(id=row.name, title=row.title, updated=row.updated) for row in rows]


@app.get("/conversations/{name}")
async def open_conversation(name: str, browser: Browser = "") -> list[PastExchange]:
    """Return what was said in a conversation, oldest first."""
    history = await parts.get(parts.load_history, settings)
    return await history.recall(browser, name)


@app.delete("/conversations/{name}", status_code=HTTPStatus.NO_CONTENT)
async def delete_conversation(name: str, browser: Browser = "") -> None:
    """Forget a conversation."""
    history = await parts.get(parts.load_history, settings)
    await history.forget(browser, name)


# The functions below are not `async`: they work with files, so FastAPI runs each in a thread.


@app.get("/documents")
def list_documents() -> Overview:
    """List the documents the app can answer from, and how they are searched."""
    return parts.get_now(parts.load_library, settings).overview()


async def read_body(request: Request) -> bytes:
    """Read what was sent, but never more than a document may have."""
    from app.retrieval.files import MOST_BYTES, too_large  # noqa: PLC0415 - as above

    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BYTES:
            raise too_large()
    return data


FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@app.post(
    "/documents",
    status_code=HTTPStatus.CREATED,
    openapi_extra={"requestBody": {"required": True, "content": FILE}},
)
def upload_document(
    name: Annotated[str, Query(max_length=200, description="The file name: .txt, .md or .pdf")],
    data: Annotated[bytes, Depends(read_body)],
) -> dict[str, str]:
    """Add a document: the body is the file itself. Returns the name it got."""
    return {"name": parts.get_now(parts.load_library, settings).upload(name, data)}


@app.delete("/documents/{name}", status_code=HTTPStatus.NO_CONTENT)
def delete_document(name: str) -> None:
    """Delete a document somebody uploaded."""
    parts.get_now(parts.load_library, settings).remove(name)
