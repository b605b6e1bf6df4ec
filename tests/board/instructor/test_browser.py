"""The wall, the drawer and the projector in a real Chromium."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.board.instructor.classroom import classroom, deploy
from tests.board.lab import person, seat
from tests.waiting import until
from workshop.board.service import Options
from workshop.board.shown import State
from workshop.board.wishes import INSTRUCTOR, What

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.board.lab import Lab
    from workshop.board import wishes

pytestmark = pytest.mark.browser


class Wall:
    """What somebody sees and does on the wall."""

    def __init__(self, lab: Lab, page: Any) -> None:
        self.lab = lab
        self.page = page
        lab.open_wall(page)
        until(lambda: self.script("return !!document.getElementById('pulse')?.dataset.said"))
        # A page that was loaded again would have lost this.
        self.script("window.stillHere = true")

    def script(self, text: str, *more: Any) -> Any:
        """Run a script of the test's own."""
        return self.page.execute_script(text, *more)

    def find(self, place: str) -> Any:
        """Find one element."""
        return self.page.find_element(By.CSS_SELECTOR, place)

    def text(self, place: str) -> str:
        """Read what can be seen of one element, on one line; empty where there is none."""
        found: str = self.script(
            "return document.querySelector(arguments[0])?.innerText ?? ''", place
        )
        return " ".join(found.split())

    def order(self) -> list[str]:
        """Name the seats in the order one sees them in."""
        found: list[str] = self.script(
            "return [...document.querySelectorAll('.tile')].filter((one) => one.offsetParent)"
            ".map((one) => one.dataset.name)"
        )
        return found

    def focused(self) -> str:
        """Name the element that the keyboard is at."""
        found: str = self.script("return document.activeElement.id")
        return found

    def press(self, *keys: str) -> None:
        """Type."""
        ActionChains(self.page).send_keys(*keys).perform()

    def clean(self) -> None:
        """See that the page never was loaded again, and that the browser had nothing to object."""
        assert self.script("return window.stillHere")
        wrong = [line for line in self.page.get_log("browser") if line["level"] == "SEVERE"]
        assert not wrong, wrong


def grant_later(lab: Lab, words: str, *, done: bool = True) -> list[wishes.Wish]:
    """Be the control process for one wish, beside the test."""
    found: list[wishes.Wish] = []
    thread = threading.Thread(target=lambda: found.append(lab.grant(words, done=done)), daemon=True)
    thread.start()
    return found


@pytest.fixture
def wall(room: Lab, browser: Callable[[], Any]) -> Wall:
    """Open the wall of the class of 32."""
    page = browser()
    page.set_window_size(1440, 1000)
    return Wall(room, page)


def test_change_is_on_the_wall_without_loading_again(wall: Wall) -> None:
    """A seat that crashes comes to those who need somebody, and is counted."""
    assert "2 crashing" in wall.text("#filters")
    wall.lab.change("ada", state=State.CRASHING, detail="ends with exit code 9 again and again")
    until(lambda: "exit code 9" in wall.text("#needing #seat-ada"))
    assert "3 crashing" in wall.text("#filters")
    assert "Restart all failed (5)" in wall.text("#class")
    wall.lab.change("ada", state=State.LIVE, detail="")
    until(lambda: "live" in wall.text("#rest #seat-ada"))
    wall.clean()


def test_hand_that_is_raised_comes_first_and_is_taken_down_in_the_drawer(wall: Wall) -> None:
    """With since when; the one who waits longest stays in front."""
    wall.lab.service.hand("vint", up=True)
    until(lambda: wall.order()[:3] == ["margaret", "linus", "vint"])
    assert "hand up for" in wall.text("#seat-vint")
    assert "3 hand up" in wall.text("#filters")
    wall.find("#open-vint").click()
    until(lambda: "Hand up for" in wall.text("#drawer"))
    wall.find("#act-hand").click()
    until(lambda: "vint" not in wall.lab.service.view.hands)
    until(lambda: "Hand up" not in wall.text("#drawer"))
    wall.clean()


