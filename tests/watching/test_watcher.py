"""The watcher: what happens in the class is on file within half a second, and only what happens."""

from __future__ import annotations

import errno
import itertools
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.small_disk import fill, make_room, small_disk
from tests.waiting import SOON
from tests.watching.room import PATIENCE, Room, edge_line, told, unanswered
from workshop import held
from workshop.board import shown
from workshop.board.shown import State
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.errors import EngineUnreachable
from workshop.gateway import config as gateway
from workshop.gateway.ledger import FILE, Ledger, Row
from workshop.intake.orders import Stage
from workshop.labels import Role
from workshop.watching.watcher import BEAT_SECONDS, STEP_SECONDS, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def watched(room: Room) -> Iterator[Room]:
    """Let a class of three be watched."""
    with room.watching():
        room.until(lambda: len(room.see().parts) == 1 and not room.see().troubles)
        yield room


def test_class_that_runs_is_shown_live(watched: Room) -> None:
    """Everybody, in the order of the class, with their limits."""
    found = watched.see()

    assert [(seat.name, seat.state) for seat in found.seats] == [
        ("ada", State.LIVE),
        ("bob", State.LIVE),
        ("cleo", State.LIVE),
    ]
    assert (found.workshop, found.parts, found.troubles) == ("class", (("edge", "running"),), ())
    assert (found.seats[0].memory_limit, found.seats[0].cpu_limit) == (256 << 20, 0.5)
    assert abs(found.started - time.time()) < PATIENCE


def test_seat_that_dies_is_on_file_long_before_the_next_look(watched: Room) -> None:
    """And so is its return."""
    watched.engine.kill(watched.ids["ada"])
    took = watched.until(lambda: watched.seat("ada").state is State.STOPPED)
    assert took < SOON
    watched.engine.start(watched.ids["ada"])
    took = watched.until(lambda: watched.seat("ada").state is State.LIVE)
    assert took < SOON


def test_seat_that_ended_and_was_started_again_is_crashing(watched: Room) -> None:
    """Although it runs when it is looked at."""
    watched.engine.crash(watched.ids["ada"])
    watched.until(lambda: watched.seat("ada").state is State.CRASHING)

    assert watched.seat("ada").restarts == 1


def test_request_is_on_file_long_before_the_next_look(watched: Room) -> None:
    """As soon as the edge has written its line."""
    watched.engine.write(watched.edge, edge_line("ada", bytes=700))
    took = watched.until(lambda: watched.seat("ada").requests == 1)
    found = watched.seat("ada")

    assert took < SOON
    assert (found.errors, found.totals.requests, found.totals.bytes) == (0, 1, 700)


def test_seat_that_does_not_answer_is_silent_until_it_does(watched: Room) -> None:
    """The edge knows; nobody asks the app."""
    # Later than its start, which is now.
    watched.engine.write(watched.edge, unanswered("ada", time=time.time() + 1))
    watched.until(lambda: watched.seat("ada").state is State.SILENT)
    assert watched.seat("ada").detail == "runs, but its latest visitors got no answer"
    watched.engine.write(watched.edge, edge_line("ada", time=time.time() + 2))
    watched.until(lambda: watched.seat("ada").state is State.LIVE)


def test_requests_go_on_being_counted_when_the_edge_is_replaced(watched: Room) -> None:
    """As every change of its image or its certificate does."""
    watched.engine.write(watched.edge, edge_line("ada"))
    watched.until(lambda: watched.seat("ada").totals.requests == 1)
    watched.engine.remove(watched.edge)
    watched.until(lambda: watched.see().parts == ())
    new = watched.part(Role.EDGE)
    watched.engine.write(new, edge_line("ada"))
    watched.until(lambda: watched.seat("ada").totals.requests == 2)


def test_requests_go_on_being_counted_when_the_edge_is_started_again(watched: Room) -> None:
    """Those before are not counted twice."""
    watched.engine.write(watched.edge, edge_line("ada"))
    watched.until(lambda: watched.seat("ada").totals.requests == 1)
    watched.engine.kill(watched.edge)
    watched.engine.start(watched.edge)
    watched.engine.write(watched.edge, edge_line("bob"))
    watched.until(lambda: watched.seat("bob").totals.requests == 1)

    assert watched.seat("ada").totals.requests == 1


def test_garbled_lines_of_the_edge_hide_no_request(watched: Room) -> None:
    """Nor do they end the watch."""
    for line in ("", "nginx: [warn]", "{", "[" * 10_000, edge_line("ada")[:-3], edge_line("ada")):
        watched.engine.write(watched.edge, line)
    watched.until(lambda: watched.seat("ada").totals.requests == 1)


def test_deploy_is_on_file_long_before_the_next_look(watched: Room) -> None:
    """Each stage of it."""
    item = watched.progress("ada", Stage.BUILDING)

    def stage() -> str:
        deploy = watched.seat("ada").deploy
        return deploy.stage if deploy else ""

    assert watched.until(lambda: stage() == "building") < SOON
    watched.tell(replace(item, stage=Stage.LIVE, ended=time.time()))
    assert watched.until(lambda: stage() == "live") < SOON
    assert watched.seat("ada").totals.deploys == 1


