"""What every kind of upstream looks like to the chain: one verb, one kind of reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from workshop.gateway.config import Model, Upstream
    from workshop.gateway.validate import Ask


@dataclass(frozen=True)
class Patience:
    """How long the gateway waits, in seconds."""

    connect: float = 5.0
    first_byte: float = 60.0
    """Long prompts take a slow machine this long before the first word."""
    between: float = 60.0
    whole: float = 600.0
    retrying: float = 20.0
    """After this long no new attempt begins."""
    longest_pause: float = 10.0
    """A provider that wants a longer pause than this is left for the next one."""
    first_pause: float = 0.5
    down: float = 5.0
    """How long an upstream that failed is left alone."""
    draining: float = 0.25
    """For the end of a stream that has said it is over, so that its connection can be kept."""


@dataclass
class Reply:
    """The beginning of an upstream's answer; its bytes are still to come."""

    status: int
    content_type: str
    chunks: AsyncGenerator[bytes]
    close: Callable[[], Awaitable[None]]
    headers: Mapping[str, str] = field(default_factory=dict)


class Door(Protocol):
    """A way to one kind of upstream."""

    async def open(self, ask: Ask, upstream: Upstream, model: Model, key: str) -> Reply:
        """Send the request; return when the answer begins.

        Raises:
            UpstreamFailed: there is none.

        """
        ...
