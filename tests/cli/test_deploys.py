"""The commands of deploys as a process: what is asked, what is shown, which exit code."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_cli import GOOD, NO_ENGINE, ROOT, workshop
from tests.deployed import LOCALHOST, Desk
from workshop.cli.output import Output
from workshop.cli.progress import LiveDeployProgress
from workshop.cli.telling import end, plain
from workshop.deploying import DeployMoved
from workshop.intake.orders import Escape, Finding, Order, Progress, Proof, Stage, What
from workshop.status import DeployStatus, FailedDeploy, SeatStatus, Status
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Script = Callable[[Desk, Order], None]


@pytest.fixture
def place(directory: Path) -> Path:
    """Make a directory with a good roster."""
    (directory / "participants.yaml").write_text(GOOD)
    return directory


@pytest.fixture
def desk(place: Path) -> Desk:
    """Make a class whose server of deploys is at work."""
    return Desk(Workspace(place / "participants.yaml"))


@pytest.fixture
def serving(desk: Desk) -> Iterator[Callable[[Script], None]]:
    """Let a thread take each order as it comes, and play a script with it."""
    over, threads = threading.Event(), []

    def serve(script: Script) -> None:
        seen: set[str] = set()
        while not over.wait(0.02):
            for order in desk.taken():
                if order.id not in seen:
                    seen.add(order.id)
                    script(desk, order)

    def start(script: Script) -> None:
        threads.append(threading.Thread(target=serve, args=(script,)))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join()


def live(desk: Desk, order: Order) -> None:
    """Bring an order live at once."""
    desk.tell(order, Stage.LIVE, number=1, version="0123456789ab")


def failing(desk: Desk, order: Order) -> None:
    """Let everybody but ada fail."""
    if order.seat == "ada":
        live(desk, order)
    else:
        desk.tell(order, Stage.FAILED, number=4, finding=LOCALHOST)


def untouched(desk: Desk, order: Order) -> None:
    """Leave an order where it is."""


# -- asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["deploy", "deploys", "rollback", "serve"])
def test_help_of_each_command_carries_an_example(tmp_path: Path, command: str) -> None:
    """Nobody needs the manual for the common case."""
    done = workshop(tmp_path, command, "--help")

    assert done.returncode == 0
    assert f"Example: workshop {command}" in done.stdout


def test_help_of_serve_says_who_starts_it(tmp_path: Path) -> None:
    """An operator who finds it must not run a second one."""
    assert "provision" in workshop(tmp_path, "serve", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["deploy", "ada"], "--source DIR or --image REF"),
        (["deploy", "ada", "--source", ".", "--image", "app:1"], "--source DIR or --image REF"),
        (["deploy", "--image", "app:1"], "--all"),
        (["deploy", "ada", "--all", "--image", "app:1"], "--all"),
        (["deploy", "ada", "--image", "app:1", "--dockerfile", "D"], "--dockerfile belongs"),
        (["deploy", "adda", "--image", "app:1"], "did you mean ada?"),
        (["deploy", "ada", "--image", "no such"], "cannot be an image"),
        (["deploy", "ada", "--source", "nowhere"], "is no directory"),
        (["deploy", "ada", "--source", "."], "has no Dockerfile"),
        (["rollback"], "--all"),
        (["rollback", "--all"], "nothing to go back from"),
        (["rollback", "ada"], "no version to go back to"),
        (["rollback", "ada", "--to", "7"], "no version"),
        (["deploys", "adda"], "did you mean ada?"),
        (["deploys", "--last", "0"], "--last"),
        (["serve", "--directory", "nowhere"], "provision"),
    ],
)
def test_what_cannot_be_is_exit_2_with_the_next_step(
    place: Path, desk: Desk, arguments: list[str], expected: str
) -> None:
    """The message names what to type instead; no order is written."""
    done = workshop(place, *arguments)

    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert "next: " in done.stderr or arguments[-2] == "--last"
    assert desk.taken() == []


def test_deploy_without_a_server_is_exit_1_with_the_next_step(place: Path, desk: Desk) -> None:
    """Nothing is handed over that nobody would take."""
    desk.beat(11)
    done = workshop(place, "deploy", "ada", "--image", "app:1")

    assert done.returncode == 1
    assert "next: `workshop provision` starts it" in done.stderr


# -- deploy ---------------------------------------------------------------------------------------


def test_deploy_of_source_ends_with_what_is_live(
    place: Path, serving: Callable[[Script], None]
) -> None:
    """Plain lines while it goes on, one line for each seat at the end, exit 0."""
    serving(live)
    done = workshop(place, "deploy", "ada", "bob", "--source", "participant_template")

    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "ada: deploy 1 live, version 0123456789ab\nbob: deploy 1 live, version 0123456789ab\n"
    )
    assert "ada: waiting\nbob: waiting\n" in done.stderr
    assert "bob: live\n" in done.stderr
    assert "\x1b[" not in done.stdout + done.stderr


def test_failed_deploy_says_cause_evidence_and_next_step(
    place: Path, serving: Callable[[Script], None]
) -> None:
    """One seat fails, and its line is all the instructor needs; exit 1."""
    serving(failing)
    done = workshop(place, "deploy", "--all", "--image", "app:1")

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "ada: deploy 1 live, version 0123456789ab",
        (
            f"bob: deploy 4 failed, listens-on-localhost: {LOCALHOST.message}"
            f" Seen: {LOCALHOST.evidence[0]}. Next: {LOCALHOST.next}"
        ),
    ]


def test_deploy_under_json_is_one_document(place: Path, serving: Callable[[Script], None]) -> None:
    """A program reads the finding as a person does."""
    serving(failing)
    done = workshop(place, "deploy", "--all", "--image", "app:1", "--json")
    document = json.loads(done.stdout)
    ada, bob = document["deploys"]

    assert (done.returncode, document["ok"], document["over"]) == (1, False, True)
    assert (ada["name"], ada["stage"], ada["live"], ada["seconds"]) == ("ada", "live", True, 2.5)
    assert bob["finding"]["cause"] == "listens-on-localhost"
    assert bob["live"] is False


def test_deploy_without_waiting_hands_over_and_ends(place: Path, desk: Desk) -> None:
    """Exit 0: nothing has failed yet."""
    done = workshop(place, "deploy", "--all", "--image", "app:1", "--no-wait")

    assert done.returncode == 0
    assert "handed over for ada, bob; `workshop status` shows the queue" in done.stderr
    assert [order.seat for order in desk.taken()] == ["ada", "bob"]


def test_interrupted_deploy_goes_on(place: Path, serving: Callable[[Script], None]) -> None:
    """SIGTERM ends the watching with 143, and the message says so."""
    serving(untouched)
    process = subprocess.Popen(
        [sys.executable, "-m", "workshop", "deploy", "ada", "--image", "app:1"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform"), "DOCKER_HOST": NO_ENGINE},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    # Its first line says that it has begun to watch.
    assert process.stderr.readline() == "ada: waiting\n"
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=30)

    assert process.returncode == 143
    assert "the deploys go on" in rest
    assert "Traceback" not in rest


def test_deploy_on_a_terminal_draws_a_wall(place: Path, serving: Callable[[Script], None]) -> None:
    """The names stand there, the last line of the build, and how many are where; colours too."""

    def building(desk: Desk, order: Order) -> None:
        desk.tell(order, Stage.BUILDING, lines=("Step 3/7 : RUN pip install",))
        wall.wait(30)
        live(desk, order)

    wall = threading.Event()
    serving(building)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "workshop", "deploy", "ada", "--image", "app:1"],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "platform"),
            "DOCKER_HOST": NO_ENGINE,
            "TERM": "xterm-256color",
            "COLUMNS": "90",
        },
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
    )
    os.close(follower)
    drawn = b""
    until = time.monotonic() + 30
    while b"1 building" not in drawn and time.monotonic() < until:
        drawn += os.read(leader, 4096)
    wall.set()
    out, _ = process.communicate(timeout=30)
    os.close(leader)

    assert b"ada building" in drawn
    assert b"ada: Step 3/7 : RUN pip install" in drawn
    assert b"\x1b[" in drawn
    assert out == "ada: deploy 1 live, version 0123456789ab\n"


def test_wall_shows_places_and_counts() -> None:
    """`2 building, 5 waiting` is what thirty at once look like."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=60, color_system=None)
    progress = LiveDeployProgress(console)
    stages = [Stage.BUILDING] * 2 + [Stage.WAITING] * 2 + [Stage.LIVE, Stage.FAILED]
    for number, stage in enumerate(stages):
        ahead = number - 2 if stage is Stage.WAITING else 0
        item = Progress(f"{number}", f"p{number}", What.SOURCE, "p", 0.0, stage, ahead)
        progress(DeployMoved(item))
    with console.capture() as captured:
        console.print(progress.wall())

    assert captured.get().split("\n")[:2] == [
        "+ p0 building  + p1 building  · p2  · p3 1 ahead  ✓ p4  ✗ p5",
        "1 failed, 1 live, 2 building, 2 waiting",
    ]


