"""What ``--json`` prints: results turned into plain data. docs/commands.md describes each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.errors import InputError, WorkshopError
from workshop.gateway.config import NANO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.apply import Report
    from workshop.plan import Plan
    from workshop.status import Status
    from workshop.usage import Usage, Use
    from workshop.workspace import Workspace


def plan_document(plan: Plan) -> Mapping[str, object]:
    """Turn a plan into what ``--json`` prints."""
    return {
        "workshop": plan.workshop,
        "steps": [
            {
                "number": step.number,
                "kind": step.kind,
                "name": step.name,
                "action": step.action,
                "cause": step.cause,
                "loses": step.loses,
                "needs": step.needs,
                "after": step.after,
            }
            for step in plan.steps
        ],
        "unchanged": plan.unchanged,
        "warnings": plan.warnings,
    }


def report_document(report: Report, work: Workspace) -> Mapping[str, object]:
    """Turn a report into what ``--json`` prints."""
    return {
        "ok": report.ok,
        "workshop": report.plan.workshop,
        "changed": not report.plan.is_empty,
        "seconds": round(report.seconds, 3),
        "failed": report.failed,
        "seats": [
            {
                "name": person.name,
                "url": work.seat_url(person.name),
                "ok": person.name not in report.failed,
            }
            for person in work.roster.participants
        ],
        "steps": [
            {
                "kind": step.kind,
                "name": step.name,
                "action": step.action,
                "cause": step.cause,
                "outcome": report.outcomes.get(step.number),
            }
            for step in report.plan.steps
        ],
    }


def usage_document(usage: Usage) -> Mapping[str, object]:
    """Turn usage into what ``--json`` prints; money in whole units of the currency."""

    def row(use: Use) -> dict[str, object]:
        left = None if use.money_left is None else use.money_left / NANO
        return {**vars(use), "money": use.money / NANO, "money_left": left}

    return {
        "workshop": usage.workshop,
        "currency": usage.currency,
        "total": row(usage.total),
        "seats": [row(use) for use in usage.seats],
    }


def status_document(status: Status) -> Mapping[str, object]:
    """Turn a status into what ``--json`` prints."""
    return {**vars(status), "ok": status.ok, "seats": [vars(seat) for seat in status.seats]}


def error_document(error: WorkshopError) -> Mapping[str, object]:
    """Turn an error into what ``--json`` prints."""
    faults = error.faults if isinstance(error, InputError) else ()
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "faults": [vars(fault) for fault in faults],
    }
