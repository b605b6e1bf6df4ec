"""The last lines of those seats whose logs somebody looks at, written down while they do."""

from __future__ import annotations

import itertools
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from workshop.board import shown, wishes
from workshop.board.shown import LogTail
from workshop.errors import EngineError, NotFound
from workshop.names import PATTERN
from workshop.serving import replace_whole
from workshop.watching.files import make_open

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.engines.base import Engine

READ_SECONDS = 1.0
"""Between two readings of one log."""
KEPT_SECONDS = 60.0
"""How long a log that nobody looks at any more stays written."""
_LONGEST_LINE = 2000
_MOST = 2000
"""Names that are looked at: the directory is another's to write."""
_AT_ONCE_SECONDS = 0.1
"""So long one step reads at most; whose log was read longest ago comes first."""


class Logs:
    """Writes ``shown/logs/NAME.json`` for every ``kept/wanted/NAME`` that was touched lately.

    Args:
        board: the board's directory below the state directory.
        engine: who keeps the logs.

    """

    def __init__(self, board: Path, engine: Engine) -> None:
        self._wanted = board / "kept" / wishes.WANTED
        self._shown = board / "shown" / shown.LOGS
        self._engine = engine
        self._read: dict[str, float] = {}
        self._lines: dict[str, tuple[str, ...]] = {}
        for path in self._shown.glob("*.json"):
            # What another life left.
            path.unlink(missing_ok=True)

    def step(self, containers: Mapping[str, str], now: float) -> bool:
        """Write what is due; whether anybody looks. ``containers``: ids by the seat's name.

        Raises:
            OSError: the disk is full, or the directory cannot be written.
            WorkshopError: the engine cannot be asked.

        """
        touched = self._touched()
        for name in [name for name in self._lines if now - touched.get(name, 0.0) > KEPT_SECONDS]:
            self._forget(name)
        wanted = [name for name, at in touched.items() if abs(now - at) < wishes.WANTED_SECONDS]
        self._read_some([name for name in wanted if name in containers], containers, now)
        return bool(wanted)

    def _touched(self) -> dict[str, float]:
        """Say whose logs were wanted, and when that was last said, in seconds since 1970."""
        found = {}
        with suppress(OSError), os.scandir(self._wanted) as entries:
            for entry in itertools.islice(entries, _MOST):
                if PATTERN.fullmatch(entry.name):
                    with suppress(OSError):
                        found[entry.name] = entry.stat(follow_symlinks=False).st_mtime
        return found

    def _read_some(self, names: list[str], containers: Mapping[str, str], now: float) -> None:
        end = time.monotonic() + _AT_ONCE_SECONDS
        for name in sorted(names, key=lambda name: self._read.get(name, 0.0)):
            if 0 <= now - self._read.get(name, 0.0) < READ_SECONDS:
                continue
            if time.monotonic() > end:
                return
            self._read[name] = now
            self._write(name, containers[name], now)

    def _write(self, name: str, container: str, now: float) -> None:
        lines = self._tail(container)
        if lines is None or lines == self._lines.get(name):
            return
        text = json.dumps(asdict(LogTail(name, now, lines))) + "\n"
        make_open(self._shown)
        replace_whole(self._shown / f"{name}.json", text)
        self._lines[name] = lines

    def _tail(self, container: str) -> tuple[str, ...] | None:
        """Read the last lines of a container; ``None`` for one that has just gone."""
        try:
            found = self._engine.logs(container, tail=shown.LOG_LINES)
            return tuple(line.rstrip("\r")[:_LONGEST_LINE] for line in found)
        except NotFound:
            return None
        except EngineError as exc:
            return (f"(the log cannot be read: {exc.message})",)

    def _forget(self, name: str) -> None:
        """Remove a log that nobody looks at any more."""
        with suppress(OSError):
            (self._shown / f"{name}.json").unlink()
        del self._lines[name]
        self._read.pop(name, None)
