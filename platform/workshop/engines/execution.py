"""Run a command inside a container, and never wait for an engine that says nothing more.

The SDK's own call listens without any bound, and takes a connection that breaks off for the end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from workshop.engines.connection import CALL_SECONDS, again
from workshop.errors import EngineUnreachable

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    import docker

_HEAD = 8
_PAUSE = 0.05


def run(api: docker.APIClient, container_id: str, command: Sequence[str]) -> tuple[int, str]:
    """Run ``command``; its exit status and what it wrote.

    Raises:
        EngineUnreachable: the engine was silent for too long, or broke off while it ran.

    """
    job = str(api.exec_create(container_id, list(command))["Id"])
    # An engine starts one job once, whatever it is asked, so asking twice does no harm.
    output = again(lambda: _listen(api, job), lambda: b"" if _has_begun(api, job) else None)
    return _exit_code(api, job), output.decode("utf-8", "replace")


def _listen(api: docker.APIClient, job: str) -> bytes:
    stream: Any = api.exec_start(job, socket=True)
    # Over a unix socket the SDK hands out a file object around the socket.
    connection: socket.socket = getattr(stream, "_sock", stream)
    connection.settimeout(CALL_SECONDS)
    try:
        heard = b""
        while len(head := _read(connection, _HEAD)) == _HEAD:
            heard += _read(connection, int.from_bytes(head[4:], "big"))
        return heard
    finally:
        # The SDK hangs the answer on its socket; closing only the socket would leave the rest.
        stream._response.close()  # noqa: SLF001
        connection.close()


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def _has_begun(api: docker.APIClient, job: str) -> bool:
    state = api.exec_inspect(job)
    return bool(state["Running"] or state["ExitCode"] is not None)


def _exit_code(api: docker.APIClient, job: str) -> int:
    """Ask how it ended; one that was cut off goes on by itself and is waited for."""
    deadline = time.monotonic() + CALL_SECONDS
    while time.monotonic() < deadline:
        code = api.exec_inspect(job)["ExitCode"]
        if code is not None:
            return int(code)
        time.sleep(_PAUSE)
    raise EngineUnreachable(
        "the Docker engine broke off while a command ran in a container",
        hint="look at its log: journalctl -u docker",
    )
