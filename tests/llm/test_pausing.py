"""Pauses: state and the gateway's file changed, so that the next provision has nothing to do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import keyring, operations, pausing, state
from workshop.errors import EngineUnreachable, Locked, PublishFailed, WorkshopError
from workshop.events import Note
from workshop.gateway import config
from workshop.health import Answer
from workshop.llm import publish
from workshop.lock import apply_lock
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    Next = Callable[[Workspace], Workspace]


def told(work: Workspace) -> config.Config:
    """Read what the gateway was told."""
    return config.load((work.directories.gateway / config.FILE).read_text("utf-8"))


def paused(work: Workspace) -> tuple[bool, dict[str, bool]]:
    """Say whether the class is paused, and who is."""
    found = told(work)
    return found.paused, {seat.name: seat.paused for seat in found.seats}


@pytest.mark.parametrize("names", [["ada"], ["ada", "bob"], None], ids=["one", "two", "class"])
def test_provision_after_a_pause_and_after_its_end_has_nothing_to_do(
    running: Workspace, next_command: Next, names: list[str] | None
) -> None:
    """The file is byte by byte what it would have written."""
    before = (running.directories.gateway / config.FILE).read_bytes()
    for wanted in (True, False):
        work = next_command(running)
        if names is None:
            keyring.pause_class(work, paused=wanted)
        else:
            keyring.pause(work, names, paused=wanted)
        patched = (running.directories.gateway / config.FILE).read_bytes()

        assert (patched != before) is wanted
        assert operations.plan(next_command(running)).is_empty


def test_pause_of_one_pauses_that_one(running: Workspace) -> None:
    """Nobody else waits."""
    keyring.pause(running, ["bob"], paused=True)

    assert paused(running) == (False, {"ada": False, "bob": True})
    assert keyring.show(running, ["bob"])[0].state == "paused"


def test_pause_of_nobody_is_not_a_pause_of_the_class(running: Workspace) -> None:
    """An empty list of names means nobody."""
    keyring.pause(running, [], paused=True)

    assert paused(running) == (False, {"ada": False, "bob": False})


def test_pause_asks_no_engine(running: Workspace) -> None:
    """Money can be saved also while the engine hangs."""

    def no_engine() -> None:
        raise EngineUnreachable("nobody is there")

    work = Workspace(running.roster_path, no_engine, running.probe)  # type: ignore[arg-type]
    keyring.pause_class(work, paused=True)

    assert told(running).paused


def test_pause_without_a_gateway_is_noted_and_holds_when_it_starts(
    running: Workspace, next_command: Next
) -> None:
    """The state says so, and the file that the gateway reads at its start."""
    seen = running.engine.observe("class").containers
    gateway = next(item.id for item in seen if item.key == "gateway")
    running.engine.remove(gateway)
    notes: list[str] = []
    work = Workspace(
        running.roster_path,
        running.connect,
        running.probe,
        lambda event: notes.append(event.message) if isinstance(event, Note) else None,
    )
    keyring.pause_class(work, paused=True)

    assert notes == ["the gateway does not answer; it takes this over when it does"]
    assert operations.provision(next_command(running)).ok
    assert told(running).paused
    assert operations.plan(next_command(running)).is_empty


@pytest.mark.parametrize("garbage", [None, "", "{", '{"schema": 99}'])
def test_pause_with_a_lost_gateway_file_holds_from_the_next_provision_on(
    running: Workspace, next_command: Next, garbage: str | None
) -> None:
    """What is not readable is not patched."""
    path = running.directories.gateway / config.FILE
    if garbage is None:
        path.unlink()
    else:
        path.write_text(garbage)
    known = state.load(running.state_directory)
    assert known is not None
    after = pausing.pause(running.state_directory, "class", ["ada"], paused=True)

    assert after.key("ada").paused
    assert (path.read_text() if path.exists() else None) == garbage
    assert state.load(running.state_directory) == replace(known, keys=after.keys)


def test_pause_keeps_everything_else_of_the_file(running: Workspace) -> None:
    """Also what an edited roster would change, which nobody has provisioned yet."""
    text = running.roster_path.read_text()
    running.roster_path.write_text(text.replace("input: 0.25", "input: 0.5"))
    before = told(running)
    pausing.pause(running.state_directory, "class", None, paused=True)

    assert told(running) == replace(before, paused=True)


def test_pause_before_the_first_provision_says_what_comes_first(models: Workspace) -> None:
    """There is nobody to pause."""
    with pytest.raises(WorkshopError) as caught:
        keyring.pause_class(models, paused=True)

    assert caught.value.hint == "`workshop provision` makes them"
    assert not models.state_directory.exists()


def test_pause_of_another_workshops_state_is_refused(running: Workspace) -> None:
    """Two rosters in one directory share nothing."""
    with pytest.raises(WorkshopError, match="nothing runs yet"):
        pausing.pause(running.state_directory, "other", None, paused=True)

    assert not told(running).paused


def test_pause_while_another_command_is_at_work_is_refused(running: Workspace) -> None:
    """Both would write the same files."""
    with apply_lock(running.state_directory / "lock"), pytest.raises(Locked):
        keyring.pause_class(running, paused=True)

    assert not told(running).paused


def test_gateway_that_does_not_take_a_pause_over_is_a_failure(
    running: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that it holds while questions still cost."""
    monkeypatch.setattr(publish, "LOAD_SECONDS", 0.05)
    stale = json.dumps({"config": told(running).fingerprint}).encode()

    async def ask(address: str, port: int, path: str) -> Answer:
        del address, port, path
        return Answer(200, {}, stale)

    monkeypatch.setattr(running.probe, "ask", ask)
    with pytest.raises(PublishFailed):
        keyring.pause_class(running, paused=True)
