"""Whose turn: the seat served longest ago, in bounds, told about its place, forgotten when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.gateway.fake import good
from tests.gateway.lab import Lab, seat
from tests.waiting import until
from workshop.gateway.config import Pace
from workshop.gateway.errors import GatewayError
from workshop.gateway.queue import LONGEST_LINE, FairQueue, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gateway.fake import Exchange


def enter(queue: FairQueue, name: str, slots: int = 1, most: int = 8, pool: str = "main") -> Turn:
    """Stand in line."""
    return queue.enter(pool, slots, name, most)


def drain(queue: FairQueue, turns: list[Turn]) -> list[str]:
    """Serve everybody one after the other; return the order."""
    order = []
    while held := [t for t in turns if t.granted and not t.left]:
        order.append(held[0].seat)
        queue.leave(held[0])
    return order


def test_free_pool_serves_at_once() -> None:
    """Nobody waits where there is room."""
    assert enter(FairQueue(), "ada").granted


def test_looping_seat_waits_for_the_others() -> None:
    """Five of one seat and one each of two others: the others go next."""
    queue = FairQueue()
    turns = [enter(queue, "loop") for _ in range(5)]
    turns += [enter(queue, "ada"), enter(queue, "bob")]
    assert drain(queue, turns) == ["loop", "ada", "bob", "loop", "loop", "loop", "loop"]


def test_seats_take_turns_first_come_within_one() -> None:
    """Three seats with two requests each alternate."""
    queue = FairQueue()
    block = enter(queue, "first")
    turns = [enter(queue, name) for name in ("ada", "ada", "bob", "bob", "eve", "eve")]
    order = drain(queue, [block, *turns])
    assert order == ["first", "ada", "bob", "eve", "ada", "bob", "eve"]
    assert turns[0].left
    assert queue.length() == 0


def test_no_seat_holds_more_than_half_of_a_pool() -> None:
    """One place of three, and two of four, stay free for other seats."""
    queue = FairQueue()
    turns = [enter(queue, "loop", slots=3) for _ in range(3)]
    assert [t.granted for t in turns] == [True, True, False]
    assert enter(queue, "ada", slots=3).granted
    wide = [enter(queue, "loop", slots=4, pool="wide") for _ in range(4)]
    assert [t.granted for t in wide] == [True, True, False, False]


def test_concurrency_counts_over_all_pools() -> None:
    """A seat at its bound waits in another pool too, and goes on when it leaves the first."""
    queue = FairQueue()
    first = enter(queue, "ada", slots=4, most=1)
    second = enter(queue, "ada", slots=4, most=1, pool="other")
    assert not second.granted
    queue.leave(first)
    assert second.granted


def test_place_counts_those_that_go_before() -> None:
    """The number shown is the number of requests served before this one."""
    queue = FairQueue()
    turns = [enter(queue, name) for name in ("a", "a", "a", "b", "c", "c")]
    shown = {id(turn): queue.ahead(turn) for turn in turns[1:]}
    order: list[Turn] = []
    queue.leave(turns[0])
    while held := [t for t in turns if t.granted and not t.left]:
        order.append(held[0])
        queue.leave(held[0])
    assert [shown[id(turn)] for turn in order] == [0, 1, 2, 3, 4]


def test_leaving_frees_a_place_held_or_waited_for() -> None:
    """Leaving twice is leaving once."""
    queue = FairQueue()
    held, waits, last = enter(queue, "ada"), enter(queue, "bob"), enter(queue, "eve")
    for _ in range(2):
        queue.leave(waits)
    assert queue.length() == 1
    for _ in range(2):
        queue.leave(held)
    assert last.granted
    queue.leave(last)
    assert queue.pools["main"].free == 1


def test_too_long_a_line_is_refused() -> None:
    """One seat cannot pile up requests without end."""
    queue = FairQueue()
    for _ in range(LONGEST_LINE + 1):
        enter(queue, "loop")
    with pytest.raises(GatewayError, match="wait for their turn already") as caught:
        enter(queue, "loop")
    assert caught.value.status == 429
    assert not enter(queue, "ada").granted


def test_waiting_ends_after_its_time() -> None:
    """Who waits too long is told so."""

    async def scene() -> None:
        queue = FairQueue()
        enter(queue, "ada")
        with pytest.raises(GatewayError, match=r"turn did not come within 0\.05 s"):
            await queue.wait(enter(queue, "bob"), 0.05)

    asyncio.run(scene())


def _narrow(lab: Lab, **changes: float) -> None:
    pace = Pace(100_000, 100_000_000, 4)
    lab.configure(
        seats=tuple(seat(name, pace=pace) for name in ("ada", "bob", "eve")),
        upstreams=(replace(lab.config.upstreams[0], concurrency=1),),
        **changes,
    )


@contextlib.contextmanager
def _occupied(lab: Lab) -> Iterator[Callable[[], None]]:
    """Let Bob hold the only place until it is released."""
    released = threading.Event()

    async def hold(exchange: Exchange) -> None:
        await asyncio.to_thread(released.wait)
        await good()(exchange)

    lab.fake.script.append(hold)
    thread = threading.Thread(target=lab.ask, kwargs={"name": "bob"})
    thread.start()
    try:
        until(lambda: lab.fake.requests == 1)
        yield released.set
    finally:
        released.set()
        thread.join()


def test_waiting_stream_hears_its_place_then_its_answer(patient: Lab) -> None:
    """After half a second the place is told, in a form the official client takes for no text."""
    _narrow(patient)
    notes, text = [], ""
    with _occupied(patient) as release, patient.client() as client:
        for piece in client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "x"}], stream=True
        ):
            if note := (piece.model_extra or {}).get("workshop"):
                notes.append(note)
            if len(notes) == 2:
                release()
            text += piece.choices[0].delta.content or "" if piece.choices else ""
    assert notes[:2] == [{"queue": 0}, {"queue": 0}], "nobody else waits before"
    assert notes[-1] == {"queue": 0, "upstream": "main", "toy": False}
    assert text == "tok " * 5
    until(lambda: len(patient.rows()) == 2)
    assert patient.rows()[1]["queue_ms"] > 500


def test_waiting_too_long_ends_the_stream_with_an_error(patient: Lab) -> None:
    """A failure after the first word comes as an event."""
    _narrow(patient, queue_seconds=0.7)
    with _occupied(patient):
        answer = patient.ask(stream=True)
        *_, last = [line for line in answer.text.split("\n\n") if line]
        assert answer.status_code == 200
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "queue_timeout"
        whole = patient.ask(name="eve")
        assert (whole.status_code, whole.headers["retry-after"]) == (503, "5")
    patient.idle()


def test_client_that_leaves_the_line_frees_its_place(patient: Lab) -> None:
    """Nobody is asked on behalf of somebody who has gone."""
    _narrow(patient)
    with _occupied(patient), patient.client() as client:
        stream = client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "x"}], stream=True
        )
        assert patient.running.forwarder.queue.length() == 1
        stream.close()
        until(lambda: patient.running.forwarder.queue.length() == 0)
    patient.idle()
    assert patient.fake.requests == 1
    assert {row["error"] for row in patient.rows()} == {"", "client_left"}


def test_one_looping_seat_does_not_make_another_wait(lab: Lab) -> None:
    """With two places and a loop of four, the other seat gets the next free one."""
    lab.configure(upstreams=(replace(lab.config.upstreams[0], concurrency=2),))
    lab.fake.default = good(tokens=5, pause=0.02)
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            lab.ask()

    loops = [threading.Thread(target=loop) for _ in range(4)]
    for thread in loops:
        thread.start()
    try:
        until(lambda: lab.running.forwarder.queue.length() >= 2)
        for _ in range(5):
            assert lab.ask(name="bob").status_code == 200
    finally:
        stop.set()
        for thread in loops:
            thread.join()
    assert 3 * _median_wait(lab, "bob") < _median_wait(lab, "ada")


def _median_wait(lab: Lab, name: str) -> float:
    """Milliseconds in line of the seat's requests."""
    waits: list[float] = [row["queue_ms"] for row in lab.rows() if row["seat"] == name]
    return statistics.median(waits)
