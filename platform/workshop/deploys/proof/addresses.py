"""Whether one address stays inside a prefix, judged as a browser would."""

from __future__ import annotations

import re
from posixpath import normpath
from urllib.parse import urljoin, urlsplit

from workshop.deploys.diagnosis.evidence import shown
from workshop.intake.orders import Escape

LONGEST = 120
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")
_STRIPPED = "".join(map(chr, range(33)))


def leaves(value: str, url: str, prefix: str) -> bool:
    """Tell whether ``value``, written at ``url``, leads out of ``prefix`` on the same server."""
    whole = resolve(value, url)
    return whole is not None and not inside(urlsplit(whole).path, prefix)


def resolve(value: str, url: str) -> str | None:
    """Make an address on the same server whole; ``None`` for every other."""
    # As browsers do: surrounding blanks and all line ends go, a backslash is a slash.
    text = value.strip(_STRIPPED).replace("\t", "").replace("\n", "").replace("\r", "")
    head, mark, rest = text.partition("?")
    text = head.replace("\\", "/") + mark + rest
    if not text or text.startswith("#"):
        return None
    if text.startswith("//"):
        text = f"//{text.lstrip('/')}"
    if _SCHEME.match(text) and not text.lower().startswith(("http://", "https://")):
        return None
    try:
        whole = urljoin(url, text)
        same = urlsplit(whole).netloc == urlsplit(url).netloc
    except ValueError:
        return None
    return whole if same else None


def inside(path: str, prefix: str) -> bool:
    """Tell whether a path is the prefix or below it."""
    plain = normpath(path) if path else "/"
    root = prefix.rstrip("/")
    return plain == root or plain.startswith(f"{root}/")


def escape(  # noqa: PLR0913 - an escape has as many facts
    kind: str, url: str, line: int | None, value: str, prefix: str, *, base: str | None = None
) -> Escape:
    """Put one into words."""
    better = _better(value.strip(_STRIPPED), base or urlsplit(url).path, prefix)
    return Escape(
        kind, where(url, line), shown(value, longest=LONGEST), shown(better, longest=LONGEST)
    )


def _better(value: str, page: str, prefix: str) -> str:
    """Write the address relative to the page it stands on, as if ``/`` were the prefix."""
    text = value.replace("\\", "/")
    if _SCHEME.match(text):
        parts = urlsplit(text)
        text = parts.path + (f"?{parts.query}" if parts.query else "")
    target = re.sub(r"^(?:\.{0,2}/)+", "", text)
    depth = page.removeprefix(prefix).count("/")
    up = "../" * depth
    return f"{up}{target}" or "./"


def where(url: str, line: int | None) -> str:
    """Name a place: the path, and a line where there is one."""
    parts = urlsplit(url)
    path = shown(parts.path or "/", longest=LONGEST)
    return f"{path}, line {line}" if line is not None else path
