"""Results laid out as tables, with their colours. Nothing here prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workshop.cli.rows import columns
from workshop.cli.telling import live_deploy, plain, row
from workshop.gateway.config import NANO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from workshop.apply import Report
    from workshop.figures import Figures
    from workshop.intake import orders
    from workshop.ranking import Sort
    from workshop.safekeeping import Listed
    from workshop.status import Status
    from workshop.usage import Usage, Use
    from workshop.workspace import Workspace

MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[red]failed[/]",
    "live": "[green]live[/]",
    "silent": "[yellow]silent[/]",
    "stopped": "[red]stopped[/]",
    "held": "[cyan]held[/]",
    "crashing": "[red]crashing[/]",
    "missing": "[red]missing[/]",
    "extra": "[yellow]extra[/]",
}
"""How a state or a verdict is written."""


def fitted(table: Table, lines: Iterable[str]) -> RenderableType:
    """Put lines above a table: where the terminal is too low, its end is what is cut off."""
    return Group(Text("\n".join(lines), no_wrap=False, overflow="fold"), table)


def report_table(report: Report, work: Workspace) -> Table:
    """Lay out where everybody is."""
    table = _bare()
    for column in ("participant", "url", "state"):
        table.add_column(column, overflow="fold")
    for person in work.roster.participants:
        table.add_row(person.name, work.seat_url(person.name), _fate(report, person.name))
    return table


def status_table(status: Status) -> Table:
    """Lay out who can be reached, and what runs there."""
    table = _bare()
    for column in ("participant", "state", "version", "deploy", "url", "detail"):
        table.add_column(column, overflow="fold", no_wrap=column in {"participant", "state"})
    for seat in status.seats:
        table.add_row(
            seat.name,
            MARKS[seat.state],
            seat.version,
            live_deploy(seat.deploy),
            seat.url,
            escape(plain(seat.detail)),
        )
    return table


def status_lines(status: Status) -> Iterator[str]:
    """Say how the platform's own parts fare, and what will be wrong soon."""
    live = sum(seat.state == "live" for seat in status.seats)
    yield (
        f"{status.workshop}: {live} of {len(status.seats)} live, edge {status.edge}, "
        f"gateway {status.gateway}, embedded model {status.embedded}, wall {status.wall}"
        f"{f', outbound {status.outbound}' if status.outbound != 'off' else ''}"
    )
    queue = ", ".join(f"{count} {stage}" for stage, count in status.queue.items())
    yield (
        f"deploys: {status.deploys}, registry {status.registry}, intake {status.intake}, "
        f"builds {status.builds}, board {status.board}{f'; {queue}' if queue else ''}"
    )
    yield from (f"warning: {text}" for text in status.warnings)


def top_table(figures: Figures, by: Sort, width: int, rows: int | None = None) -> Table:
    """Lay out how everybody fares; ``rows`` at most, in ``width`` characters."""
    found = columns(figures, figures.sorted(by)[:rows], width)
    table = _bare()
    for column in found:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for cells in zip(*(column.cells for column in found), strict=True):
        table.add_row(*(Text(cell.text, cell.style) for cell in cells))
    return table


def deploys_table(found: Sequence[orders.Progress], live: frozenset[str], *, single: bool) -> Table:
    """Lay out what was deployed, to one seat or to several."""
    table = _bare()
    for column in ("", *(() if single else ("participant",)), "number", "time", "by", "what"):
        table.add_column(column, justify="right" if column == "number" else "left")
    for column in ("version", "digest", "result", "seconds", "cause"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for item in found:
        name = [] if single else [item.seat]
        mark = "[green]live[/]" if item.id in live else ""
        table.add_row(mark, *(escape(cell) for cell in (*name, *row(item))))
    return table


def secrets_table(found: Sequence[Listed]) -> Table:
    """Lay out which secrets there are, never what they hold."""
    table = _bare()
    for column in ("name", "for", "set", "fingerprint"):
        table.add_column(column)
    for item in found:
        note = "" if item.in_roster else " (not in the roster)"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.set_at))
        who = escape((item.participant or "everybody") + note)
        table.add_row(item.name, who, when, item.fingerprint)
    return table


def usage_table(usage: Usage) -> Table:
    """Lay out what everybody used; the last line is the class."""
    table = _bare()
    table.add_column("participant")
    for column in ("requests", "in", "out", usage.currency, "errors", "left"):
        table.add_column(column, justify="right")
    table.add_column("last error", overflow="fold")
    for use in (*usage.seats, usage.total):
        table.add_row(
            use.name or "class",
            f"{use.requests:,}",
            f"{use.input_tokens:,}",
            f"{use.output_tokens:,}",
            f"{use.money / NANO:,.4f}",
            f"{use.errors:,}" if not use.errors else f"[yellow]{use.errors:,}[/]",
            _left(use, usage.currency),
            escape(use.last_error),
            style=None if use.name else "bold",
        )
    return table


def _bare() -> Table:
    return Table(box=None, pad_edge=False)


def _fate(report: Report, name: str) -> str:
    """Say where a seat is after an apply."""
    reason = report.failed.get(name)
    if reason is None and name in report.plan.held:
        return MARKS["held"]
    reason = report.failed.get("edge") if reason is None else reason
    return MARKS["live"] if reason is None else f"{MARKS['failed']}: {escape(reason)}"


def _left(use: Use, currency: str) -> str:
    parts = [] if use.left is None else [f"{use.left:,} tokens"]
    if use.money_left is not None:
        parts.append(f"{use.money_left / NANO:,.2f} {currency}")
    return ", ".join(parts)
