"""The key of a store of secrets: it seals, opens and tells values apart without showing them.

AES-256-GCM rather than Fernet, because it takes associated data: whose secret it is and what it is
called are part of what is proved, so that no ciphertext can be moved to another seat or name.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from workshop.errors import InputError

BYTES = 32
_NONCE = 12


class WrongSeal(Exception):
    """A sealed value was altered, moved, or sealed with another key."""


class Key:
    """256 bits; each use has a key of its own, made from them."""

    def __init__(self, raw: bytes) -> None:
        self._aead = AESGCM(hmac.digest(raw, b"workshop secrets: seal", "sha256"))
        self._marker = hmac.digest(raw, b"workshop secrets: fingerprint", "sha256")
        self.id = hmac.digest(raw, b"workshop secrets: id", "sha256").hex()[:8]
        """Names the key in the store and in messages."""

    def seal(self, value: bytes, about: str) -> str:
        """Encrypt ``value``; it can only be opened as ``about`` the same thing."""
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._aead.encrypt(nonce, value, about.encode())).decode()

    def open(self, sealed: str, about: str) -> bytes:
        """Decrypt what :meth:`seal` made.

        Raises:
            WrongSeal: it was altered, or is not about this.

        """
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._aead.decrypt(raw[:_NONCE], raw[_NONCE:], about.encode())
        except (InvalidTag, ValueError) as exc:
            raise WrongSeal from exc

    def fingerprint(self, value: bytes, about: str) -> str:
        """Name a value: who has the key can tell whether it changed, nobody can guess it."""
        return hmac.digest(self._marker, about.encode() + b"\0" + value, "sha256").hex()


def read_key(text: str, place: str) -> Key:
    """Read a key in base64, of either alphabet.

    Raises:
        InputError: it is not 256 bits in base64; the message never quotes it.

    """
    plain = text.strip().translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != BYTES:
        raise InputError(
            f"{place} is not a key: expected {BYTES} bytes in base64",
            hint="bring the right one back from your backup; `openssl rand -base64 32` makes a new "
            "one, which opens no store that is there already",
        )
    return Key(raw)


def new_key() -> str:
    """Make a key, as text."""
    return base64.b64encode(os.urandom(BYTES)).decode()
