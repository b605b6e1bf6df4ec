"""Fourth link: who answers? The first upstream that can, each tried in turn, then what is kept.

Every upstream has its own line to wait in. One that fails is left alone for a moment, so that a
dead provider costs the class one wait and not one for each request.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from workshop.gateway import replay
from workshop.gateway.answer import Answer, begin
from workshop.gateway.config import ECHO, Outage, Task
from workshop.gateway.errors import SERVER, GatewayError, UpstreamFailed
from workshop.gateway.retry import attempt
from workshop.gateway.tally import Tally
from workshop.gateway.upstream import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from workshop.gateway.breaker import Breaker
    from workshop.gateway.calls import Call
    from workshop.gateway.config import Model, Seat, Upstream
    from workshop.gateway.doors import Door, Patience, Reply
    from workshop.gateway.queue import FairQueue, Turn
    from workshop.gateway.validate import Ask
    from workshop.gateway.view import Candidate, View
    from workshop.serving import Log


@dataclass(frozen=True)
class Request:
    """An admitted request on its way out."""

    call: Call
    seat: Seat
    ask: Ask
    view: View
    tell: Callable[[Upstream, int], Awaitable[None]] | None = None
    """Hears, while the request waits, for whom and how many go before it."""


@dataclass(frozen=True)
class Forwarder:
    """What is needed to get an answer."""

    http: Door
    echo: Door
    kept: replay.Replay
    queue: FairQueue
    breaker: Breaker
    patience: Patience
    log: Log

    async def forward(self, request: Request) -> Answer:
        """Get an answer begun. It holds a place in its upstream's pool until it is closed.

        Raises:
            GatewayError: nobody answers, or the request itself is refused.

        """
        error: GatewayError | None = None
        for candidate in candidates(request.ask, request.view):
            if candidate is None:
                if answer := await self._recall(request):
                    return answer
            elif self.breaker.worth(candidate[0].name):
                try:
                    return await self._queued(request, *candidate)
                except UpstreamFailed as failure:
                    self.log("upstream failed", upstream=candidate[0].name, reason=failure.reason)
                    error = failure.error or error
        raise error or self._silence(request)

    async def _queued(self, request: Request, upstream: Upstream, model: Model) -> Answer:
        seat = request.seat
        turn = self.queue.enter(
            upstream.name, upstream.concurrency, seat.name, seat.pace.concurrency
        )
        try:
            if not turn.granted:
                await self._wait(request, upstream, turn)
            answer = await self._guarded(request, upstream, model)
        except BaseException:
            self.queue.leave(turn)
            raise
        answer.leave = partial(self.queue.leave, turn)
        return answer

    async def _wait(self, request: Request, upstream: Upstream, turn: Turn) -> None:
        began = time.monotonic()
        tell = partial(request.tell, upstream) if request.tell else None
        try:
            await self.queue.wait(turn, request.view.config.queue_seconds, tell)
        finally:
            request.call.queued += time.monotonic() - began

    async def _guarded(self, request: Request, upstream: Upstream, model: Model) -> Answer:
        """Ask, and take note of what the outcome says about the upstream."""
        name = upstream.name
        if not self.breaker.begin(name):
            raise UpstreamFailed("failed while this request waited", down=False)
        try:
            answer = await self._ask(request, upstream, model)
        except UpstreamFailed as failure:
            if failure.down:
                certain = isinstance(failure, Unreachable)
                self.breaker.failed(name, request.seat.name, certain=certain)
            else:
                self.breaker.undecided(name)
            raise
        except GatewayError:
            self.breaker.succeeded(name)
            raise
        except BaseException:
            self.breaker.undecided(name)
            raise
        self.breaker.succeeded(name)
        return answer

    async def _ask(self, request: Request, upstream: Upstream, model: Model) -> Answer:
        call, ask, view = request.call, request.ask, request.view
        call.upstream, call.model = upstream, model
        call.tally = Tally(keep_text=view.config.record and not upstream.toy)
        key = view.keys.get(upstream.name, "")
        door = self.echo if upstream.base_url == ECHO else self.http

        async def send() -> Reply:
            call.sent = True
            try:
                reply = await door.open(ask, upstream, model, key)
            except Unreachable:
                call.sent = False
                raise
            call.sent = reply.status == 200  # noqa: PLR2004 - anything else costs nothing
            return reply

        call.retry_until = call.retry_until or time.monotonic() + self.patience.retrying
        reply = await attempt(send, upstream.name, key, self.patience, call.retry_until)
        return await begin(ask, upstream, reply, call.tally, self.patience)

    async def _recall(self, request: Request) -> Answer | None:
        reply = await asyncio.to_thread(self.kept.find, request.ask)
        if reply is None:
            return None
        call = request.call
        call.upstream, call.model, call.sent = replay.UPSTREAM, replay.FREE, True
        call.tally = Tally()
        return await begin(request.ask, replay.UPSTREAM, reply, call.tally, self.patience)

    def _silence(self, request: Request) -> GatewayError:
        waits = [self.breaker.wait(u.name) for u, _ in request.view.models[request.ask.model]]
        return GatewayError(
            503,
            "The model's provider does not answer just now. Nothing is wrong with your code: try"
            " again in a moment, and tell your instructor if it lasts.",
            code="upstream_unavailable",
            type=SERVER,
            retry_after=max(1.0, min(waits, default=1.0)),
        )


def candidates(ask: Ask, view: View) -> Iterator[Candidate | None]:
    """Give who may answer, first choice first; ``None`` stands for the record of good answers."""
    first = view.models[ask.model]
    yield from first
    for outage in view.config.outage:
        if outage is Outage.REPLAY:
            yield None
        # Vectors of another model mean something else: only chats have a stand-in.
        elif ask.task is Task.CHAT:
            tried = {upstream.name for upstream, _ in first}
            yield from (spare for spare in view.spare if spare[0].name not in tried)
