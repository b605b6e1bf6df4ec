"""What the board knows, and what it hands over: views, wishes, answers, hands, logs."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.board.lab import person, seat
from tests.waiting import until
from workshop import serving
from workshop.board import shown, wishes
from workshop.board.refusal import Refused
from workshop.board.service import STALE_SECONDS, Options, Service
from workshop.board.shown import State
from workshop.board.wishes import INSTRUCTOR, What

if TYPE_CHECKING:
    from tests.board.lab import Lab


def test_change_of_a_seat_is_in_the_view_under_a_larger_number(lab: Lab) -> None:
    """By the number whoever waits sees that there is something new."""
    before = lab.service.view
    lab.change("ada", state=State.CRASHING, detail="ends with exit code 1 again and again")
    assert lab.service.view.seat("ada").state is State.CRASHING
    assert lab.service.view.number > before.number


def test_seat_that_was_not_seen_yet_is_missing(lab: Lab) -> None:
    """So is everybody while the control process has written nothing."""
    lab.configure(seats=(person("ada"), person("bob"), person("carol")))
    assert lab.service.view.seat("carol").state is State.MISSING
    (lab.shown_in / shown.FILE).unlink()
    until(lambda: lab.service.view.seat("ada").state is State.MISSING)


@pytest.mark.parametrize("text", ['{"schema": 1', "7", "[]", "{}", '{"schema": 1, "seats": [7]}'])
def test_figures_that_are_garbled_show_nobody_and_break_nothing(lab: Lab, text: str) -> None:
    """The next sound ones are shown again."""
    (lab.shown_in / shown.FILE).write_text(text, "utf-8")
    until(lambda: not lab.service.view.shown.seats)
    assert lab.instructor().get("/").status_code == 200
    assert lab.shown
    lab.show(lab.shown)
    assert lab.service.view.seat("ada").state is State.LIVE


@pytest.mark.parametrize("text", ["", "7", "[]", "{", "\0"])
@pytest.mark.parametrize("name", [shown.FILE, shown.ANNOUNCEMENT, "claimed.json"])
def test_board_starts_whatever_the_control_process_left_behind(
    lab: Lab, name: str, text: str
) -> None:
    """Only without a configuration it does not."""
    (lab.shown_in / name).write_text(text, "utf-8")
    (lab.kept / wishes.HANDS).write_text(text, "utf-8")
    Service(Options(lab.told, lab.shown_in, lab.kept), lab.service.log)


def test_announcement_and_used_codes_are_in_the_view(lab: Lab) -> None:
    """Each has a file of its own."""
    lab.announce("Lunch")
    until(lambda: lab.service.view.announcement)
    assert lab.service.view.announcement
    assert lab.service.view.announcement.text == "Lunch"
    lab.announce("")
    until(lambda: lab.service.view.announcement is None)
    lab.claimed("ada")
    assert lab.service.view.claimed == {"ada"}


def test_whoever_waits_hears_of_a_change_or_that_the_time_is_over(lab: Lab) -> None:
    """A hundred wait for one watcher."""

    async def wait() -> tuple[int, int]:
        places = (lab.told, lab.shown_in, lab.kept)
        service = Service(Options(*places, look=0.01), lab.service.log)
        await service.start()
        number = service.view.number
        same = await service.changed(number, 0.05)
        waiting = [asyncio.create_task(service.changed(number, 20)) for _ in range(100)]
        await asyncio.sleep(0)
        service.hand("ada", up=True)
        views = await asyncio.gather(*waiting)
        await service.stop()
        assert {view.number for view in views} == {number + 1}
        return same.number, number

    same, number = asyncio.run(wait())
    assert same == number


def test_wish_is_a_file_that_the_control_process_can_take(lab: Lab) -> None:
    """Whatever the mask: that is another user."""
    wish_id = lab.service.wish(INSTRUCTOR, What.RESTART, ("ada",))
    (wish,) = lab.wishes()
    assert wish == wishes.Wish(wish_id, What.RESTART, INSTRUCTOR, ("ada",))
    for name in (wishes.WISHES, wishes.WANTED):
        assert (lab.kept / name).stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize(
    ("what", "seats", "text"),
    [
        (What.RESTART, ("bob",), ""),
        (What.RESTART, ("ada", "bob"), ""),
        (What.RESTART, (), ""),
        (What.STOP, ("ada",), ""),
        (What.PAUSE, (), ""),
        (What.ANNOUNCE, (), "hello"),
        (What.ROLLBACK, ("ada",), "x" * 501),
        (What.RESET, ("../ada",), ""),
    ],
)
def test_participant_can_ask_for_nothing_but_the_own_seat(
    lab: Lab, what: What, seats: tuple[str, ...], text: str
) -> None:
    """Whatever the page sends."""
    with pytest.raises(Refused) as refused:
        lab.service.wish("ada", what, seats, text)
    assert refused.value.status == 400
    assert lab.wishes() == []


def test_wishes_that_nobody_takes_are_refused_in_the_end(lab: Lab) -> None:
    """The words say where to look."""
    for _ in range(100):
        lab.service.wish(INSTRUCTOR, What.PAUSE)
    with pytest.raises(Refused) as refused:
        lab.service.wish(INSTRUCTOR, What.PAUSE)
    assert refused.value.status == 503
    assert "workshop status" in refused.value.message
    lab.grant()
    lab.service.wish(INSTRUCTOR, What.PAUSE)


def test_wish_that_cannot_be_written_is_refused(lab: Lab) -> None:
    """A full disk is said, not hidden."""
    (lab.kept / wishes.WISHES).rmdir()
    with pytest.raises(Refused) as refused:
        lab.service.wish(INSTRUCTOR, What.PAUSE)
    assert refused.value.status == 503


def test_participant_who_asks_without_end_has_to_wait(lab: Lab) -> None:
    """The instructor, and others, do not."""
    for _ in range(30):
        lab.service.wish("ada", What.RESTART, ("ada",))
    with pytest.raises(Refused) as refused:
        lab.service.wish("ada", What.RESTART, ("ada",))
    assert refused.value.status == 429
    lab.service.wish("bob", What.RESTART, ("bob",))
    lab.service.wish(INSTRUCTOR, What.RESTART, ("ada",))


def test_answer_is_for_whoever_wished(lab: Lab) -> None:
    """A claim's answer carries a key."""
    wish_id = lab.service.wish("ada", What.CLAIM, ("ada",), "Ada")
    assert lab.service.answer(wish_id, "ada") is None
    lab.grant("welcome", key="wk-secret")
    answer = lab.service.answer(wish_id, "ada")
    assert answer
    assert (answer.done, answer.words, answer.key) == (True, "welcome", "wk-secret")
    for other in ("bob", INSTRUCTOR, ""):
        with pytest.raises(Refused):
            lab.service.answer(wish_id, other)
    with pytest.raises(Refused):
        lab.service.answer("../../told/config", "ada")


