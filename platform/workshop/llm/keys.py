"""Virtual keys: one per participant, made from the run's secret, never written down.

The gateway is given hashes alone. Whoever holds the state directory can make every key again, so
the command can show one and hand it to a new container; a rotation changes one number.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "wk-"


def derive(secret: str, participant: str, serial: int) -> str:
    """Make the key of ``participant``: ``wk-`` and 256 bits.

    Args:
        secret: the run's secret in hexadecimal, 256 bits.
        participant: whose key.
        serial: how many keys this participant had before.

    """
    message = f"workshop virtual key\0{participant}\0{serial}".encode()
    digest = hmac.digest(bytes.fromhex(secret), message, "sha256")
    return PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def hashed(key: str) -> str:
    """Hash a key the way the gateway compares it; 256 random bits need no salt."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_id(participant: str, serial: int) -> str:
    """Name a key in messages and logs, where the key itself must not stand."""
    return f"{participant}-{serial + 1}"
