"""The control process and the board: watched and granted where there is one, left alone where not."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.waiting import PATIENCE
from tests.watching.room import Shown
from workshop import operations
from workshop.board import wishes
from workshop.board.shown import State
from workshop.board.wishes import INSTRUCTOR, What, Wish
from workshop.deploys import server
from workshop.deploys.makers import Makers
from workshop.deploys.server import Attendant, Server
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineUnreachable
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.workspace import Workspace


class Control(Shown):
    """A provisioned class and its control process, turned by hand."""

    def __init__(self, work: Workspace) -> None:
        super().__init__(work.state_directory)
        self.work = work
        assert isinstance(work.engine, MemoryEngine)
        self.engine = work.engine
        nothing = cast("Any", None)
        makers = Makers(self.engine, nothing, nothing, nothing, nothing, nothing, nothing)
        self.attendant = Attendant(Server(self.home, makers))

    @property
    def board(self) -> Path:
        """The board's directory."""
        return self.home / "board"

    def turn_until(self, true: Callable[[], object]) -> None:
        """Turn the control process until ``true``."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            self.attendant.step()
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def control(deploying: Workspace) -> Iterator[Control]:
    """Provision a class of three that deploys and has a board."""
    report = operations.provision(deploying)
    assert report.ok, report.failed
    found = Control(deploying)
    (found.board / "kept" / wishes.WISHES).mkdir(parents=True, exist_ok=True)
    yield found
    found.attendant.stop()


def watchers() -> list[str]:
    """Name the threads that watch."""
    return sorted(item.name for item in threading.enumerate() if item.name.startswith("watch"))


def test_class_with_a_board_is_watched(control: Control) -> None:
    """As the engine has it."""
    control.turn_until((control.shown / "seats.json").exists)
    control.turn_until(lambda: control.see().parts)
    for item in control.engine.observe("class").containers:
        if (item.role, item.key) == (Role.SEAT, "ada"):
            control.engine.kill(item.id)
    control.turn_until(lambda: control.seat("ada").state is State.STOPPED)

    assert [seat.name for seat in control.see().seats] == ["ada", "bob", "grace"]
    assert ("serve", "running") in control.see().parts


def test_wish_of_the_board_is_granted(control: Control) -> None:
    """By the same operations as the command's."""
    wish = Wish(wishes.new_id(), What.ANNOUNCE, INSTRUCTOR, text="Coffee.")
    wishes.place(control.board / "kept" / wishes.WISHES, wish)
    answers = control.shown / "answers"
    control.turn_until(lambda: wishes.read_answer(answers, wish.id))
    answer = wishes.read_answer(answers, wish.id)

    assert answer is not None
    assert answer.done, answer.words


def test_class_without_a_board_is_not_watched(control: Control) -> None:
    """Nothing is written, and no thread begins."""
    shutil.rmtree(control.board)
    for _ in range(3):
        control.attendant.step()

    assert (watchers(), control.board.exists()) == ([], False)


def test_board_that_comes_is_attended_to_and_one_that_goes_is_not(control: Control) -> None:
    """The server of deploys is not started anew for it."""
    shutil.rmtree(control.board)
    control.attendant.step()
    control.board.mkdir()
    control.turn_until((control.shown / "seats.json").exists)
    assert watchers() == ["watch", "watch-edge", "watch-events"]
    shutil.rmtree(control.board, ignore_errors=True)
    control.turn_until(lambda: not watchers())


def test_server_that_stops_leaves_no_watch_behind(control: Control) -> None:
    """Nobody would end those threads."""
    control.turn_until(watchers)
    control.attendant.stop()
    control.attendant.stop()

    assert watchers() == []


@pytest.mark.parametrize("error", [OSError("full"), EngineUnreachable("gone")])
def test_accident_of_one_turn_is_told_and_does_not_end_the_server(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is due stays due."""

    def step() -> None:
        raise error

    assert not server._turn(step)
    assert str(error) in capsys.readouterr().err
    assert server._turn(lambda: None)
