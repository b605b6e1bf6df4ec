"""The instructor's addresses: who may ask, what they answer, and that foreign words stay words."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.instructor.classroom import LISTENS, deploy
from tests.waiting import until
from workshop.board import guard, wishes
from workshop.board.shown import Announcement, State, Totals
from workshop.board.wishes import INSTRUCTOR, What

if TYPE_CHECKING:
    from tests.board.lab import Lab

GETS = (
    "/",
    "/events",
    "/projector",
    "/projector/events",
    "/seats/ada",
    "/seats/ada/facts",
    "/seats/ada/log",
    "/answers/1700000000000-00000000",
)
POSTS = ("/wishes", "/seats/ada/hand")
EVIL = "<img src=x onerror=alert(1)>\"'&{{31337*3}}`<b>`"


class Elements(HTMLParser):
    """Collects what a browser would make of a text: elements, attributes, and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.words += " ".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        """Note words."""
        self.words += data


def harmless(text: str) -> str:
    """See that a page holds no element or attribute that runs something; return its words."""
    found = Elements(text)
    assert not found.names & {"img", "style", "iframe", "object"}, found.names
    assert not {name for name in found.attributes if name.startswith("on") or name == "style"}
    assert "94011" not in found.words
    return found.words


@pytest.mark.parametrize("path", GETS)
def test_page_is_refused_to_whoever_is_not_the_instructor(lab: Lab, path: str) -> None:
    """Neither nobody nor a participant sees anything of it."""
    assert lab.visitor().get(path).status_code == 401
    answer = lab.participant("ada").get(path)
    assert answer.status_code == 401
    assert "bob" not in answer.text


@pytest.mark.parametrize("path", POSTS)
def test_action_is_refused_to_whoever_is_not_the_instructor(lab: Lab, path: str) -> None:
    """Nothing is wished for."""
    wanted = {"what": "stop", "seats": ["bob"]}
    assert lab.visitor().post(path, wanted).status_code == 401
    assert lab.participant("ada").post(path, wanted).status_code == 401
    assert lab.wishes() == []