# -- rollback -------------------------------------------------------------------------------------


def test_rollback_goes_to_the_version_of_a_number(
    place: Path, desk: Desk, serving: Callable[[Script], None]
) -> None:
    """The instructor types what the table shows."""
    desk.runs("ada", 3, 2, 1)
    serving(live)
    done = workshop(place, "rollback", "ada", "--to", "2")

    assert done.returncode == 0, done.stderr
    assert [(order.what, order.version) for order in desk.taken()] == [
        (What.VERSION, "v00000000002")
    ]


def test_rollback_of_all_is_for_those_who_deployed(place: Path, desk: Desk) -> None:
    """Who runs what the roster says is left alone."""
    desk.runs("bob", 1)
    done = workshop(place, "rollback", "--all", "--to", "template", "--no-wait")

    assert done.returncode == 0, done.stderr
    assert [(order.seat, order.version) for order in desk.taken()] == [("bob", "template")]


# -- deploys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "words"), [(0, "abc"), (1, "1 address leaves /ada/")])
def test_end_of_a_deploy_mentions_what_leaves_the_prefix(count: int, words: str) -> None:
    """It is live, and the instructor learns that a link of it is not."""
    proof = Proof(1, (Escape("link", "/", "/docs"),) * count)
    item = Progress("1", "ada", What.SOURCE, "ada", 0.0, Stage.LIVE, version="abc", proof=proof)

    assert words in end(item)
    assert ("leave" in end(item)) == bool(count)


