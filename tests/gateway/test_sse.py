"""The stream is read on the side: exact counts, unchanged bytes, whatever the pieces of the network."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.fake import event, piece, usage_event
from workshop.gateway.errors import UpstreamFailed
from workshop.gateway.sse import EventReader
from workshop.gateway.tally import Tally, Usage

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
BODY = piece("a") + piece("é\\n") + b": a comment\n\n" + piece("c") + piece(None, "stop")
DONE = b"data: [DONE]\n\n"
STREAM = BODY + usage_event(USAGE) + DONE


def read(chunks: list[bytes], *, wants_usage: bool = False) -> tuple[bytes, Tally, EventReader]:
    """Pass chunks through a reader."""
    tally = Tally(keep_text=True)
    reader = EventReader(tally, wants_usage=wants_usage)
    passed = b"".join([reader.feed(chunk) for chunk in chunks])
    return passed + reader.finish(), tally, reader


@given(
    cuts=st.lists(st.integers(0, len(STREAM)), max_size=12),
    wants=st.booleans(),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_any_cutting_gives_the_same_bytes_and_count(
    *, cuts: list[int], wants: bool, end: bytes
) -> None:
    """However the network cuts the stream, what passes is the same."""
    stream = STREAM.replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(places)]
    passed, tally, reader = read(chunks, wants_usage=wants)
    expected = STREAM if wants else BODY + DONE
    assert passed == expected.replace(b"\n", end)
    assert tally.usage == Usage(7, 3)
    assert (tally.pieces, tally.text(), reader.done) == (3, "aé\\nc", True)


def test_usage_beside_choices_is_kept() -> None:
    """Some upstreams count in the last piece of the answer: it passes whole."""
    stream = piece("a") + piece(None, "stop", usage=USAGE) + DONE
    passed, tally, _ = read([stream])
    assert passed == stream
    assert tally.usage == Usage(7, 3)


def test_event_without_choices_and_usage_is_kept() -> None:
    """Azure begins with one of those; it is no usage."""
    stream = event({"choices": [], "prompt_filter_results": []}) + BODY + DONE
    assert read([stream])[0] == stream


def test_end_without_done_is_an_end_if_the_answer_was_finished() -> None:
    """A reason for the end is as good as the word."""
    assert read([BODY])[0] == BODY
    with pytest.raises(UpstreamFailed, match="in the middle"):
        read([piece("a")])


@pytest.mark.parametrize(
    "bad",
    [
        b"<html>\n\n",
        b"data: [1]\n\n",
        b"data: {\n\n",
        b"data: " + b"x" * 1_100_000,
        b"\x00" * 1_100_000,
        b'data: {"a":' * 3 + b"\n\n",
    ],
)
def test_what_is_no_stream_is_not_passed_on(bad: bytes) -> None:
    """Garbage fails before it reaches anybody."""
    with pytest.raises(UpstreamFailed):
        read([bad])


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        {},
        {"prompt_tokens": "7"},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"prompt_tokens": 2**60},
    ],
)
def test_count_that_is_none_is_estimated(usage: object) -> None:
    """Nonsense for a usage is as if there were none."""
    tally = Tally()
    tally.take({"choices": [{"delta": {"content": "a"}}], "usage": usage})
    assert tally.used(40) == Usage(40, 1)
