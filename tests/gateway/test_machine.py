"""The machine's own addresses: the edge is known by them, and a seat never is."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from workshop.gateway.machine import FRESH_SECONDS, Machine

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """\
Main:
  +-- 0.0.0.0/0 3 0 4
        |-- 10.86.8.0
           /22 link UNICAST
        |-- 10.86.8.1
           /32 host LOCAL
        |-- 10.86.11.255
           /32 link BROADCAST
        |-- 192.0.2.2
           /32 link BROADCAST
           /32 host LOCAL
        |-- 127.0.0.0
           /8 host LOCAL
"""


def test_addresses_of_the_machine_are_its_own(tmp_path: Path) -> None:
    """The bridge's, and the one the engine's masquerading puts in its place."""
    (tmp_path / "trie").write_text(TABLE)
    machine = Machine(tmp_path / "trie")

    assert "10.86.8.1" in machine
    assert "192.0.2.2" in machine


def test_addresses_of_seats_and_networks_are_not(tmp_path: Path) -> None:
    """A seat that forges the edge's header is not believed."""
    (tmp_path / "trie").write_text(TABLE)
    machine = Machine(tmp_path / "trie")

    assert all(address not in machine for address in ("10.86.8.2", "10.86.8.0", "10.86.11.255", ""))


def test_address_that_comes_later_is_seen_within_seconds(tmp_path: Path) -> None:
    """A bridge of another class does not need a restart of this one's gateway."""
    now = [0.0]
    (tmp_path / "trie").write_text("")
    machine = Machine(tmp_path / "trie", lambda: now[0])
    assert "10.86.8.1" not in machine
    (tmp_path / "trie").write_text(TABLE)
    assert "10.86.8.1" not in machine
    now[0] += FRESH_SECONDS

    assert "10.86.8.1" in machine


def test_this_machines_kernel_is_understood() -> None:
    """The address by which this machine reaches the world is its own; a neighbour's is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        mine = probe.getsockname()[0]

    assert mine in Machine()
    assert "127.0.0.1" in Machine()
    assert "198.51.100.1" not in Machine()
