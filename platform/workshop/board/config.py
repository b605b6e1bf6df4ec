"""What the board is told: frozen data that the command writes and the service reads.

One JSON file, replaced whole and looked at a few times a second. No key stands in it, only hashes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

SCHEMA = 1
FILE = "config.json"
LINKS = "links"
"""Directory beside the file: one-time ways in, each a file named after the SHA-256 of its word in
hexadecimal, holding the second since 1970 it ends at."""
METRICS_TOKEN = "metrics.token"  # noqa: S105 - the name of a file
"""Beside the state directory's other secrets, for its owner alone: what Prometheus sends."""


@dataclass(frozen=True)
class Seat:
    """One participant, as far as the board needs to know."""

    name: str
    display_name: str
    url: str
    """Where visitors find the app."""
    key_id: str
    """What messages call the key, such as ``ada-1``."""
    key_hash: str
    """SHA-256 of the key in hexadecimal; empty when it is revoked."""
    claim_hash: str = ""
    """SHA-256 of the one-time claim code in hexadecimal, without its dash; empty once used."""
    spare: bool = False
    """Whether it is nobody's yet."""


@dataclass(frozen=True)
class Config:
    """Everything the board is told."""

    workshop: str
    title: str
    url: str
    """How people reach the workshop: scheme, host and perhaps a port."""
    origins: tuple[str, ...]
    """Where browsers reach the board, each ``scheme://host[:port]``; the first is for people."""
    seats: tuple[Seat, ...] = ()
    metrics_hash: str = ""
    """SHA-256 of the bearer token of ``/metrics`` in hexadecimal."""
    llm: bool = True
    """Whether the class has models."""
    base_url: str = ""
    """For ``OPENAI_BASE_URL`` in a participant's ``.env``; empty without models."""
    model: str = ""
    embedding: str = ""
    currency: str = ""
    registry: str = ""
    """What ``docker login`` takes, such as ``host:8080``."""
    upload_bytes: int = 20 * 1024 * 1024
    """The largest upload of a source."""

    @property
    def fingerprint(self) -> str:
        """Name the configuration by its content; the board answers it at ``/healthz``."""
        return hashlib.sha256(dump(self).encode()).hexdigest()[:16]

    def seat(self, name: str) -> Seat | None:
        """Find one participant's seat."""
        return next((seat for seat in self.seats if seat.name == name), None)


def hashed(word: str) -> str:
    """Hash a key, a claim code, a token or the word of a link, all of them drawn at random."""
    return hashlib.sha256(word.encode()).hexdigest()


def dump(config: Config) -> str:
    """Write ``config`` as JSON; equal configurations give equal text."""
    return json.dumps({"schema": SCHEMA, **asdict(config)}, indent=1, sort_keys=True) + "\n"


def load(text: str) -> Config:
    """Read what :func:`dump` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not such a text.

    """
    raw = json.loads(text)
    if raw.pop("schema") != SCHEMA:
        raise ValueError("a configuration for another version of the board")
    seats = tuple(Seat(**seat) for seat in raw["seats"])
    return Config(**{**raw, "seats": seats, "origins": tuple(raw["origins"])})
