"""What goes in and comes out, without the web framework: :mod:`workshop.intake.app` translates."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_plus

from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    peer: str
    """Whoever asks, as the edge names them."""
    body: Callable[[], AsyncIterator[bytes]]
    """Read the body once; it raises :class:`Gone` when the client goes away."""

    def all(self, key: str) -> list[str]:
        """List every value of a query parameter."""
        pairs = parse_qsl(self.query, keep_blank_values=True, max_num_fields=None)
        return [value for name, value in pairs if name == key]

    def has(self, key: str, *values: str) -> bool:
        """Whether a query parameter has one of ``values`` (``1``, ``yes``, ``true``)."""
        return any(value in (values or ("1", "yes", "true")) for value in self.all(key))

    def wants_json(self) -> bool:
        """Whether a program asks, rather than a person at a terminal."""
        accept = self.headers.get("accept", "")
        return JSON in accept or NDJSON in accept


@dataclass(frozen=True)
class Reply:
    """One answer, whole or in pieces."""

    content: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    media_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class Gone(Exception):
    """The client has gone away in the middle of its request."""


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with JSON."""
    return Reply(json.dumps(value).encode() + b"\n", status, JSON, headers or {})


async def read_whole(ask: Ask, most: int) -> bytes:
    """Read a short body.

    Raises:
        Refused: it is longer than ``most`` bytes.

    """
    parts, size = [], 0
    async for piece in ask.body():
        size += len(piece)
        if size > most:
            raise Refused(f"The body of this request is longer than {most} bytes.", 413)
        parts.append(piece)
    return b"".join(parts)


def decoded(query: str) -> str:
    """Undo a query's escapes."""
    return unquote_plus(query)
