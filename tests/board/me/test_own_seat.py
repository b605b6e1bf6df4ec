"""What the own page shows, what it may ask for, and that both end at the own seat."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import Lab, key_of, person, seat
from tests.board.me.conftest import FAILED, MARKUP, deploy
from tests.waiting import until
from workshop.board import config
from workshop.board.me import live, model, steps
from workshop.board.shown import Seat, State
from workshop.board.wishes import What
from workshop.keyring import HandedKey

if TYPE_CHECKING:
    from collections.abc import Iterator


def text(page: str) -> str:
    """Read a page as somebody sees it."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


# -- the page -------------------------------------------------------------------------------------


def test_page_answers_where_whether_and_why(deployed: Lab) -> None:
    """The address, the state, the version, the doctor's words, what was used of the budget."""
    page = deployed.participant().get("/me")
    seen = text(page.text)

    assert page.status_code == 200
    for words in (
        "http://localhost:18999/ada/",
        "Live",
        "version v1",
        "Failed #4 upload",
        "The app listens on 127.0.0.1, where nobody can reach it.",
        "What to do: Let it listen on 0.0.0.0.",
        "Live now #3 docker push",
        "Go back to this one, 2-9b1d4c3",
        "Earlier ones (1)",
        "0 % used",
        "docker build --platform linux/amd64 -t localhost:18999/ada/app .",
        "docker login localhost:18999 -u ada",
        "docker push localhost:18999/ada/app",
    ):
        assert words in seen, words
    assert seen.count("Go back to this one") == 1


def test_page_holds_no_key_and_nothing_of_others(lab: Lab) -> None:
    """The board does not have the key; of bob it says nothing."""
    lab.configure(seats=(person("ada"), person("bob", display_name="Bob Builder")))
    lab.change("bob", detail="bob's CANARY", version="bob-CANARY")
    lab.service.hand("bob", up=True)
    lab.write_log("bob", "bob's CANARY")
    ada = lab.participant()

    for path in ("/me", "/me/enter"):
        found = ada.get(path).text
        assert "CANARY" not in found
        assert "bob" not in found.lower()
        assert config.hashed(key_of("ada")) not in found


def test_page_lets_its_scripts_reach_the_class_and_no_other(lab: Lab) -> None:
    """The policy names the class's origin, the app's own, and the board's own for WebSockets."""
    other = "https://ada.class.example.org/"
    lab.configure(url="https://class.example.org:8443", seats=(person("ada", url=other),))
    policy = lab.participant().get("/me").headers["content-security-policy"]

    (connect,) = re.findall(r"connect-src ([^;]*)", policy)
    port = lab.url.rpartition(":")[2]
    assert connect.split() == [
        "'self'",
        "https://class.example.org:8443",
        "https://ada.class.example.org",
        f"ws://127.0.0.1:{port}",
        f"ws://localhost:{port}",
    ]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")


def test_everything_foreign_is_escaped(lab: Lab) -> None:
    """Names, words of the engine, of a deploy, of the instructor: in the page and in its pieces."""
    lab.configure(title=MARKUP, seats=(person("ada", display_name=MARKUP),), model=MARKUP)
    bad = replace(
        FAILED,
        what=MARKUP,
        actor=MARKUP,
        stage=MARKUP,
        message=MARKUP,
        evidence=(MARKUP,),
        next=f"`{MARKUP}`",
    )
    kept = deploy(2, kept=True, version=MARKUP)
    lab.change("ada", detail=MARKUP, version=MARKUP, deploys=(bad, kept))
    lab.announce(MARKUP)
    until(lambda: lab.service.view.announcement)
    ada = lab.participant()
    with ada.events("/me/events") as found:
        pieces = [data for _, data in (next(found) for _ in live.PARTS)]

    for page in (ada.get("/me").text, lab.visitor().get("/me").text, *pieces):
        assert "<b onmouseover" not in page
    for part, times in (("app", 2), ("deploys", 7), ("says", 1)):
        assert pieces[live.PARTS.index(part)].count("&lt;b onmouseover") >= times, part


def test_class_without_models_has_no_word_of_them(lab: Lab) -> None:
    """The key is for deploys alone then."""
    lab.configure(llm=False, base_url="", model="", embedding="")
    seen = text(lab.participant().get("/me").text)

    assert "models" not in seen.replace("This class has no models", "")
    assert "WORKSHOP_KEY=KEY" in seen


