"""A seat moves between its two addresses: at once, without a reload, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import lab as laboratory
import pytest

from workshop.proxy.switch import Switch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from lab import Lab

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

GREEN = "127.0.0.2"
NOBODY = "127.0.0.9"
MOVES = 50
WORD = re.compile(rb"data: (\w+) (\d+)\n")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run the edge in front of `ada`, who has two apps, and of two seats with one.

    Nobody listens at `eve`'s green address; `bob` has none.
    """
    directory = tmp_path_factory.mktemp("pair")
    with laboratory.apps(["blue", "bob", "eve"]) as ports:
        edge = laboratory.edge_for(
            {"ada": ports["blue"], "bob": ports["bob"], "eve": ports["eve"]}, directory
        )
        ada, bob, eve = edge.routes
        routes = (replace(ada, green=GREEN), bob, replace(eve, green=NOBODY))
        with (
            laboratory.apps([f"green@{GREEN}:{ports['blue']}"]),
            laboratory.running(replace(edge, routes=routes), directory) as started,
        ):
            yield started


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """Open a connection to the edge, and end it however the block ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@dataclass
class Stream:
    """One open event stream: whose words it carries, and whether any was lost."""

    words: set[bytes] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False

    async def listen(self, port: int, target: str) -> None:
        """Read events until cancelled."""
        async with connected(port) as (reader, writer):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while line := await reader.readline():
                if found := WORD.match(line):
                    self.words.add(found[1])
                    self.numbers.append(int(found[2]))
                    self.news.set()
        self.cut = True

    @property
    def whole(self) -> bool:
        """Whether every event arrived, in order, from one app."""
        unbroken = self.numbers == list(range(len(self.numbers)))
        return unbroken and len(self.words) == 1 and not self.cut


async def heard(streams: list[Stream]) -> None:
    """Wait until each stream has had one more event."""
    for stream in streams:
        stream.news.clear()
    async with asyncio.timeout(laboratory.PATIENCE):
        for stream in streams:
            await stream.news.wait()


@dataclass
class Visitor:
    """Asks one seat again and again, and counts who answered."""

    target: str
    words: Counter[bytes] = field(default_factory=Counter)
    failed: list[bytes] = field(default_factory=list)

    async def visit(self, port: int) -> None:
        """Ask over a kept connection until cancelled."""
        async with connected(port) as connection:
            while True:
                await self.ask(connection)

    async def ask(self, connection: Connection) -> bytes:
        """Ask once; return the first word of the answer."""
        reader, writer = connection
        writer.write(f"GET {self.target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reply = laboratory.parse(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(reply.header("content-length") or 0))
        word = body.split(b" ")[0]
        if reply.status == 200:
            self.words[word] += 1
        else:
            self.failed.append(reply.head)
        return word


async def late(pair: Lab) -> list[str]:
    """Move `ada` many times; say which of the requests after a move came to the old address."""
    found = []
    asked = [Visitor("/ada/a"), Visitor("/ada/%61")]
    async with connected(pair.port) as one, connected(pair.port) as other:
        for number in range(1, 2 * MOVES + 1):
            green = number % 2 == 1
            pair.switch.move("ada", green=green)
            words = [await v.ask(c) for v, c in zip(asked, (one, other), strict=True)]
            if words != [b"green" if green else b"blue"] * 2:
                found.append(f"move {number}: {words}")
    return found


async def move_to_and_fro(
    pair: Lab, streams: dict[str, list[Stream]], visitors: list[Visitor]
) -> list[str]:
    """Move `ada` while streams are open and requests come in; say what was late."""
    everyone = [stream for some in streams.values() for stream in some]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(visitor.visit(pair.port)) for visitor in visitors]
        for target, some in streams.items():
            tasks += [group.create_task(stream.listen(pair.port, target)) for stream in some]
        await heard(everyone)
        found = await late(pair)
        await heard(everyone)
        for task in tasks:
            task.cancel()
    return found


def test_seat_moved_a_hundred_times_loses_no_request_and_no_stream(pair: Lab) -> None:
    """Every request is answered, from the new address at once; every stream stays where it began."""
    ada, bob = [Stream() for _ in range(20)], [Stream() for _ in range(100)]
    of_ada = [Visitor(target) for target in ("/ada/x", "/ada/%78", "/ada/x?y=%2F")]
    of_bob = Visitor("/bob/x")
    streams = {"/ada/pulse": ada, "/bob/pulse": bob}
    missed = asyncio.run(move_to_and_fro(pair, streams, [*of_ada, of_bob]))

    assert missed == []
    assert [visitor.failed for visitor in (*of_ada, of_bob)] == [[]] * 4
    assert all(set(visitor.words) == {b"blue", b"green"} for visitor in of_ada)
    assert set(of_bob.words) == {b"bob"}
    assert all(stream.whole and stream.words == {b"blue"} for stream in ada)
    assert all(stream.whole and stream.words == {b"bob"} for stream in bob)


@pytest.mark.parametrize("target", ["/eve/x", "/eve/%78"])
def test_green_address_that_does_not_answer_shows_the_page_and_never_the_other_version(
    pair: Lab, target: str
) -> None:
    """What is not live is not shown, even where it would answer."""
    pair.switch.move("eve", green=True)
    away = [pair.get(target) for _ in range(40)]
    pair.switch.move("eve", green=False)
    back = pair.get(target)

    assert {reply.status for reply in away} == {503}
    assert all(b"This app is not answering" in reply.body for reply in away)
    assert {reply.header("retry-after") for reply in away} == {"5"}
    assert back.body.startswith(b"eve /")


@pytest.mark.parametrize("live", [b"blue", b"green"])
@pytest.mark.parametrize("target", ["/ada/fickle", "/ada/fickle?", "/ada/fickle?a=%20"])
def test_stale_connection_is_retried_at_the_same_address(
    pair: Lab, target: str, live: bytes
) -> None:
    """An app may close an idle connection as a request comes; the retry finds the same version."""
    pair.switch.move("ada", green=live == b"green")
    replies = [pair.get(target) for _ in range(60)]
    pair.switch.move("ada", green=False)

    assert {reply.body.split(b" ")[0] for reply in replies} == {live}


@pytest.mark.parametrize("live", [b"blue", b"green"])
def test_many_at_once_all_reach_the_live_version(pair: Lab, live: bytes) -> None:
    """Two hundred requests in flight do not spill over to the other address."""
    pair.switch.move("ada", green=live == b"green")
    targets = [b"/ada/%d" % number for number in range(2_000)]
    replies = laboratory.Crowd(pair.port).ask(targets, connections=200)
    pair.switch.move("ada", green=False)

    assert {reply.body.split(b" ")[0] for reply in replies} == {live}


def test_switch_of_a_seat_with_one_address_does_nothing(pair: Lab) -> None:
    """There is nowhere to move it to."""
    pair.switch.move("bob", green=True)
    replies = [pair.get(target) for target in ("/bob/x", "/bob/%78")]
    pair.switch.move("bob", green=False)

    assert [reply.body for reply in replies] == [b"bob /x", b"bob /%78"]


def test_moves_are_remembered_and_may_be_repeated(tmp_path: Path) -> None:
    """The last word counts; a seat that was never moved is blue."""
    switch = Switch(tmp_path / "edge" / "green")

    assert switch.greens() == frozenset()
    switch.move("ada", green=False)
    switch.move("ada", green=True)
    switch.move("ada", green=True)
    switch.move("x-green", green=True)
    assert switch.greens() == {"ada", "x-green"}
    switch.move("ada", green=False)
    switch.move("ada", green=False)
    assert switch.greens() == {"x-green"}


def test_settling_makes_exactly_the_wanted_seats_green(tmp_path: Path) -> None:
    """Removed seats and strange files leave no trace."""
    switch = Switch(tmp_path / "green")
    switch.move("gone", green=True)
    (switch.directory / ".strange file").touch()
    switch.settle(frozenset({"ada", "bob"}))

    assert switch.greens() == {"ada", "bob"}
    assert sorted(path.name for path in switch.directory.iterdir()) == ["ada", "bob"]


def test_switches_can_be_read_by_another_user_whatever_the_umask(tmp_path: Path) -> None:
    """The edge's workers are not the user who deploys."""
    before = os.umask(0o077)
    try:
        switch = Switch(tmp_path / "green")
        switch.move("ada", green=True)
    finally:
        os.umask(before)

    assert stat.S_IMODE(switch.directory.stat().st_mode) == 0o755
    assert stat.S_IMODE((switch.directory / "ada").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["", ".", "..", "../ada", "/ada", "Ada", "ada/b", "ada\n"])
def test_name_that_is_no_seats_is_refused(name: str, tmp_path: Path) -> None:
    """A name becomes a path here."""
    with pytest.raises(ValueError, match="not the name of a seat"):
        Switch(tmp_path / "green").move(name, green=True)
