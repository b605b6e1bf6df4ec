"""The server of deploys against a memory engine: what it takes, starts, moves, keeps and logs."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.small_disk import PAGE, fill, make_room, small_disk, use_up_files
from tests.waiting import PATIENCE
from workshop import operations
from workshop.deploys import current
from workshop.deploys.diagnosis.candidate import Superseded
from workshop.deploys.drain import Drainer
from workshop.deploys.failure import DeployFailed
from workshop.deploys.journal import Journal
from workshop.deploys.makers import Made, Makers, Task
from workshop.deploys.server import Server
from workshop.engines.memory import MemoryEngine
from workshop.errors import WorkshopError
from workshop.intake import orders
from workshop.intake.orders import INSTRUCTOR, Finding, Order, Progress, Proof, Stage, What
from workshop.labels import Role
from workshop.lock import apply_lock
from workshop.observed import State
from workshop.proxy.switch import GREEN, Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.deploys.config import Config
    from workshop.specs import ContainerSpec
    from workshop.workspace import Workspace

ROUNDS = 20
DIGEST = "sha256:" + "1f" * 32


class FakeMakers(Makers):
    """Makers whose images come from nowhere; the engine, the switch and the files are real."""

    def __init__(self, engine: MemoryEngine, switch: Switch) -> None:
        self.engine = engine
        self.switch = switch
        self.drainer = Drainer(engine)
        self.made: list[Task] = []
        self.broken: set[str] = set()
        self.hold = threading.Event()
        self.hold.set()
        self.edge_problem: str | None = None
        self.killed = False
        self.warmed: list[str] = []

    def make(self, task: Task, say: Callable[[str], None], stop: Callable[[], bool]) -> Made:
        """Make an image with the order's own digest."""
        self.made.append(task)
        say("making")
        self._wait(stop)
        tag = f"{task.config.owner.workshop}/seat-{task.order.seat}:{task.number}"
        self.engine._images[tag] = (tag, task.config.owner.labels(Role.APP))  # type: ignore[attr-defined]
        return Made(tag, DIGEST, task.order.digest, ())

    def prove(
        self, spec: ContainerSpec, container: str, seconds: float, stop: Callable[[], bool]
    ) -> None:
        """Accept everything that is not broken."""
        del container, seconds
        self._wait(stop)
        if spec.key in self.broken:
            raise DeployFailed(Finding("silent", "It says nothing.", ("no log",), "Say something."))

    def seen_through_edge(self, config: Config, spec: ContainerSpec) -> str | None:
        """Say what the test wants."""
        del config, spec
        return self.edge_problem

    def visit(self, config: Config, spec: ContainerSpec) -> Proof:
        """Find nothing."""
        del config, spec
        return Proof(pages=1)

    def has(self, image: str) -> bool:
        """Ask the engine."""
        return any(item.tag == image for item in self.engine.observe("class").images)

    def forget(self, config: Config, seat: str, kept: frozenset[str]) -> None:
        """Remove what is not kept."""
        for image in self.engine.observe(config.owner.workshop).images:
            if image.tag.startswith(f"class/seat-{seat}:") and image.tag not in kept:
                self.engine.remove_image(image.tag)

    def warm(self, config: Config, starter: Path, relay: str) -> None:
        """Take note."""
        del config, relay
        assert starter.is_file()
        self.warmed.append(starter.stem)

    def clear(self, config: Config) -> None:
        """Have nothing to clear."""

    def _wait(self, stop: Callable[[], bool]) -> None:
        while not self.hold.wait(0.01):
            if self.killed:
                raise SystemExit
            if stop():
                raise Superseded("a newer version is wanted")


