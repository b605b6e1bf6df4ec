"""Whether every container still stands behind the wall it was made with.

A rule reads what the engine says of a container and returns the words that should not be there.
Those numbered 5.x are the CIS benchmark's, those numbered W.x our own. Where a part of the platform
needs such a word, :mod:`workshop.audit.excuses` says which, and why.

This is a second opinion on purpose: nothing is taken from the module that creates containers.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.audit import benchmark, own
from workshop.audit.excuses import EXCUSES
from workshop.audit.facts import Facts, Raw, Subject
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COUNT", "Facts", "Finding", "audit"]

RULES = (*benchmark.RULES, *own.RULES)
COUNT = len(RULES) + len(own.NETWORK_RULES)


@dataclass(frozen=True)
class Finding:
    """Where a container is not as it should be."""

    container: str
    key: str
    id: str
    title: str
    found: str
    wanted: str
    is_seat: bool = False
    is_network: bool = False

    def __str__(self) -> str:
        return f"{self.container}: {self.id} {self.title}: {self.found}; expected {self.wanted}"


def audit(facts: Facts, dark: frozenset[str] = frozenset()) -> list[Finding]:
    """Hold every container and network against every rule.

    Args:
        facts: what the engine says.
        dark: participants whose seats must not ask the world's name servers.

    """
    found = [
        finding for raw in facts.containers for finding in _container(Subject(raw, facts, dark))
    ]
    return [*found, *(finding for raw in facts.networks for finding in _network(raw))]


def _container(subject: Subject) -> Iterator[Finding]:
    seat = subject.role is Role.SEAT
    for rule in RULES:
        excused = EXCUSES.get((rule.id, subject.role), frozenset())
        words = [word for word in rule.look(subject) if not _is_excused(word, excused)]
        if words:
            shown = ", ".join(words)
            yield Finding(
                subject.name, subject.key, rule.id, rule.title, shown, rule.wanted, is_seat=seat
            )


def _is_excused(word: str, excused: frozenset[str]) -> bool:
    return any(fnmatch.fnmatchcase(word, pattern) for pattern in excused)


def _network(raw: Raw) -> Iterator[Finding]:
    for rule in own.NETWORK_RULES:
        found = rule.look(raw)
        if found:
            yield Finding(raw["Name"], "", rule.id, rule.title, found, rule.wanted, is_network=True)