def test_filter_search_and_order_leave_and_sort_what_was_asked_for(wall: Wall) -> None:
    """Together, too."""
    wall.find("#filter-crashing").click()
    assert set(wall.order()) == {"edsger", "linus"}
    assert wall.find("#filter-crashing").get_attribute("aria-pressed") == "true"
    wall.find("#search").send_keys("torv")
    until(lambda: wall.order() == ["linus"])
    wall.find("#search").send_keys("x")
    until(lambda: wall.order() == [])
    assert wall.text("#nobody") == "No seat matches."
    wall.find("#search").clear()
    wall.press(Keys.ESCAPE)
    wall.find("#search").send_keys(Keys.ESCAPE)
    wall.find("#filter-all").click()
    Select(wall.find("#sort")).select_by_value("name")
    assert wall.order() == sorted(wall.order())
    assert len(wall.order()) == 32
    Select(wall.find("#sort")).select_by_value("memory")
    assert wall.order()[0] == "linus"
    Select(wall.find("#sort")).select_by_value("tokens")
    assert wall.order()[0] == "shafi"
    Select(wall.find("#sort")).select_by_value("state")
    assert set(wall.order()[:2]) == {"edsger", "linus"}
    wall.clean()


def test_filter_stays_through_changes_and_ends_with_its_last_seat(wall: Wall) -> None:
    """A button that is gone would leave an empty wall."""
    wall.find("#filter-stopped").click()
    assert wall.order() == ["dennis"]
    wall.lab.change("ada", state=State.STOPPED)
    wall.script("arguments[0].dispatchEvent(new PointerEvent('pointerleave'))", wall.find("#wall"))
    until(lambda: set(wall.order()) == {"ada", "dennis"})
    for name in ("ada", "dennis"):
        wall.lab.change(name, state=State.LIVE)
    until(lambda: len(wall.order()) == 32)
    assert wall.find("#filter-all").get_attribute("aria-pressed") == "true"


def test_tiles_do_not_move_from_under_the_pointer(wall: Wall) -> None:
    """The tile itself changes; the order waits until the pointer has left."""
    ActionChains(wall.page).move_to_element(wall.find("#seat-ken")).perform()
    before = wall.order()
    wall.lab.change("vint", state=State.CRASHING, detail="ends with exit code 9 again and again")
    until(lambda: "crashing" in wall.text("#seat-vint"))
    assert wall.order() == before
    assert "the order waits" in wall.text("#needing-title")
    ActionChains(wall.page).move_to_element(wall.find("h1")).perform()
    until(lambda: wall.order().index("vint") < 7)
    assert "the order waits" not in wall.text("#needing-title")


def test_wall_and_drawer_work_without_a_mouse(wall: Wall) -> None:
    """Slash, Enter, arrows, Escape; the focus comes back to where it was."""
    wall.press("/")
    assert wall.focused() == "search"
    wall.press("grace", Keys.ENTER)
    until(lambda: wall.focused() == "open-grace")
    wall.press(Keys.ENTER)
    until(lambda: "Grace Hopper" in wall.text("#drawer"))
    assert wall.focused() == "drawer-title"
    assert "port 8000: open on 127.0.0.1" in wall.text("#drawer .doctor")
    wall.press(Keys.ESCAPE)
    until(lambda: wall.focused() == "open-grace")
    wall.press("/", Keys.ESCAPE)
    until(lambda: len(wall.order()) == 32)
    wall.script("document.activeElement.blur()")
    order = wall.order()
    wall.press("j")
    until(lambda: wall.focused().startswith("open-"))
    at = order.index(wall.focused().removeprefix("open-"))
    wall.press("j")
    assert wall.focused() == f"open-{order[at + 1]}"
    wall.press("k")
    assert wall.focused() == f"open-{order[at]}"
    wall.press(Keys.END)
    assert wall.focused() == f"open-{order[-1]}"
    wall.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    below = wall.focused().removeprefix("open-")
    top = wall.script(
        "return document.getElementById(arguments[0]).getBoundingClientRect().top", f"seat-{below}"
    )
    first = wall.script(
        "return document.getElementById(arguments[0]).getBoundingClientRect().top",
        f"seat-{order[1]}",
    )
    assert top > first
    wall.press(Keys.HOME, Keys.ENTER)
    until(
        lambda: (
            wall.script("return document.getElementById('drawer-head')?.dataset.name") == order[0]
        )
    )
    wall.press("j")
    until(
        lambda: (
            wall.script("return document.getElementById('drawer-head').dataset.name") == order[1]
        )
    )
    wall.press(Keys.ESCAPE)
    until(lambda: wall.focused() == f"open-{order[1]}")
    wall.clean()


