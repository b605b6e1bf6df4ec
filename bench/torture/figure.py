"""One line of the table that a torture ends with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was wanted, what was measured, and whether that is enough."""

    name: str
    wanted: str
    measured: str
    ok: bool

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "MISSED"
        return f"| {self.name} | {self.wanted} | {self.measured} | {verdict} |"
