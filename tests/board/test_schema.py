"""Every address of the board, asked what its description allows and what it does not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.board.lab import METRICS, Lab
from tests.fuzz.apis import Api, ask, ask_raw
from tests.waiting import PATIENCE
from workshop.board import shown, wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = 600


@pytest.fixture
def api(lab: Lab) -> Iterator[Api]:
    """Run a board whose streams are short and whose wishes are all granted."""
    lab.stop()
    lab.openapi = True
    lab.options = {"longest": 0.02}
    lab.start()
    over = threading.Event()
    thread = threading.Thread(target=_grant, args=(lab, over), daemon=True)
    thread.start()
    schema = lab.visitor().get("/openapi.json").json()
    instructor, ada = lab.instructor().headers(), lab.participant("ada").headers()
    paths = schema["paths"]
    own = {path: ada for path in paths if path.startswith("/me")}
    figures = {"/metrics": {"authorization": f"Bearer {METRICS}"}}
    out = {"/logout": lab.instructor().headers(), "/me/leave": lab.participant("bob").headers()}
    yield Api(lab.url, schema, instructor, {**own, **figures, **out})
    over.set()
    thread.join(PATIENCE)


def _grant(lab: Lab, over: threading.Event) -> None:
    """Take every wish at once: on a busy machine a hundred would soon lie there."""
    place = lab.kept / wishes.WISHES
    while not over.wait(0.005):
        for wish_id in wishes.waiting(place):
            wishes.answer(
                lab.shown_in / shown.ANSWERS, wishes.Answer(wish_id, done=True, words="x")
            )
            (place / f"{wish_id}.json").unlink()


def test_board_never_fails_and_keeps_its_description(lab: Lab, api: Api) -> None:
    """Right and wrong requests of schemathesis' making; no 5xx, no answer off the description."""
    tally = ask(api, CASES)
    assert tally.faults == []
    assert tally.cases > CASES / 2
    assert {200, 401, 404, 422} <= set(tally.statuses)
    assert not [line for line in lab.logged() if line["event"] == "internal error"]


@pytest.mark.parametrize(
    ("path", "sample"),
    [
        ("/login", b'{"word": "abc"}'),
        ("/wishes", b'{"what": "restart", "seats": ["ada"], "text": ""}'),
        ("/me/enter", b'{"word": "wk-abc", "name": "Ada"}'),
        ("/me/wishes", b'{"what": "restart", "text": ""}'),
        ("/me/hand", b'{"up": true}'),
    ],
)
def test_board_refuses_what_is_no_json_in_its_own_words(
    lab: Lab, api: Api, path: str, sample: bytes
) -> None:
    """Broken, deep, huge-numbered and wrongly encoded bodies."""
    tally = ask_raw(api, path, sample, 100)
    assert tally.faults == []
    assert max(tally.statuses) >= 400
    assert not [line for line in lab.logged() if line["event"] == "internal error"]


def test_description_is_not_served_unless_asked_for(lab: Lab) -> None:
    """Nobody needs it on the day."""
    assert lab.instructor().get("/openapi.json").status_code == 404
