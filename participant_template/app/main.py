"""The app: every address it answers stands in this file."""

import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated

from fastapi import Depends
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi_offline import FastAPIOffline  # FastAPI, with a docs page that needs no internet
from pydantic import BaseModel, StringConstraints

from app import errors
from app.chat import find_assistant, reply
from app.memory import Memory
from app.settings import Settings

logger = logging.getLogger(__name__)
settings = Settings()
memory = Memory()

app = FastAPIOffline(
    title="My chat app",
    exception_handlers=errors.HANDLERS,
    responses={"default": {"model": errors.ErrorBody, "description": "Any error"}},
)


@app.get("/", include_in_schema=False)
def page() -> HTMLResponse:
    """Show the chat page. It is read each time, so an edit shows on reload."""
    nonce = secrets.token_urlsafe()  # only the page's own script and style carry it
    html = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    return HTMLResponse(
        html.safe_substitute(
            nonce=nonce,
            greeting=escape(settings.greeting),
            name=escape(settings.name),
            hide_echo_note="hidden" if settings.openai_api_key else "",
        ),
        headers={
            "Cache-Control": "no-store",
            # What the browser may load and run: nothing from elsewhere, no injected script.
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
                "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'self'"
            ),
        },
    )


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell the server that the app is ready."""
    return {"status": "ok"}


@app.get("/whoami")
async def whoami() -> dict[str, str]:
    """Tell whose app this is, and which version of it."""
    return {"participant": settings.workshop_participant, "version": settings.workshop_version}


class Question(BaseModel):
    """What the page sends."""

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    # Any id the page makes up. Questions with the same id belong together.
    conversation: Annotated[str, StringConstraints(max_length=64)] = ""


async def at_the_end() -> AsyncGenerator[AsyncExitStack, None]:
    """Hand out a list of things to close when the answer is over or the visitor has left."""
    async with AsyncExitStack() as stack:
        yield stack


@app.post("/chat", response_class=EventSourceResponse)
async def chat(
    question: Question, closing: Annotated[AsyncExitStack, Depends(at_the_end)]
) -> AsyncGenerator[ServerSentEvent, None]:
    """Answer a question, piece by piece: events `token`, then `done` or `error`."""
    try:
        assistant = await find_assistant(settings)
        answer = reply(question.message, question.conversation, memory, assistant)
        closing.push_async_callback(answer.aclose)
        async for piece in answer:
            yield ServerSentEvent(event="token", data={"text": piece})
        yield ServerSentEvent(event="done", data={})
    except errors.ChatError as error:
        yield ServerSentEvent(event="error", data=error.problem)
    except Exception:
        logger.exception("The answer broke off")
        yield ServerSentEvent(event="error", data=errors.UNEXPECTED)
