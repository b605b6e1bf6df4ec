"""The way in: the own key, or a claim code that is exchanged for it once."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import Lab, code_of, key_of, person
from workshop import claims
from workshop.board import guard
from workshop.board.guesses import PER_PEER, Guesses
from workshop.board.me import entering
from workshop.board.service import CLAIMED
from workshop.board.wishes import INSTRUCTOR, What
from workshop.serving import replace_whole

if TYPE_CHECKING:
    from pathlib import Path

    from httpx2 import Response


def enter(lab: Lab, word: str, name: str = "", **more: Any) -> Response:
    """Do what the page does."""
    return lab.visitor().post("/me/enter", {"word": word, "name": name}, **more)


def send(lab: Lab, **content: Any) -> Response:
    """Send what no page does: JSON may escape what no text can hold."""
    headers = {"content-type": "application/json"}
    return lab.visitor().ask("POST", "/me/enter", headers=headers, content=json.dumps(content))


def granted(lab: Lab, word: str, name: str = "", **answer: Any) -> tuple[Response, Any]:
    """Enter with a code while somebody carries wishes out; return the answer and the wish."""
    wishes: list[Any] = []
    hand = threading.Thread(target=lambda: wishes.append(lab.grant(**answer)))
    hand.start()
    found = enter(lab, word, name)
    hand.join()
    return found, wishes[0]


def test_own_key_opens_the_own_page(lab: Lab) -> None:
    """The answer holds a cookie and not the key; the cookie leads to ada's page."""
    answer = enter(lab, f"  {key_of('ada')}\n")

    assert answer.status_code == 200
    assert answer.json() == {"ask_name": False, "name": "ada", "key": ""}
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert part in cookie
    page = lab.visitor().get(
        "/me", headers={"cookie": f"{guard.PARTICIPANT}={answer.cookies[guard.PARTICIPANT]}"}
    )
    assert "http://localhost:18999/ada/" in page.text
    assert lab.wishes() == []


@pytest.mark.parametrize("word", [key_of("nobody"), "wk-", "K7QX-3MPD", "ada", "0" * 200])
def test_what_is_nobodys_opens_nothing(lab: Lab, word: str) -> None:
    """Nobody is logged in, and the words say what helps."""
    answer = enter(lab, word)

    assert answer.status_code == 403
    assert "card" in answer.json()["error"]
    assert "set-cookie" not in answer.headers


def test_revoked_key_opens_nothing(lab: Lab) -> None:
    """A seat whose key was revoked has an empty hash, which no word has."""
    lab.configure(seats=(person("ada", key_hash="", claim_hash=""), person("bob")))

    assert enter(lab, key_of("ada")).status_code == 403
    assert enter(lab, code_of("ada")).status_code == 403


def test_code_is_exchanged_for_the_key_once(lab: Lab) -> None:
    """As somebody types it, with a dash and in small letters; the second time says what to do."""
    code = code_of("ada")
    answer, wish = granted(lab, f"{code[:4]}-{code[4:]} ".lower(), key=key_of("ada"))

    assert answer.json() == {"ask_name": False, "name": "ada", "key": key_of("ada")}
    assert (wish.what, wish.actor, wish.seats, wish.text) == (What.CLAIM, "ada", ("ada",), "")
    assert guard.PARTICIPANT in answer.cookies

    lab.claimed("ada")
    again = enter(lab, code)
    assert again.status_code == 403
    assert "used already" in again.json()["error"]
    assert "workshop keys show ada" in again.json()["error"]
    assert lab.wishes() == []


def test_code_that_was_used_a_moment_ago_is_used(tmp_path: Path) -> None:
    """Although the board looks at its files only now and then."""
    lab = Lab(tmp_path, options={"look": 60.0}).start()
    try:
        replace_whole(lab.shown_in / CLAIMED, json.dumps({"ada": 1.0}))
        again = enter(lab, code_of("ada"))
    finally:
        lab.stop()

    assert again.status_code == 403
    assert "used already" in again.json()["error"]
    assert lab.wishes() == []


def test_code_of_a_spare_seat_asks_for_a_name_first(spare: Lab) -> None:
    """Nothing is claimed until there is one, and the name goes into the wish."""
    asked = enter(spare, code_of("spare-1"))
    assert asked.json() == {"ask_name": True, "name": "", "key": ""}
    assert spare.wishes() == []
    assert "set-cookie" not in asked.headers

    answer, wish = granted(spare, code_of("spare-1"), "  Zoë   Late ", key=key_of("spare-1"))
    assert answer.json()["key"] == key_of("spare-1")
    assert (wish.actor, wish.seats, wish.text) == ("spare-1", ("spare-1",), "Zoë Late")