class Room:
    """A provisioned class of three and its server, turned by hand."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.home = work.state_directory
        self.engine = work.engine
        assert isinstance(self.engine, MemoryEngine)
        self.makers = FakeMakers(self.engine, Switch(self.home / "edge" / GREEN))
        self.server = Server(self.home, self.makers)

    def order(self, seat: str, what: What = What.PUSH, **fields: str) -> str:
        """Place an order as the intake does."""
        return self._place("inbox", seat, what, {"actor": seat, **fields})

    def command(self, seat: str, what: What = What.VERSION, **fields: str) -> str:
        """Place an order as the instructor's command does."""
        return self._place("deploys/orders", seat, what, {"actor": INSTRUCTOR, **fields})

    def _place(self, box: str, seat: str, what: What, fields: dict[str, str]) -> str:
        if what is What.PUSH:
            fields = {"repository": f"{seat}/app", "digest": DIGEST, **fields}
        found = Order(orders.new_id(), seat, what, received=time.time(), **fields)
        orders.place(self.home / box, found)
        return found.id

    def until(self, order_id: str, stage: Stage | None = None) -> Progress:
        """Turn the server until an order is over, or has come to ``stage``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.server.step()
            found = orders.read_progress(self.home / "deploys/shown/progress", order_id)
            if found and (found.stage is stage or (found.stage.over and stage is None)):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.005)

    def until_true(self, true: Callable[[], bool]) -> None:
        """Turn the server until ``true``."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            self.server.step()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def seats(self, name: str) -> list[str]:
        """Name the containers of a seat."""
        seen = self.engine.observe("class").containers
        return sorted(item.name for item in seen if (item.role, item.key) == (Role.SEAT, name))

    def greens(self) -> frozenset[str]:
        """List who is routed to green."""
        return self.makers.switch.greens()


@pytest.fixture
def room(deploying: Workspace) -> Iterator[Room]:
    """Provision a class of three that deploys."""
    report = operations.provision(deploying)
    assert report.ok, report.failed
    found = Room(deploying)
    yield found
    found.makers.hold.set()


def test_push_goes_live_beside_the_old_version(room: Room) -> None:
    """The route moves, the record says so, the old container goes, the log has one line."""
    found = room.until(room.order("ada"))

    assert (found.stage, found.number, found.version) == (Stage.LIVE, 1, "1-1f1f1f1")
    assert room.greens() == {"ada"}
    room.until_true(lambda: room.seats("ada") == ["class-ada.green"])
    assert [item.stage for item in orders.history(room.home / "deploys/shown/log.jsonl")] == [
        Stage.LIVE
    ]


