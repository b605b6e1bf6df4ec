"""Who reaches whom, and what, in every egress mode: real seats, a world made for it.

The class, the probe and the table are those of the test; here there are thirty seats, and the cost
of the rules is measured with three hundred.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench.torture.figure import Figure
from tests.faults import test_wall, town

from workshop import resources
from workshop.wall.options import Mode
from workshop.wall.rules import Shard, Wall

if TYPE_CHECKING:
    from collections.abc import Iterator

SEATS = 30
MANY = 300
CONNECTIONS = 3000
MOST_MICROSECONDS = 50
_AT_ONCE = 4
_CONNECT = """
import socket, sys, time
begun = time.process_time()
for _ in range(int(sys.argv[2])):
    socket.create_connection((sys.argv[1], 8011), 5).close()
print((time.process_time() - begun) / int(sys.argv[2]) * 1e6)
"""
_LISTEN = """
import socket
s = socket.socket(); s.bind(("", 8011)); s.listen(4096); print("ready", flush=True)
while True: s.accept()[0].close()
"""


def measure() -> Iterator[Figure]:
    """Yield the figures."""
    with (
        tempfile.TemporaryDirectory() as room,
        tempfile.TemporaryDirectory() as place,
        town.town(Path(room)) as made,
    ):
        made.roster = test_wall.write_class(Path(place), SEATS)
        made.engine.take_images(made.roster)
        said = made.workshop("provision")
        if made.status:
            raise RuntimeError(said[-500:])
        yield from _class(made)
        made.workshop("teardown", "--yes")
    yield _cost()


def _class(made: town.Town) -> Iterator[Figure]:
    there = test_wall.places(made)
    addresses = sorted(address for _, address in there.values())

    def reached(name: str) -> list[str]:
        container, own = there[name]
        others = [address for address in addresses if address != own]
        found: list[str] = json.loads(made.inside(container, test_wall.NEIGHBOURS, *others))
        return [f"{name} reaches {address}" for address in found]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        opened = [line for lines in pool.map(reached, there) for line in lines]
    pairs = len(there) * (len(there) - 1)
    yield Figure(
        "seats that reach another, 30 x 30",
        f"0 of {SEATS * (SEATS - 1)}",
        f"{len(opened)} of {pairs}",
        ok=not opened and len(there) == SEATS,
    )
    answers = made.engine.who_answers(test_wall.PORT, there)
    right = sum(answers[name] == name for name in there)
    yield Figure("seats visitors reach meanwhile", str(SEATS), str(right), ok=right == SEATS)
    cells = len(Mode) * (len(test_wall.TABLE.splitlines()) - 2)
    exact = test_wall.table(made) == test_wall.TABLE
    shown = "exact" if exact else "another table"
    yield Figure(f"table of 4 modes, {cells} cells", "exact", shown, ok=exact)


def _cost() -> Figure:
    """Compare a new connection of the last of 300 seats with and without the rules before it."""
    first = ipaddress.IPv4Address("10.86.8.2")
    modes = (Mode.OPEN, Mode.NONE)
    # Every second one differs from its neighbour, so that none shares a rule.
    seats = [(str(first + n), modes[n % 2]) for n in range(2 * MANY)]
    last = str(first + 2 * MANY - 2)
    wall = Wall("cost", "wspc057c057", (Shard("10.86.8.1", tuple(seats)),), gateway_port=8011)
    with tempfile.TemporaryDirectory() as directory, _two_namespaces("10.86.8.1", last) as enter:
        rules = Path(directory, "rules")
        rules.write_text(wall.rules, "utf-8")
        script = resources.images() / "wall" / "wall"
        bare = _microseconds(enter[1])
        subprocess.run([*enter[0], "sh", str(script), "apply", str(rules)], check=True)
        walled = _microseconds(enter[1])
    name = f"new connection behind the rules of {MANY} seats"
    measured = f"{bare:.0f} us without, {walled:.0f} us with"
    wanted = f"at most {MOST_MICROSECONDS} us more"
    return Figure(name, wanted, measured, ok=walled - bare <= MOST_MICROSECONDS)


@contextlib.contextmanager
def _two_namespaces(server: str, seat: str) -> Iterator[tuple[list[str], list[str]]]:
    """Make a server with something that listens, and a seat at the other end of a cable."""
    names = f"rc{os.getpid()}a", f"rc{os.getpid()}b"
    enter = tuple(["nsenter", f"--net=/run/netns/{name}"] for name in names)
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        ends = (("wspc057c057o0", names[0], server), ("seat", names[1], seat))
        peer = ["type", "veth", "peer", "name", "seat", "netns", names[1]]
        subprocess.run(["ip", "-n", names[0], "link", "add", ends[0][0], *peer], check=True)
        for link, name, address in ends:
            subprocess.run(
                ["ip", "-n", name, "address", "add", f"{address}/21", "dev", link], check=True
            )
            subprocess.run(["ip", "-n", name, "link", "set", link, "up"], check=True)
        listening = [*enter[0], sys.executable, "-c", _LISTEN]
        with subprocess.Popen(listening, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield enter[0], enter[1]
            finally:
                process.kill()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _microseconds(enter: list[str]) -> float:
    """Take the best of five rounds, in processor time: others may use the machine."""
    command = [*enter, sys.executable, "-c", _CONNECT, "10.86.8.1", str(CONNECTIONS // 5)]
    rounds = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(5)
    )
    return min(map(float, rounds))
