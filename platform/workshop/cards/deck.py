"""What stands on the cards: names, addresses and keys of everybody, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop import boarding, claims, keyring, state
from workshop.errors import InputError
from workshop.parts.board import SHOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workshop.roster import Participant
    from workshop.workspace import Workspace

_REVOKED = "revoked"


class Word(StrEnum):
    """What a card lets its holder in with."""

    KEY = "key"
    CLAIM = "claim"
    """A code that is exchanged once, on the participants' page, for the key."""


@dataclass(frozen=True)
class Card:
    """One participant's card."""

    name: str
    display_name: str
    email: str
    url: str
    """Where the app is."""
    word: str
    """The key or the claim code; empty where there is none to give."""
    me: str
    """The participants' page; empty where participants cannot reach it."""

    @property
    def shown_name(self) -> str:
        """What to call the person."""
        return self.display_name or self.name


@dataclass(frozen=True)
class Deck:
    """Everybody's cards."""

    workshop: str
    title: str
    kind: Word
    cards: tuple[Card, ...]
    warnings: tuple[str, ...] = ()
    """What is missing on some of them, and what helps."""


def gather(work: Workspace, kind: Word, *, spares: bool) -> Deck:
    """Collect what stands on the cards of everybody in the roster.

    Raises:
        InputError: there can be no claim codes, because nobody could use them.
        WorkshopError: nothing is provisioned yet.

    """
    people = [person for person in work.roster.participants if spares or not person.spare]
    me = boarding.participants_page(work)
    if kind is Word.CLAIM and not me:
        raise InputError(
            "claim codes are used on the board's page for participants, which they cannot reach",
            hint="set workshop.board.host to a name of its own and `workshop provision`, or leave "
            "--claim out and hand over keys",
        )
    words, warnings = _keys(work, people)
    if kind is Word.CLAIM:
        words, used = _codes(work, words)
        warnings += _about(used, "used their claim code already; their cards carry none")
    if work.roster.board is not None and not me:
        warnings.append(
            "the cards do not name the participants' page, which answers on this server alone; "
            "set workshop.board.host, `workshop provision`, and make the cards again"
        )
    cards = tuple(
        Card(
            name=person.name,
            display_name=person.display_name,
            email=person.email,
            url=work.seat_url(person.name),
            word=words.get(person.name, ""),
            me=me,
        )
        for person in people
    )
    return Deck(work.roster.name, work.roster.title, kind, cards, tuple(warnings))


def _keys(work: Workspace, people: Sequence[Participant]) -> tuple[dict[str, str], list[str]]:
    """Make the keys of ``people`` again; those that were revoked are left out."""
    if work.roster.llm is None and work.roster.deploys is None:
        return {}, []
    held = keyring.show(work, [person.name for person in people])
    revoked = [key.name for key in held if key.state == _REVOKED]
    warnings = _about(revoked, "had their key revoked; their cards carry none")
    return {key.name: key.key for key in held if key.state != _REVOKED}, warnings


def _codes(work: Workspace, keys: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Make the claim codes of whoever has a key, and tell who has used theirs."""
    known = state.load(work.state_directory)
    used = claims.claimed(work.directories.board / SHOWN)
    secret = known.secret if known else ""
    codes = {name: claims.code(secret, name) for name in keys if name not in used}
    return codes, [name for name in keys if name in used]


def _about(names: Sequence[str], what: str) -> list[str]:
    return [f"{', '.join(names)} {what}"] if names else []
