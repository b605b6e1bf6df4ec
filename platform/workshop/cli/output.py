"""The only module that prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workshop.cli.documents import (
    error_document,
    plan_document,
    report_document,
    status_document,
    usage_document,
)
from workshop.errors import InputError, WorkshopError
from workshop.events import Note, Outcome, PlanMade, StepEnded, StepProgress, StepStarted
from workshop.gateway.config import NANO
from workshop.plan import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from workshop.apply import Report
    from workshop.doctor import Check
    from workshop.events import Event
    from workshop.keyring import HandedKey
    from workshop.plan import Plan, Step
    from workshop.status import Status
    from workshop.teardown import Receipt
    from workshop.usage import Usage, Use
    from workshop.workspace import Workspace

_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[red]failed[/]",
    "live": "[green]live[/]",
    "silent": "[yellow]silent[/]",
    "stopped": "[red]stopped[/]",
    "crashing": "[red]crashing[/]",
    "missing": "[red]missing[/]",
    "extra": "[yellow]extra[/]",
}

_STYLES = {
    "waiting": "dim",
    "working": "yellow",
    "starting": "cyan",
    "done": "green",
    "failed": "bold red",
}
_UNBOUNDED = 10_000
_SIGNS = {"waiting": "·", "working": "+", "starting": "~", "done": "✓", "failed": "✗"}


class Output:
    """Shows results to a person, or as one JSON document to a program."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        # A table in a pipe or a file must not be cut to the width of a terminal nobody looks at.
        width = None if sys.stdout.isatty() else _UNBOUNDED
        self._out = Console(soft_wrap=True, width=width)
        self._err = Console(stderr=True, soft_wrap=True)

    # -- long work ----------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Listen to an apply: a live wall on a terminal, plain lines elsewhere."""
        if self._err.is_terminal and not self.as_json and os.environ.get("TERM") != "dumb":
            return LiveProgress(self._err)
        return Progress(self._err)

    # -- results ------------------------------------------------------------------------------

    def document(self, value: object) -> None:
        """Write one JSON document."""
        sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines as they come, without markup."""
        for line in lines:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def plan(self, plan: Plan) -> None:
        """Show what would be done, and what it would lose."""
        if self.as_json:
            self.document(plan_document(plan))
        else:
            self.lines([str(plan)])
            if plan.is_empty:
                self._err.print("nothing to do")

    def report(self, report: Report, work: Workspace) -> None:
        """Show where everybody is, and who is not well."""
        if self.as_json:
            self.document(report_document(report, work))
            return
        table = Table(box=None, pad_edge=False)
        for column in ("participant", "url", "state"):
            table.add_column(column, overflow="fold")
        for person in work.roster.participants:
            reason = report.failed.get(person.name, report.failed.get("edge"))
            state = _MARKS["live"] if reason is None else f"{_MARKS['failed']}: {escape(reason)}"
            table.add_row(person.name, work.seat_url(person.name), state)
        self._out.print(table)
        self._failures(report, {person.name for person in work.roster.participants})
        what = "nothing to do" if report.plan.is_empty else report.summary
        self._err.print(f"{work.roster.name}: {what}, {report.seconds:.1f} s", highlight=False)
        if report.ok:
            self._err.print(f"open {work.roster.url}/", highlight=False)

    def _failures(self, report: Report, seats: set[str]) -> None:
        for name, reason in report.failed.items():
            if name not in seats:
                self._err.print(f"{_MARKS['failed']} {escape(name)}: {escape(reason)}")

    def status(self, status: Status) -> None:
        """Show who can be reached."""
        if self.as_json:
            self.document(status_document(status))
            return
        table = Table(box=None, pad_edge=False)
        for column in ("participant", "state", "version", "url", "detail"):
            table.add_column(column, overflow="fold")
        for seat in status.seats:
            table.add_row(
                seat.name, _MARKS[seat.state], seat.version, seat.url, escape(seat.detail)
            )
        self._out.print(table)
        live = sum(seat.state == "live" for seat in status.seats)
        self._err.print(
            f"{status.workshop}: {live} of {len(status.seats)} live, edge {status.edge}, "
            f"gateway {status.gateway}, embedded model {status.embedded}",
            highlight=False,
        )

    def keys(self, keys: Sequence[HandedKey]) -> None:
        """Show keys, each as the lines of a ``.env`` file."""
        if self.as_json:
            self.document([vars(key) for key in keys])
            return
        for key in keys:
            note = "" if key.state == "active" else f" ({key.state})"
            self.lines([f"# {key.name}: key {key.key_id}{note}", *key.dotenv])

    def paused(self, report: Report, names: Sequence[str], *, paused: bool) -> None:
        """Say whose questions are held back now."""
        if self.as_json:
            self.document({"ok": report.ok, "paused": paused, "names": list(names)})
            return
        self._failures(report, set())
        if report.ok:
            who = ", ".join(names) or "everybody"
            state = "paused; `workshop llm resume` lets them go on" if paused else "resumed"
            self._err.print(f"{who}: {state}", highlight=False)

    def usage(self, usage: Usage) -> None:
        """Show what everybody used of the class's models."""
        if self.as_json:
            self.document(usage_document(usage))
        else:
            self._out.print(self.usage_table(usage))

    @staticmethod
    def usage_table(usage: Usage) -> Table:
        """Lay out what everybody used; the last line is the class."""
        table = Table(box=None, pad_edge=False)
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

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[Table], None]]:
        """Show one table that is drawn anew again and again."""
        with Live(console=self._out, auto_refresh=False) as live:
            yield lambda table: live.update(table, refresh=True)

    def checks(self, checks: Sequence[Check]) -> None:
        """Show what the doctor found and how to mend it."""
        if self.as_json:
            self.document([vars(check) for check in checks])
            return
        for check in checks:
            self._out.print(
                f"{_MARKS[check.verdict]:<18} {check.name}: {escape(check.found)}", highlight=False
            )
            if check.mend:
                self._out.print(f"         mend: {escape(check.mend)}", highlight=False)

    def receipt(self, receipt: Receipt) -> None:
        """Show what went and what is left."""
        if self.as_json:
            self.document({**vars(receipt), "leftovers": len(receipt.left)})
            return
        parts = [
            f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in receipt.removed.items()
        ]
        self.lines([f"{receipt.workshop}: removed {', '.join(parts) or 'nothing'}"])
        self.lines(f"kept: {item}" for item in receipt.kept)
        self.lines(f"not checked: {item}" for item in receipt.unchecked)
        self.lines(f"left: {item}" for item in receipt.left)
        if receipt.used:
            self.lines([f"models: {receipt.used}"])
        self.lines([f"leftovers: {len(receipt.left)}"])
        self._err.print(f"{receipt.seconds:.1f} s", highlight=False)

    def say(self, text: str) -> None:
        """Write a sentence for the person at the terminal."""
        self._err.print(escape(text), highlight=False)

    def error(self, error: WorkshopError) -> None:
        """Show what is wrong and what to do next."""
        if self.as_json:
            self.document({"ok": False, "error": error_document(error)})
        for fault in error.faults if isinstance(error, InputError) else ():
            self._err.print(escape(str(fault)), highlight=False)
        self._err.print(f"[red]error[/]: {escape(error.message)}", highlight=False)
        if error.hint:
            self._err.print(f"next: {escape(error.hint)}", highlight=False)


