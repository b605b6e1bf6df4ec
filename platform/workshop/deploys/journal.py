"""What becomes of orders, written down: progress while it lasts, one line in the log at the end."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from workshop.deploys.config import LOG, PROGRESS
from workshop.intake import orders
from workshop.intake.orders import Order, Progress, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.intake.orders import Finding, Proof

SHOWN_LINES = 40
"""Lines of a build that are kept to be shown."""
KEPT = 1000
"""Files of orders that are over; the log keeps them for good."""


class Journal:
    """Writes progress and log. Safe to be used by several threads."""

    def __init__(self, directory: Path) -> None:
        self._progress = directory / PROGRESS
        self._log = directory / LOG
        self._lock = threading.Lock()
        self._known: dict[str, Progress] = {}

    def accept(self, order: Order, ahead: int) -> None:
        """Note that an order waits."""
        progress = Progress(
            id=order.id,
            seat=order.seat,
            what=order.what,
            actor=order.actor,
            received=order.received,
            digest=order.digest,
            ahead=ahead,
        )
        with self._lock:
            self._tell(progress)

    def ahead(self, order: Order, ahead: int) -> None:
        """Note how many orders come first; written only where that changed."""
        if self._known[order.id].ahead != ahead:
            self.say(order, ahead=ahead)

    def stage(self, order: Order, stage: Stage) -> None:
        """Note how far an order has come."""
        self.say(order, stage=stage, ahead=0)

    def line(self, order: Order, line: str) -> None:
        """Note a line of a build's output."""
        with self._lock:
            known = self._known[order.id]
            self._tell(replace(known, lines=(*known.lines, line)[-SHOWN_LINES:]))

    def say(self, order: Order, **facts: Any) -> None:  # noqa: ANN401 - fields of Progress
        """Note facts about an order."""
        with self._lock:
            self._tell(replace(self._known[order.id], **facts))

    def end(
        self,
        order: Order,
        stage: Stage,
        *,
        finding: Finding | None = None,
        proof: Proof | None = None,
    ) -> None:
        """Note the last word on an order, in the log first.

        What the log has is the last word: said again after a failure, it is only told.

        Raises:
            OSError: it could not be written.

        """
        with self._lock:
            last = self._known[order.id]
            if not last.stage.over:
                last = replace(
                    last, stage=stage, ahead=0, ended=time.time(), finding=finding, proof=proof
                )
                self._append(replace(last, lines=()))
            self._tell(last)
            del self._known[order.id]

    def refuse(self, order: Order, finding: Finding) -> None:
        """Note that an order is not even tried."""
        self.accept(order, 0)
        self.end(order, Stage.REFUSED, finding=finding)

    def is_over(self, order_id: str) -> bool:
        """Whether an earlier server has already said the last word."""
        found = orders.read_progress(self._progress, order_id)
        return found is not None and found.stage.over

    def forget_old(self) -> None:
        """Remove the oldest files of progress."""
        for stem in orders.waiting(self._progress)[:-KEPT]:
            (self._progress / f"{stem}.json").unlink(missing_ok=True)

    def _tell(self, progress: Progress) -> None:
        self._known[progress.id] = progress
        orders.tell(self._progress, progress)

    def _append(self, progress: Progress) -> None:
        """Add one line; it is on the disk before anybody is told that the deploy is over."""
        line = (json.dumps(asdict(progress)) + "\n").encode()
        with self._log.open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                # A disk that fills up takes the beginning of a line, and says so at the next call.
                while line:
                    line = line[file.write(line) :]
                os.fsync(file)
            except OSError:
                file.truncate(whole)
                raise
        self._log.chmod(0o644)
