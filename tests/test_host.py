"""What is asked of the server itself."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from workshop import host

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("is_free", [host.port_is_free, host.loopback_is_free])
def test_port_that_several_look_at_at_once_is_free_for_each(is_free: Callable[[int], bool]) -> None:
    """Looking takes nothing: a command beside this one must not be told of another program."""
    port = free_port()
    with ThreadPoolExecutor(8) as people:
        assert all(people.map(is_free, [port] * 1000))


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "127.0.0.9"])
def test_port_somebody_listens_on_is_not_free(address: str) -> None:
    """On whichever address: the edge listens on all of them."""
    port = free_port()
    with socket.create_server((address, port)):
        assert not host.port_is_free(port)
    assert host.port_is_free(port)


def test_loopback_port_is_taken_by_who_listens_everywhere_alone() -> None:
    """A workshop's parts each have a loopback address of their own."""
    port = free_port()
    with socket.create_server(("0.0.0.0", port)):
        assert not host.loopback_is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert host.loopback_is_free(port)
