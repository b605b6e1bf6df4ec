"""What everybody in the room may see: names, whether an app is up, and how far the class has come.

Nothing else of anybody is in it: no log, no error, no key, no figure of use. Nobody is told off on
the wall of the room either; an app that is not up is "not up", for whatever reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.instructor.tiles import percent, tiles
from workshop.board.render import fragment
from workshop.board.shown import State
from workshop.board.streaming import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.board.instructor.tiles import Tile
    from workshop.board.view import View

_LOOKS = {
    "live": "live",
    "deploying": "deploying",
    "waiting": "not up yet",
}

_FEW = 40
_MANY = 110
"""More people than these need smaller letters."""


@dataclass(frozen=True)
class Person:
    """One seat, as the room sees it."""

    who: str
    look: str

    @property
    def words(self) -> str:
        """Whether the app is up."""
        return _LOOKS[self.look]


@dataclass(frozen=True)
class Room:
    """Everybody, as the room sees it."""

    title: str
    people: tuple[Person, ...]
    deployed: int
    hands: int
    said: str
    """What the instructor announced."""

    @property
    def live(self) -> int:
        """How many apps are up."""
        return sum(person.look == "live" for person in self.people)

    @property
    def deploying(self) -> int:
        """How many deploys are under way."""
        return sum(person.look == "deploying" for person in self.people)

    @property
    def size(self) -> str:
        """How small the names must be for all to be on the screen."""
        count = len(self.people)
        return "crowd" if count > _MANY else "many" if count > _FEW else "few"

    @property
    def percent(self) -> int:
        """How much of the class has an own version live."""
        return percent(self.deployed, len(self.people) or 1)


def room(view: View) -> Room:
    """Leave out what is private; spare seats are nobody's and left out too."""
    found = sorted((tile for tile in tiles(view) if not tile.spare), key=_who)
    return Room(
        title=view.config.title,
        people=tuple(Person(tile.person or tile.name, _look(tile)) for tile in found),
        deployed=sum(tile.deploys > 0 for tile in found),
        hands=sum(tile.hand is not None for tile in found),
        said=view.announcement.text if view.announcement else "",
    )


def room_text(view: View) -> str:
    """Render :func:`room`."""
    return fragment("instructor/room.html", room=room(view))


def teller() -> Callable[[View], Iterator[str]]:
    """Make what a projector's stream asks for news."""
    seen: tuple[int, Room] | None = None

    def told(view: View) -> Iterator[str]:
        nonlocal seen
        if seen and seen[0] == view.number:
            yield event("beat", "")
            return
        found = room(view)
        if seen is None or seen[1] != found:
            yield event("wall", fragment("instructor/room.html", room=found))
        seen = (view.number, found)

    return told


def _who(tile: Tile) -> str:
    return (tile.person or tile.name).casefold()


def _look(tile: Tile) -> str:
    if tile.deploy and tile.deploy.look == "deploying":
        return "deploying"
    return "live" if tile.state is State.LIVE else "waiting"
