"""Puts what was seen of a seat into what is shown of it, and writes it down."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from workshop.board import shown
from workshop.board.shown import Seat, Shown, State, Totals
from workshop.serving import replace_whole
from workshop.watching.files import make_open

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.board.shown import Deploy
    from workshop.limits import Limits
    from workshop.watching.books import Spent
    from workshop.watching.cgroups import Use
    from workshop.watching.containers import Standing
    from workshop.watching.deploys import History
    from workshop.watching.edge_log import Visits

HELD = "stopped by you"
SILENT = "runs, but its latest visitors got no answer"
_RUNS = frozenset({State.LIVE, State.CRASHING})


@dataclass(frozen=True)
class Seen:
    """All that was seen of one seat."""

    name: str
    limits: Limits
    standing: Standing
    held: bool
    visits: Visits
    use: Use
    spent: Spent
    history: History

    def verdict(self) -> tuple[State, str, float]:
        """Say how the seat fares, in words, too, and since when; 0 is not known."""
        standing, visits = self.standing, self.visits
        if self.held and standing.fares not in _RUNS:
            return State.HELD, HELD, standing.since
        # Who went without an answer before it was started again, says nothing of it now.
        silent = bool(visits.silent_since) and visits.unanswered > standing.since
        if standing.fares is State.LIVE and silent:
            return State.SILENT, SILENT, max(visits.silent_since, standing.since)
        return standing.fares, standing.detail, standing.since


def seat(seen: Seen, before: Seat | None, now: float) -> Seat:
    """Make what is shown of one seat; the very object of ``before`` where nothing changed."""
    state, detail, since = seen.verdict()
    if not since:
        since = before.since if before and before.state is state else now
    visits, spent, history = seen.visits, seen.spent, seen.history
    found = Seat(
        name=seen.name,
        state=state,
        detail=detail,
        since=round(since, 1),
        version=seen.standing.version,
        restarts=seen.standing.restarts,
        requests=visits.requests,
        errors=visits.errors,
        memory=seen.use.memory,
        memory_limit=seen.limits.memory,
        cpu=seen.use.cpu,
        cpu_limit=seen.limits.cpus,
        tokens=spent.tokens,
        tokens_limit=spent.tokens_limit,
        money=spent.money,
        money_limit=spent.money_limit,
        paused=spent.paused,
        deploys=history.deploys,
        totals=Totals(
            requests=visits.total_requests,
            errors=visits.total_errors,
            seconds=visits.seconds,
            buckets=visits.buckets,
            bytes=visits.bytes,
            cpu_seconds=float(seen.use.cpu_seconds),
            deploys=history.live,
            failed_deploys=history.failed,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            llm_requests=spent.requests,
        ),
    )
    return before if before == found and before is not None else found


class Writer:
    """Writes ``seats.json`` as :func:`workshop.board.shown.dump` would.

    With 300 seats most of that text is the same as a moment ago: what a seat and its deploys read
    is kept as long as nothing about them changes.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / shown.FILE
        self._texts: dict[str, tuple[Seat, str]] = {}
        self._deploys: dict[str, tuple[tuple[Deploy, ...], str]] = {}

    def write(self, whole: Shown) -> None:
        """Replace the file.

        Raises:
            OSError: the disk is full, or the directory cannot be written.

        """
        make_open(self.path.parent)
        replace_whole(self.path, self.dump(whole))

    def dump(self, whole: Shown) -> str:
        """Write everybody as JSON."""
        names = [item.name for item in whole.seats]
        self._deploys = {item.name: self._deploys_of(item) for item in whole.seats}
        self._texts = {item.name: (item, self._text(item)) for item in whole.seats}
        seats = ",".join(self._texts[name][1] for name in names)
        return _put(shown.dump(replace(whole, seats=())), "seats", seats)

    def _deploys_of(self, item: Seat) -> tuple[tuple[Deploy, ...], str]:
        kept = self._deploys.get(item.name)
        if kept and kept[0] is item.deploys:
            return kept
        return item.deploys, ",".join(_json(asdict(deploy)) for deploy in item.deploys)

    def _text(self, item: Seat) -> str:
        kept, text = self._texts.get(item.name, (None, ""))
        if kept is item:
            return text
        flat = {**vars(item), "deploys": (), "totals": vars(item.totals)}
        return _put(_json(flat), "deploys", self._deploys[item.name][1])


def _json(raw: Mapping[str, object]) -> str:
    return json.dumps(raw, separators=(",", ":"))


def _put(text: str, key: str, items: str) -> str:
    """Fill the empty list of ``key``; inside of strings quotes are escaped, so it is found once."""
    return text.replace(f'"{key}":[]', f'"{key}":[{items}]', 1)
