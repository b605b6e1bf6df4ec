"""What the intake is told: frozen data that the command writes and the service reads.

One JSON file carries it, replaced whole, so a newcomer or a rotated key takes effect without a
restart. It holds no secret: participants' keys appear as hashes. Beside it lie the key that tokens
are signed with, its certificate, and the word the registry's announcements begin with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

SCHEMA = 1
FILE = "config.json"
SIGNING_KEY = "token.key"
"""PEM, an EC key on P-256: the private half, which signs tokens for the registry."""
CERTIFICATE = "token.crt"
"""PEM, self-signed, of that key: the registry trusts it and no other."""
EVENTS_SECRET = "events.secret"  # noqa: S105 - a file's name
"""The registry's announcements carry it: ``Authorization: Bearer ...``."""

PAGE = "/deploy"
"""Where participants upload and look, behind the edge."""
TOKEN = "/v2/token"  # noqa: S105 - a path
"""Where docker asks for a token, behind the edge."""
EVENTS = "/events"
"""Where the registry announces what was pushed. The edge does not lead there."""

MIB = 1024 * 1024


@dataclass(frozen=True)
class Seat:
    """One participant, as far as the intake needs to know."""

    name: str
    key_id: str
    """What messages and logs call the key, such as ``ada-1``."""
    key_hash: str
    """SHA-256 of the key in hexadecimal; empty when it is revoked."""
    url: str = ""
    """Where visitors find the app."""


@dataclass(frozen=True)
class Limits:
    """What one participant may send."""

    upload_bytes: int = 20 * MIB
    unpacked_bytes: int = 100 * MIB
    entries: int = 5000
    ratio: int = 100
    """Unpacked bytes for one packed; more is a bomb."""
    seconds: float = 20.0
    """Time to unpack."""
    repository_bytes: int = 2048 * MIB
    """All layers of one participant's images in the registry together."""
    deploys_per_minute: int = 6
    burst: int = 6
    """Deploys that may come at once before the pace holds."""


@dataclass(frozen=True)
class Config:
    """Everything the intake is told."""

    workshop: str
    url: str
    """How people reach the workshop: scheme, host and perhaps a port."""
    seats: tuple[Seat, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def fingerprint(self) -> str:
        """Name the configuration by its content; the intake answers it at ``/healthz``."""
        return hashlib.sha256(dump(self).encode()).hexdigest()[:16]


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
        raise ValueError("a configuration for another version of the intake")
    seats = tuple(Seat(**seat) for seat in raw["seats"])
    return Config(**{**raw, "seats": seats, "limits": Limits(**raw["limits"])})
