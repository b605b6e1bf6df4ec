"""top, metrics, monitoring, journal and ``status --watch`` as processes, on a terminal and without."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.cli.test_cli import NO_ENGINE, workshop
from tests.seen import ROSTER, TOKEN, mixed, watched
from workshop import journal, operations
from workshop.board import exposition, shown
from workshop.board.config import load as load_config
from workshop.board.shown import State
from workshop.cli.output import Output
from workshop.status import status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
KEY = "wk-" + "aB3_" * 11
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def place(directory: Path) -> Path:
    """Make a class in which something of everything happened."""
    watched(directory, hands={"finn": time.time() - 200})
    return directory


class Terminal:
    """The command on a terminal of a given size."""

    def __init__(self, directory: Path, columns: int, rows: int, *words: str, **more: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key not in _SIZES}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workshop", *words],
            cwd=directory,
            env={
                **environment,
                "PYTHONPATH": str(ROOT / "platform"),
                "DOCKER_HOST": NO_ENGINE,
                "TERM": "xterm-256color",
                **more,
            },
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.said = ""

    def until(self, words: str, seconds: float = 20.0) -> None:
        """Read until ``words`` stand on the screen, after whatever was read before."""
        start, end = len(self.said), time.monotonic() + seconds
        while words not in CONTROL.sub("", self.said[start:]):
            assert time.monotonic() < end, self.said
            self._read(0.2)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal, read the rest, and return the exit code."""
        self.process.send_signal(number)
        end = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < end
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    def close(self) -> None:
        """Leave nothing running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._master)

    def _read(self, seconds: float) -> None:
        if select.select([self._master], [], [], seconds)[0]:
            # The last one who held the other end is gone.
            with contextlib.suppress(OSError):
                self.said += os.read(self._master, 65536).decode("utf-8", "replace")


_SIZES = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}


@contextlib.contextmanager
def terminal(
    directory: Path, columns: int, rows: int, *words: str, **more: str
) -> Iterator[Terminal]:
    """Run the command on a terminal."""
    opened = Terminal(directory, columns, rows, *words, **more)
    try:
        yield opened
    finally:
        opened.close()


def names(text: str) -> list[str]:
    """Read the first column, without its title."""
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_top_in_a_pipe_prints_once_who_needs_you_first(place: Path) -> None:
    """A raised hand, then what failed, then what is about to, then the others."""
    done = workshop(place, "top")

    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == ["finn", "bob", "grace", "dan", "eve", "heidi", "cleo", "ada"]
    assert "hand up for 3 min" in done.stdout
    assert "ends with exit code 1 again and again" in done.stdout
    assert "deploy 2 failed: port" in done.stdout
    assert "9 of 40 requests failed" in done.stdout
    assert "class: 5 live, 1 silent, 1 crashing, 1 held, 1 hand up" in done.stderr


@pytest.mark.parametrize(
    ("by", "first"),
    [("name", "ada"), ("state", "ada"), ("requests", "eve"), ("errors", "eve"), ("memory", "heidi"),
     ("cpu", "ada"), ("tokens", "cleo"), ("deploy", "eve")],
)  # fmt: skip
def test_top_is_sorted_as_asked(place: Path, by: str, first: str) -> None:
    """The most of it first; the same in the document."""
    done = workshop(place, "top", "--once", "--sort", by)
    document = json.loads(workshop(place, "top", "--sort", by, "--json").stdout)

    assert names(done.stdout)[0] == first
    assert [seat["name"] for seat in document["seats"]] == names(done.stdout)


def test_top_as_a_document_holds_every_figure(place: Path) -> None:
    """One JSON document, for programs."""
    document = json.loads(workshop(place, "top", "--json").stdout)

    assert document["workshop"] == "class"
    assert document["server"] == "live"
    assert document["troubles"] == []
    by_name = {seat["name"]: seat for seat in document["seats"]}
    assert by_name["ada"]["totals"]["requests"] == 120
    assert by_name["ada"]["display_name"] == "Ada"
    assert by_name["finn"]["hand"] is not None
    assert by_name["bob"]["needs"] == "ends with exit code 1 again and again"


def test_top_says_when_nobody_watches(directory: Path) -> None:
    """Old figures must not pass for new ones."""
    watched(directory, beat=300.0)
    done = workshop(directory, "top")

    assert done.returncode == 0
    assert "warning: nobody watches: these figures are 5 min old" in done.stderr


def test_top_says_what_is_wrong_with_the_platform(directory: Path) -> None:
    """A part that is down and what cannot be seen."""
    watched(directory, parts=(("gateway", "exited"),), troubles=("the engine does not answer",))
    done = workshop(directory, "top")

    assert "warning: the engine does not answer" in done.stderr
    assert "warning: not running: gateway (exited); `workshop status`" in done.stderr


def test_top_on_a_terminal_is_live_and_ends_with_ctrl_c(place: Path) -> None:
    """What changes is there a moment later; nothing is said of an interruption."""
    with terminal(place, 120, 30, "top") as opened:
        opened.until("again and again")
        seats = [replace(mixed()[0], state=State.STOPPED, detail="somebody unplugged it")]
        watched(place, seats)
        opened.until("unplugged")

        assert opened.end() == 0
    assert "Traceback" not in opened.said
    assert "interrupted" not in opened.said
    assert opened.said.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"
    assert COLOUR.search(opened.said)


def test_top_that_is_terminated_has_the_signals_exit_code(place: Path) -> None:
    """As every command."""
    with terminal(place, 120, 30, "top") as opened:
        opened.until("crashing")

        assert opened.end(signal.SIGTERM) == 143
    assert "Traceback" not in opened.said


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_top_fits_a_narrow_terminal(place: Path, columns: int) -> None:
    """No line is broken in two; names and states stay."""
    with terminal(place, columns, 30, "top") as opened:
        opened.until("ada ")
        assert opened.end() == 0
    lines = [line.rstrip() for line in CONTROL.sub("", opened.said).replace("\r", "\n").split("\n")]

    assert max(map(len, lines)) <= columns
    assert any(re.match(r"bob +crashing", line) for line in lines)
    assert any(re.match(r"finn +held .*hand", line) for line in lines)


def test_top_shows_as_many_seats_as_the_terminal_is_high(directory: Path) -> None:
    """Those who need you are on top; how many are hidden is said."""
    seats = [replace(mixed()[2], name=f"seat-{number:03d}") for number in range(300)]
    watched(directory, [*seats, mixed()[1]])
    with terminal(directory, 100, 12, "top") as opened:
        opened.until("do not fit this terminal")
        opened.until("seat-")
        opened.end()
    frame = CONTROL.sub("", opened.said.split("class: ")[1])

    assert "bob" in frame
    assert frame.count("seat-") == 7
    assert "293 more" in frame


def test_top_without_colour_has_none(place: Path) -> None:
    """https://no-color.org."""
    with terminal(place, 100, 30, "top", "--once", NO_COLOR="1") as opened:
        opened.until("live")
        opened.process.wait(20)

    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", opened.said)


