"""Letters in the order and the forms they are drawn in: Arabic joined, right to left turned round.

A PDF holds signs at places, not text that its reader lays out. The forms are in Python's own tables
of Unicode; the order is that of UAX #9, which the PDF library brings.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING

from fpdf.bidi import BidiParagraph

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMS = range(0xFB50, 0xFEFD)
"""Where Unicode keeps the joined forms of Arabic letters."""
_LAM_ALEF = range(0xFEF5, 0xFEFD)
"""The only pairs that are always drawn as one sign."""
_LINE = "\u0640"
"""Tatweel, a line between letters: it joins on both sides and has one form."""
_LEADS_ON, _TAKES_UP = "<initial>", "<final>"
"""The forms of a letter that joins the next one, and of one that joins the one before."""
_KINDS = {_LEADS_ON, _TAKES_UP, "<medial>", "<isolated>"}
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_TURNED = frozenset({"R", "AL", "RLE", "RLO", "RLI"})
"""Classes of signs that are written from right to left."""


def drawn(text: str) -> str:
    """Give the signs of ``text`` as they stand from left to right."""
    whole = unicodedata.normalize("NFC", text)
    if not any(unicodedata.bidirectional(sign) in _TURNED for sign in whole):
        return whole
    signs = BidiParagraph(_joined(whole)).get_reordered_characters()
    # Brackets among letters from right to left open to the other side (UAX #9, L4).
    return "".join(
        sign.character.translate(_MIRRORED) if sign.embedding_level % 2 else sign.character
        for sign in signs
    )


def _joined(text: str) -> str:
    """Put every Arabic letter into the form that its neighbours ask for."""
    signs = _signs(text)
    # Vowel marks stand above and below letters, and part none.
    letters = [place for place, sign in enumerate(signs) if not unicodedata.combining(sign[0])]
    around = ["", *(signs[place] for place in letters), ""]
    for index, place in enumerate(letters):
        before, own, after = around[index : index + 3]
        signs[place] = _form(own, joins_before=_leads_on(before), joins_after=_takes_up(after))
    return "".join(signs)


def _signs(text: str) -> list[str]:
    """Take ``text`` apart into what is drawn as one sign each."""
    found: list[str] = []
    for letter in text:
        if found and found[-1] + letter in _forms():
            found[-1] += letter
        else:
            found.append(letter)
    return found


def _form(sign: str, *, joins_before: bool, joins_after: bool) -> str:
    forms = _forms().get(sign, {})
    before, after = joins_before and _takes_up(sign), joins_after and _leads_on(sign)
    kinds = {(True, True): "<medial>", (True, False): _TAKES_UP, (False, True): _LEADS_ON}
    return forms.get(kinds.get((before, after), "<isolated>"), sign)


def _leads_on(sign: str) -> bool:
    return sign == _LINE or _LEADS_ON in _forms().get(sign, {})


def _takes_up(sign: str) -> bool:
    return sign == _LINE or _TAKES_UP in _forms().get(sign, {})


@functools.cache
def _forms() -> Mapping[str, Mapping[str, str]]:
    """Find the forms of each letter, and of lam with alef, by their kinds."""
    found: dict[str, dict[str, str]] = {}
    for number in _FORMS:
        kind, *codes = unicodedata.decomposition(chr(number)).split() or [""]
        letters = "".join(chr(int(code, 16)) for code in codes)
        if kind in _KINDS and (len(letters) == 1 or number in _LAM_ALEF):
            found.setdefault(letters, {})[kind] = chr(number)
    return found
