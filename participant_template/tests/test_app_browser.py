"""The page in a real browser: what a visitor sees and does."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from app_helpers import Upstream

from app import main

pytest.importorskip("selenium", reason="optional: pip install selenium, and Chromium")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start Chromium once."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser: webdriver.Chrome) -> Iterator["Page"]:
    """Serve the app and open its page; in the end the browser must not have complained."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(main.app, log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        browser.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        yield Page(browser)
        complaints = [line["message"] for line in browser.get_log("browser")]
        browser.get("about:blank")
        server.should_exit = True
        thread.join(10)
    assert not complaints


class Page:
    """What a visitor can do."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def one(self, css: str) -> Any:  # noqa: ANN401 - an element
        """Find one element."""
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[Any]:
        """Find all elements."""
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def wait(self, words: str, where: str = "body") -> None:
        """Wait until these words can be read."""
        WebDriverWait(self.browser, 15, poll_frequency=0.05).until(
            lambda _: words in self.one(where).text
        )

    def ask(self, question: str) -> None:
        """Type a question and press Enter."""
        self.one("#message").send_keys(question + "\n")


def test_page_question_is_answered_and_its_context_shown(page: Page) -> None:
    """The answer stands below the question, and what the model was sent can be opened."""
    page.ask("alpha beta")
    page.wait("tokens read", "#log")

    page.one(".foot summary").click()

    assert page.one("#log .you").text == "alpha beta"
    assert "You said: alpha beta" in page.one("#log .app").text
    page.wait("user, about 3 tokens", ".foot")
    assert page.one("#send").is_displayed()


def test_page_hostile_text_stays_text(page: Page) -> None:
    """Markup in a question, and in the answer that repeats it, is only shown."""
    hostile = "<img src=x onerror=\"document.title='owned'\"> <b>bold</b>"
    page.ask(hostile)
    page.wait("tokens read", "#log")

    assert page.one("#log .you").text == hostile
    assert not page.all("#log img, #log b:not(.foot b)")
    assert page.browser.title != "owned"


def test_page_answer_shows_code_and_toy_badge(page_with_model: Page, upstream: Upstream) -> None:
    """A little Markdown is shown as such, while the toy model is called a toy."""
    upstream.model = "toy-tiny"
    upstream.pieces = ["Use `a`:\n", "```py\n<b>x</b>", "\n``", "`\n**Done** <i>."]

    page_with_model.ask("how?")
    page_with_model.wait("toy model: often wrong", "#log")
    page_with_model.wait("tokens read", "#log")

    assert page_with_model.one("#log pre code").text == "<b>x</b>"
    assert page_with_model.one("#log .app > strong").text == "Done"
    assert page_with_model.one("#log .app > code").text == "a"
    assert "<i>." in page_with_model.one("#log .app").text


def test_page_queue_and_stop(page_with_model: Page, upstream: Upstream) -> None:
    """While waiting the visitor sees their place, and may give up."""
    upstream.pieces, upstream.queue, upstream.never_ends = [], [5, 1], "thinks"

    page_with_model.ask("how?")
    page_with_model.wait("1 question is before yours", "#status")
    page_with_model.one("#stop").click()

    assert upstream.hung_up.wait(5)
    assert page_with_model.one("#send").is_displayed()
    assert page_with_model.one("#status").text == ""
    assert not page_with_model.all("#log .trouble")


@pytest.fixture
def page_with_model(upstream: Upstream, page: Page) -> Page:
    """Open the page of an app with the fake model."""
    assert main.settings.openai_base_url == upstream.url
    return page


def test_page_upload_is_ticked_cited_and_deleted(page: Page, tmp_path: Path) -> None:
    """A visitor's text is used by the next question, and its citation opens the source."""
    text = tmp_path / "cocoa.md"
    text.write_text("# Cocoa\n\nCocoa needs a pinch of salt.", "utf-8")
    page.one("#documents").click()
    page.one("#file").send_keys(str(text))
    page.wait("cocoa.md", "#documents-list")
    assert page.one("#documents-list input:checked + span").text.startswith("cocoa.md")
    page.one("#documents-dialog .close").click()

    assert page.one("#documents").text == "Documents (1)"
    page.ask("What does cocoa need?")
    page.wait("tokens read", "#log")
    page.one("#log .cite").click()
    page.wait("[1] cocoa.md · Cocoa", ".foot details[open] blockquote")

    page.one("#documents").click()
    page.wait("cocoa.md", "#documents-list")
    page.one("#documents-list li button").click()
    WebDriverWait(page.browser, 10).until(lambda _: page.one("#documents").text == "Documents")
    assert "cocoa.md" not in page.one("#documents-list").text


def test_page_refused_upload_is_explained(page: Page, tmp_path: Path) -> None:
    """The reason is read out, and the list stays."""
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    page.one("#documents").click()
    page.one("#file").send_keys(str(tmp_path / "bad.txt"))

    page.wait("The document is not UTF-8 text.", "#documents-trouble")
    # The browser logs every 4xx answer; that one is expected.
    assert [line for line in page.browser.get_log("browser") if "422" in line["message"]]


def test_page_past_conversations_are_listed_opened_and_deleted(page: Page) -> None:
    """A reload shows the conversation again; an earlier one can be opened and deleted."""
    page.ask("first words")
    page.wait("tokens read", "#log")
    page.one("#fresh").click()
    assert page.one("#log").text == ""
    page.ask("second words")
    page.wait("tokens read", "#log")

    page.browser.refresh()
    page.wait("You said: second words", "#log")
    page.one("#past").click()
    page.wait("first words", "#past-list")
    page.all("#past-list li")[1].find_element(By.CSS_SELECTOR, "button").click()
    page.wait("You said: first words", "#log")
    page.ask("third words")
    page.wait("I remember 2 messages", "#log")
    page.one("#past").click()
    page.wait("second words", "#past-list")
    page.one("#past-list li button:last-child").click()
    WebDriverWait(page.browser, 10).until(lambda _: len(page.all("#past-list li")) == 1)
    assert page.one("#log").text == ""


def test_page_works_by_keyboard_and_fits_a_phone(page: Page) -> None:
    """Escape closes a dialog, and nothing is wider than a small screen."""
    page.browser.set_window_size(500, 800)
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True},
    )
    page.one("#documents").send_keys("\n")
    page.wait("Tick all", "#documents-dialog")
    wide = page.browser.execute_script("return document.documentElement.scrollWidth")
    page.browser.switch_to.active_element.send_keys("\ue00c")

    assert wide <= 320
    deadline = time.monotonic() + 5
    while page.one("#documents-dialog").is_displayed():
        assert time.monotonic() < deadline
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
