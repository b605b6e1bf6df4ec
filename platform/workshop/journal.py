"""What the platform did, one line of JSON for each thing: ``.workshop/journal.jsonl``.

The command and ``serve`` write it, ``workshop journal`` reads it. It is a record for people;
nothing is decided by it, so a disk that is full costs a line and never a command.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FILE = "journal.jsonl"
LARGEST = 5_000_000
"""Bytes after which a new file is begun. The one before is kept as ``journal.jsonl.1``."""
_LONGEST = 8192
"""Bytes of one line, longer than any event with the names of 500 seats in it."""
_EARLIER = f"{FILE}.1"
_KEY = re.compile(r"\bwk-[A-Za-z0-9_-]{20,}")


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    time: float
    """Seconds since 1970."""
    event: str
    facts: Mapping[str, Any]


def note(home: Path, event: str, **facts: object) -> None:
    """Write that ``event`` happened, with its facts.

    Nothing is raised: where the file cannot be written, the line is lost.

    Args:
        home: the state directory.
        event: what happened, in a few stable words such as ``restart`` or ``wish``.
        facts: what ``json`` can write, or anything with words. No key, no word of a conversation
            and no line of a build is one; what looks like a participant's key is blotted out.

    """
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    said = {"time": f"{stamp}.{int(now * 1000) % 1000:03d}Z", "event": event, **facts}
    line = (without_keys(json.dumps(said, default=str)) + "\n").encode()
    if len(line) > _LONGEST:
        return note(home, event, shortened=True)
    with contextlib.suppress(OSError), _opened(home / FILE) as file:
        _append(file, line)
    return None


def read(home: Path) -> list[Entry]:
    """Read everything that is kept, oldest first; what is garbled is left out.

    A file that cannot be read counts as empty.
    """
    found: list[Entry] = []
    for path in (home / _EARLIER, home / FILE):
        with contextlib.suppress(OSError):
            found += parse(path.read_bytes().splitlines())
    return found


class Follower:
    """Reads what is written from now on."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file = self._place = 0
        with contextlib.suppress(OSError):
            seen = (home / FILE).stat()
            self._file, self._place = seen.st_ino, seen.st_size

    def new(self) -> list[Entry]:
        """Read what was written since the last call."""
        found: list[Entry] = []
        with contextlib.suppress(OSError):
            if (self._home / FILE).stat().st_ino != self._file:
                # The last lines of the file before this one.
                with contextlib.suppress(OSError):
                    if (self._home / _EARLIER).stat().st_ino == self._file:
                        found += self._rest(self._home / _EARLIER)
                self._file, self._place = (self._home / FILE).stat().st_ino, 0
            found += self._rest(self._home / FILE)
        return found

    def _rest(self, path: Path) -> list[Entry]:
        with path.open("rb") as file:
            file.seek(self._place)
            raw = file.read()
        whole = raw[: raw.rfind(b"\n") + 1]
        self._place += len(whole)
        return parse(whole.splitlines())


def parse(lines: Iterable[str | bytes]) -> list[Entry]:
    """Read lines of JSON that have a time and an event, as services' logs do; skip all others.

    A time is ISO 8601 with its zone, or seconds since 1970.
    """
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, AttributeError, OverflowError):
            raw = json.loads(line)
            moment, event = raw.pop("time", None), raw.pop("event", None)
            seconds = (
                datetime.fromisoformat(moment).timestamp()
                if isinstance(moment, str)
                else float(moment)
            )
            if isinstance(event, str) and math.isfinite(seconds):
                found.append(Entry(seconds, event, raw))
    return found


def without_keys(text: str) -> str:
    """Blot out what looks like a participant's key."""
    return _KEY.sub("wk-…", text)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open the file for one writer at a time; begin a new one where it is large enough."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _give_back(path.parent, file)
            if os.fstat(file).st_size < LARGEST and _is(path, file):
                yield file
                return
            # Whoever waited for the lock may find that the file was put aside meanwhile.
            if _is(path, file):
                path.replace(path.with_name(_EARLIER))
        finally:
            os.close(file)


def _give_back(home: Path, file: int) -> None:
    """Leave the file to whom the state directory belongs: a command may be run by root."""
    owner = home.stat()
    if os.geteuid() == 0 and os.fstat(file).st_uid != owner.st_uid:
        os.fchown(file, owner.st_uid, owner.st_gid)


def _is(path: Path, file: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


def _append(file: int, line: bytes) -> None:
    """Add one line whole, or nothing of it: a disk that fills up takes the beginning of a line."""
    whole = os.fstat(file).st_size
    with contextlib.suppress(OSError):
        if os.write(file, line) == len(line):
            return
    os.ftruncate(file, whole)
