"""What happens during long work, as data. ``cli/output.py`` is the only listener that prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.plan import Plan, Step


class Outcome(StrEnum):
    """How one step ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class PlanMade:
    """The plan is settled and is about to be carried out."""

    plan: Plan


@dataclass(frozen=True)
class StepStarted:
    """A worker took up ``step``."""

    step: Step


@dataclass(frozen=True)
class StepProgress:
    """``step`` goes on; ``detail`` says what it is doing right now."""

    step: Step
    detail: str


@dataclass(frozen=True)
class StepEnded:
    """``step`` is over; ``detail`` gives the reason when it did not succeed."""

    step: Step
    outcome: Outcome
    detail: str
    seconds: float


@dataclass(frozen=True)
class Note:
    """A sentence worth showing that belongs to no step."""

    message: str
    warning: bool = False


Event = PlanMade | StepStarted | StepProgress | StepEnded | Note

if TYPE_CHECKING:
    Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
    del event
