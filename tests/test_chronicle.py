"""The platform's logs in one order: whose lines, which of them, and what is told as it happens."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import CLASS, TruthfulProbe
from tests.waiting import PATIENCE, until
from workshop import chronicle, journal, operations, state
from workshop.chronicle import Choice, Chronicle
from workshop.cli.telling import entry_line
from workshop.deploys.config import LOG
from workshop.deploys.journal import Journal
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineUnreachable, InputError
from workshop.intake.orders import Finding, Order, Stage, What
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "wk-" + "aB3_" * 11


class Talking(MemoryEngine):
    """An engine whose containers have written something."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, list[str]] = {}
        self.broken_off = False
        self._moved = threading.Condition()

    def say(self, key: str, event: str, moment: float | None = None, **facts: Any) -> None:
        """Let a container write a line."""
        line = json.dumps({"time": moment or time.time(), "event": event, **facts})
        with self._moved:
            self.written.setdefault(key, []).append(line)
            self._moved.notify_all()

    def logs(self, container_id: str, *, tail: int, follow: bool = False) -> Iterator[str]:
        """Yield what was written; wait for more when following."""
        if self.broken_off:
            raise EngineUnreachable("the engine is gone")
        key = next(item.key for item in self.observe("class").containers if item.id == container_id)
        place = max(0, len(self.written.get(key, [])) - tail)
        while True:
            found = self.written.get(key, [])
            yield from found[place:]
            place = len(found)
            if not follow:
                return
            with self._moved:
                self._moved.wait(0.1)


@pytest.fixture
def engine() -> Talking:
    """Make an engine."""
    return Talking()


