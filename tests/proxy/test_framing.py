"""Where one request ends and the next begins: thousands of odd framings against the real edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import framing
import pytest
from framing import Case, Outcome, Seen

if TYPE_CHECKING:
    from lab import Lab

COUNT = 1500
"""For each of two edges; `make torture` sends 10,000."""


def test_odd_framings_leave_no_two_opinions(lab: Lab) -> None:
    """What the seats saw is what was answered, by the seat that was named, in the order it was sent."""
    framing.tally(lab)
    outcomes = framing.send_all(lab.port, list(framing.cases(20_261_121, COUNT)))
    seen = framing.tally(lab)

    assert framing.faults(outcomes, seen) == []
    assert len(seen) > COUNT / 3
    assert sum(bool(o.answered) and o.answered[-1].seat == b"bob" for o in outcomes) > COUNT / 5
    assert sum(framing.strictly(o.case.whole) is not None for o in outcomes) > COUNT / 5


SIMPLE = Case(7, b"POST /alice/f-7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
ASKED = Seen(1, b"alice", b"POST", b"/f-7", 907060870)
MARKER = Seen(2, b"bob", b"GET", b"/marker-7", 0)


def test_strict_reader_reads_a_plain_request() -> None:
    """The judge's own ruler is straight."""
    assert framing.strictly(SIMPLE.whole) == [ASKED.asked, MARKER.asked]
    assert framing.faults([Outcome(SIMPLE, b"x", answered=[ASKED, MARKER])], [ASKED, MARKER]) == []


@pytest.mark.parametrize(
    ("answered", "seen"),
    [
        pytest.param(
            [ASKED, MARKER],
            [ASKED, MARKER, Seen(3, b"carl", b"GET", b"/hidden-7", 0)],
            id="smuggled",
        ),
        pytest.param([ASKED, Seen(2, b"carl", b"GET", b"/hidden-7", 0), MARKER], [], id="split"),
        pytest.param([Seen(1, b"bob", b"POST", b"/f-7", 907060870)], [], id="crossed"),
        pytest.param([MARKER, ASKED], [], id="swapped"),
        pytest.param([MARKER, Seen(3, b"bob", b"GET", b"/marker-7", 0)], [], id="twice"),
        pytest.param([Seen(1, b"alice", b"POST", b"/f-7", 1), MARKER], [], id="another-body"),
        pytest.param(
            [Seen(1, b"alice", b"GET", b"/f-7", 907060870), MARKER], [], id="another-method"
        ),
    ],
)
def test_desync_is_noticed(answered: list[Seen], seen: list[Seen]) -> None:
    """Each way in which two readers can disagree breaks the law."""
    outcome = Outcome(SIMPLE, b"x", answered=answered)

    assert framing.faults([outcome], seen or answered) != []
