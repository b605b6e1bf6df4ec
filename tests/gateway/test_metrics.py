"""The numbers for the instructor's machine, and only for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2

from workshop.gateway.app import create_app

if TYPE_CHECKING:
    from tests.gateway.lab import Lab


def test_metrics_count_requests_tokens_and_money(lab: Lab) -> None:
    """One good answer and one bad key."""
    lab.ask()
    lab.ask(name="eve")
    lab.idle()
    text = httpx2.get(f"http://{lab.address}/metrics", trust_env=False).text
    for line in (
        'gateway_requests_total{seat="ada",status="2xx"} 1.0',
        'gateway_requests_total{seat="-",status="4xx"} 1.0',
        'gateway_tokens_total{direction="in",seat="ada"} 7.0',
        'gateway_tokens_total{direction="out",seat="ada"} 5.0',
        'gateway_money_nano_total{seat="ada"} 1700.0',
        'gateway_upstream_up{upstream="main"} 1.0',
        "gateway_queue_length 0.0",
        "gateway_in_flight 0.0",
        "gateway_first_byte_seconds_count 1.0",
    ):
        assert line in text


def test_metrics_are_refused_to_everybody_else(lab: Lab) -> None:
    """A seat that finds the port is told no; health it may see."""

    async def get(path: str, peer: str) -> int:
        transport = httpx2.ASGITransport(create_app(lab.running), client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer: Any = await client.get(path, headers={"x-real-ip": "127.0.0.1"})
            return int(answer.status_code)

    assert asyncio.run(get("/metrics", "10.86.8.20")) == 403
    assert asyncio.run(get("/metrics", "127.0.0.1")) == 200
    assert asyncio.run(get("/healthz", "10.86.8.20")) == 200
