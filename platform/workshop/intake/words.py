"""What participants read about their deploys: plain lines, the last one a single word."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workshop.intake.orders import Stage, What
from workshop.intake.watch import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.intake.archive import Summary
    from workshop.intake.orders import Finding, Progress, Proof

SILENT = "Your deploy waits; the platform's deploy server does not answer. Tell your instructor."
PATIENCE_OVER = (
    "This took longer than anybody waits here. Look again later: the deploy goes on without you."
)
_BEGINS = {
    Stage.FETCHING: "Fetching the image",
    Stage.BUILDING: "Building",
    Stage.STARTING: "Starting it beside the version that is live",
}
_ENDS = {
    Stage.LIVE: "deployed",
    Stage.FAILED: "failed",
    Stage.REFUSED: "failed",
    Stage.SUPERSEDED: "superseded",
}
_WHAT = {
    What.PUSH: "push",
    What.SOURCE: "upload",
    What.IMAGE: "image",
    What.VERSION: "rollback",
}


def received(summary: Summary) -> list[str]:
    """Say what was taken of an upload."""
    lines = [f"Received {summary}."]
    if summary.root:
        lines.append(f"The directory '{summary.root}' around everything was taken off.")
    lines += [f"Left out: {kind}." for kind in summary.left_out]
    return lines


class Teller:
    """Turns one order's progress, as it changes, into lines that were not said before."""

    def __init__(self, app: Callable[[str], str]) -> None:
        self._app = app
        self._stage: Stage | None = None
        self._ahead = -1
        self._lines: tuple[str, ...] = ()

    def new_lines(self, progress: Progress) -> tuple[str, ...]:
        """Take the lines of the build that were not there before."""
        found = fresh(self._lines, progress.lines)
        self._lines = progress.lines
        return found

    def tell(self, progress: Progress, new: tuple[str, ...]) -> list[str]:
        """Say what has changed; ``new`` are the build's new lines."""
        lines = []
        if progress.stage is Stage.WAITING and progress.ahead != self._ahead:
            self._ahead = progress.ahead
            lines.append(_place(progress.ahead))
        elif progress.stage is not self._stage and progress.stage in _BEGINS:
            lines.append(f"{_BEGINS[progress.stage]} ...")
        self._stage = progress.stage
        lines += [f"  | {line}" for line in new]
        return [*lines, *ending(progress, self._app)] if progress.stage.over else lines


def ending(progress: Progress, app: Callable[[str], str]) -> list[str]:
    """Say how a deploy ended; the last line is ``deployed``, ``failed`` or ``superseded``.

    Args:
        progress: the deploy.
        app: gives the address of a participant's app.

    """
    if progress.stage is Stage.LIVE:
        seconds = max(0.0, (progress.ended or progress.received) - progress.received)
        lines = [f"Live: {app(progress.seat)} (version {progress.version}, {seconds:.1f} s)"]
        lines += _proof(progress.proof)
    elif progress.stage is Stage.SUPERSEDED:
        lines = ["Not live: a newer deploy of yours came before this one was done."]
    else:
        lines = [*_finding(progress.finding), "The version before it is still live."]
    return [*lines, _ENDS[progress.stage]]


def listing(seat: str, found: list[Progress], url: str) -> list[str]:
    """List deploys, newest first."""
    if not found:
        return [
            f"Nothing was deployed for {seat} yet. What runs is what the class began with.",
            f"Upload:  curl -T app.zip -H 'Authorization: Bearer KEY' {url}/deploy/{seat}",
        ]
    lines = []
    for item in found:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(item.received))
        who = f" by {item.actor}" if item.actor != seat else ""
        number = f"#{item.number}" if item.number else "-"
        version = item.version or "-"
        lines.append(f"{number:>4}  {at}  {_WHAT[item.what]}{who}  {version}  {item.stage}")
        if item.stage in {Stage.FAILED, Stage.REFUSED}:
            lines += [f"      {line}" for line in _finding(item.finding)]
        elif item.stage is Stage.LIVE and item.proof is not None and item.proof.escapes:
            lines += [f"      {line.strip()}" for line in _proof(item.proof)]
    return lines


def _place(ahead: int) -> str:
    if not ahead:
        return "Waiting for a turn; yours is next."
    return f"Waiting for a turn; {ahead} {'deploy comes' if ahead == 1 else 'deploys come'} first."


def _finding(finding: Finding | None) -> Iterator[str]:
    if finding is None:
        yield "Not live: the platform does not say why. Tell your instructor."
        return
    yield f"Not live: {finding.message}"
    for line in finding.evidence:
        yield f"    {line}"
    if finding.next:
        yield f"What to do: {finding.next}"


def _proof(proof: Proof | None) -> Iterator[str]:
    if proof is None:
        return
    if proof.problem:
        yield f"  It could not be looked at through its address: {proof.problem}"
    elif not proof.escapes:
        plural = "" if proof.pages == 1 else "s"
        yield f"  Looked at {proof.pages} page{plural}: every address stays below the app's own."
    for escape in proof.escapes:
        better = f"; write {escape.better}" if escape.better else ""
        yield f"  Leaves the app's address: {escape.kind} {escape.value} in {escape.where}{better}"
    if proof.first_event is not None:
        yield f"  The first event of a stream came after {proof.first_event:.2f} s."
