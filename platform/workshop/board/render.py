"""Pages and fragments of pages, and the only place that knows the template engine.

Every value is escaped; no template carries a script or a style of its own.
"""

from __future__ import annotations

import re
import time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from workshop.board.guard import service_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
THEME = "workshop-theme"
"""Cookie with the reader's choice, written by ``static/theme.js``; no secret."""
_THEMES = frozenset({"light", "dark"})
_SECONDS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_MEGABYTE = 1024 * 1024
_CODE = re.compile(r"`([^`\n]+)`")


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    connect: Sequence[str] = (),
    **facts: Any,  # noqa: ANN401 - a template takes anything
) -> HTMLResponse:
    """Render a whole page.

    Args:
        request: what is answered; its session gives the token that the page's POSTs carry.
        template: below ``templates/``; extends ``base.html``.
        status: of the answer.
        connect: further origins that the page's scripts may reach, as ``connect-src`` has them.
        facts: what the template names, beside ``csrf``, ``config``, ``view`` and ``theme``.

    """
    session = getattr(request.state, "session", None)
    view = service_of(request).view
    theme = request.cookies.get(THEME, "")
    text = fragment(
        template,
        csrf=session.csrf if session else "",
        config=view.config,
        view=view,
        theme=theme if theme in _THEMES else "",
        **facts,
    )
    return HTMLResponse(text, status, {"content-security-policy": policy(connect)})


def fragment(template: str, **facts: Any) -> str:  # noqa: ANN401 - a template takes anything
    """Render a piece of a page."""
    return _environment().get_template(template).render(facts)


def policy(connect: Sequence[str] = ()) -> str:
    """Write the policy that a browser holds a page to: nothing but files of this origin."""
    reach = " ".join(["'self'", *connect])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self';"
        f" img-src 'self' data:; connect-src {reach}; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "ago": ago,
        "commands": commands,
        "megabytes": megabytes,
        "number": number,
        "since": since,
    }
    found.globals["static"] = static
    return found


def ago(seconds: float) -> str:
    """Say how long ago something was: ``just now``, ``12 s ago``, ``5 min ago``, ``2 h ago``."""
    for unit, size in _SECONDS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def since(moment: float) -> str:
    """Say how long ago ``moment``, in seconds since 1970, was."""
    return ago(time.time() - moment)


def megabytes(size: float) -> str:
    """Say an amount of bytes in whole megabytes, as memory limits are given."""
    return f"{size / _MEGABYTE:.0f} MB"


def number(value: float) -> str:
    """Write a number with thin spaces between its thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def commands(text: str) -> Markup:
    """Mark what stands between backticks as code; everything is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


@cache
def static(name: str) -> str:
    """Give the address of a file of the package, which changes with its content."""
    path = STATIC / name
    if not path.is_file():
        return f"/static/{name}"
    return f"/static/{name}?v={sha256(path.read_bytes()).hexdigest()[:12]}"
