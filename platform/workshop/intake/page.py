"""The page to upload with: one file, and headers that give it an origin of its own.

Participants' apps live on the same host, and so would be of the same origin: any of them could read
the key that is typed here. The sandbox without ``allow-same-origin`` takes that away.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from workshop.intake.authenticate import refuse_key_in_url
from workshop.intake.exchange import Reply

if TYPE_CHECKING:
    from workshop.intake.exchange import Ask
    from workshop.intake.service import Service

_HTML = "text/html; charset=utf-8"
_INLINE = "<{0}>(.*?)</{0}>"


async def show(service: Service, ask: Ask) -> Reply:
    """Answer with the page.

    Raises:
        Refused: a key stands in its address.

    """
    refuse_key_in_url(ask.query)
    headers = {
        "content-security-policy": policy(service.view.url),
        "x-frame-options": "DENY",
        "cache-control": "no-store",
    }
    return Reply(html().encode(), 200, _HTML, headers)


@cache
def html() -> str:
    """Read the page."""
    return resources.files("workshop.intake").joinpath("page.html").read_text("utf-8")


def policy(url: str) -> str:
    """Write the policy: its own script and style by their hash, its own service, nothing else."""
    return "; ".join(
        (
            "sandbox allow-scripts allow-forms",
            "default-src 'none'",
            f"script-src {_hash('script')}",
            f"style-src {_hash('style')}",
            f"connect-src 'self' {url}/deploy/",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


@cache
def _hash(element: str) -> str:
    found = re.search(_INLINE.format(element), html(), re.DOTALL)
    text = found[1] if found else ""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
