"""What seats run, remembered: one file, changed under the class's lock."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from workshop import held as holds
from workshop.deploys import current
from workshop.deploys.current import SeatDeploys
from workshop.deploys.diagnosis.candidate import Superseded
from workshop.errors import Locked
from workshop.lock import apply_lock
from workshop.state import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

_PAUSE = 0.02


class Records:
    """Reads and writes ``current.json``. Safe to be used by several threads."""

    def __init__(self, directory: Path, lock: Path) -> None:
        self._directory = directory
        self._lock_path = lock
        self._lock = threading.Lock()
        self._one_mover = threading.Lock()
        self._held = current.load(directory)

    def of(self, seat: str) -> SeatDeploys:
        """Say what one seat runs and could go back to."""
        with self._lock:
            return self._held.get(seat, SeatDeploys())

    def everybody(self) -> current.Current:
        """Say the same of every seat with deploys; another object whenever that has changed."""
        with self._lock:
            return self._held

    def begin(self, seat: str) -> int:
        """Count one more deploy of a seat; its number."""
        with self._lock:
            held = self._held.get(seat, SeatDeploys())
            self._write(seat, replace(held, count=held.count + 1))
            return held.count + 1

    def save(self, seat: str, held: SeatDeploys) -> None:
        """Remember what one seat runs. Only while :meth:`alone`."""
        with self._lock:
            self._write(seat, held)

    def retain(self, seats: Collection[str]) -> None:
        """Forget seats that are no longer in the class; their names may be given to others."""
        with self._lock:
            held = {name: item for name, item in self._held.items() if name in seats}
            if held != self._held:
                self._replace(held)

    def images(self) -> frozenset[str]:
        """List every image that something runs or could go back to."""
        with self._lock:
            everything = list(self._held.values())
        return frozenset(
            item.image for held in everything for item in (held.live, *held.kept) if item
        )

    def greens(self) -> frozenset[str]:
        """List the seats whose route leads to their green address."""
        with self._lock:
            return frozenset(name for name, held in self._held.items() if held.is_green)

    def is_held(self, seat: str) -> bool:
        """Whether the instructor stopped a seat, so that nothing may start there."""
        return seat in holds.load(self._lock_path.parent)

    @contextmanager
    def alone(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the class's lock for a moment, waiting for a command that is at work.

        Raises:
            Superseded: ``stop`` says so while waiting.

        """
        with self._one_mover:
            while True:
                try:
                    with apply_lock(self._lock_path, seconds=0):
                        yield
                        return
                except Locked:
                    if stop():
                        raise Superseded("a newer version is wanted") from None
                    time.sleep(_PAUSE)

    def _write(self, seat: str, held: SeatDeploys) -> None:
        self._replace({**self._held, seat: held})

    def _replace(self, held: current.Current) -> None:
        write_atomically(self._directory / current.FILE, current.dump(held))
        self._held = held
