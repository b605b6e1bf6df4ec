"""The apps an instructor may start from, each provisioned for real, behind the real edge.

One class: Flask, Gradio, a static page, and the template with its Streamlit page.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.e2e.room import ROOT, Class, provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: false
participants:
  - {{name: flask, source: examples/flask}}
  - {{name: gradio, source: examples/gradio, limits: {{memory: 384m}}}}
  - {{name: page, source: examples/static}}
  - {{name: ada, source: participant_template, dockerfile: Dockerfile.streamlit}}
"""
PATIENCE = 150
"""Seconds for a page of half a processor, on a machine that other tests share."""
PAGES = {"flask": "/flask/", "gradio": "/gradio/", "page": "/page/", "ada": "/ada/ui/"}
"""Each seat's page; the template's own at /ada/ has tests of its own."""
MEBIBYTES_AT_REST = {"flask": 64, "gradio": 192, "page": 16, "ada": 96}
"""What a seat may hold before its first visitor; examples/README.md has measured figures."""


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision the four."""
    directory = tmp_path_factory.mktemp("examples")
    with provisioned(docker_engine, directory, "exa", ROSTER, copy_sources) as started:
        yield started


def copy_sources(directory: Path) -> None:
    """Bring what the roster names."""
    leave = shutil.ignore_patterns("__pycache__", ".env", "data", "tests")
    for source in ("examples", "participant_template"):
        shutil.copytree(ROOT / source, directory / source, ignore=leave)


def figures(room: Class) -> dict[str, tuple[float, float]]:
    """Ask the engine for each seat's memory in MiB and its share of a processor in percent."""
    said = subprocess.run(
        ["docker", "stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}} {{.CPUPerc}}"]
        + list(room.containers().values()),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    unit = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    found = {}
    for line in said.splitlines():
        number, amount, suffix, share = re.match(
            r"(\S+) ([\d.]+)(\w+) / \S+ ([\d.]+)%", line
        ).groups()  # type: ignore[union-attr]
        for name, identity in room.containers().items():
            if identity.startswith(number):
                found[name] = (float(amount) * unit[suffix], float(share))
    return found


class Links(HTMLParser):
    """Collects what a page loads and links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down every address of a tag."""
        del tag
        self.found += [
            value for name, value in attrs if name in {"src", "href", "action"} and value
        ]


def test_seat_before_its_first_visitor_is_as_small_as_documented(room: Class) -> None:
    """What an instructor plans with is what the engine measures."""
    seen = figures(room)

    assert {n: seen[n][0] for n in PAGES if seen[n][0] > MEBIBYTES_AT_REST[n]} == {}


def test_seat_without_visitors_leaves_the_processor_alone(room: Class) -> None:
    """Thirty apps that do nothing must not fill two cores: Gradio's own pace would."""
    first, second = figures(room), figures(room)
    shares = {name: min(first[name][1], second[name][1]) for name in PAGES}

    assert {name: share for name, share in shares.items() if share > 2.5} == {}


@pytest.mark.parametrize("name", PAGES)
def test_whoami_names_the_seat(room: Class, name: str) -> None:
    """The identity check after a provision reads this answer."""
    assert room.whoami(name) == name


@pytest.mark.parametrize("name", PAGES)
def test_every_address_of_the_page_answers_under_the_prefix(room: Class, name: str) -> None:
    """Nothing a page loads or links to may leave /NAME/."""
    status, headers, page = room.get(PAGES[name])
    links = Links()
    links.feed(page)
    here = f"http://localhost:{room.port}{PAGES[name]}"
    addresses = {urljoin(here, link) for link in links.found if not link.startswith("data:")}
    outside = {a for a in addresses if not a.startswith(f"http://localhost:{room.port}/{name}/")}
    answers = {a: room.get(urlsplit(a).path)[0] for a in addresses - outside}

    assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
    assert addresses
    assert outside == set()
    assert {a: code for a, code in answers.items() if code != 200} == {}


def test_static_folder_without_slash_is_sent_on_under_the_prefix(room: Class) -> None:
    """Nginx by itself would send the visitor to /about/, which is nobody's."""
    status, headers, _ = room.get("/page/about?x=1")

    assert (status, headers["location"]) == (308, "/page/about/?x=1")
    assert room.get("/page/nothing-here")[0] == 404


def test_streamlit_page_without_slash_is_sent_on_under_the_prefix(room: Class) -> None:
    """FastAPI completes the address, and must know the prefix to do so."""
    status, headers, _ = room.get("/ada/ui")

    assert (status, urlsplit(headers["location"]).path) == (307, "/ada/ui/")


def test_template_works_as_before_beside_streamlit(room: Class) -> None:
    """The mounted page takes nothing away from the app."""
    assert "This app belongs to ada" in room.get("/ada/")[2]
    assert json.loads(room.get("/ada/openapi.json")[2])["paths"]["/chat"]


def test_flask_streams_word_by_word_through_the_edge(room: Class) -> None:
    """Words must arrive one after another, not in one heap at the end."""
    connection = http.client.HTTPConnection("localhost", room.port, timeout=20)
    body = json.dumps({"message": "one two three four five"})
    connection.request("POST", "/flask/chat", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    arrivals = [time.monotonic() for line in answer if line.startswith(b"event: token")]
    connection.close()

    assert answer.getheader("Content-Type", "").startswith("text/event-stream")
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] > 0.1


@pytest.mark.parametrize("body", ["", "{", "[]", '{"message": 7}', '{"message": " "}'])
def test_flask_bad_question_is_refused(room: Class, body: str) -> None:
    """What is not a question gets a 422 that says what to send."""
    connection = http.client.HTTPConnection("localhost", room.port, timeout=20)
    connection.request("POST", "/flask/chat", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()

    assert answer.status == 422
    assert "Send a message" in json.loads(answer.read())["error"]
    connection.close()


RESOURCES = """return performance.getEntriesByType('resource').filter(
    entry => entry.responseStatus != 200).map(entry => [entry.name, entry.responseStatus])"""


def loaded(page: Any) -> list[str]:
    """Return the address of everything the page in the browser has loaded so far."""
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    return [str(address) for address in page.execute_script(script)]


def lengths_until(page: Any, selector: str, last_word: str) -> list[int]:
    """Watch an answer grow until its last word is there; return the lengths it had."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    seen: list[int] = [0]

    def grown(found: Any) -> bool:
        answers = found.find_elements(By.CSS_SELECTOR, selector)
        text = str(answers[-1].get_attribute("textContent")) if answers else ""
        if "echo" in text and len(text) > seen[-1]:
            seen.append(len(text))
        return "echo" in text and last_word in text

    WebDriverWait(page, PATIENCE, poll_frequency=0.02).until(grown)
    return seen


def visited(page: Any, address: str, selector: str) -> None:
    """Load a page until what makes it up is there; who sees nothing for a long time loads it again.

    A page of fifty modules stays empty for ever when one of them does not come.
    """
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    said: list[Any] = []
    for _ in range(3):
        page.get(address)
        try:
            WebDriverWait(page, PATIENCE / 3).until(
                lambda p: p.find_elements(By.CSS_SELECTOR, selector)
            )
        except TimeoutException:
            said += [
                page.page_source[:300],
                page.execute_script(RESOURCES),
                page.get_log("browser"),
            ]
        else:
            return
    pytest.fail(f"{address} does not come: {said}")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "field", "answer"),
    [
        ("flask", "#message", "#log .app"),
        ("gradio", "textarea", "[data-testid=bot]"),
        ("ada", "[data-testid=stChatInput] textarea", "[data-testid=stChatMessage]"),
    ],
)
def test_browser_chat_grows_and_stays_under_the_prefix(
    room: Class, browser: Callable[[], Any], name: str, field: str, answer: str
) -> None:
    """A visitor asks, sees the answer grow, and the page loads nothing from elsewhere."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = browser()
    visited(page, f"http://localhost:{room.port}{PAGES[name]}", field)
    page.find_element(By.CSS_SELECTOR, field).send_keys(
        "alpha beta gamma delta epsilon zeta eta theta omega", Keys.ENTER
    )
    lengths = lengths_until(page, answer, "omega")

    assert len(lengths) >= 4, lengths
    assert all(before < after for before, after in pairwise(lengths))
    inside = f"http://localhost:{room.port}/{name}/"
    addresses = loaded(page)
    assert len(addresses) >= 2
    assert [a for a in addresses if not a.startswith((inside, "data:", "blob:"))] == []


@pytest.mark.browser
def test_browser_document_added_in_streamlit_is_answered_from(
    room: Class, browser: Callable[[], Any], tmp_path: Path
) -> None:
    """An upload passes Streamlit's forgery check under the prefix and reaches the back end."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    document = tmp_path / "quokka.txt"
    document.write_text("The quokka of Rottnest Island weighs about three kilograms.\n")
    page = browser()
    chooser = "[data-testid=stFileUploaderDropzoneInput], input[type=file]"
    visited(page, f"http://localhost:{room.port}/ada/ui/", chooser)
    page.find_element(By.CSS_SELECTOR, chooser).send_keys(str(document))
    WebDriverWait(page, PATIENCE).until(lambda p: "quokka.txt" in p.page_source)
    page.find_element(By.CSS_SELECTOR, "[data-testid=stFormSubmitButton] button").click()
    chosen = "[data-testid=stMultiSelect]"
    WebDriverWait(page, PATIENCE).until(
        lambda p: "quokka.txt" in p.find_element(By.CSS_SELECTOR, chosen).text
    )
    page.find_element(By.CSS_SELECTOR, "[data-testid=stChatInput] textarea").send_keys(
        "How heavy is the quokka?", Keys.ENTER
    )
    WebDriverWait(page, PATIENCE).until(
        lambda p: p.find_elements(By.CSS_SELECTOR, "[data-testid=stExpander]")
    )
    listed = json.loads(room.get("/ada/documents")[2])["documents"]

    assert "quokka.txt" in [item["name"] for item in listed]
    sources = page.find_elements(By.CSS_SELECTOR, "[data-testid=stExpander]")[-1]
    assert "quokka.txt" in sources.get_attribute("textContent")


def test_streamlit_refuses_a_connection_from_a_foreign_page(room: Class) -> None:
    """Another site's script must not drive a visitor's page; the seat's own may."""
    import websocket

    address = f"ws://localhost:{room.port}/ada/ui/_stcore/stream"
    websocket.create_connection(address, origin=f"http://localhost:{room.port}").close()
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(address, origin="http://elsewhere.example")


@contextmanager
def busy(room: Class, name: str) -> Iterator[None]:
    """Keep a seat busy: with a long answer where there is a chat, and with Streamlit's socket."""
    import websocket

    with ExitStack() as stack:
        if name in {"flask", "ada"}:
            connection = http.client.HTTPConnection("localhost", room.port, timeout=20)
            stack.callback(connection.close)
            body = json.dumps({"message": "word " * 700})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/{name}/chat", body, headers)
            assert connection.getresponse().readline().startswith(b"event:")
        if name == "ada":
            address = f"ws://localhost:{room.port}/ada/ui/_stcore/stream"
            stack.callback(websocket.create_connection(address).close)
        yield


@pytest.mark.parametrize("name", PAGES)
def test_busy_seat_ends_by_itself_in_time_and_comes_back(room: Class, name: str) -> None:
    """SIGTERM must be enough, so that a deploy waits for nobody; 137 would be the engine's kill."""
    identity = room.containers()[name]
    with busy(room, name):
        began = time.monotonic()
        subprocess.run(["docker", "stop", "-t", "20", identity], check=True, capture_output=True)
        took = time.monotonic() - began
    code = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.ExitCode}}", identity],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    assert code != "137"
    assert took < 15  # a seat that waits for its visitors would wait for ever
    room.run("provision")
    assert room.whoami(name) == name