def test_top_shows_no_control_of_a_participants_program(directory: Path) -> None:
    """What the engine or an app says may hold anything."""
    watched(directory, [replace(mixed()[1], detail="bad \x1b[31m\x07 [red]words[/]\nmore")])
    done = workshop(directory, "top")

    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert "[red]words[/] more" in done.stdout


@pytest.mark.parametrize("command", [["top"], ["metrics"], ["metrics", "--token"], ["monitoring"]])
def test_class_without_a_board_is_told_how_to_get_one(directory: Path, command: list[str]) -> None:
    """The roster is wrong for that: exit code 2, and nothing is written."""
    watched(directory, roster=ROSTER.replace("llm: false", "llm: false, board: false"))
    done = workshop(directory, *command)

    assert done.returncode == 2
    assert "participants.yaml switches the board off" in done.stderr
    assert "workshop provision" in done.stderr
    assert not (directory / "monitoring").exists()


def test_class_without_deploys_is_told_who_would_watch(directory: Path) -> None:
    """The server of deploys does."""
    watched(directory, roster=ROSTER.replace("llm: false", "llm: false, deploys: false"))
    done = workshop(directory, "top")

    assert done.returncode == 2
    assert "switches the server of deploys off" in done.stderr


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"schema": 99}'])
def test_class_nobody_has_seen_is_an_error_with_the_next_step(
    directory: Path, text: str | None
) -> None:
    """Before the first provision, or a file that nobody wrote."""
    path = watched(directory) / "board" / "shown" / shown.FILE
    path.unlink()
    if text is not None:
        path.write_text(text)
    for command in (["top"], ["metrics"]):
        done = workshop(directory, *command)

        assert done.returncode == 1
        assert "nothing has been seen of this class yet" in done.stderr
        assert "next: `workshop provision`" in done.stderr


def test_error_is_a_document_as_well(directory: Path) -> None:
    """``--json`` means it for errors too."""
    watched(directory, roster=ROSTER.replace("llm: false", "llm: false, board: false"))
    done = workshop(directory, "top", "--json")

    assert json.loads(done.stdout)["error"]["code"] == "input"


def test_metrics_are_what_the_board_would_say(place: Path) -> None:
    """The same text, from the same files."""
    home = place / ".workshop" / "board"
    seen = shown.read(home / "shown")
    assert seen is not None
    told = load_config((home / "told" / "config.json").read_text())
    done = workshop(place, "metrics")

    assert done.returncode == 0
    assert done.stdout == exposition.text(seen, told, {"finn": 0})
    assert 'workshop_seat_hand_raised{seat="finn"} 1\n' in done.stdout


def test_token_is_printed_alone(place: Path) -> None:
    """For ``curl -H "Authorization: Bearer $(workshop metrics --token)"``."""
    done = workshop(place, "metrics", "--token")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{TOKEN}\n", "")


def test_monitoring_names_what_it_wrote(place: Path) -> None:
    """Each file, and what to read."""
    done = workshop(place, "monitoring", "--output", "out", "--json")

    written = json.loads(done.stdout)
    assert written["directory"] == "out"
    assert sorted(written["written"]) == sorted(
        path.name for path in (place / "out").iterdir() if path.name != ".gitignore"
    )


