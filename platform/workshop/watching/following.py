"""Following a stream of the engine on a thread of its own, and again after it ended."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Generic, TypeVar

from workshop.errors import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.engines.base import Stream

T = TypeVar("T")

PAUSE_SECONDS = 0.5
"""Before a stream that ended is opened again."""
_END_SECONDS = 5.0


class Follower(Generic[T]):
    """Hands on what a stream tells, until it is stopped.

    Args:
        name: of the thread.
        open_: opens the stream; ``None`` where there is nothing to follow just now.
        take: hears each item.

    """

    def __init__(
        self, name: str, open_: Callable[[], Stream[T] | None], take: Callable[[T], None]
    ) -> None:
        self._open = open_
        self._take = take
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._stream: Stream[T] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.trouble = ""
        """Why nothing can be followed right now; empty while all is well."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._ended.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow_once()
            except WorkshopError as exc:
                self.trouble = exc.message
            except Exception as exc:  # noqa: BLE001 - the engine's accident must not end the watch
                traceback.print_exc()
                self.trouble = f"{type(exc).__name__}: {exc}"
            self._ended.wait(PAUSE_SECONDS)

    def _follow_once(self) -> None:
        stream = self._open()
        self.trouble = ""
        if stream is None:
            return
        with self._lock:
            self._stream = stream
        try:
            if not self._ended.is_set():
                for item in stream:
                    self._take(item)
        finally:
            with self._lock:
                self._stream = None
            stream.close()
