"""What the services share: how they end."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from workshop import serving

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Impatient(uvicorn.Server):
    """Is told to stop before uvicorn has any handler of its own."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Be told, then serve."""
        os.kill(os.getpid(), signal.SIGTERM)
        super().run(sockets)


@pytest.fixture
def handler() -> Iterator[None]:
    """Give the process its own handler back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Be an app."""
    del receive, send
    assert scope["type"] == "lifespan"
    raise RuntimeError


@pytest.mark.usefixtures("handler")
def test_service_that_is_told_to_stop_before_it_serves_ends() -> None:
    """Docker's stop may come in its first moment, and is sent once."""
    server = Impatient(uvicorn.Config(nothing, **serving.SETTINGS))
    late: list[None] = []

    def rescue() -> None:
        late.append(None)
        server.should_exit = True

    timer = threading.Timer(15, rescue)
    timer.start()
    serving.run(server, [serving.bind("127.0.0.1:0")])
    timer.cancel()
    assert not late
