"""What became of deploys: orders under way, the log of those that ended, and what is live."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workshop.board.shown import Deploy
from workshop.deploys.config import LOG, PROGRESS
from workshop.deploys.current import SeatDeploys
from workshop.intake import orders
from workshop.intake.orders import Stage
from workshop.watching.files import mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.deploys.current import Current
    from workshop.intake.orders import Progress
    from workshop.watching.files import Mark

SHOWN = 10
"""Deploys of a seat that are told, newest first."""
_FAILED = frozenset({Stage.FAILED, Stage.REFUSED})


@dataclass
class _Past:
    """One seat's deploys that are over."""

    latest: deque[Deploy] = field(default_factory=lambda: deque(maxlen=SHOWN))
    live: int = 0
    failed: int = 0


@dataclass(frozen=True)
class History:
    """What is shown of one seat."""

    deploys: tuple[Deploy, ...] = ()
    """Newest first."""
    live: int = 0
    """How many went live in all."""
    failed: int = 0


class Deploys:
    """Reads what the server of deploys writes, as far as it is new.

    Args:
        directory: where progress and log lie.
        everybody: tells what is live; another object when that has changed.

    """

    def __init__(self, directory: Path, everybody: Callable[[], Current]) -> None:
        self._progress = directory / PROGRESS
        self._log = directory / LOG
        self._everybody = everybody
        self._seen: Current | None = None
        self._progress_mark: Mark | None = None
        self._log_mark: Mark | None = None
        self._read = 0
        """Bytes of the log that were read, all of them whole lines."""
        self._past: dict[str, _Past] = {}
        self._over: set[str] = set()
        self._open: dict[str, Progress] = {}
        self._shown: dict[str, History] = {}

    def of(self, name: str) -> History:
        """Tell what became of one seat's deploys, as of the last step."""
        return self._shown.get(name, _NONE)

    def step(self) -> bool:
        """Read what is new; whether there was anything.

        Raises:
            OSError: a file that is there cannot be read.

        """
        current = self._everybody()
        # Progress first: what ends between the two looks is then in the log already.
        news = [self._read_progress(), self._read_log(), current is not self._seen]
        if not any(news):
            return False
        self._seen = current
        waiting = {item.seat for item in self._open.values()}
        names = self._past.keys() | waiting
        found = {name: self._history(name, current.get(name, SeatDeploys())) for name in names}
        changed, self._shown = found != self._shown, found
        return changed

    # -- reading ------------------------------------------------------------------------------

    def _read_progress(self) -> bool:
        found = mark(self._progress)
        if found == self._progress_mark:
            return False
        self._progress_mark = found
        there = orders.waiting(self._progress)
        self._over &= set(there)
        read = (orders.read_progress(self._progress, name) for name in there if self._is_new(name))
        seen = [item for item in read if item]
        self._over |= {item.id for item in seen if item.stage.over}
        self._open = {item.id: item for item in seen if not item.stage.over}
        return True

    def _is_new(self, order_id: str) -> bool:
        return order_id not in self._over

    def _read_log(self) -> bool:
        found = mark(self._log)
        if found == self._log_mark:
            return False
        self._log_mark = found
        for item in self._lines():
            past = self._past.setdefault(item.seat, _Past())
            past.latest.appendleft(_deploy(item))
            past.live += item.stage is Stage.LIVE
            past.failed += item.stage in _FAILED
            # Its file of progress may not have the last word yet.
            self._over.add(item.id)
            self._open.pop(item.id, None)
        return True

    def _lines(self) -> Iterator[Progress]:
        """Read the log's new lines; a file that became shorter is another one."""
        try:
            with self._log.open("rb") as file:
                if file.seek(0, 2) < self._read:
                    self._read, self._past = 0, {}
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            self._read, self._past = 0, {}
            return
        self._read += len(whole) + len(end)
        for line in whole.splitlines():
            # A crash may have cut one short; what stands before and after it is still good.
            try:
                yield orders.progress_of(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    # -- telling ------------------------------------------------------------------------------

    def _history(self, name: str, held: SeatDeploys) -> History:
        past = self._past.get(name, _Past())
        under_way = [_deploy(item) for item in self._open.values() if item.seat == name]
        found = sorted([*under_way, *past.latest], key=lambda item: item.id, reverse=True)
        live = held.live.id if held.live else ""
        kept = {item.id for item in held.kept}
        marked = (
            replace(item, live=item.id == live, kept=item.id in kept) for item in found[:SHOWN]
        )
        return History(tuple(marked), past.live, past.failed)


_NONE = History()


def _deploy(item: Progress) -> Deploy:
    finding = item.finding
    return Deploy(
        id=item.id,
        number=item.number,
        what=item.what.value,
        actor=item.actor,
        stage=item.stage.value,
        received=item.received,
        ended=item.ended,
        version=item.version,
        cause=finding.cause if finding else "",
        message=finding.message if finding else "",
        evidence=finding.evidence if finding else (),
        next=finding.next if finding else "",
        escapes=len(item.proof.escapes) if item.proof else 0,
    )
