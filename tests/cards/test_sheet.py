"""The sheet to print, opened, read and looked at by other programs than the one that wrote it."""

from __future__ import annotations

import io
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pypdf
import pypdfium2
import pytest
import zxingcpp

from workshop.cards.deck import Word
from workshop.cards.page import page
from workshop.cards.sheet import sheet
from workshop.cards.table import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.cards.deck import Deck

LONG_HOST = f"{'a-very-long-host-name.' * 10}example.org"
A4 = (210 / 25.4 * 72, 297 / 25.4 * 72)
NAMES = {
    "zbigniew": "Zbigniew Brzęczyszczykiewicz-Łękołody",
    "sofia": "Σοφία Παπαδοπούλου",
    "olena": "Олена Ковальчук",
    "hovhannes": "Հովհաննես Թումանյան",
    "nino": "ნინო ბერიძე",
    "nguyen": "Nguyễn Thị Hương",
    "yael": "יעל כהן",
    "muhammad": "محمد الخوارزمي",
}


def opened(data: bytes) -> pypdf.PdfReader:
    """Open a PDF."""
    return pypdf.PdfReader(io.BytesIO(data), strict=True)


def rendered(data: bytes, page_number: int = 0) -> Any:
    """Print a page at 150 dots per inch."""
    document = pypdfium2.PdfDocument(data)
    try:
        return document[page_number].render(scale=150 / 72).to_pil()
    finally:
        document.close()


def people(count: int) -> list[tuple[str, str]]:
    """Name many."""
    return [(f"p{number}", f"Person Ünal {number}") for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 8, 9, 30])
def test_eight_cards_make_a_page_of_a4(deck: Callable[..., Deck], count: int) -> None:
    """A ninth begins the next one."""
    made = sheet(deck(*people(count)))
    pages = opened(made.content).pages

    assert len(pages) == made.pages == math.ceil(count / 8)
    for item in pages:
        assert (item.mediabox.width, item.mediabox.height) == pytest.approx(A4, abs=0.1)


def test_page_holds_names_addresses_and_keys(deck: Callable[..., Deck]) -> None:
    """Those of the people on it, and of nobody else."""
    made = deck(*people(9))
    first, second = (item.extract_text() for item in opened(sheet(made).content).pages)

    for card in made.cards:
        text = second if card.name == "p9" else first
        for wanted in (card.display_name, card.url, card.word, card.me):
            assert wanted in text
    assert made.cards[8].word not in first


def test_codes_on_a_printed_page_lead_to_the_apps(deck: Callable[..., Deck]) -> None:
    """All eight are found in a picture of the page, each once."""
    made = deck(*people(8), host="class.example.org:8443")
    found = zxingcpp.read_barcodes(rendered(sheet(made).content))

    assert sorted(item.text for item in found) == sorted(card.url for card in made.cards)


@pytest.mark.parametrize("name", NAMES)
def test_name_of_another_alphabet_is_written(deck: Callable[..., Deck], name: str) -> None:
    """With the letters of the package's own fonts, whatever the machine has."""
    made = sheet(deck((name, NAMES[name])))

    assert made.unwritten == ()
    assert ".notdef" not in opened(made.content).pages[0].extract_text()


def test_name_the_fonts_lack_gives_way_to_the_short_one(deck: Callable[..., Deck]) -> None:
    """A card with boxes for letters would be nobody's; it is said whose it is."""
    made = sheet(deck(("bruce", "李小龍"), ("ada", "Ada Lovelace"), ("rocket", "R 🚀")))
    text = opened(made.content).pages[0].extract_text()

    assert made.unwritten == ("bruce", "rocket")
    assert "bruce" in text
    assert "Ada Lovelace" in text


def test_title_the_fonts_lack_gives_way_to_the_workshops_name(deck: Callable[..., Deck]) -> None:
    """The same for the class."""
    made = sheet(replace(deck(("ada", "Ada")), title="春の学校"))

    assert "spring" in opened(made.content).pages[0].extract_text()


@pytest.mark.parametrize("kind", Word)
@pytest.mark.parametrize(
    "name", ["W" * 60, "Word " * 30, "م" * 60], ids=["one word", "many words", "arabic"]
)
def test_card_with_long_words_keeps_to_itself(
    deck: Callable[..., Deck], kind: Word, name: str
) -> None:
    """Nothing of it is written on its neighbours: the white along their edges stays white."""
    made = deck(("a" * 40, name), kind=kind, host=LONG_HOST)
    image = rendered(sheet(made).content).convert("L")
    dot = 150 / 25.4
    right = image.crop((int(106 * dot), 0, image.width, image.height))
    below = image.crop((0, int(75 * dot), int(104 * dot), int(148 * dot)))

    # The dashed lines to cut along are light; whatever is written is dark.
    assert min(right.getextrema()) > 150
    assert min(below.getextrema()) > 150


def test_cards_of_a_large_class_are_made_in_seconds(deck: Callable[..., Deck]) -> None:
    """Three hundred, in all three forms."""
    made, started = deck(*people(300)), time.process_time()
    data = sheet(made)
    texts = page(made), table(made)
    seconds = time.process_time() - started

    assert data.pages == 38
    assert all("Person Ünal 300" in text for text in texts)
    assert len(data.content) < 1024 * 1024
    assert seconds < 8, f"{seconds:.1f} s"
