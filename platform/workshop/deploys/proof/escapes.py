"""Addresses in an app that leave its prefix: ``/chat`` where ``chat`` was meant.

An app lives at ``/ada/``. A browser takes ``/chat`` to be the server's, not the app's. HTML is read
with the standard library's parser, a piece at a time, so that a page made to be slow is given up;
scripts and style sheets are searched for the few forms in which an address is written down.
"""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop.deploys.diagnosis.evidence import shown
from workshop.deploys.proof.addresses import LONGEST, escape, inside, leaves, resolve, where
from workshop.intake.orders import Escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LINK, REDIRECT, COOKIE, ASSET, FETCH = "link", "redirect", "cookie", "asset", "fetch"

_LINKS = {("a", "href"), ("area", "href"), ("form", "action"), ("base", "href")}
_ASSETS = {
    *((tag, "src") for tag in ("audio", "embed", "iframe", "frame", "img", "input", "script")),
    *(("source", "src"), ("track", "src"), ("video", "src"), ("video", "poster")),
    *(
        ("link", "href"),
        ("object", "data"),
        ("image", "href"),
        ("use", "href"),
        ("body", "background"),
    ),
}
_SETS = {("img", "srcset"), ("source", "srcset"), ("link", "imagesrcset")}
_FOLLOWED_RELS = {"stylesheet", "icon", "manifest", "modulepreload", "preload", "apple-touch-icon"}
_REFRESH = re.compile(r"\s*[\d.]*\s*[;,]?\s*(?:url\s*=)?\s*['\"]?([^'\"\s]+)", re.IGNORECASE)

_Q = r"[\"'`]"
_PATH = r"(/[^\"'`\s]{0,300})"
_S = r"\s{0,9}"
_CALLS = (
    r"(?:\bfetch|\baxios(?:\.[a-z]{3,7})?|\$\.(?:get|post|getJSON|ajax)|\bky(?:\.[a-z]{3,6})?"
    r"|\.sendBeacon|\bimport|\bimportScripts|\.register"
    r"|new (?:EventSource|WebSocket|Worker|SharedWorker|Request|URL))"
)
_ARGUMENT = rf"[^,\n]{{0,80}},{_S}"
_SCRIPT = (
    (FETCH, re.compile(rf"{_CALLS}{_S}\({_S}{_Q}{_PATH}")),
    (FETCH, re.compile(rf"\.open{_S}\({_S}{_Q}[A-Za-z]{{3,7}}{_Q}{_S},{_S}{_Q}{_PATH}")),
    (FETCH, re.compile(rf"\blocation\.(?:host|origin){_S}\+{_S}{_Q}{_PATH}")),
    (FETCH, re.compile(rf"\blocation\.(?:host|origin)\}}{_PATH}")),
    (ASSET, re.compile(rf"\b(?:import|from){_S}{_Q}{_PATH}")),
    (LINK, re.compile(rf"\blocation(?:\.href)?{_S}={_S}{_Q}{_PATH}")),
    (LINK, re.compile(rf"\blocation\.(?:assign|replace){_S}\({_S}{_Q}{_PATH}")),
    (LINK, re.compile(rf"\bwindow\.open{_S}\({_S}{_Q}{_PATH}")),
    (LINK, re.compile(rf"\.(?:push|replace)State{_S}\({_ARGUMENT}{_ARGUMENT}{_Q}{_PATH}")),
    (ASSET, re.compile(rf"\.src{_S}={_S}{_Q}{_PATH}")),
)
_CSS = (
    re.compile(r"\burl\(\s{0,9}[\"']?([^\"')\s]{1,300})", re.IGNORECASE),
    re.compile(r"@import\s{1,9}[\"']([^\"'\s]{1,300})", re.IGNORECASE),
)
_PIECE = 4096
_PARSE_SECONDS = 3.0
"""Of the processor: a busy server must not end a look early."""
_MOST_MATCHES = 2000


class Page:
    """What is in one HTML document: addresses that leave the prefix, and those that do not."""

    def __init__(self, text: str, url: str, prefix: str) -> None:
        self.escapes: list[Escape] = []
        self.pages: list[str] = []
        """Full addresses of pages inside the prefix."""
        self.assets: list[str] = []
        """The same of scripts, style sheets, pictures."""
        self.finished = _Reader(self, url, prefix).read(text)


def in_html(text: str, url: str, prefix: str) -> list[Escape]:
    """Find what leaves ``prefix`` in the HTML document at ``url``."""
    return Page(text, url, prefix).escapes


def in_css(text: str, url: str, prefix: str, *, line: int = 1) -> list[Escape]:
    """Find what leaves ``prefix`` in a style sheet whose first line is line ``line`` of ``url``."""
    lines = _Lines(text, line)
    return [
        escape(ASSET, url, lines.at(match.start(1)), match[1], prefix)
        for pattern in _CSS
        for match in islice(pattern.finditer(text), _MOST_MATCHES)
        if leaves(match[1], url, prefix)
    ]


def in_script(text: str, url: str, prefix: str, *, line: int = 1) -> list[Escape]:
    """Find what leaves ``prefix`` in a script whose first line is line ``line`` of ``url``.

    Relative addresses are never reported: they count from the page, which the script may share
    with others.
    """
    lines = _Lines(text, line)
    found: dict[int, Escape] = {}
    for kind, pattern in _SCRIPT:
        for match in islice(pattern.finditer(text), _MOST_MATCHES):
            at = match.start(1)
            if at in found or lines.is_comment(match.start()) or not leaves(match[1], url, prefix):
                continue
            found[at] = escape(kind, url, lines.at(at), match[1], prefix, base=prefix)
    return [found[at] for at in sorted(found)]


