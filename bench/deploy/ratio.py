"""Ratios of rounds in which both arms run one after the other."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Ratios:
    """Ratios of rounds, and the seconds they come from."""

    name: str
    ratios: list[float] = field(default_factory=list)

    def add(self, ours: float, bare: float, note: str = "") -> None:
        """Print one round and keep its ratio."""
        self.ratios.append(ours / bare)
        print(
            f"  {self.name}: bare {bare:.2f} s, ours {ours:.2f} s, ratio {self.ratios[-1]:.2f}{note}"
        )

    def close(self) -> None:
        """Print what counts."""
        print(
            f"{self.name}, ours / bare: median {statistics.median(self.ratios):.2f}"
            f" (min {min(self.ratios):.2f}, max {max(self.ratios):.2f}; at most 2 is wanted)"
        )


def in_turn(
    number: int, ours: Callable[[], float], bare: Callable[[], float]
) -> tuple[float, float]:
    """Run both arms, in an order that changes from round to round."""
    if number % 2:
        second = bare()
        return ours(), second
    first = ours()
    return first, bare()