def test_end_of_a_build_shows_its_last_line() -> None:
    """What a build wrote ends with what matters."""
    finding = Finding(
        "build-step", "Line 3 failed.", ("line 3: RUN make", "make: no target"), "Mend."
    )
    item = Progress("1", "ada", What.SOURCE, "ada", 0.0, Stage.FAILED, number=2, finding=finding)

    assert end(item) == (
        "ada: deploy 2 failed, build-step: Line 3 failed. Seen: make: no target. Next: Mend."
    )


@pytest.fixture
def afternoon(desk: Desk) -> Desk:
    """Two people deploy; one of them fails at last."""
    escape = Escape("link", "/: line 12", "/docs", "docs")
    desk.past("ada", Stage.LIVE, 1)
    desk.past("ada", Stage.LIVE, 2, proof=Proof(1, (escape,)))
    desk.past("bob", Stage.REFUSED, 1, finding=Finding("too-many-deploys", "Wait a little."))
    desk.past("ada", Stage.FAILED, 3, finding=LOCALHOST)
    desk.runs("ada", 2, 1)
    return desk


def test_deploys_are_a_table_with_the_live_one_marked(place: Path, afternoon: Desk) -> None:
    """Number, time, who, what, version, digest, result, seconds and cause, oldest first."""
    done = workshop(place, "deploys", TZ="UTC")
    lines = [line.split() for line in done.stdout.splitlines()]

    assert done.returncode == 0
    assert lines[0] == (
        [
            "participant",
            "number",
            "time",
            "by",
            "what",
            "version",
            "digest",
            "result",
            "seconds",
            "cause",
        ]
    )
    assert lines[1] == (
        [
            "ada",
            "1",
            "2023-11-14",
            "22:13:21",
            "ada",
            "source",
            "v00000000001",
            "000000000000",
            "live",
            "2.5",
        ]
    )
    assert lines[2][:3] == ["live", "ada", "2"]
    assert lines[3][0] == "bob"
    assert lines[3][-3:] == ["refused", "2.5", "too-many-deploys"]
    assert lines[4][-3:] == ["failed", "2.5", "listens-on-localhost"]
    assert "next:" not in done.stdout


