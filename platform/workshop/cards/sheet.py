"""The sheet to print and cut: a PDF of A4 pages with eight cards each, two beside each other."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpdf import FPDF
from fpdf.fonts import TTFFont

from workshop.cards import codes, wording
from workshop.cards.deck import Word
from workshop.cards.letters import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workshop.cards.deck import Card, Deck

COLUMNS, LINES = 2, 4
A_PAGE = COLUMNS * LINES
_WIDTH, _HEIGHT = 210 / COLUMNS, 297 / LINES
"""Millimetres, as all lengths here: A4 without a margin of its own, so that four cuts make eight
equal cards. What stands on a card keeps :data:`_PAD` away from its edge, which no printer needs."""
_PAD = 8.0
_CODE = 28.0
_GAP = 5.0
"""Between text and code: at least four modules of the largest code, its quiet zone."""
_TEXT = _WIDTH - 2 * _PAD - _CODE - _GAP
_FULL = _WIDTH - 2 * _PAD
_LOWER = 40.4
"""Where the addresses and the key begin."""
_APART = 1.6
"""Between one of them and the next."""
_INK, _SOFT, _RULE = (17, 24, 39), (90, 99, 112), (203, 208, 215)
_TITLE = ((8, 1), (7, 1))
_NAME = ((17, 2), (15, 2), (13, 2), (11, 2), (9, 2))
_SEAT = ((9, 1), (8, 1), (7, 1), (6, 1))
_LABEL = ((7, 1),)
_URL = ((10, 1), (9, 1), (8, 1), (7, 1), (7, 2), (4, 3))
_WORD = {Word.KEY: ((8.6, 1),), Word.CLAIM: ((17, 1),)}
"""Sizes in points, with the most lines of each, in the order they are tried."""
_SANS, _BOLD, _MONO = "sans", "bold", "mono"
_FONTS = {_SANS: "DejaVuSans.ttf", _BOLD: "DejaVuSans-Bold.ttf", _MONO: "DejaVuSansMono.ttf"}
_DIRECTORY = Path(__file__).parent / "fonts"
_MM = 25.4 / 72
"""Millimetres in a point."""
_LEADING = 1.22
"""From one line to the next, in heights of the font."""


@dataclass(frozen=True)
class Sheet:
    """The document, and whose display name it does without."""

    content: bytes
    pages: int
    unwritten: tuple[str, ...]
    """Participants whose display names have signs that the fonts lack; the name stands there."""


def sheet(deck: Deck) -> Sheet:
    """Lay ``deck`` out as a PDF."""
    writer = _Writer()
    title = deck.title if writer.has(_SANS, deck.title) else deck.workshop
    writer.pdf.set_title(f"Cards of {title}")
    writer.pdf.set_creator("workshop")
    for place, card in enumerate(deck.cards):
        column, line = place % COLUMNS, place // COLUMNS % LINES
        if not place % A_PAGE:
            writer.page()
        writer.card(card, deck.kind, title, column * _WIDTH, line * _HEIGHT)
    unwritten = tuple(card.name for card in deck.cards if not writer.has(_BOLD, card.shown_name))
    return Sheet(bytes(writer.pdf.output()), writer.pdf.pages_count, unwritten)


class _Writer:
    """Puts text and codes at places of a page."""

    def __init__(self) -> None:
        self.pdf = FPDF(format="A4", unit="mm")
        self.pdf.set_auto_page_break(auto=False)
        self.pdf.set_margin(0)
        self._signs: dict[str, frozenset[int]] = {}
        for family, file in _FONTS.items():
            self.pdf.add_font(family, fname=_DIRECTORY / file)
            font = self.pdf.fonts[family]
            self._signs[family] = frozenset(font.cmap if isinstance(font, TTFFont) else ())

    def has(self, family: str, text: str) -> bool:
        """Whether a font has every sign of ``text``."""
        return {ord(sign) for sign in drawn(text)} <= self._signs[family]

    def page(self) -> None:
        """Begin a page, with the lines to cut along."""
        self.pdf.add_page()
        self.pdf.set_draw_color(*_RULE)
        self.pdf.set_line_width(0.2)
        self.pdf.set_dash_pattern(dash=1.5, gap=1.5)
        for column in range(1, COLUMNS):
            self.pdf.line(column * _WIDTH, 0, column * _WIDTH, LINES * _HEIGHT)
        for line in range(1, LINES):
            self.pdf.line(0, line * _HEIGHT, COLUMNS * _WIDTH, line * _HEIGHT)
        self.pdf.set_dash_pattern()

    def card(self, card: Card, kind: Word, title: str, x: float, y: float) -> None:
        """Write one card; ``x`` and ``y`` are of its upper left corner."""
        left, shown = x + _PAD, card.shown_name
        if not self.has(_BOLD, shown):
            shown = card.name
        self._code(card.url, x + _WIDTH - _PAD - _CODE, y + _PAD)
        top = self._text(title, left, y + _PAD - 0.6, _TEXT, _Style(_SANS, _SOFT, _TITLE))
        top = self._text(shown, left, top + 1.6, _TEXT, _Style(_BOLD, _INK, _NAME))
        if shown != card.name:
            top = self._text(card.name, left, top + 0.4, _TEXT, _Style(_SANS, _SOFT, _SEAT))
        self.pdf.set_draw_color(*_RULE)
        self.pdf.line(left, y + _LOWER - 1.8, left + _FULL, y + _LOWER - 1.8)
        top = self._address(wording.APP, card.url, left, y + _LOWER)
        if card.word:
            style = _Style(_MONO, _INK, _WORD[kind])
            top = self._label(wording.WORD[kind], left, top)
            top = self._text(card.word, left, top, _FULL, style) + _APART
        if card.me:
            self._address(wording.ME[kind], card.me, left, top)

    def _address(self, label: str, url: str, x: float, y: float) -> float:
        top = self._label(label, x, y)
        bottom = self._text(url, x, top, _FULL, _Style(_SANS, _INK, _URL))
        self.pdf.link(x, top, _FULL, bottom - top, url)
        return bottom + _APART

    def _label(self, text: str, x: float, y: float) -> float:
        return self._text(text, x, y, _FULL, _Style(_SANS, _SOFT, _LABEL)) + 0.1

    def _text(self, text: str, x: float, y: float, width: float, style: _Style) -> float:
        """Write ``text`` from ``y`` downwards, as large as fits; give where the next may begin."""
        size, lines = self._fitted(text, width, style)
        self.pdf.set_font(style.family, size=size)
        self.pdf.set_text_color(*style.colour)
        for line in lines:
            self.pdf.text(x, y + size * _MM * 0.95, line)
            y += size * _MM * _LEADING
        return y

    def _fitted(self, text: str, width: float, style: _Style) -> tuple[float, Sequence[str]]:
        """Find the first size at which ``text`` fits; what never does is cut in the last line."""
        for size, most in style.sizes:
            self.pdf.set_font(style.family, size=size)
            lines = list(_wrapped(text, self._fits(width)))
            if len(lines) <= most:
                break
        else:
            lines = [*lines[: most - 1], f"{lines[most - 1][:-1]}…"]
        return size, [drawn(line) for line in lines]

    def _fits(self, width: float) -> Callable[[str], bool]:
        return lambda line: self.pdf.get_string_width(drawn(line)) <= width

    def _code(self, url: str, x: float, y: float) -> None:
        unit = _CODE / len(codes.rows(url))
        self.pdf.set_fill_color(*_INK)
        for row, start, length in codes.runs(url):
            # A hair more than a module, so that no light shows between rows.
            self.pdf.rect(x + start * unit, y + row * unit, length * unit, unit * 1.02, style="F")


@dataclass(frozen=True)
class _Style:
    family: str
    colour: tuple[int, int, int]
    sizes: tuple[tuple[float, int], ...]
    """Sizes to try in turn, in points, and how many lines there may be of each."""


def _wrapped(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Break ``text`` at blanks, and where a word is too long, wherever it must be."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if fits(longer):
            line = longer
            continue
        if line:
            yield line
        line = word
        while not fits(line):
            end = _break(line, fits)
            yield line[:end]
            line = line[end:]
    yield line


def _break(word: str, fits: Callable[[str], bool]) -> int:
    """Find where to break a word that is too long: behind a slash or a dot, if one is near."""
    # At least one letter, however narrow the place: otherwise there would be no end to it.
    end = bisect_left(range(1, len(word)), x=True, key=lambda count: not fits(word[:count])) or 1
    good = max(word.rfind(mark, end // 2, end) for mark in "/.")
    return good + 1 if good > 0 else end