def test_live_container_is_the_one_at_the_live_address(watched: Room) -> None:
    """A candidate beside it is not the seat yet; when the route has moved, it is."""
    spec = watched.config.seats[0].spec
    new = Deployment("1", 1, "1-abc", "class/app:1", green=True)
    candidate = watched.run(spec.deployed(new).moved("10.86.1.2"))
    watched.engine.crash(candidate)
    watched.until(lambda: len(watched.watcher._containers._listed) == 5)
    assert (watched.seat("ada").version, watched.seat("ada").state) == ("v1", State.LIVE)
    watched.current = {"ada": SeatDeploys(live=new, count=1)}
    watched.until(lambda: watched.seat("ada").version == "1-abc")
    watched.engine.remove(watched.ids["ada"])

    assert watched.seat("ada").state is State.CRASHING


def test_seat_that_the_instructor_stopped_is_held(watched: Room) -> None:
    """It is no failure."""
    held.save(watched.home, ["ada"])
    watched.engine.stop(watched.ids["ada"])
    watched.until(lambda: watched.seat("ada").state is State.HELD)
    assert watched.seat("ada").detail == "stopped by you"
    held.save(watched.home, [])
    watched.until(lambda: watched.seat("ada").state is State.STOPPED)


def test_memory_and_processor_are_shown(tmp_path: Path) -> None:
    """From the kernel's own files."""
    room = Room(tmp_path)
    room.use("ada", 64 << 20, 1.0, cache=5 << 20)
    (room.home / "board/kept/sessions.json").write_text("{}")
    with room.watching():
        room.until(lambda: room.seat("ada").memory == 64 << 20)
        room.use("ada", 65 << 20, 2.0)
        room.until(lambda: room.seat("ada").memory == 65 << 20)
        found = room.seat("ada")

    assert 0.01 < found.cpu < 0.6, "one second of processor in two seconds or more"
    assert found.totals.cpu_seconds == 1.0


def test_tokens_and_a_pause_are_shown(watched: Room) -> None:
    """From the gateway's books and what it was told."""
    seats = (gateway.Seat("ada", "ada-1", "", paused=True, budget=gateway.Budget(tokens=100)),)
    for name in ("gateway", "usage"):
        (watched.home / name).mkdir()
    ledger = Ledger(watched.home / "usage" / FILE)
    ledger.append(Row(time.time(), "ada", "ada-1", input_tokens=10, output_tokens=5))
    ledger.flush()
    text = gateway.dump(gateway.Config("class", seats))
    (watched.home / "gateway" / gateway.FILE).write_text(text)
    watched.until(lambda: watched.seat("ada").tokens == 15)
    ledger.close()
    found = watched.seat("ada")

    assert (found.tokens_limit, found.paused, found.totals.llm_requests) == (100, True, 1)


def test_log_is_written_while_somebody_looks_at_it(watched: Room) -> None:
    """Of whatever container the seat has."""
    (watched.home / "board/kept/wanted/ada").touch()
    watched.until(lambda: shown.read_log(watched.shown, "ada"))
    found = shown.read_log(watched.shown, "ada")

    assert found is not None
    assert found.lines == ("ada says hello",)


def test_participant_who_comes_and_one_who_goes_are_shown_so(watched: Room) -> None:
    """A provision changes who is in the class."""
    watched.config = told(["bob", "cleo", "dora"])
    watched.until(lambda: [seat.name for seat in watched.see().seats] == ["bob", "cleo", "dora"])

    assert watched.seat("dora").state is State.MISSING


def test_nothing_is_written_while_nothing_happens(watched: Room) -> None:
    """Whoever reads the file looks whether it is another one."""
    time.sleep(2 * STEP_SECONDS)
    before = (watched.shown / shown.FILE).stat()
    time.sleep(6 * STEP_SECONDS)
    after = (watched.shown / shown.FILE).stat()

    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_quiet_class_is_written_anew_every_15_seconds(watched: Room) -> None:
    """By the time of it others see that somebody still watches."""
    watched.watcher.stop()
    before = watched.see()
    watched.watcher.step(before.time + BEAT_SECONDS - 1)
    assert watched.see() == before
    watched.watcher.step(before.time + BEAT_SECONDS)

    assert watched.see() == replace(before, time=before.time + BEAT_SECONDS)


def test_flood_of_requests_is_written_four_times_a_second_at_most(watched: Room) -> None:
    """However many there are."""
    written: list[float] = []
    write = watched.watcher._writer.write

    def counted(whole: shown.Shown) -> None:
        written.append(time.monotonic())
        write(whole)

    watched.watcher._writer.write = counted  # type: ignore[method-assign]
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        watched.engine.write(watched.edge, edge_line("ada"))
        watched.engine.tell(watched.ids["bob"], "kill")
        time.sleep(0.005)

    assert 2 <= len(written) <= 8
    assert all(b - a > 0.2 for a, b in itertools.pairwise(written))