def test_deploys_of_one_end_with_the_last_failure_in_full(place: Path, afternoon: Desk) -> None:
    """Cause, evidence, next step, and what leaves the prefix in the version that is live."""
    done = workshop(place, "deploys", "ada", "--last", "2")
    table, failure, escapes = done.stdout.split("\n\n")

    assert len(table.splitlines()) == 3
    assert failure.splitlines() == [
        "deploy 3 failed: listens-on-localhost",
        "Your app listens on 127.0.0.1, where only it can reach itself.",
        "  | tcp 127.0.0.1:8000",
        "  | INFO: Uvicorn running on http://127.0.0.1:8000",
        "next: Start it with host 0.0.0.0.",
    ]
    assert escapes.splitlines() == [
        "addresses that leave the prefix in the version that is live:",
        "  /: line 12: link /docs; better: docs",
    ]


def test_deploys_under_json_are_a_list(place: Path, afternoon: Desk) -> None:
    """Everything the log has, and which is live."""
    found = json.loads(workshop(place, "deploys", "ada", "--json").stdout)

    assert [(item["number"], item["stage"], item["live"]) for item in found] == [
        (1, "live", False),
        (2, "live", True),
        (3, "failed", False),
    ]
    assert found[2]["finding"]["evidence"] == list(LOCALHOST.evidence)
    assert found[1]["proof"]["escapes"][0]["better"] == "docs"


def test_deploys_before_the_first_one_are_none(place: Path) -> None:
    """Nothing was deployed: a head without lines, and no error."""
    done = workshop(place, "deploys")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(workshop(place, "deploys", "--json").stdout) == []


def test_what_an_app_wrote_cannot_speak_to_the_terminal(place: Path, desk: Desk) -> None:
    """A log line with control characters would otherwise move the instructor's cursor."""
    nasty = Finding("exits-at-once", "It [red]ended[/].", ("\x1b]0;title\x07\x1b[2Jgone\u202e",))
    desk.past("ada", Stage.FAILED, 1, finding=nasty)
    done = workshop(place, "deploys", "ada")

    assert done.returncode == 0
    assert "It [red]ended[/]." in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)
    assert plain("a\tb\x00c") == "a b\N{REPLACEMENT CHARACTER}c"


# -- status ---------------------------------------------------------------------------------------


def test_status_shows_deploys_and_their_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """A live seat with a failed deploy, the parts of the deploy loop, and the queue."""
    failed = FailedDeploy(4, "listens-on-localhost", "Your app listens on 127.0.0.1.", 1.0)
    deploy = DeployStatus(3, "v3", "", "ada", time.time(), "", failed)
    seat = SeatStatus("ada", "ada", "http://x/ada/", "live", "Up; deploy 4 failed", "v3", deploy)
    shown = Status(
        *("class", "http://x", "live", "off", "off", (seat,)),
        *("live", "live", "live", "live"),
        board="live",
        queue={"waiting": 5, "building": 2},
    )
    Output().status(shown)
    table, said = capsys.readouterr()
    now = time.strftime("%H:%M", time.localtime(deploy.since))

    assert table.splitlines()[1].split()[:5] == ["ada", "live", "v3", "3,", now]
    assert "deploy 4 failed" in table
    assert said.splitlines()[1] == (
        "deploys: live, registry live, intake live, builds live, board live; 5 waiting, 2 building"
    )
    Output(as_json=True).status(shown)
    document = json.loads(capsys.readouterr().out)

    assert document["ok"] is True
    assert document["queue"] == {"waiting": 5, "building": 2}
    assert document["seats"][0]["deploy"]["failed"]["cause"] == "listens-on-localhost"