def in_redirect(location: str, url: str, prefix: str) -> list[Escape]:
    """Tell whether the redirect that ``url`` answers leaves ``prefix``."""
    if not leaves(location, url, prefix):
        return []
    return [escape(REDIRECT, url, None, location, prefix)]


def in_cookie(cookie: str, url: str, prefix: str) -> list[Escape]:
    """Tell whether the cookie that ``url`` sets is sent outside ``prefix``."""
    attributes = (part.partition("=") for part in cookie.split(";")[1:])
    paths = [value.strip() for name, _, value in attributes if name.strip().lower() == "path"]
    path = paths[-1] if paths else ""
    # Without a path of its own a cookie stays below the page that set it.
    if not path.startswith("/") or inside(path, prefix):
        return []
    name = cookie.partition("=")[0].strip()
    value, better = f"{name}; Path={path}", f"{name}; Path={prefix}"
    return [Escape(COOKIE, where(url, None), shown(value, longest=LONGEST), shown(better))]


class _Lines:
    """Finds lines in a text that is gone through once."""

    def __init__(self, text: str, first: int) -> None:
        self._text = text
        self._first = first
        self._known = (0, first)

    def at(self, offset: int) -> int:
        """Count the lines up to ``offset``."""
        start, line = self._known if offset >= self._known[0] else (0, self._first)
        line += self._text.count("\n", start, offset)
        self._known = (offset, line)
        return line

    def is_comment(self, offset: int) -> bool:
        """Tell whether a comment begins the line before ``offset``."""
        start = max(self._text.rfind("\n", 0, offset) + 1, offset - 200)
        return self._text[start:offset].lstrip().startswith(("//", "*", "/*"))


# -- HTML -------------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Goes through a document; `script` and `style` are collected and searched at their end."""

    def __init__(self, page: Page, url: str, prefix: str) -> None:
        super().__init__(convert_charrefs=True)
        self._page = page
        self._url = url
        self._base = url
        self._prefix = prefix
        self._inside_of = ""
        self._began = 1
        self._collected: list[str] = []

    def read(self, text: str) -> bool:
        """Read ``text``; false where it was given up.

        A tag or script that does not end makes the parser begin anew with every piece, so pieces
        grow with what it holds, and there is a bound on the time. Newer parsers keep a piece for
        later that is shorter than what they hold, so the last one is filled up; to close the parser
        instead could take it hours over tags without an end.
        """
        until = time.thread_time() + _PARSE_SECONDS
        start = 0
        while start < len(text):
            end = start + max(_PIECE, len(self.rawdata))
            try:
                self.feed(text[start:end].ljust(end - start))
            except AssertionError:
                # What the parser says of a declaration it cannot read.
                return False
            start = end
            if time.thread_time() > until:
                return False
        self._flush()
        return True

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Look at every attribute that may hold an address."""
        values = {name: value for name, value in reversed(attrs) if value}
        line = self.getpos()[0]
        for kind, value in _addresses(tag, values):
            whole = resolve(value, self._base)
            if whole is None:
                continue
            if inside(urlsplit(whole).path, self._prefix):
                self._sort(tag, kind, whole, values)
            else:
                self._report(escape(kind, self._url, line, value, self._prefix))
        if "style" in values:
            self._report(*in_css(values["style"], self._url, self._prefix, line=line))
        for name, value in values.items():
            if name.startswith("on"):
                self._report(*in_script(value, self._url, self._prefix, line=line))
        if tag in {"script", "style"}:
            self._inside_of, self._began = tag, 0

    def _sort(self, tag: str, kind: str, whole: str, values: dict[str, str]) -> None:
        """Remember an address inside the prefix, if a browser would go there by itself."""
        if tag == "base":
            self._base = whole
        elif tag in {"a", "area", "iframe", "frame"} and "download" not in values:
            self._page.pages.append(whole)
        elif kind == ASSET and (tag != "link" or _is_followed(values)):
            self._page.assets.append(whole)

    def handle_data(self, data: str) -> None:
        """Collect a script or style sheet."""
        if self._inside_of:
            self._began = self._began or self.getpos()[0]
            self._collected.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Search what was collected."""
        if tag == self._inside_of:
            self._flush()

    def _flush(self) -> None:
        text, self._collected = "".join(self._collected), []
        search = in_css if self._inside_of == "style" else in_script
        if text:
            self._report(*search(text, self._url, self._prefix, line=self._began))
        self._inside_of = ""

    def _report(self, *escapes: Escape) -> None:
        self._page.escapes.extend(escapes)


def _addresses(tag: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield every address of one tag, and what it is for."""
    for name, value in values.items():
        plain = name.rpartition(":")[2]
        if (tag, plain) in _LINKS or name == "formaction":
            yield LINK, value
        elif (tag, plain) in _ASSETS:
            yield ASSET, value
        elif (tag, name) in _SETS and not value.lstrip().lower().startswith("data:"):
            yield from ((ASSET, part.split()[0]) for part in value.split(",") if part.split())
        elif tag == "meta" and name == "content":
            match = _REFRESH.match(value) if _is_refresh(values) else None
            if match and "url" in value.lower():
                yield LINK, match[1]
        elif name in {"hx-get", "hx-post", "hx-put", "hx-delete", "hx-patch"}:
            yield FETCH, value


def _is_refresh(values: dict[str, str]) -> bool:
    return values.get("http-equiv", "").lower() == "refresh"


def _is_followed(values: dict[str, str]) -> bool:
    return bool(_FOLLOWED_RELS & set(values.get("rel", "").lower().split()))
