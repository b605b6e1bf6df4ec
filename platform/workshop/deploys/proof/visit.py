"""A visit to an app through the edge, the way a visitor comes: what leaves its prefix is noted.

Nothing outside the prefix is asked for, no form but the chat is sent, no cookie is given back, and
whatever the app answers, the visit ends in time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop.deploys.diagnosis.evidence import shown
from workshop.deploys.proof import escapes as search
from workshop.deploys.proof.addresses import leaves, resolve
from workshop.deploys.proof.visitor import Reply, Server, Unanswered
from workshop.intake.orders import Escape, Proof

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from workshop.routing import Place

_MOST_PAGES = 20
_MOST_BYTES = 2 << 20
_MOST_HOPS = 5
_MOST_ESCAPES = 50
_MOST_COOKIES = 5
_CRAWL_SHARE = 0.6
"""Of the time; the rest is left for the chat."""
_EACH_SECONDS = 3.0
_MOST_EVENT = 64 * 1024
_OK, _ERROR = 200, 400
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_QUESTION = json.dumps({"message": "Hello"}).encode()
_NARROWED = "the edge narrowed it"


def visit(
    *, place: Place, edge: tuple[str, int], address: str, port: int, seconds: float = 10
) -> Proof:
    """Visit the app at ``place`` through the edge on this machine. Never raises.

    Args:
        place: where visitors find it; on a host of its own nothing leaves the prefix.
        edge: address and port at which the edge is asked in plain HTTP.
        address: where the app itself listens: the edge narrows cookies' paths, so the app is asked
            what it sent.
        port: its port.
        seconds: how long the visit may take.

    """
    through, itself = Server(*edge, place.authority), Server(address, port, place.authority)
    tour = _Tour(through, itself, f"{place.prefix}/", place.scheme)
    return asyncio.run(tour.make(seconds))


@dataclass
class _Tour:
    """One visit, and what was found so far."""

    edge: Server
    app: Server
    prefix: str
    scheme: str
    asked: int = 0
    left: int = _MOST_BYTES
    problem: str = ""
    found: dict[tuple[str, str, str], Escape] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    """Addresses that set any."""
    first_event: float | None = None

    async def make(self, seconds: float) -> Proof:
        """Look at pages, then at cookies, then ask the chat; each within its time."""
        until = time.monotonic() + seconds
        slow = "the app was too slow for a whole visit"
        await self._within(seconds * _CRAWL_SHARE, self._crawl(), slow)
        left = min(_EACH_SECONDS, until - time.monotonic())
        await self._within(left, self._ask_for_cookies(), slow)
        if self.asked:
            slow = "the first event of the chat did not come in time"
            await self._within(until - time.monotonic(), self._chat(), slow)
        escapes = tuple(self.found.values())[:_MOST_ESCAPES]
        return Proof(self.asked, escapes, self.first_event, shown(self.problem))

    async def _within(self, seconds: float, part: Coroutine[None, None, None], slow: str) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await part
        except TimeoutError:
            self._fault(slow)
        except Unanswered as exc:
            self._fault(str(exc))
        except Exception as exc:  # noqa: BLE001 - a proof must never fail a deploy
            self._fault(f"the visit broke off: {type(exc).__name__}")

    def _fault(self, words: str) -> None:
        self.problem = self.problem or words

    # -- pages --------------------------------------------------------------------------------

    async def _crawl(self) -> None:
        start = f"{self.scheme}://{self.edge.host}{self.prefix}"
        waiting, known = deque([start]), {start}
        while waiting and self.asked < _MOST_PAGES and self.left > 0:
            url = waiting.popleft()
            for item in await self._look_at(url, is_first=url == start):
                plain = item.partition("#")[0]
                if plain not in known:
                    known.add(plain)
                    waiting.append(plain)

    async def _look_at(self, url: str, *, is_first: bool) -> list[str]:
        """Fetch one address and search it; returns where it leads inside the prefix."""
        try:
            async with asyncio.timeout(_EACH_SECONDS):
                end, reply = await self._follow(url)
        except (Unanswered, TimeoutError) as exc:
            why = str(exc) or f"no whole answer within {_EACH_SECONDS:.0f} seconds"
            self._fault(f"{_path(url)}: {why}")
            return []
        if reply is None:
            return []
        if reply.status >= _ERROR:
            if is_first:
                self._fault(f"{_path(end)} answers {reply.status}")
            return []
        return await asyncio.to_thread(self._search, end, reply)

    async def _follow(self, url: str) -> tuple[str, Reply | None]:
        """Fetch, and follow redirects that stay inside; ``None`` where they lead out."""
        for _ in range(_MOST_HOPS):
            reply = await self.edge.get(_target(url), most=self.left)
            self.asked += 1
            self.left -= len(reply.body)
            if reply.all("set-cookie"):
                self.cookies.append(url)
            location = reply.header("location")
            if reply.status not in _REDIRECTS or not location:
                return url, reply
            self._note(search.in_redirect(location, url, self.prefix))
            onward = resolve(location, url)
            if onward is None or leaves(location, url, self.prefix):
                return url, None
            if onward.partition("#")[0] == url or self.asked >= _MOST_PAGES:
                break
            url = onward.partition("#")[0]
        raise Unanswered("redirects go round in a circle")

    def _search(self, url: str, reply: Reply) -> list[str]:
        text = reply.body.decode("utf-8", "replace")
        kind = reply.type
        if kind in _HTML:
            page = search.Page(text, url, self.prefix)
            self._note(page.escapes)
            if not page.finished:
                self._fault(f"{_path(url)} is not HTML that can be read to its end")
            # What a link with a question in it does is for visitors to decide.
            return [*page.assets, *(item for item in page.pages if "?" not in item)]
        if kind == "text/css":
            self._note(search.in_css(text, url, self.prefix))
        elif kind.endswith(("javascript", "ecmascript")):
            self._note(search.in_script(text, url, self.prefix))
        return []

    def _note(self, escapes: Iterable[Escape]) -> None:
        for item in escapes:
            if len(self.found) >= _MOST_ESCAPES:
                return
            self.found.setdefault((item.kind, item.where, item.value), item)

    # -- cookies ------------------------------------------------------------------------------

    async def _ask_for_cookies(self) -> None:
        """Ask the app itself for what the edge has changed."""
        for url in list(dict.fromkeys(self.cookies))[:_MOST_COOKIES]:
            target = f"/{_target(url).removeprefix(self.prefix)}"
            reply = await self.app.get(target, most=1)
            for cookie in reply.all("set-cookie"):
                for item in search.in_cookie(cookie, url, self.prefix):
                    self._note([replace(item, where=f"{item.where} ({_NARROWED})")])

    # -- the chat -----------------------------------------------------------------------------

    async def _chat(self) -> None:
        """Measure how long the first event of an answer takes."""
        started = time.monotonic()
        headers = {"Content_Type": "application/json", "Accept": "text/event-stream"}
        try:
            async with self.edge.ask("POST", f"{self.prefix}chat", _QUESTION, **headers) as (
                reply,
                chunks,
            ):
                if reply.status != _OK or reply.type != "text/event-stream":
                    return
                seen = b""
                async for chunk in chunks:
                    seen += chunk.replace(b"\r", b"")
                    if _has_event(seen):
                        self.first_event = time.monotonic() - started
                        return
                    if len(seen) > _MOST_EVENT:
                        return
        except Unanswered:
            # An app without a chat need not answer there.
            return


def _has_event(text: bytes) -> bool:
    """Tell whether a whole event is there; comments that keep a connection open are none."""
    *whole, _ = text.split(b"\n\n")
    return any(line.startswith(b"data") for block in whole for line in block.split(b"\n"))


def _target(url: str) -> str:
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    # Whatever a browser would encode, so that a request is one line.
    raw = f"{parts.path or '/'}{query}"
    return "".join(
        c if "!" <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode("utf-8", "replace"))
        for c in raw
    )


def _path(url: str) -> str:
    return urlsplit(url).path