@pytest.mark.parametrize(
    "headers",
    [
        {guard.CSRF: ""},
        {guard.CSRF: "0" * 64},
        {"origin": ""},
        {"origin": "http://localhost:18999"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", POSTS)
def test_action_that_another_page_causes_is_refused(
    lab: Lab, path: str, headers: dict[str, str]
) -> None:
    """The cookie alone moves nothing."""
    lab.service.hand("ada", up=True)
    teacher = lab.instructor()
    answer = teacher.post(path, {"what": "stop", "seats": ["bob"]}, headers=headers)
    assert answer.status_code == 403
    assert lab.wishes() == []
    assert "ada" in lab.service.view.hands


def test_wall_shows_everybody_with_state_figures_and_deploys(room: Lab) -> None:
    """In the first answer, before any script runs."""
    answer = room.instructor().get("/")
    assert answer.status_code == 200
    text = answer.text
    assert text.count('<li id="seat-') == 32
    words = " ".join(harmless(text).split())
    for expected in (
        "Summer school: build a chat app",
        "32 all",
        "2 crashing",
        "2 deploy failed",
        "Łukasz Świątek",
        "ends with exit code 1 again and again",
        "251/256 MB",
        "Restart all failed (4)",
        LISTENS[0],
    ):
        assert expected in words, expected
    assert text.index('id="seat-edsger"') < text.index('id="rest-tiles"') < text.index("seat-ada")


def test_wall_of_300_is_rendered_within_300_milliseconds(tmp_path: Any) -> None:
    """The first one, which renders every tile; the next take what is there."""
    from tests.board.instructor.classroom import people, seats
    from workshop.board.config import Config
    from workshop.board.instructor.wall import Wall
    from workshop.board.shown import Shown
    from workshop.board.view import View

    listed = people(300)
    config = Config("class", "Class", "http://localhost:1", ("http://localhost:2",), listed)
    view = View(config, Shown("class", 1.0, 1.0, seats(listed)))
    Wall().see(view)  # Templates are compiled once in a board's life.
    wall, began = Wall(), time.process_time()
    wall.see(view)
    first = time.process_time() - began
    wall.see(replace(view, hands={"ada": 5.0}, number=1))
    assert first < 0.3
    assert len(wall.needing()) + len(wall.rest()) == 300


def test_page_needs_nothing_from_elsewhere_and_runs_nothing_inline(room: Lab) -> None:
    """Every address of a script, style or image is the board's own."""
    for path in ("/", "/projector"):
        answer = room.instructor().get(path)
        assert not re.findall(r"<script(?![^>]*\bsrc=)", answer.text)
        assert "<style" not in answer.text
        found = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"([^\"]+)", answer.text)
        assert found
        assert all(one.startswith("/static/") or one == "data:," for one in found), found
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_foreign_words_stay_words_everywhere(lab: Lab) -> None:
    """Names, what an app logs, what a build says, and what was announced."""
    people = tuple(
        replace(one, display_name=EVIL, url=f'http://localhost:18999/{one.name}/"><img>')
        for one in lab.config.seats
    )
    lab.configure(seats=people, title=EVIL)
    failed = deploy(
        2, 9, "failed", message=EVIL, evidence=(EVIL,), next=EVIL, version=EVIL, actor=EVIL
    )
    kept = deploy(1, 90, kept=True, version=EVIL, what=EVIL)
    lab.change(
        "ada", state=State.SILENT, detail=EVIL, version=EVIL, deploys=(failed, kept), restarts=2
    )
    assert lab.shown
    lab.show(replace(lab.shown, troubles=(EVIL,), parts=((EVIL, EVIL),)))
    lab.announce(EVIL)
    until(lambda: lab.service.view.announcement)
    lab.write_log("ada", EVIL)
    teacher = lab.instructor()
    for path in ("/", "/seats/ada", "/seats/ada/facts", "/projector"):
        assert "onerror=alert(1)>" in harmless(teacher.get(path).text), path
    with teacher.events("/events") as events:
        name, data = next(events)
    assert (name, "onerror=alert(1)>" in harmless(data)) == ("wall", True)
    assert teacher.get("/seats/ada/log").json() == {"ready": True, "lines": [EVIL]}
    assert teacher.get("/seats/ada/log").headers["content-type"] == "application/json"


def test_drawer_shows_what_the_doctor_found_and_what_one_can_go_back_to(room: Lab) -> None:
    """With commands marked as such."""
    text = room.instructor().get("/seats/grace").text
    message, evidence, _ = LISTENS
    assert message in text
    assert evidence[0] in text
    assert "Start it with <code>--host 0.0.0.0</code>, then push again." in text
    assert 'data-what="rollback" data-seat="grace" data-text="2-9b1d002"' in text
    assert 'data-text="3-9b1d003"' not in text, "what runs now is no way back"
    assert 'href="https://class.example.org/grace/" target="_blank" rel="noopener' in text


def test_drawer_of_a_held_seat_offers_to_start_it(room: Lab) -> None:
    """And neither to stop nor to restart it."""
    text = room.instructor().get("/seats/tim").text
    assert 'data-what="start"' in text
    assert 'data-what="stop"' not in text
    assert 'data-what="restart"' not in text


def test_class_without_models_speaks_of_none(lab: Lab) -> None:
    """Nothing to pause, no tokens."""
    lab.configure(llm=False)
    lab.change("ada", tokens=0, tokens_limit=None)
    teacher = lab.instructor()
    assert "LLM" not in teacher.get("/seats/ada").text
    assert 'id="pause-all"' not in teacher.get("/").text


@pytest.mark.parametrize("path", ["/seats/nobody", "/seats/nobody/facts", "/seats/nobody/log"])
def test_unknown_seat_is_not_found(lab: Lab, path: str) -> None:
    """It may have been removed while the wall was open."""
    answer = lab.instructor().get(path)
    assert answer.status_code == 404
    assert "no such seat" in answer.json()["error"]


def test_log_is_asked_for_while_somebody_looks(lab: Lab) -> None:
    """The control process writes it once it is wanted."""
    teacher = lab.instructor()
    assert teacher.get("/seats/ada/log").json() == {"ready": False, "lines": []}
    assert (lab.kept / wishes.WANTED / "ada").exists()
    lab.write_log("ada", "one", "two")
    assert teacher.get("/seats/ada/log").json() == {"ready": True, "lines": ["one", "two"]}


@pytest.mark.parametrize(
    ("wanted", "seats", "text"),
    [
        ({"what": "restart", "seats": ["ada", "bob"]}, ("ada", "bob"), ""),
        ({"what": "rollback", "seats": ["ada"], "text": "2-9b1d002"}, ("ada",), "2-9b1d002"),
        ({"what": "pause"}, (), ""),
        ({"what": "resume", "seats": ["ada"]}, ("ada",), ""),
        ({"what": "announce", "text": "Lunch"}, (), "Lunch"),
        ({"what": "announce"}, (), ""),
    ],
)
def test_action_becomes_a_wish_of_the_instructor_and_its_answer_is_told(
    lab: Lab, wanted: dict[str, Any], seats: tuple[str, ...], text: str
) -> None:
    """First not over, then in the control process's words."""
    teacher = lab.instructor()
    answer = teacher.post("/wishes", wanted)
    assert answer.status_code == 202
    wish_id = answer.json()["id"]
    (wish,) = lab.wishes()
    assert wish == wishes.Wish(wish_id, What(wanted["what"]), INSTRUCTOR, seats, text)
    waiting = teacher.get(f"/answers/{wish_id}").json()
    assert waiting == {"id": wish_id, "over": False, "done": False, "words": ""}
    lab.grant("not now", done=False)
    said = teacher.get(f"/answers/{wish_id}").json()
    assert said == {"id": wish_id, "over": True, "done": False, "words": "not now"}


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"what": "restart"}, 400),
        ({"what": "restart", "seats": []}, 400),
        ({"what": "stop", "seats": []}, 400),
        ({"what": "announce", "text": "x", "seats": ["ada"]}, 400),
        ({"what": "claim", "seats": ["ada"]}, 400),
        ({"what": "restart", "seats": ["ada", "nobody"]}, 404),
        ({"what": "explode", "seats": ["ada"]}, 422),
        ({"what": "announce", "text": "x" * 501}, 422),
        ({"what": "stop", "seats": ["ada"], "actor": "ada"}, 422),
        ({"what": "stop", "seats": "ada"}, 422),
        ([], 422),
    ],
)
def test_action_that_is_none_is_refused(lab: Lab, wanted: Any, status: int) -> None:
    """An empty list never means everybody."""
    answer = lab.instructor().post("/wishes", wanted)
    assert (answer.status_code, lab.wishes()) == (status, [])
    assert answer.json()["error"]


