"""The instructor's way in and out: a one-time link, a cookie, a button."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from workshop.board import guard, guesses
from workshop.board.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.board.lab import Lab


def test_link_that_is_new_logs_in_with_a_cookie_for_this_host_alone(lab: Lab) -> None:
    """No script reads it, no other site sends it, no other host sets it."""
    answer = lab.visitor().post("/login", {"word": lab.link()})
    assert (answer.status_code, answer.json()) == (200, {"to": "/"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{guard.INSTRUCTOR}=")
    said = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert said == {"httponly", "secure", "samesite=strict", "path=/", "max-age=43200"}


def test_link_that_was_used_does_not_log_in_again(lab: Lab) -> None:
    """Whoever finds it in a history or a chat finds nothing."""
    word = lab.link()
    assert lab.visitor().post("/login", {"word": word}).status_code == 200
    again = lab.visitor().post("/login", {"word": word})
    assert again.status_code == 401
    assert "workshop board" in again.json()["error"]
    assert "set-cookie" not in again.headers


def test_link_that_was_used_does_not_log_in_after_a_restart(lab: Lab) -> None:
    """That it was used is on the disk."""
    word = lab.link()
    assert lab.visitor().post("/login", {"word": word}).status_code == 200
    lab.restart()
    assert lab.visitor().post("/login", {"word": word}).status_code == 401


def test_link_that_two_open_at_once_logs_one_of_them_in(lab: Lab) -> None:
    """The mark is made in one step."""
    word = lab.link()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: lab.visitor().post("/login", {"word": word}), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [401]


def test_link_that_has_ended_does_not_log_in(lab: Lab) -> None:
    """Ten minutes are over."""
    assert lab.visitor().post("/login", {"word": lab.link(seconds=-1)}).status_code == 401


@pytest.mark.parametrize("word", ["x", "../../told/config.json", "a" * 43, "\0", "\U0001f600"])
def test_word_that_nobody_made_does_not_log_in(lab: Lab, word: str) -> None:
    """Whatever is sent is hashed before it becomes the name of a file."""
    assert lab.visitor().post("/login", {"word": word}).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"word": ""}, {"word": 1}, {"word": "x" * 201}, {"word": "x", "more": 1}, [], None]
)
def test_body_that_is_no_word_is_refused_without_repeating_it(lab: Lab, body: Any) -> None:
    """It is unprocessable, in the board's own words."""
    answer = lab.visitor().ask("POST", "/login", json=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}
    assert "more" not in answer.json()["error"]


def test_right_word_passes_after_many_wrong_ones_from_the_same_address(lab: Lab) -> None:
    """A class behind one address cannot lock its instructor out."""
    lab.service.guesses = guesses.Guesses(lambda: 0.0)
    visitor = lab.visitor()
    wrong = [
        visitor.post("/login", {"word": "wrong"}).status_code for _ in range(guesses.PER_PEER + 2)
    ]
    assert wrong == [401] * guesses.PER_PEER + [429] * 2
    assert visitor.post("/login", {"word": lab.link()}).status_code == 200


def test_wrong_words_are_counted_for_each_peer_that_the_edge_names(lab: Lab) -> None:
    """One who guesses does not use up the tries of others."""
    lab.service.guesses = guesses.Guesses(lambda: 0.0)
    visitor = lab.visitor()

    def attempt(peer: str) -> int:
        headers = {"x-real-ip": peer}
        return visitor.post("/login", {"word": "wrong"}, headers=headers).status_code

    for _ in range(guesses.PER_PEER):
        assert attempt("192.0.2.1") == 401
    assert attempt("192.0.2.1") == 429
    assert attempt("192.0.2.2") == 401


def test_wrong_words_from_everywhere_are_limited_together() -> None:
    """Many addresses guess no faster than so much; a claim code is not even compared then."""
    now = [0.0]
    held = guesses.Guesses(lambda: now[0])
    for number in range(guesses.OVERALL):
        held.count(f"192.0.2.{number}")
    with pytest.raises(Refused) as refused:
        held.check("198.51.100.1")
    assert refused.value.status == 429
    assert 0 < refused.value.retry_after < 1
    now[0] += 60
    held.check("198.51.100.1")


def test_one_address_that_guesses_on_does_not_lock_others_out() -> None:
    """It uses up its own tries, and no more of everybody's."""
    held = guesses.Guesses(lambda: 0.0)
    for _ in range(2 * guesses.OVERALL):
        with suppress(Refused):
            held.count("192.0.2.1")
    with pytest.raises(Refused):
        held.check("192.0.2.1")
    held.check("192.0.2.2")


def test_login_from_a_page_of_another_origin_is_refused_and_spends_no_link(lab: Lab) -> None:
    """Nobody logs the instructor in from elsewhere."""
    word = lab.link()
    for origin in ("http://evil.example", "null", ""):
        answer = lab.visitor().post("/login", {"word": word}, headers={"origin": origin})
        assert answer.status_code == 403, origin
    assert lab.visitor().post("/login", {"word": word}).status_code == 200


def test_logout_ends_the_session_and_takes_the_cookie_back(lab: Lab) -> None:
    """Who has the cookie's value has nothing."""
    instructor, other = lab.instructor(), lab.instructor()
    assert instructor.get("/").status_code == 200
    answer = instructor.post("/logout")
    assert answer.status_code == 200
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert instructor.get("/").status_code == 401
    assert other.get("/").status_code == 200


def test_wall_without_a_login_says_how_to_log_in(lab: Lab) -> None:
    """As a page to a browser, as JSON to a script."""
    page = lab.visitor().get("/", headers={"accept": "text/html"})
    assert page.status_code == 401
    assert "<code>workshop board</code>" in page.text
    told = lab.visitor().get("/", headers={"accept": "application/json"})
    assert "workshop board" in told.json()["error"]


def test_log_says_who_logged_in_without_word_or_cookie(lab: Lab) -> None:
    """The log is for others to read too."""
    word = lab.link()
    answer = lab.visitor().post("/login", {"word": word})
    lab.visitor().post("/login", {"word": "wrong-CANARY"})
    text = lab.log.getvalue()
    assert {"login", "login refused"} <= {line["event"] for line in lab.logged()}
    assert word not in text
    assert answer.cookies[guard.INSTRUCTOR] not in text
    assert "CANARY" not in text


def test_word_that_is_no_text_is_refused(lab: Lab) -> None:
    """JSON can name half a character, which nothing can be made of."""
    headers = {"content-type": "application/json"}
    answer = lab.visitor().ask("POST", "/login", content=rb'{"word": "\ud800"}', headers=headers)
    assert answer.status_code == 422


@pytest.mark.browser
def test_one_time_link_opened_in_chromium_logs_in_and_leaves_no_word_behind(
    lab: Lab, browser: Callable[[], Any]
) -> None:
    """Chromium keeps the cookie on plain loopback, and no policy is broken."""
    page = browser()
    lab.open_wall(page)
    held = {one["name"]: one for one in page.get_cookies()}[guard.INSTRUCTOR]
    assert held["httpOnly"]
    assert held["secure"]
    assert page.execute_script("return document.cookie") == ""
    page.back()
    assert "#" not in page.current_url
    assert not [said for one in page.get_log("browser") if "Policy" in (said := one["message"])]
