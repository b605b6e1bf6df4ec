"""The configuration as requests look at it, with what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop.intake.config import EVENTS_SECRET, FILE, Config, Seat, load
from workshop.intake.tokens import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What :func:`read_view` raises for a file that is missing or garbled."""


@dataclass(frozen=True)
class View:
    """One configuration and what follows from it. Replaced whole, never changed."""

    config: Config
    fingerprint: str
    signer: Signer = field(repr=False)
    events_secret: str = field(repr=False)
    """What the registry's announcements begin with; never empty."""
    seats: Mapping[str, Seat] = field(default_factory=dict)
    """By name."""
    by_hash: Mapping[str, Seat] = field(default_factory=dict)
    """By the hash of the key; to tell somebody whose key they hold, not to let them in."""

    @property
    def url(self) -> str:
        """How people reach the workshop, without a slash at the end."""
        return self.config.url.rstrip("/")

    @property
    def host(self) -> str:
        """What stands before the slash in ``docker push HOST/ada/app``."""
        return urlsplit(self.config.url).netloc

    def app(self, name: str) -> str:
        """Give the address of a participant's app, one who has left the roster included."""
        held = self.seats.get(name)
        return held.url if held and held.url else f"{self.url}/{name}/"


def read_view(directory: Path) -> View:
    """Read the file and what lies beside it.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: something is missing or garbled
            (:data:`UNREADABLE`).

    """
    config = load((directory / FILE).read_text("utf-8"))
    secret = (directory / EVENTS_SECRET).read_text("utf-8").strip()
    if not secret:
        raise ValueError(f"{EVENTS_SECRET} is empty")
    return View(
        config=config,
        fingerprint=config.fingerprint,
        signer=Signer.load(directory),
        events_secret=secret,
        seats={seat.name: seat for seat in config.seats},
        by_hash={seat.key_hash: seat for seat in config.seats if seat.key_hash},
    )
