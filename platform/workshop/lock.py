"""One apply at a time: an advisory lock on a file, released by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from workshop.errors import InputError, Locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PATIENCE = 2.0
"""Seconds a command waits: the server of deploys holds the lock for a moment at a time."""
_PAUSE = 0.02


@contextmanager
def apply_lock(path: Path, seconds: float = PATIENCE) -> Iterator[None]:
    """Hold the lock at ``path`` for the length of the block.

    Only the flock counts, so a dead holder leaves nothing stale. The process id in the file
    serves the message of whoever has to wait.

    Raises:
        Locked: somebody else holds it for longer than ``seconds``.
        InputError: the state directory cannot be written.

    """
    deadline = time.monotonic() + seconds
    try:
        handle = _patiently(path, deadline)
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror}") from exc
    try:
        # A full disk may refuse the number; the lock holds all the same, and teardown makes room.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _patiently(path: Path, deadline: float) -> int:
    while True:
        try:
            return _acquire(path)
        except Locked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)


def _acquire(path: Path) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # A teardown that has just ended took the directory along.
            path.parent.mkdir(mode=0o700, exist_ok=True)
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Teardown unlinks the file while it holds the lock: a lock on the old file is none.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise Locked(
                f"another workshop command is at work here (process {holder})",
                hint="wait until it is done and try again",
            ) from None
        os.close(handle)