@pytest.mark.parametrize("name", ["\x00", "a\u202eb", "x" * 61, 7, "\ud800"])
def test_name_that_cannot_be_shown_claims_nothing(spare: Lab, name: Any) -> None:
    """The instructor reads it on the wall, and it goes into the roster."""
    assert send(spare, word=code_of("spare-1"), name=name).status_code in {400, 422}
    assert spare.wishes() == []


@pytest.mark.parametrize("word", ["\ud800", "wk-\ud800", "\x00", "ﬀ" * 20])
def test_odd_words_are_refused_like_wrong_ones(lab: Lab, word: str) -> None:
    """Whatever stands in a request, the board answers."""
    assert send(lab, word=word).status_code in {403, 422}


def test_exchange_that_is_refused_says_why(lab: Lab) -> None:
    """The words of whoever carries it out are passed on, and nobody is logged in."""
    words = "another command is at work; try again"
    answer, _ = granted(lab, code_of("ada"), words=words, done=False)

    assert (answer.status_code, answer.json()) == (503, {"error": words})
    assert "set-cookie" not in answer.headers


def test_exchange_that_nobody_carries_out_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so instead of waiting for ever."""
    monkeypatch.setattr(entering, "PATIENCE", 0.3)
    answer = enter(lab, code_of("ada"))

    assert answer.status_code == 503
    assert "not exchange it in time" in answer.json()["error"]
    assert "retry-after" in answer.headers


def test_codes_cannot_be_guessed_at_speed(lab: Lab) -> None:
    """After many wrong ones even a right one has to wait; a right key never has to."""
    lab.service.guesses = Guesses(clock=lambda: 0.0)
    statuses = [enter(lab, f"{guess:08d}").status_code for guess in range(PER_PEER + 1)]
    assert statuses == [403] * PER_PEER + [429]

    assert enter(lab, code_of("ada")).status_code == 429
    assert enter(lab, key_of("ada")).status_code == 200


def test_page_of_another_origin_enters_nobody(lab: Lab) -> None:
    """Not even with a right key: somebody would work in a seat that is not theirs."""
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = enter(lab, key_of("ada"), headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_words_of_those_who_enter_are_in_no_log(lab: Lab) -> None:
    """Neither keys nor codes, right or wrong."""
    granted(lab, code_of("ada"), key=key_of("ada"))
    enter(lab, key_of("bob"))
    enter(lab, "wrong-CANARY")

    log = lab.log.getvalue()
    assert "CANARY" not in log
    assert code_of("ada") not in log
    assert {"ada", "bob"} <= {line.get("seat") for line in lab.logged()}


@pytest.mark.parametrize("text", ["k7qx-3mpd", "K7QX 3MPD", "oil0-o1l1", "", "ß-ı-Ⅷ", "a--b"])
def test_codes_have_one_normal_form(text: str) -> None:
    """The command hashes the code, the board what was typed: both mean the same text."""
    assert entering.code(text) == claims.normal(text)


def test_code_that_the_command_makes_opens(lab: Lab) -> None:
    """The whole way: a code as it stands on a card, and its hash as it stands in the configuration."""
    from workshop.board.config import hashed

    card = claims.code("ab" * 32, "ada")
    lab.configure(seats=(person("ada", claim_hash=hashed(claims.normal(card))), person("bob")))
    answer, wish = granted(lab, card, key=key_of("ada"))

    assert answer.status_code == 200
    assert wish.actor != INSTRUCTOR


def test_leaving_ends_the_session(lab: Lab) -> None:
    """The cookie is taken back, and would open nothing any more."""
    ada = lab.participant()
    answer = ada.post("/me/leave")

    assert answer.json() == {"to": "/me"}
    assert f'{guard.PARTICIPANT}=""' in answer.headers["set-cookie"]
    assert ada.post("/me/hand", {"up": True}).status_code == 401
    assert "code on your card" in ada.get("/me").text


def test_rotated_key_ends_the_session(lab: Lab) -> None:
    """Whoever entered with the old one has to enter anew."""
    from workshop.board.config import hashed

    ada = lab.participant()
    lab.configure(seats=(person("ada", key_hash=hashed(key_of("new"))), person("bob")))

    assert ada.post("/me/hand", {"up": True}).status_code == 401
    assert "code on your card" in ada.get("/me").text


def test_own_key_is_known_again_and_no_other(lab: Lab) -> None:
    """A browser that lost the key keeps it again only if it is the right one."""
    ada = lab.participant()

    assert ada.post("/me/key", {"key": f" {key_of('ada')} "}).json() == {"right": True}
    for wrong in (key_of("bob"), "wk-x", code_of("ada")):
        assert ada.post("/me/key", {"key": wrong}).status_code == 403
