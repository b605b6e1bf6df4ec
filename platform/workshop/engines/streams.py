"""What the engine goes on telling: events of containers, and a log as it grows."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from workshop import labels
from workshop.engines.base import Event
from workshop.engines.connection import BROKEN_OFF, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docker.types import CancellableStream

T = TypeVar("T")

ACTIONS = (
    "create",
    "start",
    "die",
    "stop",
    "restart",
    "kill",
    "oom",
    "pause",
    "unpause",
    "destroy",
)
"""What may change how a container fares; health checks and commands inside do not."""


class DockerStream(Generic[T]):
    """A :class:`~workshop.engines.base.Stream` of the Docker engine."""

    def __init__(
        self,
        source: CancellableStream[bytes],
        read: Callable[[CancellableStream[bytes]], Iterable[T]],
    ) -> None:
        self._source = source
        self._read = read
        self._closed = self._read_from = False

    def __iter__(self) -> Iterator[T]:
        self._read_from = True
        try:
            with mapped():
                yield from self._read(self._source)
        except BaseException:
            # What a reader meets whose socket was closed under it, is no fault.
            if not self._closed:
                raise
        finally:
            self._release()

    def close(self) -> None:
        """End it; whoever reads gets nothing further. May be repeated, from any thread."""
        self._closed = True
        with contextlib.suppress(AttributeError, ValueError, *BROKEN_OFF):
            self._source.close()
        if not self._read_from:
            self._release()

    def _release(self) -> None:
        """Give the connection back; the SDK has no word for that."""
        source: Any = self._source
        with contextlib.suppress(*BROKEN_OFF):
            source._response.close()  # noqa: SLF001


def events(source: CancellableStream[bytes]) -> Iterator[Event]:
    """Read the engine's events of containers."""
    buffer = b""
    for chunk in source:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in filter(None, lines):
            yield _event(json.loads(line))


def stamped(source: CancellableStream[bytes]) -> Iterator[tuple[str, str]]:
    """Read a log whose lines begin with the time the engine took them at."""
    buffer = b""
    for chunk in source:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            stamp, _, text = line.decode("utf-8", "replace").partition(" ")
            yield stamp, text


def _event(raw: dict[str, Any]) -> Event:
    actor = raw.get("Actor") or {}
    marks = actor.get("Attributes") or {}
    code = str(marks.get("exitCode", ""))
    return Event(
        container=str(actor.get("ID", "")),
        action=str(raw.get("Action", "")),
        role=labels.role_of(marks),
        key=str(marks.get(labels.PARTICIPANT, "")),
        exit_code=int(code) if code.isdecimal() else None,
    )
