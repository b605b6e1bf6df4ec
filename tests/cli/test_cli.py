"""The command line as a process: exit codes, streams, help, and what a beginner reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = "workshop: {name: class, url: 'http://localhost:18998'}\nparticipants: [ada, bob]\n"
NO_ENGINE = "unix:///run/no-such-engine.sock"


def workshop(
    directory: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in ``directory`` against an engine that does not exist."""
    return subprocess.run(
        [sys.executable, "-m", "workshop", *arguments],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "platform"),
            "DOCKER_HOST": NO_ENGINE,
            "NO_COLOR": "1",
            "COLUMNS": "100",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def place(directory: Path) -> Path:
    """Make a directory with a good roster."""
    (directory / "participants.yaml").write_text(GOOD)
    return directory


COMMANDS = [
    "init", "names", "doctor", "plan", "provision", "status", "logs", "open", "exec", "restart",
    "reset", "add", "remove", "teardown", "keys", "usage", "llm",
    "deploy", "deploys", "rollback", "top", "metrics", "monitoring", "journal",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_carries_an_example(tmp_path: Path, command: str) -> None:
    """Nobody needs the manual for the common case."""
    done = workshop(tmp_path, command, "--help")

    assert done.returncode == 0
    assert f"Example: workshop {command}" in done.stdout
    assert "--json" in done.stdout


def test_help_lists_every_command(tmp_path: Path) -> None:
    """The first screen names all of them and the first steps."""
    done = workshop(tmp_path, "--help")

    assert done.returncode == 0
    assert all(f" {command} " in done.stdout for command in COMMANDS)
    assert "Start here" in done.stdout


def test_version_is_one_line(tmp_path: Path) -> None:
    """The version can be asked for without anything else."""
    done = workshop(tmp_path, "--version")

    assert (done.returncode, done.stdout) == (0, "workshop 0.1.0\n")


@pytest.mark.parametrize("command", ["plan", "provision", "status", "doctor"])
def test_bad_roster_is_exit_2_with_every_fault(directory: Path, command: str) -> None:
    """Faults go to standard error with line and column; nothing is written beside the roster."""
    text = "workshop: {name: X}\nparticipants: [Ada, bob, bob]\n"
    (directory / "participants.yaml").write_text(text)
    before = sorted(directory.iterdir())
    done = workshop(directory, command)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("participants.yaml:") == 3
    assert "Traceback" not in done.stderr
    assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize("command", ["plan", "provision", "status", "logs", "restart"])
def test_absent_engine_is_exit_3_with_the_next_step(place: Path, command: str) -> None:
    """The operator reads what to start."""
    name = ["ada"] if command in {"logs", "restart"} else []
    done = workshop(place, command, *name)

    assert done.returncode == 3
    assert "no Docker engine answers" in done.stderr
    assert "next: " in done.stderr


def test_error_under_json_is_one_document(place: Path) -> None:
    """A program reads the same error a person does."""
    done = workshop(place, "provision", "--json")
    document = json.loads(done.stdout)

    assert document["ok"] is False
    assert document["error"]["code"] == "engine-unreachable"
    assert document["error"]["hint"]


def test_faults_under_json_carry_their_places(directory: Path) -> None:
    """Editors can jump to the line."""
    (directory / "participants.yaml").write_text("workshop: {name: class}\nparticipants: [Ada]\n")
    document = json.loads(workshop(directory, "plan", "--json").stdout)

    assert document["error"]["faults"][0]["line"] == 2
    assert document["error"]["faults"][0]["where"] == "participants[0]"


def test_doctor_without_engine_reports_the_rest(place: Path) -> None:
    """One missing part does not hide the others."""
    done = workshop(place, "doctor")

    assert done.returncode == 3
    assert "engine: no Docker engine answers" in done.stdout
    assert "mend:" in done.stdout
    assert "port: 18998 is free" in done.stdout


def test_doctor_under_json_is_a_list(place: Path) -> None:
    """Each check has a name, a verdict, what was found and how to mend it."""
    checks = json.loads(workshop(place, "doctor", "--json").stdout)

    assert {"name", "verdict", "found", "mend"} == set(checks[0])
    assert "roster" in {check["name"] for check in checks}


def test_missing_roster_says_what_writes_one(tmp_path: Path) -> None:
    """The first mistake of a newcomer has an answer."""
    done = workshop(tmp_path, "plan")

    assert done.returncode == 2
    assert "workshop init" in done.stderr


def test_unknown_option_is_exit_2(tmp_path: Path) -> None:
    """Usage errors are input errors."""
    assert workshop(tmp_path, "plan", "--colour").returncode == 2


def test_teardown_without_anybody_to_ask_is_refused(place: Path) -> None:
    """A script must say --yes; nothing is removed by accident."""
    done = workshop(place, "teardown")

    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_init_writes_a_class_that_is_valid(tmp_path: Path) -> None:
    """What init wrote, names itself by the directory and reads back."""
    done = workshop(tmp_path, "init", "Spring Class")
    directory = tmp_path / "Spring Class"

    assert done.returncode == 0
    assert "name: spring-class " in (directory / "participants.yaml").read_text()
    assert (directory / "participant_template" / "Dockerfile").is_file()
    assert (directory / ".gitignore").read_text() == ".workshop/\n.env\n"
    assert workshop(directory, "plan").returncode == 3


def test_init_never_overwrites(place: Path) -> None:
    """An existing roster is safe."""
    done = workshop(place, "init", ".")

    assert done.returncode == 2
    assert (place / "participants.yaml").read_text() == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "name,display_name,email\njoan,Joan Clarke,joan@example.org\nalan,,\n",
        '\ufeffName;Display_Name\r\njoan;"Joan\r\n"\r\nalan;=cmd\r\n',
    ],
)
def test_init_from_csv_reads_what_spreadsheets_write(tmp_path: Path, text: str) -> None:
    """B38: comma or semicolon, byte order mark, CRLF; cells that look like formulas stay text."""
    (tmp_path / "people.csv").write_bytes(text.encode())
    done = workshop(tmp_path, "init", "class", "--csv", "people.csv", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["participants"] == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("who\njoan\n", "no column 'name'"),
        ("name\nJoan\njoan\njoan\n", "people.csv:2:1"),
        ("name\n", "nobody is in it"),
        ("", "no column 'name'"),
        ('name\n"joan\n', "not valid CSV"),
        ("name\n" + "".join(f"p{i}\n" for i in range(100_000)), "at most 500 people"),
        ("name,email\njoan,nothing\n", "expected an address"),
    ],
)
def test_init_from_bad_csv_names_the_row(tmp_path: Path, text: str, expected: str) -> None:
    """B38: what is wrong, and in which line; nothing is written."""
    (tmp_path / "people.csv").write_text(text)
    done = workshop(tmp_path, "init", "class", "--csv", "people.csv")

    assert done.returncode == 2
    assert expected in done.stderr
    assert not (tmp_path / "class" / "participants.yaml").exists()


