"""Deploys in words: how one ended, why it failed, what is live. Nothing here prints."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from workshop.intake.orders import Stage
from workshop.journal import without_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workshop.chronicle import Entry
    from workshop.intake.orders import Progress
    from workshop.status import DeployStatus

_DAY = 86_400


def plain(text: str) -> str:
    """Make harmless what a participant's program wrote: no control reaches this terminal."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def live_deploy(deploy: DeployStatus | None) -> str:
    """Say which deploy is live and since when, as short as a column is."""
    if deploy is None or not deploy.number:
        return ""
    return f"{deploy.number}, {_clock(deploy.since)}" if deploy.since else str(deploy.number)


def _clock(moment: float) -> str:
    day = "%H:%M" if time.time() - moment < _DAY else "%d %b %H:%M"
    return time.strftime(day, time.localtime(moment))


def row(item: Progress) -> list[str]:
    """Lay one deploy out as cells: number, time, by, what, version, digest, result, ..."""
    cells = (
        str(item.number or ""),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.received)),
        item.actor,
        item.what.value,
        item.version,
        item.digest.removeprefix("sha256:")[:12],
        item.stage.value,
        f"{item.ended - item.received:.1f}" if item.ended else "",
        item.finding.cause if item.finding else "",
    )
    return [plain(cell) for cell in cells]


def end(item: Progress) -> str:
    """Say in one line how a deploy ended: cause, evidence and next step where it failed."""
    number = f"deploy {item.number}" if item.number else "deploy"
    if item.stage is Stage.LIVE:
        count = len(item.proof.escapes) if item.proof else 0
        what = "1 address leaves" if count == 1 else f"{count} addresses leave"
        note = f"; {what} /{item.seat}/: `workshop deploys {item.seat}`"
        return f"{item.seat}: {number} live, version {plain(item.version)}{note if count else ''}"
    if item.stage is Stage.SUPERSEDED:
        return f"{item.seat}: {number} superseded: a newer one came before it was done"
    if item.finding is None:
        return f"{item.seat}: {number} {item.stage}"
    finding = item.finding
    # A build's evidence is what it wrote, and that ends with what matters.
    place = -1 if finding.cause.startswith("build-") else 0
    seen = f" Seen: {plain(finding.evidence[place])}." if finding.evidence else ""
    step = f" Next: {plain(finding.next)}" if finding.next else ""
    return (
        f"{item.seat}: {number} {item.stage}, {finding.cause}: {plain(finding.message)}{seen}{step}"
    )


def last_failure(found: Sequence[Progress]) -> list[str]:
    """Tell the last failure in full words."""
    failed = [item for item in found if item.stage in {Stage.FAILED, Stage.REFUSED}]
    if not failed or failed[-1].finding is None:
        return []
    item, finding = failed[-1], failed[-1].finding
    return [
        "",
        f"deploy {item.number or ''} {item.stage}: {finding.cause}".replace("  ", " "),
        plain(finding.message),
        *(f"  | {plain(line)}" for line in finding.evidence),
        *([f"next: {plain(finding.next)}"] if finding.next else []),
    ]


def escapes(found: Sequence[Progress], live: frozenset[str]) -> list[str]:
    """List what leaves the prefix in the version that is live."""
    proofs = [item.proof for item in found if item.id in live and item.proof]
    if not proofs or not proofs[-1].escapes:
        return []
    return [
        "",
        "addresses that leave the prefix in the version that is live:",
        *(
            plain(
                f"  {found_escape.where}: {found_escape.kind} {found_escape.value}"
                + (f"; better: {found_escape.better}" if found_escape.better else "")
            )
            for found_escape in proofs[-1].escapes
        ),
    ]


_ABOUT = ("seat", "seats", "name", "names", "actor")
"""Facts that say whom an entry is about, in the order they are looked for."""
_LONGEST_FACT = 200


def entry_line(entry: Entry) -> str:
    """Tell one thing that happened in one line: when, who says it, whom it is about, what."""
    facts = dict(entry.facts)
    who = next((_fact(facts.pop(key)) for key in _ABOUT if facts.get(key)), "")
    more = [f"{key} {said}" for key, value in facts.items() if (said := _fact(value))]
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time))
    tail = f" ({', '.join(more)})" if more else ""
    words = f"{f'{who}: ' if who else ''}{entry.event}{tail}"
    return without_keys(plain(f"{moment}  {entry.source:<8}  {words}"))


def _fact(value: object) -> str:
    """Say a fact as short as it is plain; nothing for what is empty."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = " ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_FACT else f"{text[: _LONGEST_FACT - 1]}…"
