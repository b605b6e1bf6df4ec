"""What ``--json`` prints: results turned into plain data. docs/commands.md describes each."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from workshop.errors import InputError, WorkshopError
from workshop.gateway.config import NANO
from workshop.intake.orders import Stage
from workshop.journal import without_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workshop.apply import Report
    from workshop.board.shown import Seat
    from workshop.chronicle import Entry
    from workshop.figures import Figures
    from workshop.intake import orders
    from workshop.plan import Plan
    from workshop.ranking import Sort
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
        "held": plan.held,
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
    return {**asdict(status), "ok": status.ok}


def top_document(figures: Figures, by: Sort) -> Mapping[str, object]:
    """Turn figures into what ``--json`` prints; times are seconds since 1970."""

    def row(seat: Seat) -> dict[str, object]:
        told = figures.config.seat(seat.name) if figures.config else None
        return {
            **asdict(seat),
            "display_name": told.display_name if told else "",
            "url": told.url if told else "",
            "hand": figures.hands.get(seat.name),
            "needs": figures.need(seat).words,
        }

    shown = figures.shown
    return {
        "workshop": shown.workshop,
        "time": shown.time,
        "started": shown.started,
        "server": figures.server,
        "paused": shown.paused,
        "parts": dict(shown.parts),
        "troubles": figures.troubles,
        "seats": [row(seat) for seat in figures.sorted(by)],
    }


def entry_document(entry: Entry) -> Mapping[str, object]:
    """Turn one thing that happened into what ``--json`` prints."""
    facts = json.loads(without_keys(json.dumps(dict(entry.facts))))
    return {"time": entry.time, "source": entry.source, "event": entry.event, "facts": facts}


def deploy_document(item: orders.Progress, *, live: bool) -> Mapping[str, object]:
    """Turn what became of one deploy into what ``--json`` prints."""
    seconds = None if item.ended is None else round(item.ended - item.received, 3)
    raw = asdict(item)
    return {"name": raw.pop("seat"), **raw, "seconds": seconds, "live": live}


def deploys_document(found: Sequence[orders.Progress]) -> Mapping[str, object]:
    """Turn deploys that were just ordered into what ``--json`` prints."""
    states = [item.stage for item in found]
    return {
        "ok": not any(stage.over and stage is not Stage.LIVE for stage in states),
        "over": all(stage.over for stage in states),
        "deploys": [deploy_document(item, live=item.stage is Stage.LIVE) for item in found],
    }


def error_document(error: WorkshopError) -> Mapping[str, object]:
    """Turn an error into what ``--json`` prints."""
    faults = error.faults if isinstance(error, InputError) else ()
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "faults": [vars(fault) for fault in faults],
    }
