"""An engine that goes away in the middle of an apply: given up once, and taken up by the next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import operations, state, teardown
from workshop.engines.memory import MemoryEngine
from workshop.errors import EngineError, EngineSilent, EngineUnreachable

if TYPE_CHECKING:
    from workshop.workspace import Workspace


def engine_of(work: Workspace) -> MemoryEngine:
    """Reach into the workshop's engine."""
    assert isinstance(work.engine, MemoryEngine)
    return work.engine


def one_at_a_time(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps follow one another, so that it is known what came before what."""
    monkeypatch.setenv("WORKSHOP_WORKERS", "1")
    assert again(work).settings.workers == 1


@pytest.mark.parametrize("lost", [EngineUnreachable("it is gone"), EngineSilent("it hangs")])
def test_nothing_more_is_tried_once_the_engine_is_gone(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, lost: EngineUnreachable
) -> None:
    """Exit code 3 instead of a wait for every seat; the next provision makes it whole."""
    one_at_a_time(work, monkeypatch)
    engine = engine_of(work)
    for name in ("ada", "bob", "grace"):
        engine.broken["start", f"class-{name}"] = lost  # type: ignore[assignment]

    with pytest.raises(EngineUnreachable, match=lost.message):
        operations.provision(work)

    tried = [name for verb, name in engine.calls if verb == "create"]
    assert sum("class-" in name and "edge" not in name for name in tried) == 1
    assert state.is_unproven(work.state_directory)
    engine.broken.clear()
    assert operations.provision(again(work)).ok
    assert operations.plan(again(work)).is_empty


def test_one_silent_call_is_that_seats_trouble_where_others_are_answered(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with too much to do answers some in time and others not."""
    engine = engine_of(work)
    start = engine.start

    def overloaded(container: str) -> None:
        held = next(item for item in engine.observe("class").containers if item.id == container)
        if held.key == "ada":
            deadline = time.monotonic() + 60
            while sum(verb == "start" for verb, _ in engine.calls) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.1)
            raise EngineSilent("the Docker engine did not answer within 30 s")
        time.sleep(0.5)
        start(container)

    monkeypatch.setattr(engine, "start", overloaded)

    report = operations.provision(work)

    assert report.failed == {"ada": "the Docker engine did not answer within 30 s"}


def test_teardown_without_engine_keeps_what_the_next_one_needs(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory goes only with the last object."""
    assert operations.provision(work).ok
    one_at_a_time(work, monkeypatch)
    engine = engine_of(work)
    lost: EngineError = EngineUnreachable("it is gone")  # type: ignore[assignment]
    for name in ("edge", "ada", "bob", "grace"):
        engine.broken["remove", f"class-{name}"] = lost

    with pytest.raises(EngineUnreachable):
        teardown.teardown(again(work))
    assert work.state_directory.exists()

    engine.broken.clear()
    assert teardown.teardown(again(work)).left == ()
