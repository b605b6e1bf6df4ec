"""The only module that prints: results on standard output, everything else on standard error.

What moves while long work goes on is drawn by ``cli/progress.py``, on a console of this module.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Never

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from workshop.cli import tables
from workshop.cli.documents import (
    deploy_document,
    deploys_document,
    entry_document,
    error_document,
    plan_document,
    report_document,
    status_document,
    top_document,
    usage_document,
)
from workshop.cli.progress import (
    DeployProgress,
    LiveDeployProgress,
    LiveProgress,
    Progress,
)
from workshop.cli.rows import summary
from workshop.cli.telling import (
    end,
    entry_line,
    escapes,
    last_failure,
)
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from workshop.apply import Report
    from workshop.boarding import Way
    from workshop.cards.making import Made
    from workshop.chronicle import Entry
    from workshop.doctor import Check
    from workshop.figures import Figures
    from workshop.intake import orders
    from workshop.keyring import HandedKey
    from workshop.plan import Plan
    from workshop.ranking import Sort
    from workshop.safekeeping import Listed
    from workshop.service import Done
    from workshop.status import Status
    from workshop.teardown import Receipt
    from workshop.tls.renewal import CertificateStatus, Renewal
    from workshop.usage import Usage
    from workshop.workspace import Workspace

_UNBOUNDED = 10_000
_REDRAW_SECONDS = 1.0
_TITLE_LINES = 2
"""The titles of a table's columns, and the line the cursor stands in."""


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
        return LiveProgress(self._err) if self._is_live() else Progress(self._err)

    def deploy_progress(self) -> DeployProgress:
        """Listen to deploys, in the same two ways."""
        return LiveDeployProgress(self._err) if self._is_live() else DeployProgress(self._err)

    def _is_live(self) -> bool:
        return self._err.is_terminal and not self.as_json and os.environ.get("TERM") != "dumb"

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
        self._out.print(tables.report_table(report, work))
        self._failures(report, {person.name for person in work.roster.participants})
        what = "nothing to do" if report.plan.is_empty else report.summary
        self._err.print(f"{work.roster.name}: {what}, {report.seconds:.1f} s", highlight=False)
        if report.ok:
            self._err.print(f"open {work.roster.url}/", highlight=False)

    def _failures(self, report: Report, seats: set[str]) -> None:
        for name, reason in report.failed.items():
            if name not in seats:
                self._err.print(f"{tables.MARKS['failed']} {escape(name)}: {escape(reason)}")

    def status(self, status: Status) -> None:
        """Show who can be reached."""
        if self.as_json:
            self.document(status_document(status))
            return
        self._out.print(tables.status_table(status))
        for text in tables.status_lines(status):
            self.say(text)

    def status_view(self, status: Status) -> RenderableType:
        """Lay out the same to be drawn again and again, those who cannot be reached first."""
        seats = sorted(status.seats, key=lambda seat: seat.state == "live")
        return tables.fitted(
            tables.status_table(replace(status, seats=tuple(seats))), tables.status_lines(status)
        )

    # -- figures ------------------------------------------------------------------------------

    def top(self, figures: Figures, by: Sort) -> None:
        """Show how everybody fares, once."""
        if self.as_json:
            self.document(top_document(figures, by))
            return
        self._out.print(tables.top_table(figures, by, self._out.width))
        for text in summary(figures):
            self.say(text)

    def top_view(self, figures: Figures, by: Sort) -> RenderableType:
        """Lay out the same to be drawn again and again, no higher than the terminal."""
        rows = max(1, self._out.height - len(summary(figures, 1)) - _TITLE_LINES)
        hidden = max(0, len(figures.shown.seats) - rows)
        table = tables.top_table(figures, by, self._out.width, len(figures.shown.seats) - hidden)
        return tables.fitted(table, summary(figures, hidden))

    def journal(self, entries: Sequence[Entry]) -> None:
        """Show what happened, oldest first."""
        if self.as_json:
            self.document([entry_document(entry) for entry in entries])
            return
        self.lines(map(entry_line, entries))

    # -- deploys ------------------------------------------------------------------------------

    def deployed(self, found: Sequence[orders.Progress]) -> None:
        """Show how deploys ended: a line for each seat, with what to do where one failed."""
        if self.as_json:
            self.document(deploys_document(found))
            return
        for item in found:
            self.lines([end(item)])

    def ordered(self, found: Sequence[orders.Progress]) -> None:
        """Show which deploys were handed over, when nobody waits for them."""
        if self.as_json:
            self.document(deploys_document(found))
            return
        names = ", ".join(item.seat for item in found)
        self.say(f"handed over for {names}; `workshop status` shows the queue")

    def deploys(
        self, found: Sequence[orders.Progress], live: frozenset[str], *, single: bool
    ) -> None:
        """Show what was deployed, oldest first; for one seat, the last failure in full as well."""
        if self.as_json:
            self.document([deploy_document(item, live=item.id in live) for item in found])
            return
        self._out.print(tables.deploys_table(found, live, single=single))
        if single:
            self.lines(last_failure(found))
            self.lines(escapes(found, live))

    def secret_set(self, item: Listed) -> None:
        """Say what was kept, and what brings it to seats."""
        if self.as_json:
            self.document(vars(item))
            return
        who = item.participant or "everybody"
        self.say(
            f"{item.name} is kept for {who} (fingerprint {item.fingerprint}); "
            "`workshop provision` hands it over, and the seats concerned start afresh"
        )

    def secrets(self, found: Sequence[Listed]) -> None:
        """Show which secrets there are, never what they hold."""
        if self.as_json:
            self.document([vars(item) for item in found])
            return
        self._out.print(tables.secrets_table(found))

    def secrets_removed(self, name: str, participant: str) -> None:
        """Say what is forgotten, and what takes it away from seats."""
        if self.as_json:
            self.document({"ok": True, "name": name, "participant": participant})
            return
        what = f"{name} of {participant or 'everybody'}" if name else "every secret"
        self.say(f"{what} is forgotten; `workshop provision` takes it away from seats")

    def certificate(self, found: CertificateStatus) -> None:
        """Show the edge's certificate and how long it lasts."""
        if self.as_json:
            self.document(vars(found))
            return
        kind = "self-made, until the first is issued" if found.placeholder else found.source
        rows = {
            "certificate": kind,
            "issuer": found.issuer,
            "names": ", ".join(found.names),
            "ends": f"{found.ends:%Y-%m-%d}, in {found.days_left} days",
            "edge": "shows it" if found.live else "does not show it; `workshop provision`",
        }
        if found.authority:
            rows["authority"] = f"{found.authority} (curl --cacert, or import it for the class)"
        if found.failed:
            rows["last refusal"] = found.failed
        self.lines(f"{key + ':':<14} {value}" for key, value in rows.items())
        for text in found.warnings:
            self.say(f"warning: {text}")

    def renewal(self, done: Renewal) -> None:
        """Say whether there is a new certificate, and why not."""
        if self.as_json:
            self.document({"changed": done.changed, "reason": done.reason, **vars(done.status)})
            return
        self.say(f"{'renewed' if done.changed else 'not renewed'}: {done.reason}")

    def units(self, units: Mapping[str, str]) -> None:
        """Show systemd units, each under its name."""
        if self.as_json:
            self.document(units)
            return
        self.lines(f"# {name}\n{text}" for name, text in units.items())

    def service(self, done: Done) -> None:
        """Say which units were written or removed, and what systemd was told."""
        if self.as_json:
            self.document(vars(done))
            return
        self.lines(f"wrote {path}" for path in done.written)
        self.lines(f"unchanged {path}" for path in done.unchanged)
        self.lines(f"removed {path}" for path in done.removed)
        if not done.commands:
            self.say(f"{done.workshop} has no units here")
        elif done.told:
            self.say("systemd knows")
        else:
            self.say(f"systemd was not told; on the server: {' && '.join(done.commands)}")

    def way(self, way: Way) -> None:
        """Show a one-time link to the board, and how to follow it from another computer."""
        if self.as_json:
            self.document({"url": way.url, "urls": way.urls, "ends": way.ends})
            return
        self.lines(way.urls)
        until = time.strftime("%H:%M", time.localtime(way.ends))
        self.say(f"one link, good once until {until}: whoever opens it first is the instructor")
        self.say(
            f"from another computer: ssh -L {way.forward} USER@SERVER, then open {way.forwarded}"
        )

    def cards(self, made: Made) -> None:
        """Say what was written, and for whose eyes it is."""
        if self.as_json:
            self.document(
                {
                    "files": made.files,
                    "cards": made.cards,
                    "pages": made.pages,
                    "warnings": made.warnings,
                }
            )
            return
        self.lines(map(str, made.files))
        pages = f"{made.pages} page{'' if made.pages == 1 else 's'}"
        self.say(f"{made.cards} cards on {pages}; a card lets in who reads it, so only you can")
        for text in made.warnings:
            self.say(f"warning: {text}")

    def keys(self, keys: Sequence[HandedKey]) -> None:
        """Show keys, each as the lines of a ``.env`` file."""
        if self.as_json:
            self.document([vars(key) for key in keys])
            return
        for key in keys:
            note = "" if key.state == "active" else f" ({key.state})"
            self.lines([f"# {key.name}: key {key.key_id}{note}", *key.ways_to_deploy, *key.dotenv])

    def announced(self, text: str) -> None:
        """Say what stands on every participant's page now."""
        if self.as_json:
            self.document({"ok": True, "text": text})
            return
        self.say("every participant's page shows it" if text else "nothing is announced any more")

    def paused(self, names: Sequence[str], *, paused: bool) -> None:
        """Say whose questions are held back now."""
        if self.as_json:
            self.document({"ok": True, "paused": paused, "names": list(names)})
            return
        who = ", ".join(names) or "everybody"
        state = "paused; `workshop llm resume` lets them go on" if paused else "resumed"
        self.say(f"{who}: {state}")

    def usage(self, usage: Usage) -> None:
        """Show what everybody used of the class's models."""
        if self.as_json:
            self.document(usage_document(usage))
        else:
            self._out.print(tables.usage_table(usage))

    def redraw(self, draw: Callable[[], RenderableType]) -> Never:
        """Show what ``draw`` gives, anew every second, until a signal ends it."""
        with Live(console=self._out, auto_refresh=False) as live:
            while True:
                shown = draw()
                with _undisturbed():
                    live.update(shown, refresh=True)
                time.sleep(_REDRAW_SECONDS)

    @property
    def is_watched(self) -> bool:
        """Whether a terminal shows the results, where they can be drawn anew."""
        return self._out.is_terminal and not self.as_json and os.environ.get("TERM") != "dumb"

    def checks(self, checks: Sequence[Check]) -> None:
        """Show what the doctor found and how to mend it."""
        if self.as_json:
            self.document([vars(check) for check in checks])
            return
        for check in checks:
            self._out.print(
                f"{tables.MARKS[check.verdict]:<18} {check.name}: {escape(check.found)}",
                highlight=False,
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


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal end the command while it writes, or half a picture would stay on the screen."""
    ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
