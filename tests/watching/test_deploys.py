"""What became of deploys: under way, over, live, and to be gone back to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from workshop.deploys.config import LOG
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.intake.orders import Escape, Finding, Proof, Stage
from workshop.watching.deploys import SHOWN, Deploys

if TYPE_CHECKING:
    from tests.watching.room import Room
    from workshop.board.shown import Deploy
    from workshop.intake.orders import Progress

FINDING = Finding("crashes", "Your app ends.", ("line 1", "line 2"), "Look at line 2.")


@pytest.fixture
def seen(room: Room) -> Deploys:
    """Read what the room's server of deploys writes."""
    return Deploys(room.home / "deploys" / "shown", lambda: room.current)


def latest(seen: Deploys, name: str = "ada") -> Deploy:
    """Read, and take a seat's newest deploy."""
    seen.step()
    return seen.of(name).deploys[0]


def live(item: Progress) -> Deployment:
    """Make the record of a deploy that is live."""
    return Deployment(item.id, item.number, item.version, "class/seat-ada:1", green=True)


def test_deploy_is_followed_through_its_stages(room: Room, seen: Deploys) -> None:
    """Each of them is news."""
    item = room.progress("ada", Stage.BUILDING)
    assert seen.step()
    assert seen.of("ada").deploys[0].stage == "building"
    room.tell(replace(item, stage=Stage.STARTING))
    assert seen.step()
    assert seen.of("ada").deploys[0].stage == "starting"
    room.tell(replace(item, stage=Stage.LIVE, ended=item.received + 5, version="1-abc"))
    assert seen.step()
    (found,) = seen.of("ada").deploys

    assert (found.stage, found.version, found.ended) == ("live", "1-abc", item.received + 5)
    assert (seen.of("ada").live, seen.of("ada").failed) == (1, 0)
    assert not seen.step()


def test_failed_deploy_has_the_doctors_words(room: Room, seen: Deploys) -> None:
    """All of them."""
    room.progress("ada", Stage.FAILED, finding=FINDING)
    found = latest(seen)

    assert (found.cause, found.message, found.evidence, found.next) == (
        "crashes",
        "Your app ends.",
        ("line 1", "line 2"),
        "Look at line 2.",
    )
    assert seen.of("ada").failed == 1


def test_live_deploy_has_the_number_of_addresses_that_leave_its_prefix(
    room: Room, seen: Deploys
) -> None:
    """The page says more about them."""
    escapes = (Escape("link", "/", "/about"), Escape("asset", "/", "/style.css"))
    room.progress("ada", Stage.LIVE, proof=Proof(2, escapes))

    assert latest(seen).escapes == 2


def test_what_is_live_and_what_is_kept_is_marked(room: Room, seen: Deploys) -> None:
    """By what is on record, which changes without any deploy of its own."""
    one, two = (room.progress("ada", Stage.LIVE, version=f"{n}-abc", number=n) for n in (1, 2))
    seen.step()
    room.current = {"ada": SeatDeploys(live=live(two), kept=(live(one),), count=2)}
    assert seen.step()
    marks = [(item.number, item.live, item.kept) for item in seen.of("ada").deploys]
    assert marks == [(2, True, False), (1, False, True)]
    room.current = {}
    assert seen.step()
    assert [item.live for item in seen.of("ada").deploys] == [False, False]


def test_ten_newest_deploys_are_told_and_all_are_counted(room: Room, seen: Deploys) -> None:
    """Newest first."""
    for number in range(1, 16):
        stage = Stage.LIVE if number % 3 else Stage.FAILED
        room.progress("ada", stage, number=number)
    room.progress("ada", Stage.SUPERSEDED, number=16)
    room.progress("bob", Stage.LIVE)
    seen.step()
    found = seen.of("ada")

    assert [item.number for item in found.deploys] == list(range(16, 16 - SHOWN, -1))
    assert (found.live, found.failed) == (10, 5)
    assert (seen.of("bob").live, seen.of("cleo").deploys) == (1, ())


def test_deploy_that_is_in_the_log_already_is_told_once(room: Room, seen: Deploys) -> None:
    """The last word is in the log before the file of progress has it."""
    item = room.progress("ada", Stage.PROVING)
    seen.step()
    over = replace(item, stage=Stage.LIVE, ended=item.received + 1)
    with (room.home / "deploys/shown" / LOG).open("a") as file:
        file.write(json.dumps(asdict(over)) + "\n")
    seen.step()
    assert [deploy.stage for deploy in seen.of("ada").deploys] == ["live"]
    room.progress("bob", Stage.WAITING)
    seen.step()

    assert [deploy.stage for deploy in seen.of("ada").deploys] == ["live"]


@pytest.mark.parametrize("garbage", ["{", "[]", "null", '{"id": 1}', "\x00\xff", '{"proof": 3}'])
def test_garbled_line_of_the_log_hides_no_other(room: Room, seen: Deploys, garbage: str) -> None:
    """A crash may have cut one short."""
    room.progress("ada", Stage.LIVE, number=1)
    with (room.home / "deploys/shown" / LOG).open("a") as file:
        file.write(garbage + "\n")
    room.progress("ada", Stage.LIVE, number=2)
    seen.step()

    assert [item.number for item in seen.of("ada").deploys] == [2, 1]


def test_line_that_is_not_whole_yet_is_read_when_it_is(room: Room, seen: Deploys) -> None:
    """The writer may be in the middle of it."""
    item = replace(room.progress("ada", Stage.WAITING), stage=Stage.LIVE)
    line = json.dumps(asdict(item)) + "\n"
    with (room.home / "deploys/shown" / LOG).open("a") as file:
        file.write(line[:50])
        file.flush()
        seen.step()
        assert seen.of("ada").live == 0
        file.write(line[50:])
    seen.step()

    assert seen.of("ada").live == 1


def test_log_that_is_another_one_is_read_from_its_beginning(room: Room, seen: Deploys) -> None:
    """The state directory was put back from a copy."""
    for _ in range(3):
        room.progress("ada", Stage.LIVE)
    seen.step()
    (room.home / "deploys/shown" / LOG).unlink()
    seen.step()
    assert seen.of("ada").live == 0
    room.progress("ada", Stage.FAILED, finding=FINDING)
    seen.step()

    assert (seen.of("ada").live, seen.of("ada").failed) == (0, 1)


def test_garbled_progress_is_no_deploy(room: Room, seen: Deploys) -> None:
    """It is read again when it changes."""
    item = room.progress("ada", Stage.WAITING)
    path = room.home / "deploys/shown/progress" / f"{item.id}.json"
    path.write_text("{", "utf-8")
    seen.step()
    assert seen.of("ada").deploys == ()
    room.tell(item)
    seen.step()

    assert seen.of("ada").deploys[0].stage == "waiting"