def test_focus_stays_on_a_tile_that_changes_and_moves(wall: Wall) -> None:
    """Whoever goes by the keyboard is not thrown back to the beginning."""
    wall.script("document.getElementById('open-ken').focus()")
    wall.lab.change("ken", state=State.CRASHING, detail="ends with exit code 9 again and again")
    until(lambda: "crashing" in wall.text("#needing #seat-ken"))
    assert wall.focused() == "open-ken"
    tabs = wall.script(
        "return [...document.querySelectorAll('.tile-open')].filter((o) => o.tabIndex === 0).map((o) => o.id)"
    )
    assert tabs == ["open-ken"]


def test_log_grows_in_the_open_drawer_and_follows_unless_scrolled_up(wall: Wall) -> None:
    """Lines are text, whatever they hold."""
    lines = [f"line {n}" for n in range(300)]
    wall.lab.write_log("ada", *lines)
    wall.find("#open-ada").click()
    until(lambda: "line 299" in wall.text("#log"))
    end = "const l = document.getElementById('log'); return l.scrollHeight - l.scrollTop - l.clientHeight"
    assert wall.script(end) < 3
    lines = [*lines[2:], "<img src=x onerror=document.title='EVIL'>", "line 301"]
    wall.lab.write_log("ada", *lines)
    until(lambda: "line 301" in wall.text("#log"))
    text = wall.text("#log")
    assert "<img src=x" in text
    assert text.count("line 299") == 1
    assert "line 0" in text, "what was shown stays"
    assert wall.script(end) < 3
    wall.script("document.getElementById('log').scrollTop = 0")
    wall.lab.write_log("ada", *lines[1:], "line 302")
    until(lambda: "line 302" in wall.text("#log"))
    assert wall.script("return document.getElementById('log').scrollTop") == 0
    wall.find("#log-follow").click()
    assert wall.script(end) < 3
    assert wall.page.title != "EVIL"


def test_drawer_follows_its_seat(wall: Wall) -> None:
    """Its state, its deploys, and what can be done."""
    wall.find("#open-ada").click()
    until(lambda: "Restart" in wall.text("#drawer .actions"))
    wall.lab.change(
        "ada",
        state=State.HELD,
        detail="stopped by you",
        deploys=(deploy(9, 1, "failed", message="The build failed."),),
    )
    until(lambda: wall.text("#drawer .actions").startswith("Start Reset"))
    assert "stopped by you" in wall.text("#drawer-now")
    assert "The build failed." in wall.text("#drawer-now")
    assert "#9" in wall.text("#drawer-deploys")
    wall.clean()


def test_drawer_that_is_opened_again_at_once_is_the_new_one(wall: Wall) -> None:
    """A browser tells that one was closed only after the next was asked for."""
    wall.find("#open-ada").click()
    until(lambda: "Ada Lovelace" in wall.text("#drawer"))
    wall.script(
        "document.getElementById('drawer-close').click(); document.getElementById('open-grace').click()"
    )
    until(lambda: "Grace Hopper" in wall.text("#drawer"))
    assert wall.focused() == "drawer-title"


def test_drawer_of_a_seat_that_is_gone_says_so_and_the_one_before_lives_on(wall: Wall) -> None:
    """It was removed a moment ago."""
    wall.find("#open-ada").click()
    until(lambda: "Ada Lovelace" in wall.text("#drawer"))
    wall.script("document.getElementById('seat-adele').dataset.name = 'nobody'")
    wall.press("j")
    until(lambda: "There is no such seat" in wall.text(".toast.bad"))
    wall.lab.write_log("ada", "still here")
    until(lambda: "still here" in wall.text("#log"))
    wall.press(Keys.ESCAPE)
    until(lambda: wall.focused() == "open-ada")


def test_action_is_wished_for_and_its_answer_is_shown(wall: Wall) -> None:
    """Restart loses nothing, so nothing is asked first."""
    wall.find("#open-edsger").click()
    until(lambda: "Restart" in wall.text("#drawer .actions"))
    granted = grant_later(wall.lab, "edsger restarted")
    wall.find("#act-restart").click()
    until(lambda: "edsger restarted" in wall.text("#drawer .toast.good"))
    assert [(wish.what, wish.actor, wish.seats) for wish in granted] == [
        (What.RESTART, INSTRUCTOR, ("edsger",))
    ]
    wall.clean()


