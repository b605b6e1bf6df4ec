"""The few words on a card besides names and addresses, the same on paper and on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.cards.deck import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "Your app"
WORD: Mapping[Word, str] = {
    Word.KEY: "Your key: keep it to yourself",
    Word.CLAIM: "Your claim code: works once",
}
ME: Mapping[Word, str] = {
    Word.KEY: "Your own page: enter with the key",
    Word.CLAIM: "Exchange it for your key at",
}
