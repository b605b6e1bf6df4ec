"""What is streamed to a participant's page, and the checks of "am I ready?"."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.board.lab import Lab, Visitor, person
from tests.waiting import PATIENCE, until
from workshop.board.me import live
from workshop.board.me.live import fresh
from workshop.board.shown import State
from workshop.board.wishes import WANTED

if TYPE_CHECKING:
    from collections.abc import Iterator


def begun(found: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Read what a stream begins with: every part once."""
    return dict(next(found) for _ in live.PARTS)


def test_stream_begins_with_every_part(lab: Lab) -> None:
    """So a page whose stream was cut is right again."""
    with lab.participant().events("/me/events") as found:
        assert set(begun(found)) == set(live.PARTS)


def test_change_of_the_own_seat_arrives_and_nobody_elses(lab: Lab) -> None:
    """Bob's crash is none of ada's business; hers comes, and only the part that changed."""
    with lab.participant().events("/me/events") as found:
        begun(found)
        lab.change("bob", state=State.CRASHING, detail="bob's own")
        lab.change("ada", state=State.STOPPED, detail="ended by itself")
        name, data = next(found)
        assert (name, "Stopped" in data, "ended by itself" in data) == ("app", True, True)
        lab.announce("Lunch")
        name, data = next(found)
        assert (name, "Lunch" in data) == ("says", True)
        lab.service.hand("bob", up=True)
        lab.participant().post("/me/hand", {"up": True})
        name, data = next(found)
        assert (name, 'aria-pressed="true"' in data) == ("hand", True)


def test_stream_ends_with_its_session(lab: Lab) -> None:
    """Whoever left elsewhere, or whose key was rotated, sees nothing more."""
    ada = lab.participant()
    with ada.events("/me/events") as found:
        begun(found)
        ada.post("/me/leave")
        lab.change("ada", detail="after the end")
        assert list(found) == []


def test_log_comes_as_it_is_written(lab: Lab) -> None:
    """First all lines, then new ones alone; the control process is asked for them meanwhile."""
    lab.write_log("ada", "one", "two")
    lab.write_log("bob", "bob's own")
    with lab.participant().events("/me/log") as found:
        assert next(found) == ("log", json.dumps(["one", "two"]))
        assert (lab.kept / WANTED / "ada").exists()
        lab.write_log("ada", "two", "three\r\nevent: evil", "<b>")
        assert next(found) == ("more", json.dumps(["three\r\nevent: evil", "<b>"]))
        lab.write_log("ada", "all new")
        assert next(found) == ("log", json.dumps(["all new"]))
    assert not (lab.kept / WANTED / "bob").exists()


@pytest.mark.parametrize(
    ("old", "new", "added"),
    [
        ("ab", "abc", "c"),
        ("abc", "bcd", "d"),
        ("aa", "aaa", "a"),
        ("ab", "ab", ""),
        ("ab", "cd", None),
        ("ab", "", None),
        ("aba", "bab", "b"),
    ],
)
def test_fresh_lines_are_those_after_the_known_ones(old: str, new: str, added: str | None) -> None:
    """Where nothing goes on from what is known, all is new."""
    found = fresh(tuple(old), tuple(new))

    assert found == (None if added is None else tuple(added))


# -- am I ready? ----------------------------------------------------------------------------------


def test_three_events_come_one_by_one(lab: Lab) -> None:
    """A while apart, which is what the check in the browser measures."""
    with lab.participant().events("/me/ready/sse") as found:
        came = [(event, time.monotonic()) for event in found]

    assert [event for event, _ in came] == [("tick", "0"), ("tick", "1"), ("tick", "2")]
    assert came[2][1] - came[0][1] > 0.5


def dial(visitor: Visitor, **headers: str) -> Any:
    """Open the WebSocket as the page does."""
    found = {"origin": visitor.lab.url, "cookie": visitor.headers()["cookie"], **headers}
    url = visitor.lab.url.replace("http", "ws", 1) + "/me/ready/ws"
    return connect(url, additional_headers=found, proxy=None, open_timeout=PATIENCE)


def test_socket_says_what_it_is_told_once(lab: Lab) -> None:
    """And is closed then: it is no chat."""
    with dial(lab.participant()) as socket:
        socket.send("ready?" + "x" * 100)
        assert socket.recv(timeout=PATIENCE) == ("ready?" + "x" * 100)[:64]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE)


def test_socket_takes_bytes_without_a_fault(lab: Lab) -> None:
    """Whoever sends no text gets no answer."""
    with dial(lab.participant()) as socket:
        socket.send(b"\x00")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE)
    until(lambda: lab.participant().get("/healthz").status_code == 200)
    assert "internal error" not in lab.log.getvalue()


def test_socket_is_closed_to_others(lab: Lab) -> None:
    """Browsers send cookies with a WebSocket from any page, so the origin counts."""
    for visitor, headers in (
        (lab.visitor(), {}),
        (lab.instructor(), {}),
        (lab.participant(), {"origin": "http://evil.example"}),
        (lab.participant(), {"origin": "null"}),
    ):
        with pytest.raises(InvalidStatus) as caught:
            dial(visitor, **headers)
        assert caught.value.response.status_code == 403


def test_stream_of_a_seat_that_was_removed_ends(lab: Lab) -> None:
    """Nothing of it is shown any more."""
    with lab.participant().events("/me/events") as found:
        begun(found)
        lab.configure(seats=(person("bob"),))
        assert list(found) == []
