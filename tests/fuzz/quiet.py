"""Hears of everything a piece of code does to the machine: files written, programs run, calls made."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEDS = frozenset(
    [
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.symlink",
        "os.link",
        "os.chmod",
        "os.chown",
        "os.truncate",
        "os.utime",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.setxattr",
        "os.mkfifo",
        "subprocess.Popen",
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "shutil.rmtree",
        "shutil.move",
    ]
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_heard: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is None:
        return
    if event in _DEEDS:
        _heard.append(f"{event} {arguments[:1]}")
    # Python keeps what it compiles of a module that is imported for the first time.
    elif event == "open" and int(arguments[2] or 0) & _WRITING and ".pyc" not in str(arguments[0]):
        _heard.append(f"{event} {arguments[0]} for writing")


sys.addaudithook(_listen)


@contextlib.contextmanager
def deeds() -> Iterator[list[str]]:
    """Collect what is done to the machine until the block ends."""
    global _heard  # noqa: PLW0603 - a hook cannot be taken off again, only told to be quiet
    _heard = heard = []
    try:
        yield heard
    finally:
        _heard = None
