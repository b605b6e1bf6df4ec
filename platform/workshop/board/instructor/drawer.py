"""What the drawer of one seat shows beside its tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from workshop.board.instructor.tiles import tile, verdict
from workshop.board.refusal import Refused

if TYPE_CHECKING:
    from workshop.board import shown
    from workshop.board.view import View

OUT_OF_BAND = Markup('hx-swap-oob="true"')
"""Marks the pieces that take the place of what the page shows under the same id."""
_BILLION = 1_000_000_000
_BAD = frozenset({"failed", "refused"})


def facts(view: View, name: str) -> dict[str, Any]:
    """Gather what the templates of the drawer name.

    Raises:
        Refused: there is no such participant.

    """
    person = view.person(name)
    if person is None:
        raise Refused(404, "There is no such seat in this workshop.")
    seat = view.seat(name)
    latest = seat.deploy
    return {
        "view": view,
        "person": person,
        "seat": seat,
        "tile": tile(view, person),
        "doctor": latest if latest and latest.stage in _BAD and latest.message else None,
        "deploys": [(deploy, verdict(deploy)) for deploy in seat.deploys],
        "money": money(seat, view.config.currency),
    }


def money(seat: shown.Seat, currency: str) -> str:
    """Say what a seat's questions cost; empty where nothing has a price."""
    if not currency or not (seat.money or seat.money_limit):
        return ""
    used = f"{seat.money / _BILLION:.2f}"
    return (
        f"{used} of {seat.money_limit / _BILLION:.2f} {currency}"
        if seat.money_limit
        else f"{used} {currency}"
    )
