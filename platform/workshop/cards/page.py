"""The page for the browser: the same cards in one file that loads nothing, ready to print.

A browser lays out every script its fonts have, so this is the sheet to print where the fonts of the
PDF lack somebody's letters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from workshop.cards import codes, wording
from workshop.cards.sheet import A_PAGE

if TYPE_CHECKING:
    from workshop.cards.deck import Deck

_TEMPLATE = "cards.html.j2"


def page(deck: Deck) -> str:
    """Write ``deck`` as HTML; what people chose themselves is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheets = [deck.cards[start : start + A_PAGE] for start in range(0, len(deck.cards), A_PAGE)]
    return environment.get_template(_TEMPLATE).render(
        deck=deck,
        sheets=sheets,
        path=codes.path,
        side=lambda url: len(codes.rows(url)),
        app_label=wording.APP,
        word_label=wording.WORD[deck.kind],
        me_label=wording.ME[deck.kind],
    )
