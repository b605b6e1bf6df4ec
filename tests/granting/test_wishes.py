"""All other wishes, who may have which, and what becomes of files that are no wishes."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.llm.conftest import MODELS
from workshop import claims, granting, keyring, operations, serving, state
from workshop.board import config as board
from workshop.board import wishes
from workshop.board.shown import read_announcement
from workshop.board.wishes import INSTRUCTOR, Answer, What, Wish
from workshop.deploys import current
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.gateway import config as gateway
from workshop.intake import orders
from workshop.llm import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.granting.conftest import Room
    from workshop.workspace import Workspace

    Next = Callable[[Workspace], Workspace]

INSTRUCTORS = (What.STOP, What.START, What.PAUSE, What.RESUME, What.ANNOUNCE)


def told(room: Room) -> board.Config:
    """Read what the board is told."""
    return board.load((room.board / "told/config.json").read_text("utf-8"))


def key_of(room: Room, name: str) -> str:
    """Make a participant's key."""
    known = state.load(room.home)
    assert known is not None
    return keys.derive(known.secret, name, known.key(name).serial)


def written(room: Room, name: str, wish: Any) -> str:
    """Put something that only looks like a wish where wishes lie."""
    (room.wishes / f"{name}.json").write_text(json.dumps(wish))
    return name


# -- who may wish for what ------------------------------------------------------------------------


@pytest.mark.parametrize("what", INSTRUCTORS)
def test_participants_wish_for_what_is_the_instructors_is_refused(room: Room, what: What) -> None:
    """Even where the board were talked into writing it."""
    calls = list(room.engine.calls)
    said = room.wish(what, "ada", by="ada", text="x")

    assert (said.done, said.words) == (False, "this wish cannot be understood")
    assert room.engine.calls == calls


@pytest.mark.parametrize("what", [What.RESTART, What.RESET, What.ROLLBACK, What.CLAIM])
@pytest.mark.parametrize("seats", [("bob",), ("ada", "bob"), ()])
def test_participants_wish_is_for_the_own_seat_alone(
    room: Room, what: What, seats: tuple[str, ...]
) -> None:
    """Nobody's neighbour is touched."""
    calls = list(room.engine.calls)
    said = room.wish(what, *seats, by="ada")

    assert not said.done
    assert not said.key
    assert room.engine.calls == calls


@pytest.mark.parametrize("what", [What.RESTART, What.STOP, What.ROLLBACK, What.PAUSE, What.CLAIM])
def test_unknown_seat_is_refused_and_nothing_of_the_wish_is_done(room: Room, what: What) -> None:
    """All or nothing, where a name is wrong."""
    calls = list(room.engine.calls)
    said = room.wish(what, "ada", "mallory")

    assert (said.done, said.words) == (False, "nobody in this class is called mallory (any more)")
    assert room.engine.calls == calls


def test_wish_of_somebody_who_is_not_in_the_class_is_refused(room: Room) -> None:
    """A session may outlive a seat."""
    said = room.wish(What.RESTART, "mallory", by="mallory")

    assert not said.done


@pytest.mark.parametrize("what", [What.RESTART, What.RESET, What.ROLLBACK])
def test_participant_cannot_start_what_the_instructor_stopped(room: Room, what: What) -> None:
    """A hold is the instructor's to end."""
    assert room.wish(What.STOP, "ada").done
    said = room.wish(what, "ada", by="ada")

    assert (said.done, said.words) == (
        False,
        "your instructor has stopped this seat; raise your hand",
    )
    assert "ada" not in room.ids()


def test_wish_for_no_seat_is_refused(room: Room) -> None:
    """It would not mean everybody."""
    assert room.wish(What.RESTART).words == "no seat was named"
    assert room.wish(What.CLAIM).words == "no seat was named"


