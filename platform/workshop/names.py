"""What a participant and a workshop may be called.

A name is at once a URL segment, part of a container's name, a DNS label, an environment value and
a file name, so it is held to what all of them allow. A name is never rewritten silently: two
people whose names were bent to the same slug would share a seat
(https://github.com/jupyterhub/dockerspawner/issues/25).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SHORTEST = 2
LONGEST = 32
PATTERN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")

_RESERVED = """
    api static health healthz ready metrics admin dashboard login logout auth oauth gateway llm v1
    v2 registry docs openapi redoc assets public favicon robots sitemap well-known ws sse www mail
    ns localhost status internal error workshop teacher instructor root docker nginx default null
    undefined edge board me embedded deploy deploys intake serve egress relay relay-1 relay-2
    build builds template switches wall outbound
    con nul aux prn
    com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9
"""
RESERVED = frozenset(_RESERVED.split())
"""Paths the platform answers itself or may one day, and names Windows cannot store."""

_SHOWN = 40


def problem(name: str, taken: Collection[str] = ()) -> str | None:
    """Say in one sentence why ``name`` cannot be used, or ``None`` when it can.

    ``taken`` are other people's names: one of those is never offered instead.
    """
    if not SHORTEST <= len(name) <= LONGEST:
        return f"{shown(name)}: {len(name)} characters; expected {SHORTEST} to {LONGEST}"
    if PATTERN.fullmatch(name):
        return (
            f"{shown(name)} is reserved; `workshop names` lists such names"
            if name in RESERVED
            else None
        )
    return f"{_oddity(name)}{_advice(name, taken)}"


def _oddity(name: str) -> str:
    for place, char in enumerate(name, 1):
        if not re.fullmatch(r"[a-z0-9-]", char):
            plain = char.isascii() and char.isprintable()
            found = repr(char) if plain else f"U+{ord(char):04X}"
            return f"{shown(name)}: {found} at position {place}; expected a-z, 0-9 and -"
    if not name[0].isalpha():
        return f"{shown(name)}: must start with a letter"
    return f"{shown(name)}: - must stand between letters or digits"


def _advice(name: str, taken: Collection[str]) -> str:
    better = suggestion(name)
    if better is None:
        return ""
    return f"; {better!r} is somebody else" if better in taken else f"; try {better!r}"


def suggestion(name: str) -> str | None:
    """Offer the nearest legal name, for the message only; the operator decides."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain)).lstrip("0123456789-")[:LONGEST].rstrip("-")
    return slug if len(slug) >= SHORTEST and problem(slug) is None else None


def shown(name: str) -> str:
    """Quote ``name`` for a message, shortened, with control and direction characters escaped."""
    return ascii(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")
