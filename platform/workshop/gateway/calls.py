"""Requests under way: who is being answered, and how an answer is ended from outside.

A call is ended by its client leaving, by a change of the configuration that takes its key away, or
by the gateway's own end. All three cancel the one task that answers it and leave the reason here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workshop.gateway.admit import price
from workshop.gateway.authenticate import check
from workshop.gateway.budget import Cost
from workshop.gateway.errors import SERVER, Cut, GatewayError
from workshop.gateway.tally import Tally, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from workshop.gateway.admit import Admission
    from workshop.gateway.config import Model, Seat, Upstream
    from workshop.gateway.validate import Ask
    from workshop.gateway.view import View


class ClientLeft(ConnectionError):
    """Nobody listens to the answer any more."""


@dataclass(eq=False)
class Call:
    """One request, and what is known of it so far."""

    task: asyncio.Task[Any]
    peer: str
    began: float = field(default_factory=time.monotonic)
    seat: Seat | None = None
    ask: Ask | None = None
    admission: Admission | None = None
    upstream: Upstream | None = None
    model: Model | None = None
    sent: bool = False
    """Whether a provider may be working on it, or have worked, for money."""
    tally: Tally = field(default_factory=Tally)
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    money: int = 0
    queued: float = 0.0
    """Seconds spent waiting for a turn."""
    retry_until: float = 0.0
    """No attempt begins after this moment; zero until the first has begun."""
    settled: bool = False
    reason: Exception | None = None
    """Why it was ended from outside."""

    def end(self, reason: Exception) -> None:
        """End it from outside, once."""
        if self.reason is None and not self.settled:
            self.reason = reason
            self.task.cancel()

    async def settle(self) -> None:
        """Find out what was used, and give back what was held beyond that."""
        if self.settled:
            return
        self.settled = True
        if self.sent and self.ask and self.model:
            self.usage = self.tally.used(self.ask.likely_input)
            self.money = price(self.model, self.usage.input, self.usage.output)
        if self.admission:
            await self.admission.settle(Cost(self.usage.input + self.usage.output, self.money))

    @contextmanager
    def watching(
        self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> Iterator[None]:
        """Notice, for the length of the block, when the client leaves."""

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.end(ClientLeft("the client left"))

        listener = asyncio.create_task(listen())
        try:
            yield
        finally:
            listener.cancel()


class Calls:
    """All requests under way."""

    def __init__(self) -> None:
        self._active: set[Call] = set()

    def __len__(self) -> int:
        return len(self._active)

    @contextmanager
    def open(self, peer: str) -> Iterator[Call]:
        """Keep a call known for the length of the block; it runs in the current task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task to run in")
        call = Call(task, peer)
        self._active.add(call)
        try:
            yield call
        finally:
            self._active.discard(call)

    def recheck(self, view: View) -> None:
        """End the calls whose key no longer holds."""
        for call in list(self._active):
            if call.seat is not None and (reason := _objection(call.seat, call.peer, view)):
                call.end(reason)

    def end_all(self) -> None:
        """End every call, because the gateway ends."""
        for call in list(self._active):
            call.end(
                Cut(
                    503,
                    "The gateway is being restarted. Send the request again in a few seconds.",
                    code="restarting",
                    type=SERVER,
                    retry_after=3,
                )
            )


def _objection(seat: Seat, peer: str, view: View) -> Cut | None:
    now = view.seats.get(seat.key_hash)
    if now is None or now.name != seat.name:
        return Cut(
            401,
            f"The key {seat.key_id} was revoked or rotated while this was being answered. Ask your"
            " instructor for the new one.",
            code="invalid_api_key",
        )
    try:
        check(now, peer, view)
    except GatewayError as exc:
        return Cut(exc.status, exc.message, code=exc.code, type=exc.type)
    return None
