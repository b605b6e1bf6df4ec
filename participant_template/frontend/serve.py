"""The app with a Streamlit page under /ui/, both in one process.

Streamlit is an ASGI app like FastAPI, so it is mounted, not proxied: one port, one process to stop,
and the addresses are right behind the server's prefix, because FastAPI hands the prefix on.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from streamlit.starlette import App as StreamlitApp

from app.main import app

page = StreamlitApp(Path(__file__).parent / "ui.py")
page_lifespan = page.lifespan()
back_end_lifespan = app.router.lifespan_context


@asynccontextmanager
async def lifespan(serving: FastAPI) -> AsyncGenerator[Any, None]:
    """Start what the app starts, then Streamlit; stop both in the end."""
    async with back_end_lifespan(serving) as state, page_lifespan(serving):
        yield state


app.router.lifespan_context = lifespan
app.mount("/ui", page)
