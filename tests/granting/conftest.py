"""A provisioned class with a board on a memory engine, and what grants its wishes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PATIENCE
from workshop import operations
from workshop.board import wishes
from workshop.board.wishes import INSTRUCTOR, Answer, What, Wish
from workshop.deploys.server import ConfigFile
from workshop.engines.memory import MemoryEngine
from workshop.granting import Granter
from workshop.observed import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.workspace import Workspace


class Room:
    """The class, its wishes and their answers."""

    def __init__(self, work: Workspace) -> None:
        assert isinstance(work.engine, MemoryEngine)
        self.work = work
        self.engine = work.engine
        self.probe: Any = work.probe
        self.home: Path = work.state_directory
        self.board = self.home / "board"
        self.wishes = self.board / "kept" / wishes.WISHES
        self.answers = self.board / "shown" / "answers"
        self.granter = self.new_granter()

    def new_granter(self) -> Granter:
        """Start the server anew."""
        config = ConfigFile(self.home / "deploys/config.json")
        return Granter(self.home, config.read, self.engine, self.probe)

    def place(self, what: What, *seats: str, by: str = INSTRUCTOR, text: str = "") -> str:
        """Wish for something."""
        wish = Wish(wishes.new_id(), what, by, seats, text)
        wishes.place(self.wishes, wish)
        return wish.id

    def wish(self, what: What, *seats: str, by: str = INSTRUCTOR, text: str = "") -> Answer:
        """Wish for something and wait for the answer."""
        return self.answered(self.place(what, *seats, by=by, text=text))

    def answered(self, wish_id: str) -> Answer:
        """Turn the server until a wish is answered."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.granter.step()
            found = wishes.read_answer(self.answers, wish_id)
            if found is not None and self.granter.idle:
                return found
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def ids(self) -> dict[str, str]:
        """Map running containers by their key."""
        seen = self.engine.observe("class").containers
        return {item.key: item.id for item in seen if item.state is State.RUNNING}

    def journal(self) -> list[dict[str, Any]]:
        """Read what was noted."""
        path = self.home / "journal.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def provision(next_command: Callable[[Workspace], Workspace]) -> Callable[[Workspace], Room]:
    """Bring a class up and hand it out."""

    def up(work: Workspace) -> Room:
        report = operations.provision(work)
        assert report.ok, report.failed
        return Room(next_command(work))

    return up


@pytest.fixture
def room(deploying: Workspace, provision: Callable[[Workspace], Room]) -> Room:
    """Make a class of three with a board and two spare seats."""
    text = deploying.roster_path.read_text("utf-8")
    deploying.roster_path.write_text(text.replace("  llm: false\n", "  llm: false\n  spares: 2\n"))
    return provision(deploying)
