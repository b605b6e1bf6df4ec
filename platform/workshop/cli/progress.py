"""Listeners to long work: a live wall of names on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from workshop.cli.telling import plain
from workshop.events import Note, Outcome, PlanMade, StepEnded, StepProgress, StepStarted
from workshop.intake.orders import Stage
from workshop.plan import Kind

if TYPE_CHECKING:
    from types import TracebackType

    from workshop.deploying import DeployMoved
    from workshop.events import Event
    from workshop.intake import orders
    from workshop.plan import Step

_STYLES = {
    "waiting": "dim",
    "working": "yellow",
    "starting": "cyan",
    "done": "green",
    "failed": "bold red",
}
_SIGNS = {"waiting": "·", "working": "+", "starting": "~", "done": "✓", "failed": "✗"}
_DEPLOY_STATES = {
    Stage.WAITING: "waiting",
    Stage.FETCHING: "working",
    Stage.BUILDING: "working",
    Stage.STARTING: "starting",
    Stage.PROVING: "starting",
    Stage.LIVE: "done",
    Stage.FAILED: "failed",
    Stage.SUPERSEDED: "failed",
    Stage.REFUSED: "failed",
}
_SHOWN_BUILDS = 4


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


class DeployProgress:
    """Plain lines, one for each stage an order reaches."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.orders: dict[str, orders.Progress] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __call__(self, moved: DeployMoved) -> None:
        """Take note of what became of one order."""
        new = moved.progress
        before = self.orders.get(new.id)
        self.orders[new.id] = new
        if before is None or before.stage is not new.stage:
            self.stage_reached(new)

    def stage_reached(self, item: orders.Progress) -> None:
        """Show how far one order has come."""
        place = f", {item.ahead} ahead" if item.stage is Stage.WAITING and item.ahead else ""
        cause = f": {item.finding.cause}" if item.finding else ""
        self.console.print(
            f"{item.seat}: {item.stage}{place}{escape(plain(cause))}", highlight=False
        )


class LiveDeployProgress(DeployProgress):
    """A wall of names that change colour as new versions come to life."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
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

    def __call__(self, moved: DeployMoved) -> None:
        """Take note of what became of one order and redraw."""
        self.orders[moved.progress.id] = moved.progress
        self._live.update(self.wall())

    def wall(self) -> Group:
        """Lay out everybody, the last line of the builds under way, and the counts."""
        items = list(self.orders.values())
        parts: list[Any] = [Columns([_brick(item) for item in items], padding=(0, 2))]
        builds = [item for item in items if item.stage is Stage.BUILDING and item.lines]
        parts += [
            Text(f"{item.seat}: {plain(item.lines[-1])}", "cyan", no_wrap=True, overflow="ellipsis")
            for item in builds[:_SHOWN_BUILDS]
        ]
        parts.append(Text(counts(items)))
        return Group(*parts)


def _brick(item: orders.Progress) -> Text:
    state = _DEPLOY_STATES[item.stage]
    place = f" {item.ahead} ahead" if item.stage is Stage.WAITING and item.ahead else ""
    stage = f" {item.stage}" if state in {"working", "starting"} else ""
    return Text(f"{_SIGNS[state]} {item.seat}{place}{stage}", _STYLES[state])


def counts(items: list[orders.Progress]) -> str:
    """Sum up how far everybody is, such as ``1 live, 2 building, 5 waiting``."""
    found = Counter(item.stage for item in items)
    return ", ".join(f"{found[stage]} {stage}" for stage in reversed(Stage) if found[stage])
