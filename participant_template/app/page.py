"""The chat page: `page.html` with the words and the rules of this visit filled in."""

import secrets
from html import escape
from pathlib import Path
from string import Template

from fastapi.responses import HTMLResponse

from app.settings import Settings

FILE = Path(__file__).parent / "page.html"


def show_page(settings: Settings) -> HTMLResponse:
    """Fill in the page. The file is read each time, so an edit shows on reload."""
    nonce = secrets.token_urlsafe()  # only the page's own script and style carry it
    html = Template(FILE.read_text(encoding="utf-8"))
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
