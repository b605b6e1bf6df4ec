"""What is worth another attempt, and after what pause."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.gateway.lab import FAST
from workshop.gateway.errors import UpstreamFailed, scrub
from workshop.gateway.retry import attempt, wanted_pause
from workshop.gateway.upstream import Unreachable, address

if TYPE_CHECKING:
    from workshop.gateway.doors import Reply


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, seconds: float | None) -> None:
    """Both forms of the header count; nonsense does not."""
    assert wanted_pause({"retry-after": value}, 1445412420.0) == seconds


def test_attempts_end_with_their_number_or_their_time() -> None:
    """Three at most, and none once the time is up."""
    made = []

    async def send() -> Reply:
        made.append(1)
        raise Unreachable("ConnectError")

    async def scene(until: float) -> int:
        made.clear()
        with pytest.raises(UpstreamFailed, match="ConnectError"):
            await attempt(send, "main", "", FAST, until)
        return len(made)

    assert asyncio.run(scene(time.monotonic() + 10)) == 3
    assert asyncio.run(scene(time.monotonic() - 1)) == 1


def test_foreign_message_is_short_and_without_keys() -> None:
    """Whatever looks like a key goes, and so does the very key that was used."""
    message = (
        "bad: odd!secret and sk-proj-abcdefghijklmnop and\nwk-abcdefghijklmnopqrst " + "x " * 600
    )
    said = scrub(message, "odd!secret")
    assert said.startswith("bad: [key] and [key] and [key] x")
    assert len(said) == 500


def test_address_keeps_the_query_behind_the_path() -> None:
    """Azure's version belongs to the base URL and stands at the end."""
    assert address("https://a/v1/", "/embeddings") == "https://a/v1/embeddings"
    assert address("https://a/v1?v=1", "/embeddings") == "https://a/v1/embeddings?v=1"
