"""What the board knows at one moment. Replaced whole, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from workshop.board import config as told
from workshop.board import shown as seen

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class View:
    """One configuration, one look at the class, and what the board itself was told by people."""

    config: told.Config
    shown: seen.Shown
    hands: Mapping[str, float] = field(default_factory=dict)
    """Who raised a hand, and when, in seconds since 1970."""
    announcement: seen.Announcement | None = None
    claimed: frozenset[str] = frozenset()
    """Whose claim codes were exchanged for keys."""
    stale: bool = False
    """Whether the control process has written nothing for a while, so that its look is old."""
    number: int = 0
    """Grows with every change, within one life of the board."""

    def person(self, name: str) -> told.Seat | None:
        """Find what the command told of one participant."""
        return self._persons.get(name)

    def seat(self, name: str) -> seen.Seat:
        """Tell how a seat fares; it is missing where the control process has not seen it."""
        return self._seats.get(name) or seen.Seat(name, seen.State.MISSING, "not seen yet")

    @cached_property
    def fingerprint(self) -> str:
        """Name the configuration by its content."""
        return self.config.fingerprint

    @cached_property
    def _persons(self) -> Mapping[str, told.Seat]:
        return {seat.name: seat for seat in self.config.seats}

    @cached_property
    def _seats(self) -> Mapping[str, seen.Seat]:
        return {seat.name: seat for seat in self.shown.seats}
