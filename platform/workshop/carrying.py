"""What the command and the control process share: whose seats rest, and a plan carried out.

Both go through here under the class's lock, so ``workshop restart ada`` and the board's button are
the same steps, leave the same marks, and can be interrupted in the same places.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop import apply as applying
from workshop import held, removals, state
from workshop.events import Outcome
from workshop.plan import Action, Kind, Plan, make_restart, make_start, make_stop

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from workshop.apply import Report, Tools
    from workshop.desired import Desired
    from workshop.observed import Observed


class Verb(StrEnum):
    """What can be done with seats that are there."""

    RESTART = "restart"
    RESET = "reset"
    """A fresh container in the place of what runs."""
    STOP = "stop"
    """And hold: nothing starts it but a person."""
    START = "start"


def plan_for(
    verb: Verb, home: Path, desired: Desired, observed: Observed, names: Sequence[str]
) -> Plan:
    """Plan ``verb`` for some seats, and note first who is held from now on.

    So a stop that is interrupted is finished by the next command, and one that is held no longer
    is started by it.

    Args:
        verb: what to do.
        home: the state directory, whose lock is held.
        desired: what should be.
        observed: what is.
        names: participants; all of them in ``desired``.

    Raises:
        InputError: the disk is full.

    """
    if verb is Verb.STOP:
        resting = hold(home, names)
        return make_stop(desired, observed, names, held=resting)
    resting = release(home, names)
    if verb is Verb.START:
        return make_start(desired, observed, names, held=resting)
    return make_restart(desired, observed, names, fresh=verb is Verb.RESET, held=resting)


def hold(home: Path, names: Collection[str]) -> frozenset[str]:
    """Note that seats are stopped on purpose; everybody who is held then."""
    before = held.load(home)
    return _note(home, before, before | frozenset(names))


def release(home: Path, names: Collection[str]) -> frozenset[str]:
    """Note that seats are held no longer; everybody who still is."""
    before = held.load(home)
    return _note(home, before, before - frozenset(names))


def _note(home: Path, before: frozenset[str], after: frozenset[str]) -> frozenset[str]:
    if after != before:
        held.save(home, after)
    return after


def carry_out(made: Plan, desired: Desired, home: Path, tools: Tools) -> Report:
    """Carry a plan out and remember whether everybody is proved right.

    Args:
        made: the plan.
        desired: what it leads to.
        home: the state directory, whose lock is held.
        tools: what to work with.

    Raises:
        EngineUnreachable: the engine went away.

    """
    before = state.is_unproven(home)
    state.set_unproven(home, unproven=True)
    with removals.noted(home, tools.emit) as emit:
        report = applying.apply(made, desired, replace(tools, emit=emit))
    state.set_unproven(home, unproven=_is_unproven(report, before=before))
    return report


def _is_unproven(report: Report, *, before: bool) -> bool:
    """Say whether the next provision has to ask everybody who they are.

    A plan about some seats proves nothing of the others, and a seat of theirs that merely does not
    come up leaves no doubt about who is who.
    """
    if not report.plan.about:
        return not report.ok
    failed = {step for step, end in report.outcomes.items() if end is not Outcome.DONE}
    doubtful = any(
        step.number in failed if step.action is Action.VERIFY else step.kind in _LEADING
        for step in report.plan.steps
    )
    return before or doubtful


_LEADING = frozenset({Kind.EDGE, Kind.ROUTES})
"""What leads visitors to seats: a plan that renewed it has asked only those it is about."""
