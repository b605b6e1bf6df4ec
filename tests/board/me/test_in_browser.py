"""The participant's page in a real Chromium, against a real board and a real intake."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import ActionChains

from tests.board.lab import Lab, code_of, key_of, person
from tests.board.me.conftest import RUNS, deploy
from tests.board.test_accessible import THEMES, dress, serious
from tests.intake import crafted
from tests.intake.lab import Lab as Intake
from tests.waiting import until
from workshop.board.me import steps
from workshop.board.shown import State
from workshop.board.wishes import What
from workshop.intake.orders import Finding, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser


def one(page: Any, selector: str) -> Any:
    """Find one element."""
    return page.find_element("css selector", selector)


def read(page: Any, selector: str) -> str:
    """Read an element as it stands now; it may be swapped while one looks."""
    found: str = page.execute_script(
        "return document.querySelector(arguments[0])?.innerText ?? ''", selector
    )
    return found


def press(page: Any, selector: str) -> None:
    """Press a button by the keyboard."""
    page.execute_script("document.querySelector(arguments[0]).focus()", selector)
    page.switch_to.active_element.send_keys("\ue007")


def says(page: Any, words: str, seconds: float = 10) -> None:
    """Wait until the page says something about what was asked for."""
    until(lambda: words in read(page, "#toast"), seconds)


def faults(page: Any) -> list[str]:
    """Read what the browser complains of: a policy that was broken, a script's fault."""
    found = [line["message"] for line in page.get_log("browser") if line["level"] == "SEVERE"]
    return [line for line in found if "favicon" not in line]


def hold_key(page: Any, name: str = "ada") -> None:
    """Let the browser hold the key, as after entering with it."""
    page.execute_script("localStorage.setItem('workshop-key', arguments[0])", key_of(name))
    page.refresh()


