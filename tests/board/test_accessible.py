"""Every page of the board, asked by axe-core in Chromium: nothing serious, in light and in dark.

axe-core (tests/vendor) knows the rules of WCAG 2.2 AA that a program can check.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import Lab, person, seat
from tests.waiting import until
from workshop.board.shown import Deploy, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vendor" / "axe.min.js").read_text("utf-8")
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations.map(
  (one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html)])));
"""
SERIOUS = {"serious", "critical"}
FAILED = Deploy(
    "1700000000000-00000001",
    3,
    "push",
    "bob",
    "failed",
    1.7e9,
    1.7e9 + 9,
    cause="listens-on-localhost",
    message="The app listens on 127.0.0.1, where nobody but itself can reach it.",
    evidence=("127.0.0.1:8000",),
    next="Let it listen on `0.0.0.0`.",
)
THEMES = ("light", "dark")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a board whose seats are in every state there is, one of them a spare."""
    from dataclasses import replace

    lab = Lab(tmp_path / "board")
    names = ("ada", "bob", "carl", "dora", "emil", "fay")
    people = (*map(person, names), person("spare-1", display_name="", spare=True))
    lab.config = replace(lab.config, seats=people)
    lab.start()
    assert lab.shown is not None
    kinds = zip((*names, "spare-1"), (*State, State.LIVE), strict=True)
    seats = tuple(
        seat(name, state, detail="a few plain words", deploys=(FAILED,), requests=12, errors=2)
        for name, state in kinds
    )
    lab.show(replace(lab.shown, seats=seats))
    lab.announce("Push your image now.")
    lab.write_log("ada", "one line", "another line")
    yield lab
    lab.stop()


@pytest.fixture
def page(browser: Callable[[], Any]) -> Any:
    """Open a browser."""
    return browser()


def dress(page: Any, theme: str) -> None:
    """Let the system prefer a theme, as the page asks it."""
    feature = {"name": "prefers-color-scheme", "value": theme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def serious(page: Any) -> list[Any]:
    """Ask axe-core about the page as it is, and keep what would shut somebody out."""
    # What fades in has not its colours yet.
    until(lambda: not page.execute_script("return document.getAnimations().length"))
    page.execute_script(AXE)
    return [one for one in page.execute_async_script(RUN) if one[0] in SERIOUS]


@pytest.mark.parametrize("theme", THEMES)
def test_pages_nobody_is_logged_in_for_shut_nobody_out(lab: Lab, page: Any, theme: str) -> None:
    """The two ways in, and a page that is not there."""
    dress(page, theme)
    found = {}
    for path in ("/login", "/me", "/nothing-here"):
        page.get(lab.url + path)
        found[path] = serious(page)

    assert not any(found.values()), found


@pytest.mark.parametrize("theme", THEMES)
def test_wall_with_seats_in_every_state_shuts_nobody_out(lab: Lab, page: Any, theme: str) -> None:
    """And on a phone."""
    dress(page, theme)
    lab.open_wall(page)
    wide = serious(page)
    page.set_window_size(390, 844)

    assert wide == []
    assert serious(page) == []


@pytest.mark.parametrize("theme", THEMES)
def test_open_drawer_shuts_nobody_out(lab: Lab, page: Any, theme: str) -> None:
    """With a log, and a failed deploy."""
    dress(page, theme)
    lab.open_wall(page)
    page.execute_script("document.querySelector('#seat-ada .tile-open').click()")
    until(lambda: "another line" in page.find_element("tag name", "dialog").text)

    assert serious(page) == []


@pytest.mark.parametrize("theme", THEMES)
def test_projector_shuts_nobody_out(lab: Lab, page: Any, theme: str) -> None:
    """Its words are large; its colours must still be told from its ground."""
    dress(page, theme)
    lab.open_wall(page)
    page.get(f"{lab.url}/projector")

    assert serious(page) == []


@pytest.mark.parametrize("theme", THEMES)
def test_participants_page_shuts_nobody_out(lab: Lab, page: Any, theme: str) -> None:
    """With an announcement, a failed deploy and a log; and on a phone."""
    dress(page, theme)
    lab.open_seat(page)
    until(lambda: "Push your image now." in page.find_element("tag name", "body").text)
    wide = serious(page)
    page.set_window_size(390, 844)

    assert wide == []
    assert serious(page) == []
