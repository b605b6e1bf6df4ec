"""The board on the real engine and edge, in a real browser: what is done there happens to containers.

The class of this file is provisioned once. Its board is reached both ways: at the workshop's own
loopback address, and through the edge on a host of its own.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.hostile_page import PAGE
from tests.e2e.room import Class, provisioned
from tests.e2e.test_deploys import app, packed
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: {{drain_seconds: 2, per_minute: 600}}
  board: {{host: board.localhost}}
  spares: 1
participants: [ada, bob, carl]
"""
SOON = 15.0


def fill(directory: Path) -> None:
    """Lay a small app that everybody starts from."""
    home = directory / "participant_template"
    home.mkdir()
    for name, text in app("template").items():
        (home / name).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision the class."""
    directory = tmp_path_factory.mktemp("board")
    with provisioned(docker_engine, directory, "board", ROSTER, fill) as found:
        yield found


def link(room: Class) -> str:
    """Ask for a way in, to the address on this server."""
    urls = room.json("board")["urls"]
    return str(next(url for url in urls if "//127." in url))


def enter(room: Class, page: Any) -> str:
    """Open the wall as the instructor does; the origin it has."""
    url = link(room)
    page.get(url)
    origin = url.partition("/login")[0]
    until(lambda: page.current_url.rstrip("/") == origin, SOON)
    return origin


def tile(page: Any, name: str) -> str:
    """Read which state the tile of a seat shows."""
    script = "return document.getElementById(arguments[0]).dataset.state"
    return str(page.execute_script(script, f"seat-{name}"))


def inspect(room: Class, name: str, what: str) -> str:
    """Ask the engine about the container of a seat."""
    return subprocess.run(
        ["docker", "inspect", "-f", what, room.containers()[name]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def act(page: Any, name: str, what: str) -> None:
    """Do something to a seat from its drawer, as a person does, and wait until it is done."""
    page.execute_script(f"document.querySelector('#seat-{name} .tile-open').click()")
    until(lambda: page.find_elements("id", f"act-{what}"), SOON)
    page.execute_script(f"document.getElementById('act-{what}').click()")
    asked = page.find_element("id", "confirm")
    if asked.get_attribute("open") is not None:
        page.find_element("id", "confirm-yes").click()


def test_wall_shows_everybody_and_follows_the_engine_without_reloading(
    room: Class, browser: Callable[[], Any]
) -> None:
    """A container that is killed is on the page a moment later, and so is its return."""
    page = browser()
    enter(room, page)
    names = ("ada", "bob", "carl", "spare-1")
    until(lambda: all(tile(page, name) == "live" for name in names), SOON)
    page.execute_script("window.same = true")
    subprocess.run(["docker", "kill", room.containers()["carl"]], check=True, capture_output=True)
    until(lambda: tile(page, "carl") == "stopped")
    room.run("start", "carl")
    until(lambda: tile(page, "carl") == "live", SOON)

    assert page.execute_script("return window.same")


def test_link_that_was_used_opens_nothing_again(room: Class, browser: Callable[[], Any]) -> None:
    """The second one who opens it is told what to do."""
    page = browser()
    url = link(room)
    page.get(url)
    until(lambda: page.current_url.rstrip("/") == url.partition("/login")[0], SOON)
    page.delete_all_cookies()
    page.get("about:blank")
    page.get(url)
    until(lambda: "workshop board" in page.find_element("tag name", "body").text, SOON)

    assert "/login" in page.current_url


def test_restart_and_reset_from_the_drawer_happen_to_the_seat_and_to_nobody_else(
    room: Class, browser: Callable[[], Any]
) -> None:
    """Restart keeps the container, reset replaces it."""
    page = browser()
    enter(room, page)
    began, before = inspect(room, "ada", "{{.State.StartedAt}}"), room.containers()
    act(page, "ada", "restart")
    until(lambda: inspect(room, "ada", "{{.State.StartedAt}}") != began)
    assert room.containers() == before
    until(lambda: "restarted" in words(page, "toasts"))
    act(page, "ada", "reset")
    until(lambda: room.containers().get("ada") not in {None, before["ada"]})
    until(lambda: tile(page, "ada") == "live")
    after = room.containers()

    assert {name: key for name, key in after.items() if name != "ada"} == {
        name: key for name, key in before.items() if name != "ada"
    }
    assert room.whoami("ada") == "ada"


def test_seat_stopped_on_the_board_stays_stopped_through_a_provision(
    room: Class, browser: Callable[[], Any]
) -> None:
    """Until the command starts it."""
    page = browser()
    enter(room, page)
    act(page, "bob", "stop")
    until(lambda: tile(page, "bob") == "held")
    room.run("provision")
    assert inspect(room, "bob", "{{.State.Running}}") == "false"
    assert room.get("/bob/")[0] == 503
    seats = {seat["name"]: seat["state"] for seat in room.json("status")["seats"]}
    assert seats["bob"] == "held"
    room.run("start", "bob")
    until(lambda: tile(page, "bob") == "live")

    assert room.whoami("bob") == "bob"


def test_participant_enters_through_the_edge_deploys_and_raises_a_hand(
    room: Class, browser: Callable[[], Any], tmp_path: Path
) -> None:
    """With the own key, on the board's host; the upload goes the way of all uploads."""
    key = room.json("keys", "show", "ada")[0]["key"]
    page = browser()
    page.get(f"http://board.localhost:{room.port}/me")
    page.find_element("id", "word").send_keys(key)
    page.find_element("id", "go").click()
    until(lambda: page.find_elements("id", "own"), SOON)
    archive = tmp_path / "app.zip"
    archive.write_bytes(packed(app("from the page")))
    page.find_element("id", "file").send_keys(str(archive))
    until(lambda: "from the page" in room.get("/ada/")[2], 90)
    page.execute_script("document.querySelector('#hand button').click()")
    wall = browser_of(page)
    enter(room, wall)
    until(lambda: "hand up" in words(wall, "seat-ada"), SOON)
    page.switch_to.window(page.window_handles[0])
    page.find_element("id", "check").click()
    until(lambda: page.find_element("id", "verdict").text)

    assert "bad" not in {
        item.get_attribute("class") for item in page.find_elements("css selector", "#checks li")
    }, page.find_element("id", "checks").text