def test_action_that_loses_something_asks_first(wall: Wall) -> None:
    """Cancel and Escape wish for nothing; what was not done is said."""
    wall.find("#open-ada").click()
    until(lambda: "Reset" in wall.text("#drawer .actions"))
    for leave in ("cancel", "escape"):
        wall.find("#act-reset").click()
        assert "Files that the app wrote are lost" in wall.text("#confirm")
        if leave == "cancel":
            wall.find("#confirm .button").click()
        else:
            wall.press(Keys.ESCAPE)
        until(lambda: not wall.script("return document.getElementById('confirm').open"))
    assert wall.lab.wishes() == []
    granted = grant_later(wall.lab, "another command is at work; try again", done=False)
    wall.find("#act-reset").click()
    wall.find("#confirm-yes").click()
    until(lambda: "another command is at work" in wall.text(".toast.bad"))
    assert [(wish.what, wish.seats) for wish in granted] == [(What.RESET, ("ada",))]


def test_going_back_names_the_version(wall: Wall) -> None:
    """One that is kept."""
    wall.find("#open-grace").click()
    until(lambda: "Go back to this" in wall.text("#drawer"))
    granted = grant_later(wall.lab, "grace is back at 2-9b1d002")
    wall.find("[data-text='2-9b1d002']").click()
    assert "2-9b1d002" in wall.text("#confirm-title")
    wall.find("#confirm-yes").click()
    until(lambda: granted)
    assert (granted[0].what, granted[0].seats, granted[0].text) == (
        What.ROLLBACK,
        ("grace",),
        "2-9b1d002",
    )


def test_restart_of_all_failed_names_whom_it_restarts(wall: Wall) -> None:
    """And restarts those that were named, not who failed meanwhile."""
    wall.find("#restart-failed").click()
    assert wall.text("#confirm-names") == "dennis, edsger, hedy, linus"
    wall.lab.change("ada", state=State.CRASHING)
    until(lambda: "(5)" in wall.text("#restart-failed"))
    granted = grant_later(wall.lab, "4 seats restarted")
    wall.find("#confirm-yes").click()
    until(lambda: "4 seats restarted" in wall.text(".toast"))
    assert granted[0].seats == ("dennis", "edsger", "hedy", "linus")


def test_announcement_is_sent_and_taken_back(wall: Wall) -> None:
    """Its words stand on the wall while it stands."""
    wall.find("#announce").click()
    assert "Lunch" in wall.find("#announcing-text").get_attribute("value")
    wall.find("#announcing-text").clear()
    wall.find("#announcing-text").send_keys("Back at one <b>sharp</b>")
    granted = grant_later(wall.lab, "announced")
    wall.find("#announcing .main").click()
    until(lambda: granted)
    assert (granted[0].what, granted[0].text) == (What.ANNOUNCE, "Back at one <b>sharp</b>")
    wall.lab.announce(granted[0].text)
    until(lambda: "Back at one <b>sharp</b>" in wall.text("#messages"))
    granted = grant_later(wall.lab, "taken back")
    wall.find("#take-back").click()
    until(lambda: granted)
    assert (granted[0].what, granted[0].text) == (What.ANNOUNCE, "")


def test_models_of_the_class_are_paused_after_a_question_and_resumed(wall: Wall) -> None:
    """The button is the other one once they are."""
    wall.find("#pause-all").click()
    granted = grant_later(wall.lab, "the models are paused")
    wall.find("#confirm-yes").click()
    until(lambda: granted)
    assert (granted[0].what, granted[0].seats) == (What.PAUSE, ())
    assert wall.lab.shown
    wall.lab.show(replace(wall.lab.shown, paused=True))
    until(lambda: "Resume LLM" in wall.text("#class"))
    assert "paused for the whole class" in wall.text("#messages")


def test_wall_that_is_cut_off_says_so_and_comes_back_by_itself(wall: Wall) -> None:
    """With what changed meanwhile, and without being loaded again."""
    wall.lab.stop()
    until(lambda: wall.text("#pulse").startswith("Not live since"))
    assert wall.lab.shown
    seats = tuple(
        replace(one, state=State.CRASHING) if one.name == "ada" else one
        for one in wall.lab.shown.seats
    )
    wall.lab.shown = replace(wall.lab.shown, seats=seats)
    wall.lab.start()
    until(lambda: wall.text("#pulse") == "live")
    until(lambda: "crashing" in wall.text("#seat-ada"))
    assert wall.script("return window.stillHere")