def test_hand_that_is_raised_is_kept_through_a_restart_until_it_is_lowered(lab: Lab) -> None:
    """With the moment it went up."""
    lab.service.hand("ada", up=True)
    since = lab.service.view.hands["ada"]
    assert abs(since - time.time()) < 5
    lab.service.hand("ada", up=True)
    lab.restart()
    assert lab.service.view.hands == {"ada": since}
    lab.service.hand("ada", up=False)
    assert lab.service.view.hands == {}
    assert wishes.read_hands(lab.kept) == {}


def test_hand_of_one_who_left_the_class_is_no_longer_up(lab: Lab) -> None:
    """Nor can a stranger raise one."""
    lab.service.hand("bob", up=True)
    lab.configure(seats=(person("ada"),))
    assert lab.service.view.hands == {}
    with pytest.raises(Refused):
        lab.service.hand("bob", up=True)


def test_hand_stays_up_while_other_things_change(lab: Lab) -> None:
    """What people told the board is not lost to what the files say."""
    lab.service.hand("ada", up=True)
    lab.change("bob", requests=7)
    lab.configure(title="Autumn class")
    assert set(lab.service.view.hands) == {"ada"}


def test_log_that_is_looked_at_is_asked_for_and_shown(lab: Lab) -> None:
    """The file is touched again while one looks, and read again when it changed."""
    assert lab.service.log_tail("ada") is None
    lab.service.want_log("ada")
    mark = lab.kept / wishes.WANTED / "ada"
    assert mark.exists()
    os.utime(mark, (1, 1))
    lab.service.want_log("ada")
    assert mark.stat().st_mtime == 1
    lab.write_log("ada", "one", "two")
    tail = lab.service.log_tail("ada")
    assert tail
    assert tail.lines == ("one", "two")
    assert lab.service.log_tail("ada") is tail
    lab.write_log("ada", "three")
    again = lab.service.log_tail("ada")
    assert again
    assert again.lines == ("three",)


@pytest.mark.parametrize("name", ["carol", "", "..", "../told/config", "ada/../bob"])
def test_log_of_nobody_is_refused(lab: Lab, name: str) -> None:
    """No name becomes a path that is not a participant's."""
    for ask in (lab.service.want_log, lab.service.log_tail):
        with pytest.raises(Refused) as refused:
            ask(name)
        assert refused.value.status == 404
    assert list((lab.kept / wishes.WANTED).iterdir()) == []


def test_seats_that_did_not_change_stay_the_same_objects(lab: Lab) -> None:
    """So that whoever compares 300 of them looks at few."""
    before = lab.service.view.seat("ada")
    lab.change("bob", requests=7)
    assert lab.service.view.seat("bob").requests == 7
    assert lab.service.view.seat("ada") is before


def test_change_among_300_seats_with_their_deploys_is_read_in_an_instant() -> None:
    """A page that loads meanwhile waits for it; time of the processor, as others share it."""
    deploys = tuple(
        shown.Deploy(f"id-{number}", number, "source", "ada", "failed", 1.0, evidence=("a", "b"))
        for number in range(10)
    )
    seats = tuple(seat(f"seat-{number}", deploys=deploys) for number in range(300))
    found = shown.Shown("class", 1.0, 1.0, seats)
    reader = shown.Reader()
    assert reader.load(shown.dump(found)) == found
    changed = replace(found, seats=(replace(seats[0], requests=9), *seats[1:]))
    text = shown.dump(changed)
    began = time.thread_time()
    assert reader.load(text) == changed
    assert time.thread_time() - began < 0.2


def test_control_process_that_writes_nothing_for_long_is_noticed_and_so_is_its_return(
    lab: Lab,
) -> None:
    """What the wall shows is old then, however still it looks."""
    assert lab.shown is not None
    old = replace(lab.shown, time=time.time() - STALE_SECONDS - 1)
    serving.replace_whole(lab.shown_in / shown.FILE, shown.dump(old))
    until(lambda: lab.service.view.stale)
    assert "are old" in lab.instructor().get("/").text
    lab.show(old)
    until(lambda: not lab.service.view.stale)

    assert "are old" not in lab.instructor().get("/").text
