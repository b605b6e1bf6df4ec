"""Third link: may this seat ask this, now? Pace and budget are taken here, and given back once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.gateway.budget import Budgets, Cost, Reservation
from workshop.gateway.errors import SERVER, GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workshop.gateway.config import Model, Seat
    from workshop.gateway.pace import Pacer, Taken
    from workshop.gateway.validate import Ask
    from workshop.gateway.view import View


@dataclass(frozen=True)
class Admission:
    """What one request holds until it is settled."""

    reservation: Reservation
    taken: Taken
    pacer: Pacer

    async def settle(self, actual: Cost) -> None:
        """Replace what was held by what was used; a second time changes nothing."""
        self.reservation.settle(actual)
        await self.pacer.give_back(self.taken, actual.tokens)


async def admit(  # noqa: PLR0913 - the seat, its request, and the three books
    seat: Seat, ask: Ask, view: View, *, pacer: Pacer, budgets: Budgets, fault: str
) -> Admission:
    """Take the seat's pace and reserve its budget.

    Raises:
        GatewayError: it has to wait, or its budget or the class's is used up, or the ledger
            cannot be written: what is not recorded must not be spent.

    """
    if fault:
        raise GatewayError(
            503,
            "The gateway cannot write down what is used, so it answers nobody for now. Tell your"
            " instructor; it goes on by itself once the disk is right again.",
            code="ledger_unavailable",
            type=SERVER,
            retry_after=5,
        )
    most = most_of(ask, view)
    taken = await pacer.take(seat, most.tokens)
    try:
        reservation = budgets.reserve(seat, view.config.budget, most)
    except GatewayError:
        await pacer.give_back(taken, 0)
        raise
    return Admission(reservation, taken, pacer)


def most_of(ask: Ask, view: View) -> Cost:
    """Tell the most a request can cost, at whichever upstream it ends."""
    models: Iterable[Model] = [model for _, model in (*view.models[ask.model], *view.spare)]
    money = max(price(model, ask.most_input, ask.most_output) for model in models)
    return Cost(ask.most_input + ask.most_output, money)


def price(model: Model, input_tokens: int, output_tokens: int) -> int:
    """Tell what tokens cost at a model, in nano-units."""
    return input_tokens * model.input_price + output_tokens * model.output_price