def reads_clipboard(page: Any, lab: Lab) -> Callable[[], str]:
    """Allow the test to see what was copied."""
    allowed = {"origin": lab.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.execute_cdp_cmd("Browser.grantPermissions", allowed)

    def content() -> str:
        found: str = page.execute_async_script(
            "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))"
        )
        return found

    return content


def enter(page: Any, lab: Lab, word: str) -> None:
    """Do what somebody does who has a card."""
    page.get(f"{lab.url}/me")
    one(page, "#word").send_keys(word)
    press(page, "#go")


# -- in and out ---------------------------------------------------------------------------------


def test_key_opens_the_page_and_is_shown_and_copied_on_demand(lab: Lab, page: Any) -> None:
    """Hidden until asked for; the lines for .env are copied with it even while it is hidden."""
    enter(page, lab, key_of("ada"))
    until(lambda: read(page, "#url"))
    clipboard = reads_clipboard(page, lab)

    assert read(page, "#url") == "http://localhost:18999/ada/"
    assert key_of("ada") not in page.page_source
    press(page, "[data-copy=step-2-1]")
    says(page, "Copied.")
    assert clipboard().splitlines()[0] == f"OPENAI_API_KEY={key_of('ada')}"
    press(page, "[data-copy=archive-1]")
    until(lambda: clipboard() == steps.archive(lab.config, person("ada"))[0].text)
    press(page, "[data-copy=step-1-1]")
    until(
        lambda: (
            clipboard().splitlines()[1:3]
            == [". .venv/bin/activate", "pip install -r requirements.txt"]
        )
    )
    press(page, "[data-copy=url]")
    until(lambda: clipboard() == "http://localhost:18999/ada/")
    press(page, "#show-key")
    assert read(page, "#key") == key_of("ada")
    assert f"Bearer {key_of('ada')}" in read(page, "#step-5-1")
    press(page, "#show-key")
    assert key_of("ada") not in page.page_source
    assert faults(page) == []


def test_leaving_takes_the_key_out_of_the_browser(lab: Lab, page: Any) -> None:
    """The next one at this computer finds nothing."""
    enter(page, lab, key_of("ada"))
    until(lambda: read(page, "#url"))
    assert page.execute_script("return localStorage.length") == 1
    press(page, "#leave")
    until(lambda: page.find_elements("id", "word"))

    assert page.execute_script("return localStorage.length + sessionStorage.length") == 0
    assert page.get_cookies() == []


def test_session_that_ended_leads_back_to_the_door(lab: Lab, page: Any) -> None:
    """By itself, and the browser forgets the key."""
    enter(page, lab, key_of("ada"))
    until(lambda: read(page, "#url"))
    lab.configure(seats=(person("ada", key_hash="0" * 64), person("bob")))

    until(lambda: page.find_elements("id", "word"))
    until(lambda: page.execute_script("return localStorage.length") == 0)


def test_link_from_another_site_leads_in(lab: Lab, page: Any) -> None:
    """Browsers keep the cookie back then; the door finds the session, and the key stays."""
    enter(page, lab, key_of("ada"))
    until(lambda: read(page, "#url"))
    port = lab.url.rpartition(":")[2]
    page.get(f"http://localhost:{port}/healthz")
    page.execute_script("location.href = arguments[0]", f"{lab.url}/me")

    until(lambda: read(page, "#url"))
    assert page.execute_script("return localStorage.getItem('workshop-key')") == key_of("ada")


def test_latecomer_claims_a_spare_seat(spare: Lab, page: Any) -> None:
    """The code, then the name, then the own page with the key in sight, for the code is used up."""
    enter(page, spare, code_of("spare-1"))
    until(lambda: one(page, "#name").is_displayed())
    assert page.switch_to.active_element.get_attribute("id") == "name"
    page.switch_to.active_element.send_keys("Zoë")
    hand = threading.Thread(target=lambda: spare.grant(key=key_of("spare-1")))
    hand.start()
    press(page, "#go")
    hand.join()

    until(lambda: read(page, "#key") == key_of("spare-1"))
    assert "Your code is used up" in read(page, "#new")


def test_wrong_word_is_explained(lab: Lab, page: Any) -> None:
    """Beside the field, read out, and the field has the focus again."""
    enter(page, lab, "<img src=x>")
    until(lambda: one(page, "#wrong").is_displayed())

    assert "neither a key nor a code" in read(page, "#wrong")
    assert one(page, "#wrong").find_elements("tag name", "code")
    until(lambda: page.switch_to.active_element.get_attribute("id") == "word")


def test_page_without_the_key_asks_for_it_again(lab: Lab, page: Any) -> None:
    """Logged in, in a browser whose storage was emptied; a wrong one is not taken."""
    lab.open_seat(page)
    field = one(page, "#again")
    field.send_keys(key_of("bob") + "\n")
    says(page, "not your key")
    field.clear()
    field.send_keys(key_of("ada") + "\n")
    says(page, "here again")

    assert page.execute_script("return localStorage.getItem('workshop-key')") == key_of("ada")
    assert one(page, "#show-key").is_displayed()


# -- live ---------------------------------------------------------------------------------------


def test_change_is_on_the_page_without_reload(lab: Lab, page: Any) -> None:
    """A state, a deploy with the doctor's words, an announcement; foreign text stays text."""
    lab.open_seat(page)
    page.execute_script("window.mark = 1")
    lab.change("ada", state=State.CRASHING, detail="<i>exit 1</i>", deploys=RUNS)
    until(lambda: "Crashing" in read(page, "#app"))
    lab.announce("Lunch <b>now</b>")
    until(lambda: "Lunch <b>now</b>" in read(page, "#says"))

    assert "<i>exit 1</i>" in read(page, "#app")
    assert "Let it listen on 0.0.0.0." in read(page, "#deploys")
    assert page.execute_script("return window.mark") == 1
    assert faults(page) == []


def test_announcement_is_heard_once(lab: Lab, page: Any) -> None:
    """Hidden for good after "Got it"; the next one shows."""
    lab.announce("Lunch")
    lab.open_seat(page)
    until(lambda: "Lunch" in read(page, "#says"))
    press(page, "#dismiss")
    assert not one(page, ".says").is_displayed()
    page.refresh()
    assert not one(page, ".says").is_displayed()
    lab.announce("Back at two")

    until(lambda: "Back at two" in read(page, "#says"))


def test_log_is_shown_while_it_is_open(lab: Lab, page: Any) -> None:
    """New lines come by themselves, and markup in them is text."""
    lab.write_log("ada", "first")
    lab.open_seat(page)
    press(page, "#log summary")
    until(lambda: read(page, "#lines") == "first")
    lab.write_log("ada", "first", "<script>alert(1)</script>")

    until(lambda: read(page, "#lines") == "first\n<script>alert(1)</script>")


def test_page_says_that_it_is_not_live_and_recovers(lab: Lab, page: Any) -> None:
    """When the board is away, and when it is back."""
    lab.open_seat(page)
    until(lambda: not one(page, "#cut").is_displayed())
    lab.stop()
    until(lambda: "Not live since" in read(page, "#cut"))
    lab.start()
    until(lambda: not one(page, "#cut").is_displayed())
    lab.change("ada", state=State.SILENT)

    until(lambda: "No answer" in read(page, "#app"))


# -- what is asked for ------------------------------------------------------------------------------


def test_restart_tells_what_became_of_it(lab: Lab, page: Any) -> None:
    """The wish is placed, and its answer is on the page."""
    lab.open_seat(page)
    press(page, "[data-wish=restart]")
    assert lab.grant("`ada` restarted").what is What.RESTART

    says(page, "ada restarted")
    assert one(page, "#toast").get_attribute("class") == "toast good"


def test_start_afresh_asks_first(lab: Lab, page: Any) -> None:
    """Escape and the first button do nothing; the second one does it."""
    lab.open_seat(page)
    press(page, "[data-wish=reset]")
    assert one(page, "#sure").is_displayed()
    page.switch_to.active_element.send_keys("\ue00c")
    until(lambda: not one(page, "#sure").is_displayed())
    assert page.switch_to.active_element.get_attribute("data-wish") == "reset"
    assert lab.wishes() == []
    press(page, "[data-wish=reset]")
    press(page, "#sure [value=yes]")

    assert lab.grant("no room", done=False).what is What.RESET
    says(page, "no room")
    assert one(page, "#toast").get_attribute("class") == "toast bad"


def test_going_back_names_the_version(deployed: Lab, page: Any) -> None:
    """The button beside a kept version."""
    deployed.open_seat(page)
    press(page, "[data-text='2-9b1d4c3']")
    wish = deployed.grant("ada runs 2-9b1d4c3")

    assert (wish.what, wish.text, wish.seats) == (What.ROLLBACK, "2-9b1d4c3", ("ada",))
    says(page, "ada runs 2-9b1d4c3")


def test_hand_goes_up_and_keeps_the_focus(lab: Lab, page: Any) -> None:
    """The button is swapped for another one under the finger."""
    lab.open_seat(page)
    press(page, "#hand-button")
    until(lambda: "Hand up" in read(page, "#hand"))
    assert "ada" in lab.service.view.hands
    assert page.switch_to.active_element.get_attribute("id") == "hand-button"
    press(page, "#hand-button")

    until(lambda: "Raise your hand" in read(page, "#hand"))
    assert lab.service.view.hands == {}


# -- the upload box and the checks --------------------------------------------------------------------


@pytest.fixture
def intake(tmp_path: Path, lab: Lab) -> Iterator[Intake]:
    """Run an intake that somebody takes orders from, and tell the board of it."""
    found = Intake(tmp_path / "intake").start()
    found.server.start()
    seats = (person("ada", url=f"{found.url}/ada/"), person("bob"))
    lab.configure(url=found.url, seats=seats)
    yield found
    found.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Have an app to send."""
    path = tmp_path / "app.zip"
    path.write_bytes(crafted.plain_zip())
    return path


def test_upload_is_followed_to_its_end(lab: Lab, intake: Intake, page: Any, archive: Path) -> None:
    """From this origin to the intake's, with the own key; lines come as the deploy goes on."""
    intake.server.script = [
        {"stage": Stage.BUILDING, "lines": ("Step 1/1",), "number": 1},
        {"stage": Stage.LIVE, "version": "v1"},
    ]
    intake.server.pace = 1.0
    lab.open_seat(page)
    hold_key(page)
    one(page, "#file").send_keys(str(archive))

    until(lambda: "Step 1/1" in read(page, "#told"))
    assert "deployed" not in read(page, "#told")
    until(lambda: read(page, "#told").rstrip().endswith("deployed"))
    assert read(page, "#told").splitlines()[:2] == ["Sending app.zip …", "Received 5 files, 78 kB."]
    assert f"Live: {intake.url}/ada/" in read(page, "#told")
    assert "good" in one(page, "#told").get_attribute("class")
    (order,) = until(lambda: intake.server.taken)
    assert order.seat == "ada"
    assert faults(page) == []


def test_upload_that_fails_shows_the_doctors_words(
    lab: Lab, intake: Intake, page: Any, archive: Path, tmp_path: Path
) -> None:
    """And what is no archive is refused, here or there; the box can be used again each time."""
    finding = Finding("exits", "Your app <b>ends</b> at once.", ("app.py:3",), "Mend line 3.")
    intake.server.script = [{"stage": Stage.FAILED, "finding": finding}]
    lab.open_seat(page)
    hold_key(page)
    for name, words in (("notes.txt", "is no archive"), ("text.zip", "a text, not an archive")):
        wrong = tmp_path / name
        wrong.write_text("just a text\n" * 100, "utf-8")
        one(page, "#file").send_keys(str(wrong))
        until(lambda words=words: words in read(page, "#told"))
        until(one(page, "#file").is_enabled)
    one(page, "#file").send_keys(str(archive))

    until(lambda: "Mend line 3." in read(page, "#told"))
    assert "Your app <b>ends</b> at once." in read(page, "#told")
    assert "bad" in one(page, "#told").get_attribute("class")


def test_file_can_be_dropped(lab: Lab, intake: Intake, page: Any) -> None:
    """On the box; one that misses it does not replace the page."""
    lab.open_seat(page)
    hold_key(page)
    drop = """
        const [bytes, place] = arguments, held = new DataTransfer();
        held.items.add(new File([Uint8Array.from(bytes)], "mine.zip"));
        document.querySelector(place).dispatchEvent(
          new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: held }));
    """
    page.execute_script(drop, list(crafted.plain_zip()), "#steps-title")
    page.execute_script(drop, list(crafted.plain_zip()), "#drop")

    until(lambda: read(page, "#told").rstrip().endswith("deployed"))
    (order,) = until(lambda: intake.server.taken)
    assert order.seat == "ada"


def test_upload_without_a_key_is_not_tried(
    lab: Lab, intake: Intake, page: Any, archive: Path
) -> None:
    """It says where to type it."""
    lab.open_seat(page)
    one(page, "#file").send_keys(str(archive))

    until(lambda: "does not have your key" in read(page, "#told"))
    assert intake.server.taken == []


def test_ready_says_yes_where_everything_works(lab: Lab, intake: Intake, page: Any) -> None:
    """Streams, WebSocket, the class's server, the registry, the own key."""
    lab.open_seat(page)
    hold_key(page)
    press(page, "#check")

    until(lambda: "You are ready" in read(page, "#verdict"))
    rows = [row.text.splitlines()[1] for row in page.find_elements("css selector", "#checks li")]
    assert rows == ["Good"] * 6
    assert "one by one" in read(page, "#ready-events")
    # An intake alone has neither a first page nor apps, nor a registry behind it.
    assert [line for line in faults(page) if "404" not in line] == []


def test_ready_says_what_does_not_work_and_what_to_do(lab: Lab, page: Any) -> None:
    """Nobody listens at the class's address, and this browser does not have the key."""
    lab.open_seat(page)
    press(page, "#check")

    until(lambda: "4 of 6 need a look" in read(page, "#verdict"))
    for name in ("host", "app", "registry", "key"):
        assert "Not good" in read(page, f"#ready-{name}")
        assert "What to do:" in read(page, f"#ready-{name}")
    for name in ("events", "socket"):
        assert "Good" in read(page, f"#ready-{name}")


# -- on a phone, and for everybody ------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 900, 1280])
def test_nothing_is_cut_off(lab: Lab, page: Any, width: int) -> None:
    """The page never scrolls sideways, with long names, long versions and long lines."""
    long = "https://" + "a-long-name-" * 5 + ".class.example.org:8443/"
    lab.configure(seats=(person("ada", display_name="Ada " * 12, url=long), person("bob")))
    runs = (replace(RUNS[0], evidence=("x" * 300,)), deploy(2, kept=True, version="9" * 60))
    lab.change("ada", detail="y" * 200, deploys=runs)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    lab.open_seat(page)
    hold_key(page)
    press(page, "#show-key")

    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_all_of_it_works_from_the_keyboard(deployed: Lab, page: Any) -> None:
    """Tab reaches every control in the order of the page, and none is hidden below the bar."""
    deployed.open_seat(page)
    hold_key(page)
    look = """
        const one = document.activeElement, box = one.getBoundingClientRect();
        const bar = document.querySelector('.mine-top').getBoundingClientRect().bottom;
        const seen = box.top >= bar - 1 || one.closest('.mine-top, .skip') !== null;
        return [one.id || one.dataset.wish || one.dataset.copy || one.innerText, seen];
    """
    reached = []
    for _ in range(60):
        ActionChains(page).send_keys("\ue004").perform()
        reached.append(tuple(page.execute_script(look)))
        if reached[-1][0] == "archive-2":
            break
    names = [name for name, _ in reached]

    assert [name for name, seen in reached if not seen] == []
    expected = [
        "hand-button",
        "leave",
        "url",
        "url",
        "restart",
        "reset",
        "file",
        "show-key",
        "check",
    ]
    assert [name for name in names if name in expected] == expected
    assert names[-1] == "archive-2"


@pytest.mark.parametrize("theme", THEMES)
def test_page_with_everything_open_shuts_nobody_out(deployed: Lab, page: Any, theme: str) -> None:
    """The key in sight, the log, the checks, what an upload said, a toast; then the question."""
    dress(page, theme)
    deployed.write_log("ada", "one line")
    deployed.announce("Lunch")
    deployed.participant().post("/me/hand", {"up": True})
    deployed.open_seat(page)
    until(lambda: one(page, "#no-key").is_displayed())
    keyless = serious(page)
    hold_key(page)
    for selector in (
        "#show-key",
        "#log summary",
        "#earlier summary",
        "#check",
        "[data-wish=restart]",
    ):
        press(page, selector)
    deployed.grant("ada restarted")
    page.execute_script("document.getElementById('told').hidden = false")
    until(lambda: "need a look" in read(page, "#verdict"))
    until(lambda: "one line" in read(page, "#lines"))
    opened = serious(page)
    press(page, "[data-wish=reset]")

    assert (keyless, opened, serious(page)) == ([], [], [])


@pytest.mark.parametrize("theme", THEMES)
def test_door_with_all_its_fields_shuts_nobody_out(spare: Lab, page: Any, theme: str) -> None:
    """A wrong word is explained, then a right code asks for a name."""
    dress(page, theme)
    enter(page, spare, "wrong")
    until(lambda: one(page, "#wrong").is_displayed())
    wrong = serious(page)
    until(one(page, "#go").is_enabled)
    one(page, "#word").clear()
    one(page, "#word").send_keys(code_of("spare-1") + "\n")
    until(lambda: one(page, "#name").is_displayed())

    assert (wrong, serious(page)) == ([], [])