@pytest.mark.parametrize("base_url", ["https://class.example.org/llm/v1", ""])
@pytest.mark.parametrize("name", ["gpt-oss:120b", "a model $HOME", 'say "x\\y"', ""])
def test_lines_for_dotenv_are_those_of_keys_show(base_url: str, name: str) -> None:
    """One key, one file: the page and the command say the same."""
    handed = HandedKey("ada", "ada-1", key_of("ada"), "active", base_url, name, "embed")
    told = config.Config(
        "class", "", "https://x", (), base_url=base_url, model=name, embedding="embed"
    )

    assert steps.dotenv(told).text.replace(steps.KEY, key_of("ada")).splitlines() == list(
        handed.dotenv
    )


@pytest.mark.parametrize(
    ("url", "hints"),
    [
        ("http://class.example.org:8080", 1),
        ("https://class.example.org", 0),
        ("http://localhost:8080", 0),
        ("http://class.localhost:8080", 0),
    ],
)
def test_docker_is_told_of_plain_http_only_where_it_must_be(url: str, hints: int) -> None:
    """Docker speaks plain HTTP to localhost by itself."""
    made = config.Config("class", "", url, (), registry=url.partition("//")[2])
    words = " ".join(step.words for step in steps.steps(made, person("ada")))

    assert words.count("insecure-registries") == hints


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_words_and_a_way_on(state: State) -> None:
    """Nobody reads a bare word of the engine's."""
    word, kind, words = model._STATES[state]

    assert word
    assert words.endswith(".")
    assert (kind == "good") == (state is State.LIVE)


@pytest.mark.parametrize(
    ("changes", "share", "kind"),
    [
        ({"tokens_limit": None}, None, "good"),
        ({"tokens": 50, "tokens_limit": 100}, 0.5, "good"),
        ({"tokens": 10, "tokens_limit": 100, "money": 9, "money_limit": 10}, 0.9, "warn"),
        ({"tokens": 300, "tokens_limit": 100}, 1.0, "bad"),
        ({"tokens": 0, "tokens_limit": 0}, 1.0, "bad"),
    ],
)
def test_budget_is_judged_by_what_ends_first(
    changes: dict[str, Any], share: float | None, kind: str
) -> None:
    """Tokens or money; a budget of nothing is used up from the start."""
    told = config.Config("class", "", "https://x", ())
    found = model._models(Seat("ada", State.LIVE, **changes), told, everybody=False)

    assert found is not None
    assert (found.share, found.kind) == (share, kind)


# -- what is asked for ------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["restart", "reset"])
def test_restart_and_reset_go_to_the_own_seat(lab: Lab, what: str) -> None:
    """A request cannot name another; the answer comes back to whoever asked."""
    ada = lab.participant()
    for other in ({"seats": ["bob"]}, {"actor": "bob"}, {"name": "bob"}):
        assert ada.post("/me/wishes", {"what": what, **other}).status_code == 422
    assert lab.wishes() == []
    placed = ada.post("/me/wishes", {"what": what, "text": "v9"})

    assert placed.status_code == 202
    wish_id = placed.json()["id"]
    assert ada.get(f"/me/answers/{wish_id}").json() == {"over": False, "done": False, "words": ""}
    wish = lab.grant(f"ada {what}ed")
    assert (wish.what, wish.actor, wish.seats, wish.text) == (What(what), "ada", ("ada",), "")
    answer = ada.get(f"/me/answers/{wish_id}").json()
    assert answer == {"over": True, "done": True, "words": f"ada {what}ed"}


def test_answers_are_for_whoever_asked(lab: Lab) -> None:
    """Another participant learns nothing of it, not even that it is there."""
    wish_id = lab.participant().post("/me/wishes", {"what": "restart"}).json()["id"]
    lab.grant("ada restarted")

    assert lab.participant("bob").get(f"/me/answers/{wish_id}").status_code == 404
    assert lab.instructor().get(f"/me/answers/{wish_id}").status_code == 401


def test_rollback_goes_to_a_kept_version_or_the_template(deployed: Lab) -> None:
    """Not to one that is gone, nor to one of bob's."""
    ada = deployed.participant()
    for version in ("2-9b1d4c3", "template"):
        assert ada.post("/me/wishes", {"what": "rollback", "text": version}).status_code == 202
        assert deployed.grant().text == version
    for version in ("1-9b1d4c3", "v1", "../x"):
        assert ada.post("/me/wishes", {"what": "rollback", "text": version}).status_code == 404
    bob = deployed.participant("bob")
    assert bob.post("/me/wishes", {"what": "rollback", "text": "2-9b1d4c3"}).status_code == 404
    assert deployed.wishes() == []


