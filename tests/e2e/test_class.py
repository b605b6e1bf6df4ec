"""A whole afternoon on the real engine, the real edge and a real browser.

Each scenario says what must hold and checks state; nothing sleeps. The class of this file is
provisioned once; scenarios that change it bring it back.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.room import ROOT, Class, initialise, provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

PEOPLE = ("ada", "al", "alan", "grace")
ROSTER = """\
workshop:
  name: {name}
  title: An <b>afternoon</b>
  url: http://localhost:{port}
  llm: false
  deploys: false
participants:
  - ada          # front row
  - al
  - alan
  - name: grace
    display_name: Grace <Hopper>
    env: {{GREETING: Ahoy}}
"""


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision a class of four."""
    directory = tmp_path_factory.mktemp("class")
    with provisioned(docker_engine, directory, "e2e", ROSTER, initialise) as started:
        yield started


def test_every_name_leads_to_its_own_app(room: Class) -> None:
    """Each URL must answer with the name that stands in it."""
    assert [room.whoami(name) for name in PEOPLE] == list(PEOPLE)


def test_second_provision_touches_nothing(room: Class) -> None:
    """Running the command again must change no container."""
    before = room.containers()
    document = room.json("provision")

    assert document["changed"] is False
    assert room.containers() == before


def test_status_says_everybody_is_live(room: Class) -> None:
    """The instructor must see all four at a glance."""
    status = room.json("status")

    assert (status["ok"], status["edge"]) == (True, "live")
    assert {seat["name"]: seat["state"] for seat in status["seats"]} == dict.fromkeys(
        PEOPLE, "live"
    )


def test_stopped_seat_stays_so_until_it_is_started(room: Class) -> None:
    """No provision, no repair and no neighbour's restart brings it back; visitors read why."""
    before = room.containers()
    try:
        room.run("stop", "ada", "--yes")
        status, headers, body = room.get("/ada/")
        held = room.json("status")
        document = room.json("provision")
        repaired = room.json("provision", "--repair")
        restarted = room.json("restart", "al")

        assert status == 503
        assert headers["content-type"].startswith("text/html")
        assert "<code>workshop logs</code>" in body
        assert held["ok"]
        assert {seat["name"]: seat["state"] for seat in held["seats"]}["ada"] == "held"
        assert (document["steps"], repaired["steps"]) == ([], [])
        assert restarted["ok"]
        assert room.get("/ada/")[0] == 503
        assert "held: ada" in room.run("plan").stdout
    finally:
        room.run("start", "ada")
    assert room.whoami("ada") == "ada"
    assert room.containers() == before
    assert room.json("status")["seats"][0]["state"] == "live"


