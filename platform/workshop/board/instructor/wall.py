"""The wall as text: every piece with the number of the change that made it.

A page says which change it has seen, and gets the pieces that are newer. Pieces are rendered once
for all who look, and only when something in them can be seen to have changed.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.instructor.summary import summary
from workshop.board.instructor.tiles import Tile, tiles
from workshop.board.render import fragment
from workshop.board.streaming import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.board.view import View

WALL = "wall"
"""The event that carries pieces."""
BEAT = "beat"
"""The event that says that nothing changed."""
BEAT_SECONDS = 10.0
"""Between two signs of life; the page calls itself cut off after some of them."""
_SUMMARY = ("filters", "messages", "class")
"""Pieces that are about everybody, by the names of their templates and their ids."""

_MANY = 60
"""More seats than these have small tiles."""


@dataclass(frozen=True)
class Piece:
    """One element of the page."""

    text: str
    number: int
    """Of the change that made it."""
    tile: Tile | None = None


class Wall:
    """What everybody who looks at the wall shares."""

    def __init__(self) -> None:
        # Numbers begin again with each life of the board; a page of another life gets everything.
        self._life = secrets.token_hex(4)
        self._number = -1
        self._tiles: dict[str, Piece] = {}
        self._gone: dict[str, int] = {}
        self._others: dict[str, Piece] = {}

    def see(self, view: View) -> None:
        """Render what differs from the last view."""
        if view.number <= self._number:
            return
        found = tiles(view)
        known, self._tiles = self._tiles, {}
        for tile in found:
            old = known.get(tile.name)
            self._tiles[tile.name] = old if old and old.tile == tile else _tile(tile, view.number)
        for name in known.keys() - self._tiles.keys():
            self._gone[name] = view.number
        facts = {"view": view, "summary": summary(view, found)}
        for name in _SUMMARY:
            text = fragment(f"instructor/{name}.html", **facts)
            old = self._others.get(name)
            if old is None or old.text != text:
                self._others[name] = Piece(text, view.number)
        self._number = view.number

    @property
    def cursor(self) -> str:
        """Name what was seen last, for :meth:`since`."""
        return f"{self._life}.{self._number}"

    @property
    def many(self) -> bool:
        """Whether tiles are small unless somebody wants them large."""
        return len(self._tiles) > _MANY

    def needing(self) -> list[str]:
        """Give the tiles of those who need the instructor, in order."""
        return [piece.text for piece in self._tiles.values() if piece.tile and piece.tile.needs]

    def rest(self) -> list[str]:
        """Give the other tiles, in order."""
        return [piece.text for piece in self._tiles.values() if piece.tile and not piece.tile.needs]

    def other(self, name: str) -> str:
        """Give one of the pieces that are about everybody."""
        return self._others[name].text

    def since(self, cursor: str) -> str:
        """Give every piece that is newer than what the page with ``cursor`` shows."""
        life, _, number = cursor.partition(".")
        seen = int(number) if life == self._life and number.isdecimal() else -1
        pieces = (*self._tiles.values(), *self._others.values())
        texts = [piece.text for piece in pieces if piece.number > seen]
        names = [name for name, gone in self._gone.items() if gone > seen]
        texts += [
            f'<li id="seat-{name}" hx-swap-oob="delete"></li>'
            for name in names
            if name not in self._tiles
        ]
        return "\n".join(texts)


def teller(wall: Wall, cursor: str) -> Callable[[View], Iterator[str]]:
    """Make what a stream asks for news: events for a page that has seen ``cursor``."""
    seen, spoke = cursor, 0.0

    def told(view: View) -> Iterator[str]:
        nonlocal seen, spoke
        wall.see(view)
        text = wall.since(seen)
        if text:
            mark = (
                f'<span id="cursor" hx-swap-oob="true" data-cursor="{wall.cursor}" hidden></span>'
            )
            yield event(WALL, f"{mark}\n{text}")
        elif time.monotonic() - spoke >= BEAT_SECONDS:
            yield event(BEAT, "")
        else:
            return
        seen, spoke = wall.cursor, time.monotonic()

    return told


def _tile(tile: Tile, number: int) -> Piece:
    return Piece(fragment("instructor/tile.html", tile=tile), number, tile)