def test_participant_who_restarts_again_at_once_is_asked_to_wait(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class's lock is held while a seat starts; the instructor need not wait."""
    assert room.wish(What.RESTART, "ada", by="ada").done
    said = room.wish(What.RESET, "ada", by="ada")

    assert (said.done, said.words) == (False, "this was done a moment ago; wait a little")
    assert room.wish(What.RESTART, "bob", by="bob").done
    assert room.wish(What.RESTART, "ada").done
    assert room.wish(What.RESTART, "ada").done
    monkeypatch.setattr(granting, "BREATHER_SECONDS", 0.0)
    assert room.wish(What.RESTART, "ada", by="ada").done


# -- what is no wish, or too old ------------------------------------------------------------------


SOUND = {"what": "restart", "actor": INSTRUCTOR, "seats": ["ada"], "text": ""}


@pytest.mark.parametrize(
    "change",
    [
        {"what": "remove"},
        {"actor": "../ada"},
        {"actor": 3},
        {"seats": ["a/b"]},
        {"seats": 3},
        {"seats": [["ada"]]},
        {"seats": ["ada"] * 501},
        {"text": "x" * 501},
        {"text": None},
        {"id": "1795245898000-ffffffff"},
    ],
)
def test_garbled_wish_is_answered_and_removed(room: Room, change: dict[str, object]) -> None:
    """It is not tried again, and touches nothing."""
    calls = list(room.engine.calls)
    wish = wishes.new_id()
    written(room, wish, {"id": wish, **SOUND, **change})
    said = room.answered(wish)

    assert said == Answer(wish, done=False, words="this wish cannot be understood")
    assert wishes.waiting(room.wishes) == []
    assert room.engine.calls == calls


def test_pipe_in_the_place_of_a_wish_holds_up_nobody(room: Room) -> None:
    """Opening it would last for ever."""
    pipe = wishes.new_id()
    os.mkfifo(room.wishes / f"{pipe}.json")

    assert not room.answered(pipe).done
    assert room.wish(What.RESTART, "ada").done


def test_link_in_the_place_of_a_wish_is_not_followed(room: Room) -> None:
    """Whoever writes there shall not choose what is read."""
    linked = wishes.new_id()
    target = room.home / "elsewhere.json"
    target.write_text(json.dumps({"id": linked, **SOUND}))
    (room.wishes / f"{linked}.json").symlink_to(target)

    assert not room.answered(linked).done
    assert target.exists()


def test_wish_that_cannot_be_removed_is_never_granted(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise it would be granted for ever; the ones after it are."""
    stuck = wishes.new_id()
    (room.wishes / f"{stuck}.json").mkdir()
    said = room.wish(What.RESTART, "ada")
    room.granter.step()

    assert said.done
    assert room.granter.idle
    assert not (room.answers / f"{stuck}.json").exists()
    assert "IsADirectoryError" in capsys.readouterr().err


def test_wish_from_before_the_server_came_up_is_not_granted(room: Room) -> None:
    """Nobody expects any more that an app goes away now."""
    before = room.ids()
    old = f"{int((time.time() - granting.LATE_SECONDS - 1) * 1000):013d}-0f3c9a1b"
    wishes.place(room.wishes, Wish(old, What.RESET, INSTRUCTOR, ("ada",)))
    said = room.answered(old)

    assert not said.done
    assert "do it again" in said.words
    assert room.ids() == before


def test_wish_is_removed_before_it_is_granted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that brings the server down must not do so at every start."""
    lying = []
    restart = room.engine.restart

    def look(container: str) -> None:
        lying.extend(wishes.waiting(room.wishes))
        restart(container)

    monkeypatch.setattr(room.engine, "restart", look)
    assert room.wish(What.RESTART, "ada").done
    assert lying == []


def test_wishes_are_granted_in_their_order(room: Room) -> None:
    """Stop and start are not start and stop."""
    first = room.place(What.STOP, "ada")
    time.sleep(0.002)
    second = room.place(What.START, "ada")
    room.answered(second)

    assert wishes.read_answer(room.answers, first) is not None
    assert "ada" in room.ids()


def test_answers_are_removed_after_an_hour(room: Room) -> None:
    """Those that somebody may still wait for stay."""
    room.answers.mkdir(exist_ok=True)
    old = f"{int((time.time() - granting.ANSWER_SECONDS - 1) * 1000):013d}-0f3c9a1b"
    new = wishes.new_id()
    for item in (old, new):
        wishes.answer(room.answers, Answer(item, done=True, words="x"))
    room.new_granter().step()

    assert wishes.waiting(room.answers) == [new]


def test_answer_with_a_key_is_removed_after_a_minute(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever claimed has read it by then."""
    claimed = room.place(What.CLAIM, "ada", by="ada")
    assert room.answered(claimed).key
    plain = room.place(What.RESTART, "ada")
    room.answered(plain)
    monkeypatch.setattr(granting, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(granting, "_SWEEP_SECONDS", 0.0)
    room.granter.step()

    assert wishes.waiting(room.answers) == [plain]


def test_answer_with_a_key_from_before_the_server_came_up_is_removed(room: Room) -> None:
    """It is not remembered which ones there were."""
    room.answers.mkdir(exist_ok=True)
    ago = granting.LATE_SECONDS + granting.KEY_SECONDS + 1
    old = f"{int((time.time() - ago) * 1000):013d}-0f3c9a1b"
    wishes.answer(room.answers, Answer(old, done=True, words="x", key="wk-x"))
    room.new_granter().step()

    assert wishes.waiting(room.answers) == []


def test_every_wish_is_a_line_of_the_journal_without_its_words(room: Room) -> None:
    """Who wished for what, and how it ended; no key, and nothing that was said."""
    room.wish(What.RESTART, "ada", by="ada")
    room.wish(What.ANNOUNCE, text="Lunch until one")
    key = room.wish(What.CLAIM, "bob", by="bob").key
    room.wish(What.RESTART, "mallory")
    lines = [
        (line["event"], line["by"], line["seats"], line["done"]) for line in room.journal()[-4:]
    ]
    text = (room.home / "journal.jsonl").read_text("utf-8")

    assert lines == [
        ("restart", "ada", ["ada"], True),
        ("announce", INSTRUCTOR, [], True),
        ("claim", "bob", ["bob"], True),
        ("restart", INSTRUCTOR, ["mallory"], False),
    ]
    assert key not in text
    assert "Lunch" not in text


# -- going back -----------------------------------------------------------------------------------


def runs(room: Room, name: str) -> None:
    """Say that a seat runs its second deploy and could go back to its first."""
    made = [
        Deployment(f"{n:013d}-{n:08x}", n, f"{n}-abc", f"class/seat-{name}:{n}", green=False)
        for n in (2, 1)
    ]
    for item in made:
        room.engine._images[item.image] = (item.id, {})
    there = {name: SeatDeploys(live=made[0], kept=(made[1],), count=2)}
    serving.replace_whole(room.home / "deploys" / current.FILE, current.dump(there))


@pytest.mark.parametrize(("wanted", "version"), [("", ""), ("1", "1-abc"), ("template",) * 2])
@pytest.mark.parametrize("actor", [INSTRUCTOR, "ada"])
def test_rollback_places_an_order_as_the_command_does(
    room: Room, wanted: str, version: str, actor: str
) -> None:
    """In the box that only the instructor's side can write, by whoever wished for it."""
    runs(room, "ada")
    said = room.wish(What.ROLLBACK, "ada", by=actor, text=wanted)
    box = room.home / "deploys/orders"
    (order,) = [orders.read_order(box, item) for item in orders.waiting(box)]

    assert said.done, said.words
    assert order is not None
    assert (order.seat, order.what, order.version, order.actor) == (
        "ada",
        orders.What.VERSION,
        version,
        actor,
    )


@pytest.mark.parametrize("wanted", ["", "7", "no-such"])
def test_rollback_to_what_is_not_kept_is_refused(room: Room, wanted: str) -> None:
    """With the versions there are."""
    if wanted:
        runs(room, "ada")
    said = room.wish(What.ROLLBACK, "ada", text=wanted)

    assert not said.done
    assert (
        "2 (2-abc), 1 (1-abc) and template" if wanted else "no version to go back"
    ) in said.words
    assert orders.waiting(room.home / "deploys/orders") == []


def test_rollback_of_a_stopped_seat_says_to_start_it_first(room: Room) -> None:
    """A deploy starts nothing that is held."""
    runs(room, "ada")
    room.wish(What.STOP, "ada")
    said = room.wish(What.ROLLBACK, "ada")

    assert (said.done, said.words) == (False, "ada: stopped; start before going back")


# -- pausing and saying ---------------------------------------------------------------------------


@pytest.fixture
def with_models(
    work: Workspace, provision: Callable[[Workspace], Room], monkeypatch: pytest.MonkeyPatch
) -> Room:
    """Make a class with models, deploys and a board."""
    monkeypatch.setenv("CLASS_KEY", "sk-canary")
    work.roster_path.write_text(MODELS.replace("  deploys: false\n", ""), "utf-8")
    return provision(work)


@pytest.mark.parametrize("seats", [("ada",), ("ada", "bob"), ()])
def test_pause_and_resume_leave_provision_nothing_to_do(
    with_models: Room, next_command: Next, seats: tuple[str, ...]
) -> None:
    """The state and the gateway's file are as the command leaves them."""
    path = with_models.home / "gateway" / gateway.FILE
    who = ", ".join(seats) or "everybody"
    assert with_models.wish(What.PAUSE, *seats).words == f"models paused for {who}"
    found = gateway.load(path.read_text("utf-8"))

    assert (found.paused, {seat.name for seat in found.seats if seat.paused}) == (
        not seats,
        set(seats),
    )
    assert operations.plan(next_command(with_models.work)).is_empty
    assert with_models.wish(What.RESUME, *seats).words == f"models resumed for {who}"
    assert operations.plan(next_command(with_models.work)).is_empty


def test_pause_where_the_gateway_is_down_says_so(with_models: Room) -> None:
    """It holds all the same once it is up."""
    with_models.engine.remove(with_models.ids()["gateway"])
    said = with_models.wish(What.PAUSE)

    assert said.done
    assert said.words.endswith("the gateway does not answer, and reads it when it does")


def test_announcement_is_shown_and_taken_back(room: Room) -> None:
    """The same file as the command writes."""
    assert room.wish(What.ANNOUNCE, text="Lunch until one").words == "said to everybody"
    found = read_announcement(room.board / "shown")
    assert found is not None
    assert found.text == "Lunch until one"
    assert room.wish(What.ANNOUNCE).words == "taken back"

    assert read_announcement(room.board / "shown") is None


# -- claiming -------------------------------------------------------------------------------------


def test_code_is_exchanged_for_the_key_once(room: Room) -> None:
    """The second one who comes with it is told what to do."""
    said = room.wish(What.CLAIM, "ada", by="ada")
    again = room.wish(What.CLAIM, "ada", by="ada")

    assert (said.done, said.key) == (True, key_of(room, "ada"))
    assert (again.done, again.key) == (False, "")
    assert again.words == "this code has been used; your instructor can show you the key"
    assert set(claims.claimed(room.board / "shown")) == {"ada"}


def test_claim_of_a_named_seat_leaves_the_roster_alone(room: Room) -> None:
    """The instructor wrote the name."""
    before = room.work.roster_path.read_bytes()
    assert room.wish(What.CLAIM, "ada", by="ada", text="Somebody Else").done

    assert room.work.roster_path.read_bytes() == before


def test_claimed_spare_seat_is_in_the_roster_and_on_the_board(
    room: Room, next_command: Next
) -> None:
    """By the name the latecomer gave; the seat's own name, key and container stay."""
    before = room.ids()
    said = room.wish(What.CLAIM, "spare-2", by="spare-2", text=" Joan  Clarke ")
    seat = told(room).seat("spare-2")
    text = room.work.roster_path.read_text("utf-8")
    work = next_command(room.work)

    assert said.key == key_of(room, "spare-2")
    assert seat is not None
    assert (seat.display_name, seat.spare) == ("Joan Clarke", False)
    assert "  - name: spare-2\n    display_name: Joan Clarke\n" in text
    assert "# front row" in text
    assert not work.roster.participant("spare-2").spare
    assert work.roster.participant("spare-1").spare
    assert room.ids() == before


def test_repair_still_repairs_after_a_spare_seat_was_claimed(
    room: Room, next_command: Next
) -> None:
    """A line that the platform wrote into the roster is no wish of the instructor's."""
    assert room.wish(What.CLAIM, "spare-2", by="spare-2", text="Joan Clarke").done
    room.engine.remove(room.ids()["bob"])
    report = operations.provision(next_command(room.work), repair=True)

    assert report.ok
    assert "bob" in room.ids()


def test_provision_after_a_claim_touches_no_seat(room: Room, next_command: Next) -> None:
    """What changes is what people read, on the landing page."""
    assert room.wish(What.CLAIM, "spare-1", by="spare-1", text="Joan Clarke").done
    plan = operations.plan(next_command(room.work))

    assert not [step for step in plan.steps if step.kind == "seat"]
    assert len(plan.unchanged) == 5


@pytest.mark.parametrize("text", ["", "  ", "\x00\u200b\n", "x" * 101])
def test_claim_of_a_spare_seat_without_a_name_changes_nothing(room: Room, text: str) -> None:
    """And the code is good for another try."""
    before = room.work.roster_path.read_bytes()
    said = room.wish(What.CLAIM, "spare-1", by="spare-1", text=text)

    assert not said.done
    assert room.work.roster_path.read_bytes() == before
    assert claims.claimed(room.board / "shown") == {}
    assert room.wish(What.CLAIM, "spare-1", by="spare-1", text="Joan").done


@pytest.mark.parametrize(
    "name",
    ["Ελένη", 'a "quoted" \\ name', "null", "- x: y", "{a: b}", "# no comment", "李小龍", "&a *b"],
)
def test_name_of_a_latecomer_is_read_back_as_it_was_given(
    room: Room, next_command: Next, name: str
) -> None:
    """Nothing of it is YAML."""
    assert room.wish(What.CLAIM, "spare-1", by="spare-1", text=name).done

    assert next_command(room.work).roster.participant("spare-1").display_name == name
    assert len(next_command(room.work).roster.participants) == 5


def test_claim_while_the_roster_is_being_edited_is_refused_and_can_be_repeated(
    room: Room,
) -> None:
    """A file with a fault in it is never written to."""
    path = room.work.roster_path
    before = path.read_text("utf-8")
    path.write_text(before.replace("participants:", "participantss:"), "utf-8")
    said = room.wish(What.CLAIM, "spare-1", by="spare-1", text="Joan")
    assert not said.done
    assert claims.claimed(room.board / "shown") == {}
    path.write_text(before, "utf-8")

    assert room.wish(What.CLAIM, "spare-1", by="spare-1", text="Joan").done


def test_revoked_key_is_not_handed_out(room: Room, next_command: Next) -> None:
    """The card was lost, perhaps."""
    keyring.revoke(next_command(room.work), ["ada"])
    said = room.wish(What.CLAIM, "ada", by="ada")

    assert (said.done, said.key) == (False, "")
    assert claims.claimed(room.board / "shown") == {}


def test_rotated_key_is_the_one_that_is_handed_out(room: Room, next_command: Next) -> None:
    """The one that holds."""
    keyring.rotate(next_command(room.work), ["ada"])

    assert room.wish(What.CLAIM, "ada", by="ada").key == key_of(room, "ada")


def test_instructor_claims_one_seat_at_a_time(room: Room) -> None:
    """An answer holds one key."""
    assert not room.wish(What.CLAIM, "ada", "bob").done


def test_spare_seat_whose_holder_was_removed_has_another_key(
    room: Room, next_command: Next
) -> None:
    """Whoever left knows the old one."""
    key = room.wish(What.CLAIM, "spare-1", by="spare-1", text="Joan").key
    assert operations.remove(next_command(room.work), "spare-1").ok

    assert next_command(room.work).roster.participant("spare-1").spare
    assert key_of(room, "spare-1") != key