def test_restart_of_one_neither_fails_nor_waits_because_another_crashes(room: Class) -> None:
    """Alan's app ends again and again; Ada's restart is none of its business."""
    crash = "import os, signal; os.kill(1, signal.SIGTERM)"
    ending = subprocess.Popen(
        ["sh", "-c", f'while :; do docker exec {room.name}-alan python -c "{crash}"; done'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        document = room.json("restart", "ada")
    finally:
        ending.kill()
        ending.wait()
        room.run("reset", "alan", "--yes")

    assert document["ok"]
    assert document["seconds"] < 30
    assert room.whoami("alan") == "alan"


def test_env_of_the_roster_reaches_one_seat(room: Class) -> None:
    """Grace's greeting must be Grace's alone."""
    assert "Ahoy" in room.get("/grace/")[2]
    assert "Ahoy" not in room.get("/ada/")[2]


def test_chat_streams_word_by_word_through_the_edge(room: Class) -> None:
    """Tokens must arrive one after another, not in one heap at the end."""
    connection = http.client.HTTPConnection("localhost", room.port, timeout=20)
    body = json.dumps({"message": "one two three four five"})
    connection.request("POST", "/ada/chat", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    arrivals = [
        time.monotonic() for line in answer if line.startswith(b"data:") and b"text" in line
    ]
    connection.close()

    assert answer.getheader("Content-Type", "").startswith("text/event-stream")
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] > 0.1


def test_docs_work_under_the_prefix(room: Class) -> None:
    """The API page must ask for its own schema, not for somebody else's."""
    assert "/ada/openapi.json" in room.get("/ada/docs")[2]
    assert json.loads(room.get("/ada/openapi.json")[2])["paths"]["/chat"]


def test_landing_page_lists_everybody_and_escapes_names(room: Class) -> None:
    """Titles and display names are text, never markup."""
    status, headers, body = room.get("/")

    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert all(f'href="/{name}/"' in body or f'href="{name}/"' in body for name in PEOPLE)
    assert "Grace &lt;Hopper&gt;" in body
    assert "<b>" not in body


def test_name_without_slash_is_sent_to_the_app(room: Class) -> None:
    """/ada must become /ada/ and keep what was asked."""
    status, headers, _ = room.get("/ada?x=1")

    assert (status, headers["location"]) == (308, "/ada/?x=1")


def test_unknown_name_gets_a_friendly_page(room: Class) -> None:
    """Nobody is told a stack trace or an echo of what they typed."""
    status, _, body = room.get("/nobody%3Cscript%3E/")

    assert status == 404
    assert "script" not in body


def test_doctor_finds_nothing_wrong(room: Class) -> None:
    """On the machine that runs the class, no check must fail; its walls are audited."""
    checks = room.json("doctor")

    assert not [check for check in checks if check["verdict"] == "failed"]
    assert [check["verdict"] for check in checks if check["name"] == "hardening"] == ["ok"]


def test_access_log_names_the_seat(room: Class) -> None:
    """Each request is one JSON line with the seat's name and without its query."""
    room.get("/alan/whoami?secret=1")
    deadline = time.monotonic() + 60
    while True:
        lines = [
            json.loads(line) for line in room.json("logs", "edge")["lines"] if line.startswith("{")
        ]
        mine = [line for line in lines if line["seat"] == "alan" and "whoami" in line["path"]]
        if mine or time.monotonic() > deadline:
            break

    assert mine
    assert "secret" not in json.dumps(lines)


def test_exec_runs_inside_the_seat(room: Class) -> None:
    """The command's output and status come back."""
    assert room.run("exec", "ada", "--", "printenv", "WORKSHOP_PARTICIPANT").stdout == "ada\n"
    assert room.run("exec", "ada", "--", "sh", "-c", "exit 7", status=7)
    assert room.json("exec", "ada", "--", "id", "-u") == {
        "name": "ada",
        "exit_code": 0,
        "output": "10001\n",
    }


def test_seat_killed_by_hand_is_told_and_repaired_alone(room: Class) -> None:
    """Status must tell the truth, visitors see a page, provision repairs one seat and no other."""
    before = room.containers()
    subprocess.run(["docker", "kill", before["alan"]], check=True, capture_output=True)
    status = room.json("status", status=1)
    code, headers, body = room.get("/alan/")

    assert {s["name"]: s["state"] for s in status["seats"]}["alan"] == "stopped"
    assert (code, "retry-after" in headers) == (503, True)
    assert "/alan" not in body
    room.run("provision")
    assert room.whoami("alan") == "alan"
    assert room.containers() == before


def test_seat_deleted_by_hand_comes_back_at_its_address(room: Class) -> None:
    """The slot is kept: nobody else's address changes."""
    before = room.containers()
    subprocess.run(["docker", "rm", "-f", before["al"]], check=True, capture_output=True)
    room.run("provision")
    after = room.containers()

    assert room.whoami("al") == "al"
    assert {n: i for n, i in after.items() if n != "al"} == {
        n: i for n, i in before.items() if n != "al"
    }


def test_edge_killed_by_hand_is_repaired(room: Class) -> None:
    """Without the edge nobody is reached, and one command brings it back."""
    subprocess.run(
        ["docker", "rm", "-f", room.containers()["edge"]], check=True, capture_output=True
    )
    assert room.json("status", status=1)["edge"] == "missing"
    room.run("provision")

    assert [room.whoami(name) for name in PEOPLE] == list(PEOPLE)


def test_latecomer_is_added_and_removed_without_touching_others(room: Class) -> None:
    """Joan gets a seat in seconds; the roster keeps its comments; her leaving is a 404."""
    before = room.containers()
    roster = (room.directory / "participants.yaml").read_text()
    room.run("add", "joan", "--display-name", "Joan Clarke")

    assert room.whoami("joan") == "joan"
    assert {n: i for n, i in room.containers().items() if n != "joan"} == before
    assert "# front row" in (room.directory / "participants.yaml").read_text()
    room.run("remove", "joan", "--yes")
    assert room.get("/joan/")[0] == 404
    assert room.containers() == before
    assert (room.directory / "participants.yaml").read_text() == roster


def test_restart_keeps_and_reset_renews_the_container(room: Class) -> None:
    """Both end with the right app under the name."""
    before = room.containers()
    room.run("restart", "ada")
    room.run("reset", "grace", "--yes")
    after = room.containers()

    assert after["ada"] == before["ada"]
    assert after["grace"] != before["grace"]
    assert [room.whoami(name) for name in PEOPLE] == list(PEOPLE)


def test_seat_that_exits_at_once_is_named_and_stops_nobody(room: Class) -> None:
    """The reason is the app's own last words; the others go on."""
    own = room.directory / "broken"
    own.mkdir()
    (own / "Dockerfile").write_text(
        'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCMD ["sh", "-c", "echo KeyError: TOKEN; exit 1"]\n'
    )
    path = room.directory / "participants.yaml"
    roster = path.read_text()
    path.write_text(roster + "  - {name: eve, source: broken}\n")
    document = room.json("provision", status=1)

    assert document["failed"] == {"eve": "exits at once: KeyError: TOKEN"}
    assert room.get("/eve/")[0] == 503
    assert [room.whoami(name) for name in PEOPLE] == list(PEOPLE)
    assert {s["name"]: s["state"] for s in room.json("status", status=1)["seats"]}["eve"] in {
        "crashing",
        "stopped",
        "silent",
    }
    path.write_text(roster)
    room.run("provision", "--prune")


def test_restarts_in_any_order_never_swap_seats(room: Class) -> None:
    """Rounds of stopping all and starting them in another order: nobody under a wrong name.

    Twenty rounds with thirty seats, and engine kills, are in bench/torture/identity.py.
    """
    order = random.Random(20)
    seats = {name: item for name, item in room.containers().items() if name != "edge"}
    wrong = []
    for _ in range(5):
        subprocess.run(["docker", "kill", *seats.values()], check=True, capture_output=True)
        names = list(seats)
        order.shuffle(names)
        subprocess.run(
            ["docker", "start", *(seats[n] for n in names)], check=True, capture_output=True
        )
        for name in names:
            deadline = time.monotonic() + 30
            while (answer := room.get(f"/{name}/whoami"))[0] != 200:
                assert time.monotonic() < deadline, answer
            if json.loads(answer[2])["participant"] != name:
                wrong.append((name, answer[2]))

    assert wrong == []


def test_interrupted_provision_converges(room: Class) -> None:
    """Ctrl-C in the middle of a reset of all: exit 130, and the next run makes it whole."""
    with subprocess.Popen(
        [sys.executable, "-m", "workshop", "reset", "--all", "--yes"],
        cwd=room.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()

    assert process.returncode == 130, said
    assert "Traceback" not in said
    room.run("provision")
    assert [room.whoami(name) for name in PEOPLE] == list(PEOPLE)


@pytest.mark.browser
def test_browser_shows_words_one_after_another(room: Class, browser: Callable[[], Any]) -> None:
    """A participant opens the landing page, follows the link, asks, and sees the answer grow."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    page = browser()
    page.get(f"http://localhost:{room.port}/")
    page.find_element(By.PARTIAL_LINK_TEXT, "ada").click()
    WebDriverWait(page, 10).until(lambda p: p.find_elements(By.ID, "message"))
    assert page.current_url.endswith("/ada/")
    page.find_element(By.ID, "message").send_keys("alpha beta gamma delta epsilon zeta")
    page.find_element(By.ID, "send").click()
    lengths: list[int] = []

    def grown(found: Any) -> bool:
        answers = found.find_elements(By.CSS_SELECTOR, "#log .app")
        text = answers[-1].text if answers else ""
        if not lengths or len(text) > lengths[-1]:
            lengths.append(len(text))
        return "zeta" in text

    WebDriverWait(page, 30, poll_frequency=0.02).until(grown)
    assert len(lengths) >= 4, lengths
