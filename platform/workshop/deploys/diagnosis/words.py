"""What all rules of the doctor share: looking into the evidence, and words fit to be shown."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workshop.deploys.diagnosis.evidence import shown
from workshop.intake.orders import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workshop.deploys.diagnosis.crash import Crash, Place
    from workshop.deploys.diagnosis.evidence import Evidence

_MOST_LINES = 8
_LAST_LINES = 5
_LONGEST_ADVICE = 600
NEAR = 0.7
"""How alike two names must be for one to be offered in place of the other."""


def finding(
    evidence: Evidence, cause: str, message: str, next_step: str, lines: Iterable[str] = ()
) -> Finding:
    """Put a finding into words that are fit to be shown."""
    secrets = evidence.secrets
    kept: dict[str, None] = {}
    for line in lines:
        text = shown(line, secrets)
        if text.strip():
            kept.setdefault(text)
    return Finding(
        cause,
        shown(message, secrets),
        tuple(kept)[:_MOST_LINES],
        shown(next_step, secrets, longest=_LONGEST_ADVICE),
    )


def tail(evidence: Evidence) -> list[str]:
    """Take the last lines the app wrote."""
    return [line for line in evidence.log if line.strip()][-_LAST_LINES:]


def crash_lines(evidence: Evidence, crash: Crash) -> list[str]:
    """Show an error: where, the line of code, what."""
    place = place_of(crash)
    return [
        *([f"{at(evidence, place)}    {place.code}".rstrip()] if place else []),
        crash.last,
        *crash.details[:3],
    ]


def place_of(crash: Crash) -> Place | None:
    """Find the place in the participant's own code, in the error or what it was raised from."""
    return next(filter(None, (item.place for item in crash.chain)), None)


def at(evidence: Evidence, place: Place) -> str:
    """Write a place the way its author knows it."""
    return place.within(evidence.state.directory if evidence.state else "/")


def last_match(pattern: str, lines: Sequence[str]) -> re.Match[str] | None:
    """Search from the last line up."""
    found = (re.search(pattern, line) for line in reversed(lines))
    return next(filter(None, found), None)


def nearest(name: str, files: Sequence[str]) -> str | None:
    """Find the file whose name is most like ``name``."""
    by_name = {PurePosixPath(file).name.lower(): file for file in reversed(files)}
    found = difflib.get_close_matches(name.lower(), by_name, 1, NEAR)
    return by_name[found[0]] if found else None
