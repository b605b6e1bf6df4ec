"""Who is logged in: random ids that browsers hold, of which only hashes are kept.

A participant's key is in no session. The browser that entered it keeps it for its own pages (in
``localStorage``, until somebody leaves); here is its hash alone, as the board is told it. So
whoever reads the board's memory or files learns no key, and no cipher is needed in the image.

The file is read once, at the start, so that a restarted board knows everybody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop.board.config import LINKS, hashed
from workshop.serving import replace_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.board.view import View

FILE = "sessions.json"
USED = "used"
SECONDS = 12 * 3600.0
"""How long somebody stays logged in."""
_MOST = 20
"""Sessions of one person; beyond that the oldest ends. Each has a share of their own, so that
whoever enters again and again logs nobody else out."""
_ID_BYTES = 32


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in."""

    name: str
    """The participant's; empty for the instructor."""
    ends: float
    """In seconds since 1970."""
    key_hash: str = ""
    """Of the key that was entered, as the configuration has it."""
    csrf: str = ""
    """What every POST of this session carries; not kept, it follows from the id."""
    id_hash: str = ""
    """What the session is kept under."""

    def holds(self, view: View) -> bool:
        """Whether the key that was entered is still the one; an instructor entered none."""
        if not self.name:
            return True
        person = view.person(self.name)
        known = person.key_hash if person else ""
        return bool(known) and hmac.compare_digest(known, self.key_hash)


class Sessions:
    """Everybody who is logged in."""

    def __init__(self, kept: Path, told: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = kept / FILE
        self._used = kept / USED
        self._links = told / LINKS
        self._clock = clock
        self._sessions = self._read()

    def begin(self, name: str = "", key_hash: str = "") -> str:
        """Log somebody in and return the id for the browser.

        Raises:
            OSError: it cannot be kept.

        """
        now = self._clock()
        session_id = secrets.token_urlsafe(_ID_BYTES)
        current = {key: found for key, found in self._sessions.items() if found.ends > now}
        kept_as = hashed(session_id)
        current[kept_as] = Session(name, now + SECONDS, key_hash, id_hash=kept_as)
        own = [key for key, found in current.items() if found.name == name]
        for oldest in own[:-_MOST]:
            del current[oldest]
        self._save(current)
        return session_id

    def find(self, session_id: str) -> Session | None:
        """Find the session of a browser that sends ``session_id``."""
        found = self._sessions.get(hashed(session_id)) if session_id else None
        if found is None or found.ends <= self._clock():
            return None
        return replace(found, csrf=_csrf(session_id))

    def lasts(self, session: Session) -> bool:
        """Whether somebody who was logged in is so still."""
        return session.id_hash in self._sessions and session.ends > self._clock()

    def end(self, session: Session) -> None:
        """Log somebody out; where that cannot be kept, until the board is started again."""
        kept = {**self._sessions}
        kept.pop(session.id_hash, None)
        # Out is out, also on a full disk.
        self._sessions = kept
        with suppress(OSError):
            self._save(kept)

    def spend(self, word: str) -> bool:
        """Use the word of a one-time link; it is good once, until it ends.

        Raises:
            OSError: that it is used cannot be kept.

        """
        name = hashed(word)
        try:
            ends = float((self._links / name).read_text("ascii"))
        except (OSError, ValueError):
            return False
        # Written as "not at least", so that an end which is no number is over.
        if not ends >= self._clock():
            return False
        self._used.mkdir(exist_ok=True)
        try:
            # Two who come with the same word at the same time cannot both make the file.
            (self._used / name).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        self._forget_used()
        return True

    def _forget_used(self) -> None:
        """Drop the marks of links that are gone, and cannot be used any more."""
        for mark in self._used.iterdir():
            if not (self._links / mark.name).exists():
                mark.unlink(missing_ok=True)

    def _save(self, sessions: dict[str, Session]) -> None:
        content = {
            key: {"name": found.name, "ends": found.ends, "key_hash": found.key_hash}
            for key, found in sessions.items()
        }
        replace_whole(self._file, json.dumps(content) + "\n", mode=0o600)
        self._sessions = sessions

    def _read(self) -> dict[str, Session]:
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            return {
                key: Session(str(item["name"]), float(item["ends"]), str(item["key_hash"]), "", key)
                for key, item in raw.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _csrf(session_id: str) -> str:
    return hmac.new(session_id.encode(), b"workshop board csrf", hashlib.sha256).hexdigest()