def test_monitoring_that_cannot_be_written_is_an_error(place: Path) -> None:
    """A file in the directory's place."""
    (place / "out").write_text("")
    done = workshop(place, "monitoring", "--output", "out")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "out" in done.stderr


def test_status_that_is_watched_has_no_document(place: Path) -> None:
    """It has no end."""
    done = workshop(place, "status", "--watch", "--json")

    assert done.returncode == 2
    assert "--watch has no end" in done.stderr


def test_status_watched_without_a_terminal_or_an_engine_ends(place: Path) -> None:
    """It looks once, and says what is wrong."""
    done = workshop(place, "status", "--watch")

    assert done.returncode == 3


@pytest.fixture
def asking(place: Path) -> Path:
    """Let the class ask models."""
    roster = place / "participants.yaml"
    text = roster.read_text("utf-8")
    assert ", llm: false" in text
    roster.write_text(text.replace(", llm: false", ""), "utf-8")
    return place


def test_usage_watched_in_a_pipe_is_shown_once(asking: Path) -> None:
    """A program that reads it waits for an end."""
    done = workshop(asking, "usage", "--watch")

    assert done.returncode == 0, done.stderr
    assert names(done.stdout)[-1] == "class"


def test_usage_watched_on_a_terminal_ends_with_ctrl_c(asking: Path) -> None:
    """As everything that has no end of its own."""
    with terminal(asking, 120, 30, "usage", "--watch") as opened:
        opened.until("class")

        assert opened.end() == 0
    assert "Traceback" not in opened.said
    assert "interrupted" not in opened.said


def test_journal_is_one_line_each_without_keys(place: Path) -> None:
    """In the order of time, in plain words, and nothing secret even where it was written down."""
    home = place / ".workshop"
    journal.note(home, "restart", names=["ada", "bob"], ok=True)
    with (home / journal.FILE).open("a") as file:
        line = {
            "time": "2026-01-02T03:04:05Z",
            "event": "announce",
            "text": f"use {KEY}\x1b[2J now",
        }
        file.write(json.dumps(line) + "\n")
    done = workshop(place, "journal")

    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert "announce (text use wk-… [2J now)".replace(" [2J", "\ufffd[2J") in first
    assert last.endswith("workshop  ada bob: restart (ok yes)")
    document = workshop(place, "journal", "--json").stdout
    assert KEY not in done.stdout + document
    assert [item["event"] for item in json.loads(document)] == ["announce", "restart"]
    assert "warning: logs of the platform's containers" in done.stderr


def test_journal_of_one_person_leaves_out_all_others(place: Path) -> None:
    """Whoever is named in an entry, alone or among others."""
    home = place / ".workshop"
    journal.note(home, "restart", names=["ada", "bob"])
    journal.note(home, "deploy", seat="bob")
    journal.note(home, "stop", names=["cleo"])

    done = workshop(place, "journal", "bob")
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["restart", "deploy"]
    assert workshop(place, "journal", "nobody").returncode == 2
    assert workshop(place, "journal", "--last", "1").stdout.endswith("cleo: stop\n")


def test_journal_is_followed_until_somebody_ends_it(place: Path) -> None:
    """What happens is told within a moment."""
    home = place / ".workshop"
    journal.note(home, "before")
    with terminal(place, 100, 30, "journal", "--follow") as opened:
        opened.until("before")
        end = time.monotonic() + 20
        while "restart" not in opened.said and time.monotonic() < end:
            # Following begins a moment after the past was shown.
            journal.note(home, "restart", names=["ada"])
            with contextlib.suppress(AssertionError):
                opened.until("ada: restart", 0.5)

        assert opened.end() == 0
    assert "ada: restart" in opened.said
    assert "Traceback" not in opened.said


def test_journal_that_is_followed_has_no_document(place: Path) -> None:
    """It has no end."""
    assert workshop(place, "journal", "--follow", "--json").returncode == 2


def test_journal_of_a_class_that_did_nothing_says_so(place: Path) -> None:
    """An empty screen would look like a fault."""
    done = workshop(place, "journal")

    assert done.stdout == ""
    assert "nothing was written down yet" in done.stderr


def test_status_to_be_watched_shows_what_status_shows(work: Workspace) -> None:
    """The table, and how the platform's parts fare, on one screen of any width."""
    assert operations.provision(work).ok
    found = status(work)
    down = replace(found.seats[-1], state="crashing")
    view = Output().status_view(replace(found, seats=(*found.seats[:-1], down)))
    for width in (40, 200):
        console = Console(width=width, file=io.StringIO())
        console.print(view)
        text = console.file.getvalue()  # type: ignore[attr-defined]

        assert all(name in text for name in ("ada", "bob", "grace"))
        assert "2 of 3 live" in " ".join(text.split())
        assert re.search(r"^grace +crashing", text, re.MULTILINE)
        assert text.index("grace") < text.index("ada")
        assert max(map(len, text.splitlines())) <= width