def test_engine_that_is_gone_is_told_and_seen_again_when_it_is_back(
    watched: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was last seen stays, and what happened meanwhile is found."""

    def gone(*_: object) -> None:
        raise EngineUnreachable("no Docker engine answers")

    with monkeypatch.context() as patch:
        for verb in ("containers", "events", "follow", "uptime", "logs"):
            patch.setattr(watched.engine, verb, gone)
        for _, stream in list(watched.engine._listeners):
            stream.close()
        watched.until(lambda: watched.see().troubles)
        assert watched.see().troubles[0] == "the engine cannot be asked: no Docker engine answers"
        assert watched.seat("ada").state is State.LIVE
        watched.engine.kill(watched.ids["ada"])
    watched.until(lambda: not watched.see().troubles)
    watched.until(lambda: watched.seat("ada").state is State.STOPPED)


def test_machine_without_control_groups_shows_the_rest_and_says_so(tmp_path: Path) -> None:
    """In plain words."""
    room = Room(tmp_path)
    room.watcher = Watcher(
        room.home, lambda: room.config, room.engine, lambda: room.current, tmp_path / "nowhere"
    )
    with room.watching():
        room.until(lambda: room.see().troubles)

        assert room.see().troubles == (f"no control groups at {tmp_path}/nowhere",)
        room.until(lambda: room.seat("ada").state is State.LIVE)


def test_accident_of_one_look_does_not_end_the_watch(
    watched: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is in the log of the server."""
    happened = threading.Event()

    def accident(*_: object) -> bool:
        happened.set()
        raise ZeroDivisionError("never expected")

    with monkeypatch.context() as patch:
        patch.setattr(watched.watcher._books, "step", accident)
        assert happened.wait(PATIENCE)
    watched.engine.kill(watched.ids["ada"])
    watched.until(lambda: watched.seat("ada").state is State.STOPPED)

    assert "never expected" in capsys.readouterr().err


def test_configuration_that_cannot_be_read_leaves_the_class_as_it_was(
    watched: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of deploys reads the same one, and says so."""

    def garbled() -> None:
        raise ValueError("half a file")

    monkeypatch.setattr(watched.watcher, "_config", garbled)
    watched.engine.kill(watched.ids["ada"])
    watched.until(lambda: watched.seat("ada").state is State.STOPPED)


def test_page_that_finds_no_room_is_written_once_there_is_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before stays readable, and the log says it once."""
    with small_disk(tmp_path, 2 << 20, 500) as disk:
        room = Room(disk)
        with room.watching():
            room.until(lambda: room.seat("ada").state is State.LIVE)
            fill(disk)
            room.engine.kill(room.ids["ada"])
            time.sleep(4 * STEP_SECONDS)
            assert room.seat("ada").state is State.LIVE
            make_room(disk)
            room.until(lambda: room.seat("ada").state is State.STOPPED)
    said = capsys.readouterr().err

    assert said.count("the board's page cannot be written") == 1
    assert f"[Errno {errno.ENOSPC}]" in said


def test_watcher_that_is_stopped_leaves_no_thread(tmp_path: Path) -> None:
    """Nor does it wait for anything."""
    before = set(threading.enumerate())
    room = Room(tmp_path)
    with room.watching():
        room.until(lambda: room.see().parts)
        assert len(set(threading.enumerate()) - before) == 3
        began = time.monotonic()

    assert time.monotonic() - began < SOON
    assert set(threading.enumerate()) <= before


def test_watcher_that_starts_again_shows_what_it_finds(tmp_path: Path) -> None:
    """Its counts begin anew; what is on record does not."""
    room = Room(tmp_path)
    with room.watching():
        room.progress("ada", Stage.LIVE)
        room.engine.write(room.edge, edge_line("ada"))
        room.until(lambda: room.seat("ada").totals.requests == 1)
        first = room.see().started
    room.engine.kill(room.ids["bob"])
    room.watcher = room.watch()
    with room.watching():
        room.until(lambda: room.see().started > first)
        room.until(lambda: room.seat("bob").state is State.STOPPED)
        # The last minute of the edge's log is read again.
        room.until(lambda: room.seat("ada").requests == 1)
        assert room.seat("ada").totals.deploys == 1


def test_page_that_somebody_removed_is_written_again(watched: Room) -> None:
    """Directory and all."""
    before = watched.see()
    shutil.rmtree(watched.shown)
    watched.until(lambda: shown.read(watched.shown))

    assert watched.see().seats == before.seats


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', "\x00"])
def test_garbled_page_of_another_life_is_replaced(tmp_path: Path, text: str) -> None:
    """Nothing is read from it."""
    room = Room(tmp_path)
    (room.shown / shown.FILE).write_text(text)
    with room.watching():
        room.until(lambda: shown.read(room.shown))