@pytest.fixture
def talking(directory: Path, engine: Talking, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Run a class that deploys."""
    path = directory / "participants.yaml"
    path.write_text(CLASS.replace("  deploys: false\n", ""), "utf-8")
    work = Workspace(path, lambda: engine, TruthfulProbe(engine, "class"))
    report = operations.provision(work)
    assert report.ok, report.failed
    journalled = state.open_directory(path) / journal.FILE
    journalled.unlink(missing_ok=True)
    return Workspace(path, lambda: engine, work.probe)


def told(work: Workspace, name: str = "", *, everything: bool = False) -> list[str]:
    """Read everything; each entry as its source and its event."""
    found = Chronicle(work, Choice(name, everything=everything)).last(1000)
    return [f"{entry.source} {entry.event}" for entry in found]


def deploy(work: Workspace, seat: str, finding: Finding | None = None) -> None:
    """Let a deploy end."""
    order = Order("1700000000000-00000001", seat, What.PUSH, seat, time.time() - 9)
    notes = Journal(work.directories.shown)
    notes.accept(order, 0)
    notes.end(order, Stage.FAILED if finding else Stage.LIVE, finding=finding)


def test_sources_stand_in_one_order_of_time(talking: Workspace, engine: Talking) -> None:
    """Whoever wrote it, and whenever it is read."""
    now = time.time()
    engine.say("intake", "upload", now - 20, seat="bob", order="x")
    engine.say("serve", "serving", now - 30)
    journal.note(talking.state_directory, "restart", names=["ada"])
    engine.say("board", "wish", now - 10, actor="ada", what="restart")
    deploy(talking, "bob", Finding("port", "it listens elsewhere"))

    assert told(talking) == [
        "serve serving",
        "intake upload",
        "board wish",
        "workshop restart",
        "deploys deploy failed",
    ]


def test_line_that_is_no_event_is_left_out(talking: Workspace, engine: Talking) -> None:
    """A traceback, or what a library writes."""
    engine.written["serve"] = ["Traceback (most recent call last):", "", '{"no": "event"}']
    engine.say("serve", "stopped")

    assert told(talking) == ["serve stopped"]


def test_seats_own_logs_are_no_part_of_it(talking: Workspace, engine: Talking) -> None:
    """They belong to their participants; `workshop logs` shows them one by one."""
    engine.say("ada", "my app's own event")
    engine.say("edge", "visit")

    assert told(talking) == []


def test_requests_that_went_well_are_left_out_unless_asked_for(
    talking: Workspace, engine: Talking
) -> None:
    """A class asks its models every second."""
    engine.say("intake", "request", 10.0, status=200, path="/x")
    engine.say("intake", "request", 11.0, status=401, path="/x")
    engine.say("intake", "request", 12.0, status=0, path="/x")

    found = Chronicle(talking, Choice()).last(10)
    assert [entry.facts["status"] for entry in found] == [401, 0]
    assert len(told(talking, everything=True)) == 3


def test_name_chooses_a_person_or_a_source(talking: Workspace, engine: Talking) -> None:
    """As the seat, among others, or as who wanted it."""
    engine.say("intake", "upload", 10.0, seat="bob")
    engine.say("board", "wish", 11.0, actor="bob", what="restart")
    engine.say("board", "hand", 12.0, seat="ada")
    journal.note(talking.state_directory, "stop", names=["ada", "bob"])

    assert told(talking, "bob") == ["intake upload", "board wish", "workshop stop"]
    assert told(talking, "board") == ["board wish", "board hand"]
    assert told(talking, "gateway") == []
    assert told(talking, "grace") == []
    with pytest.raises(InputError):
        told(talking, "nobody")


def test_person_who_left_the_roster_can_still_be_looked_up(talking: Workspace) -> None:
    """What happened stays so."""
    journal.note(talking.state_directory, "remove", names=["joan"])

    assert told(talking, "joan") == ["workshop remove"]


def test_last_ones_are_the_newest(talking: Workspace) -> None:
    """Oldest first, as all logs."""
    for number in range(5):
        journal.note(talking.state_directory, f"event {number}")

    found = Chronicle(talking, Choice()).last(2)
    assert [entry.event for entry in found] == ["event 3", "event 4"]


def test_engine_that_is_gone_costs_its_part_alone(talking: Workspace, engine: Talking) -> None:
    """The record is a file, and what is missing is said."""
    journal.note(talking.state_directory, "restart", names=["ada"])
    engine.broken_off = True
    record = Chronicle(talking, Choice())

    assert [entry.event for entry in record.last(10)] == ["restart"]
    assert record.troubles == ["logs of the platform's containers: the engine is gone"]


def test_what_happens_is_told_from_all_sources(
    talking: Workspace, engine: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was there before, everything after, each thing once."""
    monkeypatch.setattr(chronicle, "_LOOK_SECONDS", 0.2)
    engine.say("intake", "long ago", 5.0)
    journal.note(talking.state_directory, "before")
    seen: list[str] = []
    ended = threading.Event()

    def listen() -> None:
        for entry in Chronicle(talking, Choice()).follow():
            if ended.is_set():
                return
            seen.append(f"{entry.source} {entry.event}")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()

    def ping() -> bool:
        journal.note(talking.state_directory, "ping")
        return "workshop ping" in seen

    until(ping)
    engine.say("intake", "upload", seat="ada")
    until(lambda: "intake upload" in seen)
    deploy(talking, "ada")
    until(lambda: "deploys deploy live" in seen)
    journal.note(talking.state_directory, "restart", names=["ada"])
    until(lambda: "workshop restart" in seen)
    ended.set()
    journal.note(talking.state_directory, "end")
    listener.join(PATIENCE)

    assert not listener.is_alive()
    assert not {"intake long ago", "workshop before"} & set(seen)
    assert all(seen.count(item) == 1 for item in seen if item != "workshop ping")


def test_deploy_says_who_what_and_why(talking: Workspace) -> None:
    """One line that stands alone."""
    deploy(talking, "bob", Finding("port", "it listens elsewhere"))
    (entry,) = Chronicle(talking, Choice("deploys")).last(10)

    assert entry_line(entry).endswith(
        "deploys   bob: deploy failed (by bob, what push, cause port)"
    )
    assert (talking.directories.shown / LOG).exists()


def test_no_line_holds_a_key(talking: Workspace, engine: Talking) -> None:
    """Not even one that a part should never have written."""
    engine.say("board", f"oops {KEY}", header=f"Bearer {KEY}", deep={"keys": [KEY]}, seats=[KEY])
    journal.note(talking.state_directory, "announce", text=KEY)

    lines = [entry_line(entry) for entry in Chronicle(talking, Choice()).last(10)]
    assert len(lines) == 2
    assert KEY not in "".join(lines)
    assert all("wk-…" in line for line in lines)


@pytest.mark.parametrize(
    "value", ["\x1b[2J", "a\nb", "x" * 9999, ["a", 7], {"deep": None}, 1e300, True]
)
def test_line_stays_one_whatever_a_fact_holds(value: object) -> None:
    """A path in a request is whatever somebody sent."""
    line = entry_line(chronicle.Entry(5.0, "intake", "request", {"path": value, "seat": "ada"}))

    assert line.isprintable()
    assert len(line) < 400
