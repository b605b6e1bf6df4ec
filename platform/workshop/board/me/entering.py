"""The way in: the own key, or the claim code of a card, which is good once."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.board.config import hashed
from workshop.board.refusal import Refused
from workshop.board.wishes import What

if TYPE_CHECKING:
    from workshop.board.config import Seat
    from workshop.board.service import Service
    from workshop.board.view import View
    from workshop.board.wishes import Answer

PATIENCE = 10.0
"""Seconds for a claim code to be exchanged; whoever waits for it has nothing else to do."""
LONGEST = 200
"""Characters of a key or a code; longer ones are neither."""
LONGEST_NAME = 60
"""Characters of a latecomer's own name."""
_PREFIX = "wk-"
_LOOK = 0.1
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


@dataclass(frozen=True)
class Entered:
    """Somebody has shown whose seat is theirs."""

    name: str
    key: str
    claimed: bool = False
    """Whether a code was exchanged for the key just now."""


def code(text: str) -> str:
    """Bring a claim code into the form that was hashed, as ``workshop.claims.normal`` does.

    That module is the command's, and is not in the board's image; a test keeps the two equal.
    """
    return text.upper().translate(_MISREAD)


async def enter(service: Service, word: str, name: str, peer: str) -> Entered | None:
    """See whose ``word`` this is; ``None`` asks for the latecomer's ``name``.

    Args:
        service: the board.
        word: a key or a claim code, as somebody typed it.
        name: what the latecomer is called, for the code of a spare seat; may be empty.
        peer: where the request comes from.

    Raises:
        Refused: it is nobody's, it was used already, or the exchange did not come about.

    """
    word = word.strip()
    if word.lower().startswith(_PREFIX):
        return Entered(_holder(service, word, peer).name, word)
    seat = _claimant(service, word, peer)
    name = " ".join(name.split())
    if not name.isprintable():
        raise Refused(400, "A name is made of letters that can be seen.")
    if seat.spare and not name:
        return None
    return await _exchange(service, seat, name)


def check_key(service: Service, key: str, key_hash: str, peer: str) -> None:
    """See that ``key`` is the one whose hash is ``key_hash``.

    Raises:
        Refused: it is not.

    """
    if not hmac.compare_digest(hashed(key.strip()), key_hash):
        service.guesses.count(peer)
        raise Refused(403, "This is not your key, or no longer. Copy it anew from your card.")


def _holder(service: Service, key: str, peer: str) -> Seat:
    seat = _with(service.view, hashed(key), "key_hash")
    if seat is None:
        service.guesses.count(peer)
        raise Refused(
            403,
            "This key is nobody's here, or no longer. Copy it anew from your card, or ask your"
            " instructor.",
        )
    return seat


def _claimant(service: Service, word: str, peer: str) -> Seat:
    service.guesses.check(peer)
    seat = _with(service.view, hashed(code(word)), "claim_hash")
    if seat is None:
        service.guesses.count(peer)
        raise Refused(
            403,
            "This is neither a key nor a code of this class, or the code was used already. Keys"
            " begin with `wk-`. Compare it with your card, or ask your instructor.",
        )
    if service.is_claimed(seat.name):
        raise _used(seat)
    return seat


def _with(view: View, found: str, kind: str) -> Seat | None:
    """Find the seat whose ``kind`` of hash is ``found``, in a time that tells nothing of it."""
    holder = None
    for seat in view.config.seats:
        known: str = getattr(seat, kind)
        if hmac.compare_digest(found, known or "-") and known:
            holder = seat
    return holder


async def _exchange(service: Service, seat: Seat, name: str) -> Entered:
    wish_id = service.wish(seat.name, What.CLAIM, (seat.name,), name)
    answer = await _answer(service, wish_id, seat.name)
    if answer is None:
        raise Refused(
            503,
            "Your code is right, but the server did not exchange it in time. Try again in a"
            " minute; if it says so again, tell your instructor.",
            retry_after=30,
        )
    if not answer.key:
        if service.is_claimed(seat.name):
            raise _used(seat)
        raise Refused(503, answer.words)
    return Entered(seat.name, answer.key, claimed=True)


async def _answer(service: Service, wish_id: str, actor: str) -> Answer | None:
    for _ in range(round(PATIENCE / _LOOK)):
        answer = service.answer(wish_id, actor)
        if answer is not None:
            return answer
        await asyncio.sleep(_LOOK)
    return None


def _used(seat: Seat) -> Refused:
    return Refused(
        403,
        f"The code of {seat.name} was used already, and is good once. If that was you, enter with"
        " the key you got then. If you do not have it, your instructor can show it to you:"
        f" `workshop keys show {seat.name}`.",
    )
