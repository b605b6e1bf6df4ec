"""The page for the browser: escaped, self-contained, and readable by a telephone's camera."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pypdfium2
import pytest
import zxingcpp
from PIL import Image
from selenium.webdriver.common.print_page_options import PrintOptions

from workshop.cards import codes
from workshop.cards.page import page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.cards.deck import Deck

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; {{ 7*7 }}"


class Seen(HTMLParser):
    """Notes what a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data.strip())


def test_hostile_name_stays_text(deck: Callable[..., Deck]) -> None:
    """It adds no element and no attribute, and is shown as it was typed."""
    plain, hostile = Seen(page(deck(("ada", "Ada")))), Seen(page(deck(("ada", HOSTILE))))

    assert hostile.tags == plain.tags
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    assert HOSTILE in hostile.words


def test_page_loads_nothing(deck: Callable[..., Deck]) -> None:
    """It works from a memory stick, and tells nobody that it was opened."""
    text = page(deck(("ada", "Ada")))
    loading = {"src", "srcset", "action", "data", "poster", "background"}

    assert not loading & {name for name, _ in Seen(text).attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize(("people", "sheets"), [(1, 1), (8, 1), (9, 2), (17, 3)])
def test_eight_cards_make_a_sheet(deck: Callable[..., Deck], people: int, sheets: int) -> None:
    """A ninth begins the next one."""
    seen = Seen(page(deck(*((f"p{count}", f"Person {count}") for count in range(people)))))

    assert seen.tags.count("article") == people
    assert seen.tags.count("section") == sheets


def test_card_holds_name_address_key_and_own_page(deck: Callable[..., Deck]) -> None:
    """All that the holder needs."""
    made = deck(("ada", "Ada Lovelace"))
    words = Seen(page(made)).words

    for wanted in ("Ada Lovelace", "ada", made.cards[0].url, made.cards[0].word, made.cards[0].me):
        assert wanted in words


def painted(path: str, side: int, scale: int = 8) -> Any:
    """Paint the path of an SVG as a browser does, with white around it."""
    image = Image.new("L", ((side + 8) * scale, (side + 8) * scale), 255)
    bars = re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path)
    assert "".join(f"M{x} {y}h{length}v1h-{length}z" for x, y, length in bars) == path
    for x, y, length in (map(int, bar) for bar in bars):
        box = ((x + 4) * scale, (y + 4) * scale, (x + 4 + length) * scale, (y + 5) * scale)
        image.paste(0, box)
    return image


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080/ada/",
        "https://ada.class.example.org/",
        f"https://{'a-long-host.' * 15}example.org/somebody-with-a-long-name/",
    ],
)
def test_code_is_read_back_as_the_address(url: str) -> None:
    """By a decoder that knows nothing of the encoder."""
    found = zxingcpp.read_barcodes(painted(codes.path(url), len(codes.rows(url))))

    assert [item.text for item in found] == [url]


@pytest.mark.browser
def test_browser_prints_eight_whole_cards_to_a_page(
    deck: Callable[..., Deck], browser: Callable[[], Any], tmp_path: Path
) -> None:
    """No line of a card slips to the next page, and a camera reads every code."""
    made = deck(*((f"p{count}", f"Person {count}") for count in range(1, 18)))
    (tmp_path / "cards.html").write_text(page(made), "utf-8")
    window, options = browser(), PrintOptions()
    options.page_width, options.page_height, options.background = 21.0, 29.7, True
    options.margin_top = options.margin_bottom = options.margin_left = options.margin_right = 0
    window.get((tmp_path / "cards.html").as_uri())
    document = pypdfium2.PdfDocument(base64.b64decode(window.print_page(options)))

    assert window.get_log("browser") == []
    assert len(document) == 3
    for start, sheet in zip((0, 8, 16), document, strict=True):
        wanted, text = made.cards[start : start + 8], sheet.get_textpage().get_text_bounded()
        found = zxingcpp.read_barcodes(sheet.render(scale=150 / 72).to_pil())
        assert sorted(item.text for item in found) == sorted(card.url for card in wanted)
        assert all(card.word in text and card.display_name in text for card in wanted)
    document.close()
