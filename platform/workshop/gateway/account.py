"""Last link: what did it come to? Settled once, written down, counted; good answers kept."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.gateway.calls import ClientLeft
from workshop.gateway.config import Task
from workshop.gateway.errors import GatewayError
from workshop.gateway.ledger import Ledger, Row
from workshop.gateway.replay import LARGEST, UPSTREAM, Replay

if TYPE_CHECKING:
    from workshop.gateway.answer import Answer
    from workshop.gateway.calls import Call
    from workshop.gateway.deliver import Delivery
    from workshop.gateway.metrics import Metrics
    from workshop.serving import Log

LEFT = 499
"""Status of a request whose client left, as nginx counts it."""
_REFUSALS_APART = 1.0
"""Seconds between two rows of one seat with one refusal: a loop must not fill the disk."""


@dataclass
class Accountant:
    """Writes what ended into the ledger, the metrics and the log."""

    ledger: Ledger
    metrics: Metrics
    kept: Replay
    log: Log
    _refused: dict[tuple[str, str], float] = field(default_factory=dict)
    _keeping: set[asyncio.Task[bool]] = field(default_factory=set)

    async def close(self, call: Call, delivery: Delivery, error: Exception | None) -> None:
        """Settle a call and write it down."""
        await call.settle()
        row = row_of(call, delivery, error)
        self.metrics.count(row)
        if call.seat is None:
            return
        if self._worth_a_row(row):
            self.ledger.append(row)
            self.log("request", **_facts(row))

    def keep(self, call: Call, answer: Answer) -> None:
        """Keep a good answer for an outage, without making anybody wait."""
        if not call.tally.keep_text or call.ask is None or answer.upstream is UPSTREAM:
            return
        if call.ask.task is Task.EMBEDDING:
            text = json.dumps(json.loads(answer.content)["data"])
        else:
            text = call.tally.text() or ""
        if text and len(text) <= LARGEST:
            task = asyncio.create_task(
                asyncio.to_thread(self.kept.keep, call.ask, text, call.usage)
            )
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

    async def finish(self) -> None:
        """Wait for what is being kept."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    def _worth_a_row(self, row: Row) -> bool:
        if not row.error or row.input_tokens or row.upstream:
            return True
        key = (row.seat, row.error)
        if row.time - self._refused.get(key, 0.0) < _REFUSALS_APART:
            return False
        self._refused[key] = row.time
        return True


def row_of(call: Call, delivery: Delivery, error: Exception | None) -> Row:
    """Write a call's row."""
    now = time.monotonic()
    seat, ask = call.seat, call.ask
    return Row(
        time=time.time(),
        seat=seat.name if seat else "",
        key_id=seat.key_id if seat else "",
        upstream=call.upstream.name if call.upstream else "",
        model=ask.model if ask else "",
        input_tokens=call.usage.input,
        output_tokens=call.usage.output,
        money=call.money,
        status=_status(delivery, error),
        error=_code(error),
        first_byte_ms=_ms(delivery.first_byte - call.began) if delivery.first_byte else 0.0,
        total_ms=_ms(now - call.began),
        queue_ms=_ms(call.queued),
    )


def _status(delivery: Delivery, error: Exception | None) -> int:
    if error is None:
        return delivery.status
    if isinstance(error, ClientLeft):
        return LEFT
    return error.status if isinstance(error, GatewayError) else 500


def _code(error: Exception | None) -> str:
    if error is None:
        return ""
    if isinstance(error, ClientLeft):
        return "client_left"
    return error.code if isinstance(error, GatewayError) else "internal_error"


def _facts(row: Row) -> dict[str, object]:
    return {
        "seat": row.seat,
        "key": row.key_id,
        "status": row.status,
        "error": row.error,
        "upstream": row.upstream,
        "model": row.model,
        "tokens": row.input_tokens + row.output_tokens,
        "ms": row.total_ms,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
