"""First link: whose request is this? Only a key in the header counts, compared by its hash."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from workshop.gateway.errors import DENIED, GatewayError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from workshop.gateway.config import Seat
    from workshop.gateway.view import View

_IN_QUERY = re.compile(
    r"(?:^|&)(?:api[-_]?key|key|(?:access[-_]?)?token|authorization)=|wk-", re.IGNORECASE
)


def authenticate(headers: Mapping[bytes, bytes], query: bytes, peer: str, view: View) -> Seat:
    """Find the seat whose key the request carries.

    Raises:
        GatewayError: there is none, or its key may not be used here or now.

    """
    if query and _IN_QUERY.search(unquote_plus(query.decode("latin-1"))):
        raise GatewayError(
            400,
            "Your key is in the address of this request, so it is now in logs and histories. Ask"
            " your instructor to rotate it, and send the new one in the header 'Authorization:"
            " Bearer KEY' (the official client does that with api_key=...).",
            code="key_in_url",
        )
    key_hash = hash_of(headers.get(b"authorization", b""))
    seat = view.seats.get(key_hash)
    if seat is None:
        raise _unknown(key_hash[:8])
    check(seat, peer, view)
    return seat


def hash_of(authorization: bytes) -> str:
    """Hash the key in an ``Authorization`` header.

    Raises:
        GatewayError: there is no key in it.

    """
    scheme, _, key = authorization.strip().partition(b" ")
    key = key.strip()
    if scheme.lower() != b"bearer" or not key:
        raise _invalid(
            "This request carries no key. Send yours in the header 'Authorization: Bearer wk-...'"
            " (the official client does that with api_key=...)."
        )
    if not key.startswith(b"wk-"):
        raise _invalid(
            "This is not a key of this workshop: those begin with 'wk-'. Use the one on your card,"
            " not one of a provider."
        )
    return hashlib.sha256(key).hexdigest()


def check(seat: Seat, peer: str, view: View) -> None:
    """See that a seat may ask from ``peer``, now.

    Raises:
        GatewayError: it may not.

    """
    if seat.address is not None and seat.address != peer:
        raise GatewayError(
            403,
            f"The key {seat.key_id} works only inside its own seat's container, and this request"
            f" comes from {peer}. Use it there, or ask your instructor for one without that bond.",
            code="key_bound",
            type=DENIED,
        )
    if view.config.paused or seat.paused:
        whom = "the whole class" if view.config.paused else seat.name
        raise GatewayError(
            403,
            f"Your instructor has paused the language model for {whom}. Nothing is wrong with your"
            " code; try again when it goes on.",
            code="paused",
            type=DENIED,
        )


def holder(peer: str, headers: Mapping[bytes, bytes], own: Container[str]) -> str:
    """Tell the caller's address.

    The edge runs on this machine and calls from one of its addresses; it alone is believed when
    it names somebody else.
    """
    if peer not in own and not peer.startswith("127."):
        return peer
    return headers.get(b"x-real-ip", b"").decode("latin-1").strip() or peer


def _unknown(short: str) -> GatewayError:
    return _invalid(
        f"This key (its id is {short}) is not known here, or no longer. Copy yours anew from your"
        " card or your instructor; if it was rotated, the old one no longer works."
    )


def _invalid(message: str) -> GatewayError:
    return GatewayError(401, message, code="invalid_api_key")
