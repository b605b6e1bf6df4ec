"""What docker asks for at the registry, and what it gets: pull and push in one's own repositories.

Nothing else is ever granted: no deleting, no catalogue, nobody else's images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workshop.intake.orders import REPOSITORY as NAME
from workshop.intake.refusal import Refused
from workshop.intake.tokens import REPOSITORY, Access

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workshop.intake.config import Seat
    from workshop.intake.view import View

_ACTIONS = ("pull", "push")
_SHOWN = 100


class Scope(NamedTuple):
    """One thing that is asked for."""

    type: str
    name: str
    actions: frozenset[str]


def parse(values: Iterable[str]) -> list[Scope]:
    """Read scopes; one value may hold several, with spaces between them."""
    found = []
    for text in (word for value in values for word in value.split()):
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        found.append(Scope(kind, name, frozenset(actions.split(","))))
    return found


def grant(seat: Seat, scopes: Iterable[Scope], view: View) -> list[Access]:
    """Choose what ``seat`` gets of what it asks for.

    Raises:
        Refused: it asks for somebody else's repository.

    """
    wanted = [scope for scope in scopes if scope.type == REPOSITORY and scope.actions & {*_ACTIONS}]
    own = [scope for scope in wanted if is_own(seat, scope.name)]
    pushes = any("push" in scope.actions for scope in own)
    for scope in wanted:
        # Docker tries to mount layers it knows from other repositories while it pushes; without the
        # permission it simply sends them.
        mount = pushes and "push" not in scope.actions
        if scope not in own and not mount:
            raise Refused(_whose(seat, scope, view), 403)
    return [
        Access(REPOSITORY, scope.name, tuple(a for a in _ACTIONS if a in scope.actions))
        for scope in own
    ]


def is_own(seat: Seat, repository: str) -> bool:
    """Whether ``repository`` is one of the seat's own."""
    return repository.startswith(f"{seat.name}/") and bool(NAME.fullmatch(repository))


def _whose(seat: Seat, scope: Scope, view: View) -> str:
    name = scope.name[:_SHOWN]
    first, slash, rest = name.partition("/")
    verb, to = ("push", "to") if "push" in scope.actions else ("pull", "from")
    better = f"{view.host}/{seat.name}/{rest if slash and NAME.fullmatch(f'x/{rest}') else 'app'}"
    if not slash:
        problem = f"The repository '{name}' has no owner in its name"
    elif first == seat.name:
        problem = f"'{name}' is not a good name for a repository"
    elif first in view.seats:
        problem = f"The repository '{name}' belongs to {first}, and you are {seat.name}"
    else:
        problem = f"The repository '{name}' belongs to nobody here, and you are {seat.name}"
    how = f"; rename the image first: docker tag {view.host}/{name} {better}"
    return f"{problem}. {verb.capitalize()} {to} {better} instead{how if verb == 'push' else ''}."