def test_answer_to_a_participants_wish_is_not_the_instructors(lab: Lab) -> None:
    """It may carry a key."""
    wish_id = lab.service.wish("ada", What.CLAIM, ("ada",))
    lab.grant("yours", key="wk-secret")
    answer = lab.instructor().get(f"/answers/{wish_id}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_hand_that_is_taken_down_is_down(lab: Lab) -> None:
    """On the wall as well as in the file."""
    lab.service.hand("ada", up=True)
    assert lab.instructor().post("/seats/ada/hand").status_code == 204
    assert lab.service.view.hands == {}
    assert wishes.read_hands(lab.kept) == {}


def test_change_reaches_a_stream_that_has_seen_the_page(lab: Lab) -> None:
    """Only what changed."""
    teacher = lab.instructor()
    cursor = re.findall(r'data-cursor="([^"]+)"', teacher.get("/").text)[0]
    with teacher.events(f"/events?since={cursor}") as events:
        assert next(events)[0] == "beat"
        lab.change("bob", state=State.CRASHING, detail="ends with exit code 3 again and again")
        name, data = next(events)
    assert name == "wall"
    assert 'id="seat-bob"' in data
    assert 'id="seat-ada"' not in data


def test_stream_of_one_who_logs_out_ends(lab: Lab) -> None:
    """The next change is told to nobody."""
    teacher = lab.instructor()
    with teacher.events("/events") as events:
        assert next(events)[0] == "wall"
        assert teacher.post("/logout").status_code == 200
        lab.change("bob", requests=77)
        assert list(events) == []


def test_room_is_shown_nothing_private(room: Lab) -> None:
    """Neither in the page nor in its stream: no words of errors, no figures, no addresses of seats."""
    teacher = room.instructor()
    # The drawings of all states travel with the page; whose state is which does not.
    page = re.sub(r"<symbol.*?</symbol>", "", teacher.get("/projector").text)
    with teacher.events("/projector/events") as events:
        name, data = next(events)
        assert name == "wall"
        room.change("ada", requests=4321, memory=99 << 20)
        room.change("ada", state=State.SILENT, detail="nobody got an answer")
        _, later = next(events)
    assert "Ada Lovelace" in page
    assert later.count("not up yet") == data.count("not up yet") + 1, "figures alone tell nothing"
    for text in (page, data, later):
        for private in (
            "exit code",
            "crashing",
            "no answer",
            "refused",
            "failed",
            LISTENS[0],
            "MB",
            "tokens",
            "LLM",
            "wk-",
            "/ada/",
            "spare",
            "4321",
        ):
            assert private not in text, private


def test_announcement_stands_on_wall_and_projector_until_it_is_taken_back(lab: Lab) -> None:
    """Both read the same file."""
    teacher = lab.instructor()
    lab.announce("Lunch at noon")
    until(lambda: lab.service.view.announcement)
    assert isinstance(lab.service.view.announcement, Announcement)
    assert "Lunch at noon" in teacher.get("/").text
    assert "Lunch at noon" in teacher.get("/projector").text
    lab.announce("")
    until(lambda: lab.service.view.announcement is None)
    assert "Lunch at noon" not in teacher.get("/").text
    assert "Lunch at noon" not in teacher.get("/projector").text


def test_seat_that_deployed_counts_for_the_room(lab: Lab) -> None:
    """Live ones and those with an own version are two counts."""
    lab.change("ada", totals=Totals(deploys=2))
    text = " ".join(Elements(lab.instructor().get("/projector").text).words.split())
    assert "2 of 2 live" in text
    assert "1 deployed" in text
