"""What the wall says about everybody: how many are in which state, and what is wrong at large."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.instructor.tiles import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workshop.board.instructor.tiles import Tile
    from workshop.board.view import View

_FILTERS = (
    ("needs", "need you"),
    ("hand", "hand up"),
    *((state.value, word) for state, word in WORDS.items()),
    ("failed", "deploy failed"),
    ("deploying", "deploying"),
    ("spare", "spare"),
)
"""Marks of tiles (:attr:`workshop.board.instructor.tiles.Tile.marks`) and their words."""
_ALWAYS = "live"
_OLD = (
    "The figures below are old: the control process has written none for a while. `workshop status`"
    " on the server tells why, `workshop provision` starts it again."
)
_NOTHING = (
    "Nothing has been seen of the class yet. If this stays, the control process does not run:"
    " `workshop status` on the server tells."
)


@dataclass(frozen=True)
class Filter:
    """One button that leaves only some tiles on the wall."""

    mark: str
    words: str
    count: int


@dataclass(frozen=True)
class Summary:
    """Everybody at once."""

    total: int
    filters: tuple[Filter, ...]
    """Those that would leave something, and the live ones."""
    failed: tuple[str, ...]
    """Names of those whom "restart all failed" restarts."""
    troubles: tuple[str, ...]
    """What is wrong with the platform itself, in plain words."""


def summary(view: View, found: Sequence[Tile]) -> Summary:
    """Count the tiles, and look at the platform's own parts."""
    counts = Counter(mark for tile in found for mark in tile.marks.split())
    filters = (Filter(mark, words, counts[mark]) for mark, words in _FILTERS)
    return Summary(
        total=len(found),
        filters=tuple(item for item in filters if item.count or item.mark == _ALWAYS),
        failed=tuple(sorted(tile.name for tile in found if tile.state.failed)),
        troubles=tuple(troubles(view)),
    )


def troubles(view: View) -> list[str]:
    """Say what is wrong with the platform itself."""
    if not view.shown.time:
        return [_NOTHING]
    old = [_OLD] if view.stale else []
    stopped = [f"{name} ({state})" for name, state in view.shown.parts if state != "running"]
    words = [f"Not running: {', '.join(stopped)}. `workshop status` tells more."] if stopped else []
    return [*old, *view.shown.troubles, *words]