def test_provision_after_a_deploy_changes_nothing(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """What participants deployed is what should be."""
    room.until(room.order("ada"))
    room.until_true(lambda: len(room.seats("ada")) == 1)

    assert operations.plan(next_command(room.work)).is_empty


def test_provision_during_a_deploy_leaves_both_containers_alone(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The candidate belongs to the server until it is live or gone."""
    room.makers.hold.clear()
    waiting = room.order("ada")
    room.until(waiting, Stage.FETCHING)
    room.until_true(lambda: bool(room.makers.made))
    assert operations.plan(next_command(room.work)).is_empty
    room.makers.hold.set()

    assert room.until(waiting).stage is Stage.LIVE


def test_provision_during_a_way_back_to_the_roster_leaves_both_containers_alone(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Both run what the roster says, and yet the seat does not stand twice."""
    room.makers.hold.clear()
    waiting = room.command("ada", version="template")
    room.until_true(lambda: len(room.seats("ada")) == 2)
    assert operations.plan(next_command(room.work)).is_empty
    room.makers.hold.set()

    assert room.until(waiting).stage is Stage.LIVE
    assert room.greens() == {"ada"}
    room.until_true(lambda: room.seats("ada") == ["class-ada.green"])


def test_candidate_that_another_command_has_removed_is_started_again(room: Room) -> None:
    """Whoever is removed and added again while a version starts: no route may lead to nobody."""
    room.makers.hold.clear()
    waiting = room.command("ada", version="template")
    room.until_true(lambda: len(room.seats("ada")) == 2)
    seen = room.engine.observe("class").containers
    room.engine.remove(next(item.id for item in seen if item.name == "class-ada.green"))
    room.makers.hold.set()

    assert room.until(waiting).stage is Stage.LIVE
    assert room.greens() == {"ada"}
    room.until_true(lambda: room.seats("ada") == ["class-ada.green"])


def test_broken_version_leaves_the_old_one_where_it_is(room: Room) -> None:
    """A failure has its finding, and nothing moved."""
    room.makers.broken.add("ada")
    found = room.until(room.order("ada"))

    assert found.stage is Stage.FAILED
    assert found.finding is not None
    assert found.finding.cause == "silent"
    assert room.greens() == frozenset()
    room.until_true(lambda: room.seats("ada") == ["class-ada"])


def test_version_that_the_edge_does_not_show_is_taken_back(room: Room) -> None:
    """The last look is through the public address."""
    room.makers.edge_problem = "answers 502 through the edge"
    found = room.until(room.order("ada"))

    assert found.finding is not None
    assert found.finding.cause == "not-through-edge"
    assert room.greens() == frozenset()
    assert current.load(room.home / "deploys")["ada"].live is None


def test_two_pushes_at_once_deploy_the_last_one_once(room: Room) -> None:
    """Nothing between them is made."""
    first, second = room.order("ada"), room.order("ada")

    assert room.until(second).stage is Stage.LIVE
    assert room.until(first).stage is Stage.SUPERSEDED
    assert [task.order.id for task in room.makers.made] == [second]


def test_push_during_a_push_takes_its_place(room: Room) -> None:
    """The one under way gives up; the newer one goes live."""
    room.makers.hold.clear()
    first = room.order("ada")
    room.until(first, Stage.FETCHING)
    second = room.order("ada")
    assert room.until(first).stage is Stage.SUPERSEDED
    room.makers.hold.set()

    assert room.until(second).stage is Stage.LIVE


def test_order_for_nobody_is_refused_by_name(room: Room) -> None:
    """An unknown or removed seat is an answer, not an accident."""
    found = room.until(room.order("zoe"))

    assert found.stage is Stage.REFUSED
    assert found.finding is not None
    assert "zoe" in found.finding.message


@pytest.mark.parametrize(
    "fields",
    [
        {"what": What.IMAGE, "image": "class/seat-bob:1"},
        {"what": What.VERSION},
        {"what": What.PUSH, "actor": INSTRUCTOR},
        {"what": What.PUSH, "actor": "bob"},
    ],
)
def test_intake_cannot_order_what_only_the_instructor_may(
    room: Room, fields: dict[str, str]
) -> None:
    """Who faces participants may hand over pushes and sources of theirs, nothing else."""
    what = What(fields.pop("what"))
    refused = room.order("ada", what, **fields)
    room.until_true(lambda: not orders.waiting(room.home / "inbox"))

    assert orders.read_progress(room.home / "deploys/shown/progress", refused) is None
    assert room.makers.made == []


@pytest.mark.parametrize("what", [What.PUSH, What.SOURCE])
def test_deploy_of_a_held_seat_fails_and_starts_nothing(
    room: Room, next_command: Callable[[Workspace], Workspace], what: What
) -> None:
    """What the instructor stopped, a push does not start."""
    assert operations.stop(next_command(room.work), ["ada"]).ok
    found = room.until(room.order("ada", what))

    assert (found.stage, found.finding and found.finding.cause) == (Stage.FAILED, "seat-held")
    assert room.seats("ada") == ["class-ada"]
    assert room.makers.made == []
    assert operations.plan(next_command(room.work)).is_empty


def test_seat_that_is_stopped_while_its_next_version_starts_stays_stopped(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The candidate goes, and nothing of the seat runs."""
    room.makers.hold.clear()
    waiting = room.command("ada", version="template")
    room.until_true(lambda: len(room.seats("ada")) == 2)
    assert operations.stop(next_command(room.work), ["ada"]).ok
    room.makers.hold.set()
    found = room.until(waiting)

    assert (found.stage, found.finding and found.finding.cause) == (Stage.FAILED, "seat-held")
    room.until_true(lambda: room.seats("ada") == ["class-ada"])
    (ada,) = (item for item in room.engine.observe("class").containers if item.key == "ada")
    assert ada.state is State.EXITED
    assert room.greens() == frozenset()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"seat": "../../etc"}'])
def test_garbled_order_is_thrown_away(room: Room, text: str) -> None:
    """The server believes no field of an order."""
    order_id = orders.new_id()
    (room.home / "inbox" / f"{order_id}.json").write_text(text)
    room.server.step()

    assert orders.waiting(room.home / "inbox") == []


def test_rollback_goes_to_the_version_before_and_back_to_the_roster(room: Room) -> None:
    """Without a word it is the one before; `template` is what the roster says."""
    for _ in range(2):
        room.until(room.order("ada"))
    back = room.until(room.command("ada"))
    assert (back.stage, back.version) == (Stage.LIVE, "1-1f1f1f1")

    room.until(room.command("ada", version="template"))

    assert current.load(room.home / "deploys")["ada"].live is None


def test_rollback_to_what_is_not_kept_says_what_is(room: Room) -> None:
    """The way out stands in the evidence."""
    room.until(room.order("ada"))
    found = room.until(room.command("ada", version="77"))

    assert found.finding is not None
    assert found.finding.cause == "not-kept"
    assert "template" in found.finding.evidence[0]


def test_rollback_of_a_seat_that_never_deployed_says_so(room: Room) -> None:
    """There is nothing before the beginning."""
    found = room.until(room.command("ada"))

    assert found.finding is not None
    assert found.finding.cause == "nothing-before"


def test_only_so_many_versions_are_kept(room: Room) -> None:
    """Three before the live one, unless the roster says otherwise; older images go."""
    for _ in range(6):
        room.until(room.order("ada"))
    room.until_true(lambda: len(room.server._boxes) == 0)

    held = current.load(room.home / "deploys")["ada"]
    assert held.live is not None
    assert [item.number for item in held.kept] == [5, 4, 3]
    tags = {image.tag for image in room.engine.observe("class").images if "seat-ada" in image.tag}
    assert tags == {f"class/seat-ada:{number}" for number in (3, 4, 5, 6)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_killed_server_begins_its_order_again(room: Room) -> None:
    """An order's file stays until its last word is said."""
    room.makers.hold.clear()
    order_id = room.order("ada")
    room.until(order_id, Stage.FETCHING)

    room.makers.killed = True
    room.until_true(lambda: bool(room.server._ended))
    room.makers = FakeMakers(room.makers.engine, room.makers.switch)  # type: ignore[arg-type]
    room.server = Server(room.home, room.makers)
    room.server.tidy()

    assert room.until(order_id).stage is Stage.LIVE


def test_tidy_removes_what_nobody_waits_for(room: Room) -> None:
    """A second container of a seat is a leftover of a killed server; the route is set right."""
    room.until(room.order("ada"))
    told = room.server.config.read()
    seat = told.seat("ada")
    assert seat is not None
    stray = replace(seat.spec, name="class-bob.green", key="bob", deploy="x", address="10.9.9.9")
    room.engine.start(room.engine.create(stray, told.owner))
    room.makers.switch.move("bob", green=True)

    Server(room.home, room.makers).tidy()

    assert room.seats("bob") == ["class-bob"]
    assert room.greens() == {"ada"}


def test_route_does_not_move_while_a_command_is_at_work(room: Room) -> None:
    """The class's lock is for everybody."""
    with apply_lock(room.home / "lock"):
        order_id = room.order("ada")
        room.until(order_id, Stage.STARTING)
        assert room.greens() == frozenset()

    assert room.until(order_id).stage is Stage.LIVE
    assert room.greens() == {"ada"}


def test_removed_seat_is_forgotten(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """A newcomer of the same name must not get somebody else's app."""
    room.until(room.order("ada"))
    operations.remove(next_command(room.work), "ada")

    room.until_true(lambda: "ada" not in current.load(room.home / "deploys"))

    assert room.seats("ada") == []


def test_deployed_version_whose_image_is_gone_falls_back_to_the_roster(
    room: Room, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Whatever was deleted by hand, `provision` converges."""
    room.until(room.order("ada"))
    room.until_true(lambda: len(room.seats("ada")) == 1)
    room.engine.remove_image("class/seat-ada:1")

    report = operations.provision(next_command(room.work))

    assert report.ok, report.failed
    running = [
        item for item in room.engine.observe("class").containers if item.state is State.RUNNING
    ]
    assert sum(item.key == "ada" for item in running) == 1


def test_what_the_class_starts_from_is_built_once_while_nobody_waits(room: Room) -> None:
    """The first participant's change shall be as quick as the second's."""
    room.until_true(lambda: len(room.makers.warmed) == 1)
    room.until(room.order("ada", What.SOURCE))

    assert tuple(room.makers.warmed) == room.server.config.read().starters


# -- a full disk ------------------------------------------------------------------------------


@pytest.fixture
def disk(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have the class lie on a disk of two mebibytes."""
    kept = tmp_path_factory.mktemp("kept") / "class"
    shutil.copytree(directory, kept)
    with small_disk(directory, 2 << 20, 400):
        shutil.copytree(kept, directory, dirs_exist_ok=True)
        yield directory


def _turn_until_stuck(room: Room, order_id: str) -> None:
    """Turn the server until an order is over, or nothing more can be written about it."""
    deadline = time.monotonic() + PATIENCE
    while not room.server.journal.is_over(order_id):
        try:
            room.server.step()
        except (OSError, WorkshopError):
            if order_id not in {thread.name for thread in threading.enumerate()}:
                return
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _live(room: Room, seat: str) -> str:
    """Name the container that a seat's route leads to; the record must say the same."""
    green = seat in room.greens()
    assert room.server.records.of(seat).is_green == green
    assert current.load(room.home / "deploys")[seat].is_green == green
    return f"class-{seat}.green" if green else f"class-{seat}"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("take", ["bytes", "files"])
def test_order_on_a_full_disk_has_its_last_word_once_there_is_room(
    disk: Path, room: Room, take: str
) -> None:
    """F40: wherever it stops, from blue to green and back: the route leads to who lives there."""
    log = room.home / "deploys/shown/log.jsonl"
    room.server.queue.per_minute = 10_000
    ends = [room.until(room.order("ada")).stage]
    for number in range(ROUNDS):
        pages = number % (ROUNDS // 2)
        wanted = room.order("ada")
        if take == "bytes":
            fill(disk, pages * PAGE)
        else:
            use_up_files(disk, pages)

        _turn_until_stuck(room, wanted)
        assert _live(room, "ada") in room.seats("ada"), pages
        make_room(disk)
        found = room.until(wanted)

        full = found.finding is not None and found.finding.cause == "server-full"
        assert found.stage is Stage.LIVE or (found.stage is Stage.FAILED and full), (pages, found)
        last = [item.stage for item in orders.history(log) if item.id == wanted]
        assert last == [found.stage], pages
        ends.append(found.stage)

    assert set(ends) == {Stage.LIVE, Stage.FAILED}
    room.until_true(lambda: room.seats("ada") == [_live(room, "ada")])
    assert len(orders.history(log)) == ROUNDS + 1
    assert orders.waiting(room.home / "inbox") == []


def test_route_that_cannot_be_moved_leaves_the_record_where_it_leads(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: the next deploy must not take the place of who is live."""

    def full(*_: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(room.makers.switch, "move", full)
        found = room.until(room.order("ada"))

    assert found.finding is not None
    assert found.finding.cause == "server-full"
    assert _live(room, "ada") == "class-ada"
    assert room.until(room.order("ada")).stage is Stage.LIVE
    assert _live(room, "ada") == "class-ada.green"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_line_of_the_log_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """F40: the beginning of a line that found no room would take the next one with it."""
    with small_disk(tmp_path, 1 << 20, 100):
        (tmp_path / "progress").mkdir()
        log, journal = tmp_path / "log.jsonl", Journal(tmp_path)
        order = Order(orders.new_id(), "ada", What.PUSH, "ada", time.time())
        journal.accept(order, 0)
        log.write_text("\n" * (PAGE - 50))
        fill(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            journal.end(order, Stage.LIVE)
        left = log.stat().st_size
        make_room(tmp_path)
        journal.end(order, Stage.LIVE)

        assert left == PAGE - 50
        assert [item.id for item in orders.history(log)] == [order.id]


def test_server_at_work_says_so(room: Room) -> None:
    """The command looks at the beat before it orders anything."""
    room.server.step()

    assert (room.home / "deploys/serve.json").is_file()