@pytest.mark.parametrize("what", sorted(set(What) - {"restart", "reset", "rollback"}))
def test_nothing_else_can_be_asked_for(lab: Lab, what: str) -> None:
    """What only the instructor may, and a claim that skips its code."""
    answer = lab.participant().post("/me/wishes", {"what": what})

    assert answer.status_code == 422
    assert lab.wishes() == []


def test_hand_is_the_own_one(lab: Lab) -> None:
    """It goes up and down, and bob's stays as it is."""
    lab.participant("bob").post("/me/hand", {"up": True})
    ada = lab.participant()

    assert ada.post("/me/hand", {"up": True}).json() == {"up": True}
    assert set(lab.service.view.hands) == {"ada", "bob"}
    assert "Hand up" in text(ada.get("/me").text)
    assert ada.post("/me/hand", {"up": False, "name": "bob"}).status_code == 422
    assert ada.post("/me/hand", {"up": False}).json() == {"up": False}
    assert set(lab.service.view.hands) == {"bob"}


PRIVATE = [
    ("GET", "/me/events"),
    ("GET", "/me/log"),
    ("GET", "/me/ready/sse"),
    ("GET", "/me/answers/1700000000000-00000001"),
    ("POST", "/me/wishes"),
    ("POST", "/me/hand"),
    ("POST", "/me/key"),
    ("POST", "/me/leave"),
]
CONTENTS = {
    "/me/wishes": {"what": "restart"},
    "/me/hand": {"up": True},
    "/me/key": {"key": key_of("ada")},
}
"""What each would take from ada's own page."""


def nobody(lab: Lab) -> Iterator[tuple[str, Any, set[int]]]:
    """Yield those who are not ada on her own page, and what they are told."""
    ada, instructor = lab.participant(), lab.instructor()
    yield "a stranger", lab.visitor(), {401}
    yield "the instructor", instructor, {401}
    yield "a session that was made up", replace(ada, cookies=dict.fromkeys(ada.cookies, "x")), {401}
    yield "another page", replace(ada, lab=ada.lab), {403}


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_every_address_is_closed_to_others(lab: Lab, method: str, path: str) -> None:
    """Strangers, the instructor's session, made-up sessions, and pages of other origins."""
    content = CONTENTS.get(path)
    for who, visitor, statuses in nobody(lab):
        headers = {"sec-fetch-site": "cross-site"} if who == "another page" else {}
        answer = visitor.ask(method, path, headers=headers, json=content)
        assert answer.status_code in statuses, who
    assert lab.wishes() == []
    assert not lab.service.view.hands


@pytest.mark.parametrize(("method", "path"), [one for one in PRIVATE if one[0] == "POST"])
def test_change_needs_the_pages_token_and_origin(lab: Lab, method: str, path: str) -> None:
    """A cookie alone changes nothing."""
    ada = lab.participant()
    content = CONTENTS.get(path)
    for visitor, headers in (
        (replace(ada, csrf=""), {}),
        (replace(ada, csrf=lab.participant("bob").csrf), {}),
        (ada, {"origin": "http://evil.example"}),
        (ada, {"origin": "null"}),
    ):
        assert visitor.ask(method, path, headers=headers, json=content).status_code == 403
    assert lab.wishes() == []
    assert not lab.service.view.hands


def test_participants_session_opens_nothing_of_the_instructors(lab: Lab) -> None:
    """The wall, a drawer, an action."""
    ada = lab.participant()
    for method, path in (
        ("GET", "/"),
        ("GET", "/events"),
        ("GET", "/seats/bob"),
        ("POST", "/wishes"),
    ):
        content = {"what": "restart", "seats": ["bob"]}
        answer = ada.ask(method, path, json=content, headers={"accept": "application/json"})
        assert answer.status_code in {401, 403, 404}, path
    assert lab.wishes() == []


def test_seat_that_is_not_seen_yet_has_a_page(lab: Lab) -> None:
    """Between a participant's adding and the first look at them."""
    lab.configure(seats=(*lab.config.seats, person("new")))

    assert "Not there" in text(lab.participant("new").get("/me").text)


def test_page_of_a_seat_with_a_paused_model_says_so(lab: Lab) -> None:
    """Whether it is for this one or for all."""
    assert lab.shown is not None
    lab.show(replace(lab.shown, seats=(seat("ada", paused=True), seat("bob"))))
    assert "has paused the models for you" in text(lab.participant().get("/me").text)
    lab.show(replace(lab.shown, paused=True))
    assert "for the whole class" in text(lab.participant("bob").get("/me").text)