def test_wall_of_one_whose_session_ended_goes_to_the_login(wall: Wall) -> None:
    """It was ended elsewhere; a wall that stands still would be believed."""
    session = wall.page.get_cookie("__Host-workshop-board")
    assert session is not None
    found = wall.lab.service.sessions.find(session["value"])
    assert found is not None
    wall.lab.service.sessions._sessions = {}
    wall.lab.change("ada", requests=5)
    until(lambda: wall.script("return location.pathname") == "/login")


def test_log_out_ends_the_session(wall: Wall) -> None:
    """The page of the wall is refused afterwards."""
    wall.find("#log-out").click()
    until(lambda: wall.script("return location.pathname") == "/login")
    wall.page.get(wall.lab.url + "/")
    assert "workshop board" in wall.text("main")


def test_seat_that_is_added_or_removed_comes_and_goes(wall: Wall) -> None:
    """The roster was edited while the wall was open."""
    assert wall.lab.shown
    wall.lab.show(replace(wall.lab.shown, seats=(*wall.lab.shown.seats, seat("zoe"))))
    before = wall.lab.config.seats
    wall.lab.configure(seats=(*before, person("zoe", display_name="Zoe <i>Late</i>")))
    until(lambda: "Zoe <i>Late</i>" in wall.text("#seat-zoe"))
    assert "33 all" in wall.text("#filters")
    wall.lab.configure(seats=before)
    until(lambda: "zoe" not in wall.order())
    assert "32 all" in wall.text("#filters")
    wall.clean()


def test_projector_is_live_and_shows_the_room_no_more_than_it_may(wall: Wall) -> None:
    """Names and whether apps are up."""
    wall.page.get(wall.lab.url + "/projector")
    assert "Ada Lovelace" in wall.text("#room")
    assert "23 of 29 live" in wall.text("#room")
    wall.lab.change("ada", state=State.CRASHING, detail="ends with exit code 9 again and again")
    until(lambda: "22 of 29 live" in wall.text("#room"))
    assert "exit code" not in wall.page.page_source
    assert "crashing" not in wall.text("body")


def test_phone_of_390_pixels_shows_everything_without_scrolling_sideways(wall: Wall) -> None:
    """Wall and drawer."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    wall.page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = "return document.documentElement.scrollWidth"
    assert wall.script(wide) == 390
    wall.script("document.getElementById('open-grace').click()")
    until(lambda: "Grace Hopper" in wall.text("#drawer"))
    assert wall.script("return document.getElementById('drawer').scrollWidth") <= 390


def test_theme_that_is_chosen_is_kept(wall: Wall) -> None:
    """Light by the system here, dark by choice, also on the next page."""
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = wall.script(colour)
    wall.find("[data-theme-toggle]").click()
    dark = wall.script(colour)
    assert light != dark
    wall.page.refresh()
    assert wall.script(colour) == dark


@pytest.mark.alone
def test_wall_of_300_is_painted_and_follows_one_seat_and_everybody_at_once(
    tmp_path: Path, browser: Callable[[], Any]
) -> None:
    """At the board's own pace of looking at its files; how quick that is, `bench/board.py` tells."""
    lab = classroom(tmp_path / "board", 300, look=Options.look)
    try:
        wall = Wall(lab, browser())
        paints = wall.script(
            "return performance.getEntriesByName('first-contentful-paint').map((p) => p.startTime)"
        )
        assert paints
        for name in ("ada", "seat-200"):
            lab.change(name, state=State.CRASHING, detail="ends with exit code 9 again and again")
            until(lambda name=name: "exit code 9" in wall.text(f"#needing #seat-{name}"))
        assert lab.shown
        seats = tuple(replace(one, requests=one.requests + 1111) for one in lab.shown.seats)
        lab.show(replace(lab.shown, seats=seats))
        many = "return [...document.querySelectorAll('.tile')].filter((one) => one.dataset.requests > 1110).length"
        until(lambda: wall.script(many) == 300)
        wall.clean()
    finally:
        lab.stop()
