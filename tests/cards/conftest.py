"""Decks of cards: made up, and of a class that is provisioned on a memory engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop import claims, operations
from workshop.cards.deck import Card, Deck, Word
from workshop.llm import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.workspace import Workspace

SECRET = "ab" * 32


@pytest.fixture
def deck() -> Callable[..., Deck]:
    """Make a deck of people, each a name and what to call them."""

    def make(
        *people: tuple[str, str], kind: Word = Word.KEY, host: str = "class.example.org"
    ) -> Deck:
        words = {
            Word.KEY: lambda name: keys.derive(SECRET, name, 0),
            Word.CLAIM: lambda name: claims.code(SECRET, name),
        }
        cards = tuple(
            Card(
                name=name,
                display_name=shown,
                email=f"{name}@example.org",
                url=f"https://{host}/{name}/",
                word=words[kind](name),
                me=f"https://board.{host}/me",
            )
            for name, shown in people
        )
        return Deck("spring", "Spring school", kind, cards)

    return make


@pytest.fixture
def provisioned(
    deploying: Workspace, next_command: Callable[[Workspace], Workspace]
) -> Callable[[str], Workspace]:
    """Provision the workshop of three, with what is to stand in its roster besides."""

    def make(options: str = "  board: true\n") -> Workspace:
        text = deploying.roster_path.read_text("utf-8")
        text = text.replace("participants:", f"{options}participants:", 1)
        deploying.roster_path.write_text(text, "utf-8")
        work = next_command(deploying)
        operations.provision(work)
        return next_command(work)

    return make
