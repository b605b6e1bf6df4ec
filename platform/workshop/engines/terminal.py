"""Run a command inside a container on the operator's own terminal."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    import docker

_CHUNK = 64 * 1024


def attach(api: docker.APIClient, container_id: str, command: Sequence[str]) -> int:
    """Run ``command``; with a terminal on both ends when standard input is one."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    job = api.exec_create(container_id, list(command), stdin=interactive, tty=interactive)["Id"]
    if interactive:
        with _raw_terminal():
            _pump(api, job)
    else:
        for out, err in api.exec_start(job, stream=True, demux=True):
            _write(sys.stdout.buffer, out)
            _write(sys.stderr.buffer, err)
    return int(api.exec_inspect(job)["ExitCode"])


def _pump(api: docker.APIClient, job: str) -> None:
    stream: Any = api.exec_start(job, tty=True, socket=True)
    # Over a unix socket the SDK hands out a file object around the socket.
    connection: socket.socket = getattr(stream, "_sock", stream)
    size = shutil.get_terminal_size()
    api.exec_resize(job, height=size.lines, width=size.columns)
    with selectors.DefaultSelector() as selector:
        keyboard = sys.stdin.fileno()
        selector.register(connection, selectors.EVENT_READ)
        selector.register(keyboard, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == keyboard:
                    connection.sendall(os.read(keyboard, _CHUNK))
                    continue
                data = connection.recv(_CHUNK)
                if not data:
                    return
                _write(sys.stdout.buffer, data)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setraw(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _write(stream: Any, data: bytes | None) -> None:  # noqa: ANN401 - any binary stream
    if data:
        stream.write(data)
        stream.flush()
