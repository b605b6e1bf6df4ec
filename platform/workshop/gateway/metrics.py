"""Numbers for whoever runs the class: Prometheus text, about seats and never about words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.gateway.ledger import Row

NOBODY = "-"
"""The seat of requests without a good key."""
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts what ended, and shows what is under way."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gateway_requests", "Requests that ended.", ["seat", "status"], registry=self._registry
        )
        self._tokens = Counter(
            "gateway_tokens", "Tokens used.", ["seat", "direction"], registry=self._registry
        )
        self._money = Counter(
            "gateway_money_nano",
            "Money spent, in billionths of the unit.",
            ["seat"],
            registry=self._registry,
        )
        self._first_byte = Histogram(
            "gateway_first_byte_seconds",
            "From a request's arrival to the first byte of its answer.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._queue = Gauge(
            "gateway_queue_length", "Requests that wait for a turn.", registry=self._registry
        )
        self._in_flight = Gauge(
            "gateway_in_flight", "Requests being handled.", registry=self._registry
        )
        self._up = Gauge(
            "gateway_upstream_up",
            "Whether an upstream answered last time.",
            ["upstream"],
            registry=self._registry,
        )

    def count(self, row: Row) -> None:
        """Count a request that ended."""
        seat = row.seat or NOBODY
        self._requests.labels(seat, f"{row.status // 100}xx").inc()
        if row.input_tokens or row.output_tokens:
            self._tokens.labels(seat, "in").inc(row.input_tokens)
            self._tokens.labels(seat, "out").inc(row.output_tokens)
        if row.money:
            self._money.labels(seat).inc(row.money)
        if row.first_byte_ms and not row.error:
            self._first_byte.observe(row.first_byte_ms / 1000)

    def text(self, *, queued: int, in_flight: int, upstreams: Mapping[str, bool]) -> bytes:
        """Write everything, as things stand."""
        self._queue.set(queued)
        self._in_flight.set(in_flight)
        self._up.clear()
        for name, up in upstreams.items():
            self._up.labels(name).set(up)
        return generate_latest(self._registry)
