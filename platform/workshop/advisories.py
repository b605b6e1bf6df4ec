"""Known holes in the engine's parts, by version: a dated table, kept small.

Only holes through which a container of ours could reach the server are listed. A distribution mends
versions without raising their number, so a match is a reason to look, never a verdict.

Sources: the security advisories of opencontainers/runc, containerd/containerd and moby/moby.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AS_OF = "2026-11"
"""When the table was last gone through."""


@dataclass(frozen=True)
class Advisory:
    """One hole, and the versions that no longer have it."""

    component: str
    """As the engine's version call names it."""
    names: str
    what: str
    mended: tuple[tuple[int, ...], ...]
    """The first good version of each line, oldest first; later lines are good from the start."""


ADVISORIES = (
    Advisory(
        "runc", "CVE-2024-21626", "a leaked descriptor leads out of a container", ((1, 1, 12),)
    ),
    Advisory(
        "runc",
        "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881",
        "masked paths and mounts can be redirected while a container starts",
        ((1, 2, 8), (1, 3, 3), (1, 4, 0)),
    ),
    Advisory(
        "containerd",
        "CVE-2024-25621, CVE-2025-64329",
        "its directories are open to others; attaching leaks memory",
        ((1, 7, 29), (2, 0, 7), (2, 1, 5), (2, 2, 0)),
    ),
    Advisory(
        "Engine",
        "CVE-2024-23651, CVE-2024-23652, CVE-2024-23653",
        "BuildKit: a Dockerfile can leave its build",
        ((24, 0, 9), (25, 0, 2)),
    ),
    Advisory(
        "Engine",
        "CVE-2024-29018",
        "internal networks pass name lookups on to the server's resolver",
        ((23, 0, 11), (25, 0, 5), (26, 0, 0)),
    ),
)


@dataclass(frozen=True)
class Match:
    """A component whose version is in the table."""

    component: str
    version: str
    names: str
    what: str
    mended: str

    @property
    def from_distribution(self) -> bool:
        """Whether the number shows that a distribution built it, and may have mended it."""
        return any(mark in self.version for mark in ("+", "~", "ubuntu", "deb"))


def matches(components: Mapping[str, str]) -> Iterator[Match]:
    """Yield what is known against these versions."""
    for advisory in ADVISORIES:
        version = components.get(advisory.component, "")
        if version and not is_mended(version, advisory.mended):
            good = ", ".join(".".join(map(str, line)) for line in advisory.mended)
            yield Match(advisory.component, version, advisory.names, advisory.what, good)


def is_mended(version: str, mended: tuple[tuple[int, ...], ...]) -> bool:
    """Say whether ``version`` is at or behind the good one of its own line."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(-rc)?", version)
    if found is None:
        return True  # a number nobody can read is no reason to warn
    number = tuple(int(part or 0) for part in found.groups()[:3])
    # A candidate comes before its release.
    number = (*number, -1 if found[4] else 0)
    line = next((good for good in mended if good[:2] == number[:2]), mended[-1])
    return number >= (*line, 0)
