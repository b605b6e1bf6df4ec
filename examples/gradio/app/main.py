"""A chat page with Gradio, inside a FastAPI app that answers the workshop's server."""

import os
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr
from fastapi import FastAPI

from app import model

NAME = os.environ.get("DISPLAY_NAME") or os.environ.get("WORKSHOP_PARTICIPANT", "you")
AT_ONCE = 30  # answers written at the same time; others wait in Gradio's queue

app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell the server that the app is ready."""
    return {"status": "ok"}


@app.get("/whoami")
async def whoami() -> dict[str, str]:
    """Tell whose app this is, and which version of it."""
    return {
        "participant": os.environ.get("WORKSHOP_PARTICIPANT", "you"),
        "version": os.environ.get("WORKSHOP_VERSION", "local"),
    }


async def answer(question: str, past: list[dict[str, Any]]) -> AsyncGenerator[str, None]:
    """Answer one question; trouble appears as a note on the page."""
    try:
        async for text in model.answer(question, past):
            yield text
    except model.ModelError as error:
        raise gr.Error(str(error)) from error


chat = gr.ChatInterface(
    answer,
    title=f"A Gradio chat of {NAME}",
    description=None if model.has_key() else "No model is connected: an echo answers.",
    concurrency_limit=AT_ONCE,
)
# Gradio looks for work up to a thousand times a second: 6 % of a processor for an app that does
# nothing. It has no setting for that; people do not notice a twentieth of a second.
chat._queue.sleep_when_free = chat._queue.progress_update_sleep_when_free = 0.05  # noqa: SLF001

# The server strips /NAME from each address. Gradio writes full addresses into its page, so it has
# to be told what to put back.
root_path = os.environ.get("ROOT_PATH", "")
gr.mount_gradio_app(app, chat, path="/", root_path=root_path, footer_links=[], ssr_mode=False)
