"""Whose request is this? A name and its own key count, compared by hash, and only in a header."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from workshop.intake.exchange import decoded
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.intake.config import Seat
    from workshop.intake.pace import Guesses
    from workshop.intake.view import View

_IN_QUERY = re.compile(
    r"(?:^|&)(?:api[-_]?key|key|password|(?:access|refresh)[-_]token|authorization)="
    r"|wk-[A-Za-z0-9_-]{16}",
    re.IGNORECASE,
)
_PREFIX = "wk-"
_SHOWN = 40


def refuse_key_in_url(query: str) -> None:
    """See that no key stands in the address, where logs and histories keep it.

    Raises:
        Refused: one does.

    """
    if query and _IN_QUERY.search(decoded(query)):
        raise Refused(
            "Your key is in the address of this request, so it is now in logs and histories. Ask"
            " your instructor to rotate it, and send the new one in the header 'Authorization:"
            " Bearer KEY' (curl: -H 'Authorization: Bearer KEY').",
            400,
        )


def basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Read name and password of ``Authorization: Basic ...``; ``None`` where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Refused("The header 'Authorization: Basic ...' is not readable.", 400) from None
    name, _, password = text.partition(":")
    return name, password


def key_of(headers: Mapping[str, str], name: str, field: str = "") -> str:
    """Find the key that a request about ``name`` carries: bearer, basic, or a form's field.

    Raises:
        Refused: the request names somebody else.

    """
    if pair := basic(headers):
        if pair[0] not in {"", name}:
            raise Refused(
                f"This address is {name}'s, and you log in as '{pair[0][:_SHOWN]}'. Use your own"
                " name in both places.",
                403,
            )
        return pair[1]
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else field.strip()


def authenticate(name: str, key: str, view: View, peer: str, guesses: Guesses) -> Seat:
    """Find the seat ``name``, if ``key`` is its key.

    Raises:
        Refused: it is not, or there is none of that name.

    """
    if not key:
        raise Refused(
            f"Your key is missing. It begins with '{_PREFIX}' and stands on your card. With curl:"
            " -H 'Authorization: Bearer KEY'; with docker: docker login"
            f" {view.host} -u {name or 'NAME'}",
            401,
            basic=True,
        )
    found = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    seat = view.seats.get(name)
    # Somebody unknown takes as long as somebody known.
    expected = seat.key_hash if seat else ""
    if hmac.compare_digest(found, expected or "0" * 64) and seat and expected:
        return seat
    guesses.count(peer)
    raise Refused(_reason(name, key, found, view), 401, basic=True)


def _reason(name: str, key: str, key_hash: str, view: View) -> str:
    owner = view.by_hash.get(key_hash)
    if owner is not None:
        return (
            f"This is the key of {owner.name}, and the name given is '{name[:_SHOWN]}'. Name and"
            f" key must agree: use {owner.name}'s name with it, or the key of '{name[:_SHOWN]}'."
        )
    if not key.startswith(_PREFIX):
        return (
            f"This is not a key of this workshop: those begin with '{_PREFIX}'. Use the one on your"
            " card as the password."
        )
    if name not in view.seats:
        return (
            f"There is no '{name[:_SHOWN]}' in this workshop. Use the name on your card; it is the"
            " one in your app's address."
        )
    return (
        f"This key is not {name}'s, or no longer. Copy yours anew from your card or your"
        " instructor; if it was rotated, the old one no longer works."
    )
