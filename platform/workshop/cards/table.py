"""The table for mail merge: one row for each card, that no spreadsheet reads as formulas."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workshop.cards.deck import Deck

ENCODING = "utf-8-sig"
"""With the mark at the beginning that tells Excel and Word it is UTF-8: without it they take the
letters of names for another alphabet's. LibreOffice and Google's sheets take it as well."""
_BEGINS_FORMULA = re.compile(r"""(^|[,;|\t\r\n])(?=[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n])""")
"""Where a cell begins: the text, and behind whatever a spreadsheet set to another separator than
this file's splits it at. Wide forms of the signs count: Excel in East Asia takes them. See
https://owasp.org/www-community/attacks/CSV_Injection."""


def table(deck: Deck) -> str:
    """Write ``deck`` as comma-separated values, every cell in quotes."""
    out = io.StringIO()
    # RFC 4180 ends lines so, and Excel does.
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(["name", "display_name", "email", "url", deck.kind.value, "me"])
    for card in deck.cards:
        cells = (card.name, card.display_name, card.email, card.url, card.word, card.me)
        writer.writerow([harmless(cell) for cell in cells])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Put a quote before what a spreadsheet would take for a formula: it shows as text then."""
    return _BEGINS_FORMULA.sub(r"\1'", cell)
