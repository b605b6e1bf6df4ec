"""A command that died while it removed something: the next one finishes that before it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import operations, removals
from workshop.engines.memory import MemoryEngine
from workshop.events import Note
from workshop.teardown import teardown

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.events import Event
    from workshop.workspace import Workspace


class Killed(BaseException):
    """Stands in for a signal that nobody can catch."""


@pytest.fixture
def standing(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Provision a class of three; steps follow one another, so that it is known which is the first."""
    monkeypatch.setenv("WORKSHOP_WORKERS", "1")
    assert operations.provision(work).ok
    return again(work)


def killed_at(
    work: Workspace, verb: str, command: Callable[[Workspace], object]
) -> Callable[..., None]:
    """Let a command die as it asks for a removal; what the engine does about it comes later."""
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        act = getattr(work.engine, verb)

        def die(what: str) -> None:
            asked.append(what)
            raise Killed

        patch.setattr(work.engine, verb, die)
        with pytest.raises(Killed):
            command(again(work))
    return lambda: act(asked[0])


@pytest.mark.parametrize("verb", ["remove", "remove_network"])
def test_what_a_dead_teardown_had_told_the_engine_to_remove_is_made_anew(
    standing: Workspace, verb: str
) -> None:
    """It looks right for a moment more; nobody's seat may go down after the provision."""
    engine_goes_on = killed_at(standing, verb, teardown)
    heard: list[Event] = []
    planned = str(operations.plan(again(standing)))

    report = operations.provision(
        type(standing)(standing.roster_path, lambda: standing.engine, standing.probe, heard.append)
    )
    engine_goes_on()

    assert report.ok, report.failed
    assert operations.plan(again(standing)).is_empty
    assert not (standing.state_directory / removals.FILE).exists()
    assert str(report.plan) == planned, "the plan told it before"
    told = "an interrupted command had begun to remove "
    assert [event for event in heard if isinstance(event, Note) and told in event.message]


def test_image_that_a_dead_teardown_had_begun_to_remove_is_built_anew(standing: Workspace) -> None:
    """Its name could vanish before the first seat starts from it."""
    killed_at(standing, "remove_image", teardown)
    (begun,) = (standing.state_directory / removals.FILE).read_text("utf-8").splitlines()[-1:]
    engine = standing.engine
    assert isinstance(engine, MemoryEngine)
    engine.calls.clear()

    assert operations.provision(again(standing)).ok
    assert ("build", begun) in engine.calls


def test_seat_that_a_dead_reset_had_begun_to_stop_is_made_anew(standing: Workspace) -> None:
    """Not teardown alone: whatever replaces a container stops one first."""
    engine_goes_on = killed_at(standing, "remove", lambda work: operations.reset(work, ["bob"]))

    report = operations.provision(again(standing))
    engine_goes_on()

    assert [step.name for step in report.plan.steps] == ["bob", "identity"]
    assert operations.plan(again(standing)).is_empty


def test_removals_that_ended_leave_no_note(standing: Workspace) -> None:
    """Nothing is removed twice, and a note of what is long gone removes nothing."""
    path = standing.state_directory / removals.FILE
    assert operations.reset(standing, ["bob"]).ok
    assert not path.exists()

    path.write_text(f"{'0' * 64}\nwall\n", "utf-8")
    assert operations.provision(again(standing)).plan.is_empty
    assert not path.exists()