def words(page: Any, key: str) -> str:
    """Read a piece of the page at once: live pieces are replaced while one looks."""
    script = "return document.getElementById(arguments[0]).innerText.toLowerCase()"
    return str(page.execute_script(script, key))


def browser_of(page: Any) -> Any:
    """Open another tab of the same browser."""
    page.switch_to.new_window("tab")
    return page


def test_latecomer_claims_a_spare_seat_once_and_is_in_the_roster(
    room: Class, tmp_path: Path
) -> None:
    """The code of a card is exchanged for the key; nothing is to be repaired afterwards."""
    room.run("cards", "--claim", "--output", str(tmp_path / "cards"))
    with (tmp_path / "cards" / "cards.csv").open(encoding="utf-8-sig", newline="") as file:
        code = next(row["claim"] for row in csv.DictReader(file) if row["name"] == "spare-1")
    body = {"word": code, "name": "Grace Hopper"}
    status, said = post(room, "/me/enter", body)
    assert (status, said["name"]) == (200, "spare-1"), said
    assert said["key"] == room.json("keys", "show", "spare-1")[0]["key"]
    again, words = post(room, "/me/enter", body)
    roster = (room.directory / "participants.yaml").read_text()

    assert again == 403, words
    assert "spare-1" in roster
    assert "Grace Hopper" in roster
    assert room.json("provision", "--repair")["ok"]
    assert room.whoami("spare-1") == "spare-1"


def post(room: Class, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Send what a page of the board sends."""
    origin = link(room).partition("/login")[0]
    ask = urllib.request.Request(
        origin + path,
        json.dumps(body).encode(),
        {"content-type": "application/json", "origin": origin},
    )
    try:
        with urllib.request.urlopen(ask, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read() or b"null")


def test_figures_of_visits_are_the_same_on_the_board_and_in_the_command(room: Class) -> None:
    """`/metrics` takes the token alone; `workshop metrics` and `workshop top` need none."""
    for _ in range(5):
        room.get("/carl/whoami")
    counted = 'workshop_seat_requests_total{seat="carl"}'
    until(lambda: sample(room.run("metrics").stdout, counted) >= 5, SOON)
    origin = link(room).partition("/login")[0]
    token = room.run("metrics", "--token").stdout.strip()
    ask = urllib.request.Request(f"{origin}/metrics", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(ask, timeout=30) as answer:
        told = answer.read().decode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{origin}/metrics", timeout=30)
    top = room.json("top", "--once")

    refused.value.close()

    assert sample(told, counted) >= 5
    assert refused.value.code == 401
    assert {seat["name"] for seat in top["seats"]} == {"ada", "bob", "carl", "spare-1"}


def sample(text: str, name: str) -> float:
    """Read one figure; 0 where it is not there."""
    found = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(found[0].split()[1]) if found else 0.0


def test_hostile_page_on_bobs_seat_reads_and_changes_nothing(
    room: Class, browser: Callable[[], Any], tmp_path: Path
) -> None:
    """The instructor is logged in and looks at Bob's app, in the next tab."""
    page = browser()
    origin = enter(room, page)
    before, asked = room.containers(), wishes(room)
    source = tmp_path / "bob"
    source.mkdir()
    for name, text in app(PAGE.replace("BOARD", origin)).items():
        (source / name).write_text(text, "utf-8")
    room.run("deploy", "bob", "--source", str(source))
    page.switch_to.new_window("tab")
    page.get(f"http://localhost:{room.port}/bob/")
    until(lambda: page.execute_script("return window.over"), 120)
    loot = page.execute_script("return window.loot")
    time.sleep(2)
    page.switch_to.window(page.window_handles[0])
    page.get(origin)
    until(lambda: page.find_elements("id", "seat-ada"), SOON)

    assert loot == []
    assert inspect(room, "ada", "{{.State.Running}}") == "true"
    assert {name: key for name, key in before.items() if name != "bob"} == {
        name: key for name, key in room.containers().items() if name != "bob"
    }
    assert wishes(room) == asked


def wishes(room: Class) -> int:
    """Count what was asked for on the board."""
    told = room.json("journal", "--last", "10000")
    return sum(1 for line in told if line["event"] == "wish")
