"""What the board asks for: wishes are files, as orders of deploys are.

    kept/wishes/ID.json      a wish; the board writes, the control process takes and removes it
    kept/wanted/NAME         touched every few seconds while somebody looks at a seat's log
    kept/hands.json          who raised a hand, and when; the board's own, others read it
    shown/answers/ID.json    what became of a wish; the control process writes

A wish is only a wish: whoever carries it out believes no field of it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop.serving import ID, ids_in, replace_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WISHES = "wishes"
WANTED = "wanted"
HANDS = "hands.json"
WANTED_SECONDS = 10.0
"""How long after its last touch a log is still written."""
INSTRUCTOR = "instructor"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST_TEXT = 500
_LONGEST_FILE = 64 * 1024
_MOST_SEATS = 500


class What(StrEnum):
    """What is wished for."""

    RESTART = "restart"
    RESET = "reset"
    """A fresh container in the place of what runs."""
    STOP = "stop"
    START = "start"
    ROLLBACK = "rollback"
    """To the version ``text``; empty for the one before, ``template`` for what the roster says."""
    PAUSE = "pause"
    """No questions to the models: of ``seats``, or of the whole class where it is empty."""
    RESUME = "resume"
    ANNOUNCE = "announce"
    """Say ``text`` on every participant's page; empty takes back what was said."""
    CLAIM = "claim"
    """Exchange a claim code for the key of the one seat; ``text`` is the latecomer's own name where
    the seat is a spare one. The board has compared the code."""


PARTICIPANTS_MAY = frozenset({What.RESTART, What.RESET, What.ROLLBACK, What.CLAIM})
"""And only to the own seat."""


@dataclass(frozen=True)
class Wish:
    """Somebody wants something done."""

    id: str
    what: What
    actor: str
    """:data:`INSTRUCTOR`, or the participant's name."""
    seats: tuple[str, ...] = ()
    text: str = ""

    @property
    def sound(self) -> bool:
        """Whether every field has its form, and the actor may wish for this."""
        texts = isinstance(self.text, str) and len(self.text) <= _LONGEST_TEXT
        names = len(self.seats) <= _MOST_SEATS and all(
            isinstance(name, str) and _NAME.fullmatch(name) for name in (self.actor, *self.seats)
        )
        own = self.what in PARTICIPANTS_MAY and self.seats == (self.actor,)
        return bool(ID.fullmatch(self.id)) and texts and names and (self.actor == INSTRUCTOR or own)


@dataclass(frozen=True)
class Answer:
    """What became of a wish."""

    id: str
    done: bool
    """Whether all of it was done."""
    words: str
    """One line for whoever wished, such as ``ada restarted`` or why it was not done."""
    key: str = ""
    """The participant's key, where a claim code was exchanged for it."""


def new_id() -> str:
    """Make an id that sorts by time, with 32 random bits."""
    return f"{time.time_ns() // 1_000_000:013d}-{secrets.randbits(32):08x}"


def place(directory: Path, wish: Wish) -> None:
    """Hand a wish over.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    replace_whole(directory / f"{wish.id}.json", json.dumps(asdict(wish)) + "\n")


def waiting(directory: Path) -> list[str]:
    """List the ids of the wishes in ``directory``, oldest first."""
    return ids_in(directory)


def read(directory: Path, wish_id: str) -> Wish | None:
    """Read one wish; ``None`` when it is gone, or not a sound one."""
    try:
        with (directory / f"{wish_id}.json").open("rb") as file:
            raw = json.loads(file.read(_LONGEST_FILE))
        wish = Wish(
            str(raw["id"]), What(raw["what"]), raw["actor"], tuple(raw["seats"]), raw["text"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return wish if wish.id == wish_id and wish.sound else None


def answer(directory: Path, said: Answer) -> None:
    """Tell what became of a wish; ``directory`` is that of the answers.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    replace_whole(directory / f"{said.id}.json", json.dumps(asdict(said)) + "\n")


def read_answer(directory: Path, wish_id: str) -> Answer | None:
    """Read what became of a wish; ``None`` while nothing is known."""
    try:
        return Answer(**json.loads((directory / f"{wish_id}.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def read_hands(directory: Path) -> Mapping[str, float]:
    """Read who raised a hand, and when, in seconds since 1970; ``directory`` is the board's own."""
    try:
        raw = json.loads((directory / HANDS).read_text("utf-8"))
        return {str(name): float(since) for name, since in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save_hands(directory: Path, hands: Mapping[str, float]) -> None:
    """Write who raised a hand.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    replace_whole(directory / HANDS, json.dumps(hands) + "\n")
