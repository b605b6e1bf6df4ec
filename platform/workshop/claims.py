"""Claim codes: a word short enough to type, exchanged once for a participant's key.

A code follows from the run's secret, as keys do, so cards can be printed again and nothing but the
fact that a code was used has to be remembered. That fact is a file beside the board's others:

    board/shown/claimed.json   participants whose code was used, and when

"""

from __future__ import annotations

import hmac
import json
import math
import time
from typing import TYPE_CHECKING

from workshop.serving import replace_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "claimed.json"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no I, L, O or U, which are misread (https://www.crockford.com/base32.html)."""
_LENGTH = 8
"""Letters of a code: 40 bits, enough because the board bounds the guesses."""
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


def code(secret: str, name: str) -> str:
    """Make the claim code of ``name``, such as ``K7QX-3MPD``.

    Args:
        secret: the run's secret in hexadecimal, 256 bits.
        name: whose code.

    """
    message = f"workshop claim code\0{name}".encode()
    digest = hmac.digest(bytes.fromhex(secret), message, "sha256")
    # 256 is a multiple of 32: each letter is as likely as any other.
    letters = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_LENGTH])
    return f"{letters[: _LENGTH // 2]}-{letters[_LENGTH // 2 :]}"


def normal(text: str) -> str:
    """Bring what somebody typed into the one form that is hashed: ``k7qx 3mpd`` is ``K7QX3MPD``."""
    return text.upper().translate(_MISREAD)


def claimed(shown: Path) -> Mapping[str, float]:
    """Read whose code was used, and when, in seconds since 1970; empty where nobody's was.

    A file that cannot be read counts as empty: a code that works twice is better than a room full
    of latecomers whose codes are said to be used.
    """
    try:
        raw = json.loads((shown / FILE).read_text("utf-8"))
        found = {str(name): float(since) for name, since in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {name: since for name, since in found.items() if math.isfinite(since)}


def mark(shown: Path, name: str) -> None:
    """Note that the code of ``name`` was used. To be called under the class's lock.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    known = dict(claimed(shown))
    known.setdefault(name, time.time())
    replace_whole(shown / FILE, json.dumps(known) + "\n")