def test_names_lists_what_is_reserved(tmp_path: Path) -> None:
    """B19: the list can be read."""
    assert " healthz " in workshop(tmp_path, "names").stdout
    assert "healthz" in json.loads(workshop(tmp_path, "names", "--json").stdout)["reserved"]


def test_open_prints_the_url(place: Path) -> None:
    """No engine is needed to know where somebody is."""
    assert workshop(place, "open", "ada", "--no-browser").stdout == "http://localhost:18998/ada/\n"
    assert workshop(place, "open", "adda").returncode == 2


def test_completion_offers_participants(place: Path) -> None:
    """The shell knows who is in the class, without an engine."""
    # The shell calls the installed script by its name.
    script = "import sys; sys.argv = ['workshop']; from workshop.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "platform"),
            "DOCKER_HOST": NO_ENGINE,
            "_WORKSHOP_COMPLETE": "complete_bash",
            "COMP_WORDS": "workshop open a",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert "ada" in done.stdout.split()


def test_setting_that_does_not_fit_is_exit_2(place: Path) -> None:
    """A wrong environment variable is named by its name."""
    done = workshop(place, "doctor", WORKSHOP_WORKERS="many")

    assert done.returncode == 2
    assert "WORKSHOP_WORKERS" in done.stderr


def test_output_without_a_terminal_has_no_colour(place: Path) -> None:
    """What goes to a file is plain text."""
    done = workshop(place, "doctor", NO_COLOR="")

    assert "\x1b[" not in done.stdout + done.stderr


def test_state_directory_that_cannot_be_written_is_exit_2(place: Path) -> None:
    """The first side effect is refused before any other."""
    (place / ".workshop").write_text("a file in its place")
    done = workshop(place, "teardown", "--yes")

    assert done.returncode == 2
    assert ".workshop" in done.stderr