# -- listeners --------------------------------------------------------------------------------


class Progress:
    """Plain lines, one for each step that ended."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, Note):
            mark = "[yellow]warning[/]: " if event.warning else ""
            self.console.print(f"{mark}{escape(event.message)}", highlight=False)
        elif isinstance(event, PlanMade):
            self.console.print(f"{event.plan.workshop}: {event.plan.summary}", highlight=False)
        elif isinstance(event, StepStarted) and event.step.kind is Kind.IMAGE:
            self._line(event.step, f"{event.step.action} ...")
        elif isinstance(event, StepProgress) and event.step.kind is not Kind.SEAT:
            self._line(event.step, event.detail)
        elif isinstance(event, StepEnded):
            self.ended(event)

    def ended(self, event: StepEnded) -> None:
        """Show how one step ended."""
        text = f"{event.step.action} {event.outcome} ({event.seconds:.1f} s)"
        self._line(event.step, f"{text}: {event.detail}" if event.detail else text)

    def _line(self, step: Step, text: str) -> None:
        self.console.print(f"{step.kind} {step.name}: {escape(text)}", highlight=False)


class LiveProgress(Progress):
    """A wall of names that change colour as their seats come to life."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._seats: dict[str, str] = {}
        self._others: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Take note of one event and redraw."""
        if isinstance(event, PlanMade):
            seats = [step.name for step in event.plan.steps if step.kind is Kind.SEAT]
            self._seats = dict.fromkeys(seats, "waiting")
        elif isinstance(event, StepStarted):
            self._mark(event.step, "working", event.step.action)
        elif isinstance(event, StepProgress):
            self._mark(event.step, "starting", event.detail)
        elif isinstance(event, StepEnded):
            self._mark(event.step, "done" if event.outcome is Outcome.DONE else "failed", None)
            if event.outcome is not Outcome.DONE:
                self.ended(event)
        else:
            super().__call__(event)
        self._live.update(self._wall())

    def _mark(self, step: Step, state: str, detail: str | None) -> None:
        if step.kind is Kind.SEAT:
            self._seats[step.name] = state
        elif detail is None:
            self._others.pop(f"{step.kind} {step.name}", None)
        else:
            self._others[f"{step.kind} {step.name}"] = detail

    def _wall(self) -> Group:
        done = sum(state == "done" for state in self._seats.values())
        names = [Text(f"{_SIGNS[s]} {name}", _STYLES[s]) for name, s in self._seats.items()]
        parts: list[Any] = [Columns(names, padding=(0, 2))] if names else []
        parts += [Text(f"{name}: {detail}", "cyan") for name, detail in self._others.items()]
        if names:
            parts.append(Text(f"{done} of {len(names)} seats done"))
        return Group(*parts)


def _left(use: Use, currency: str) -> str:
    parts = [] if use.left is None else [f"{use.left:,} tokens"]
    if use.money_left is not None:
        parts.append(f"{use.money_left / NANO:,.2f} {currency}")
    return ", ".join(parts)
