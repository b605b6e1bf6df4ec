"""`workshop secrets`, typed as an instructor types it; no engine is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROSTER = """\
workshop: {name: class, llm: false, deploys: false}
participants: [ada, bob]
"""


@pytest.fixture
def room(directory: Path) -> Path:
    """Make a directory with a roster of two."""
    (directory / "participants.yaml").write_text(ROSTER)
    return directory


def type_in(room: Path, *arguments: str, value: bytes = b"") -> tuple[int, str, str]:
    """Run the command: exit status, standard output, standard error."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WORKSHOP_")}
    done = subprocess.run(
        [sys.executable, "-m", "workshop", "secrets", *arguments],
        cwd=room,
        env={**kept, "PYTHONPATH": str(ROOT / "platform"), "XDG_CONFIG_HOME": str(room / "own")},
        input=value,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_secrets_are_set_listed_and_removed(room: Path) -> None:
    """The whole life of two, without a value on either stream."""
    (room / "bundle").write_bytes(b"CANARY\0\xff\n")
    first = type_in(room, "set", "API_TOKEN", value=b"CANARY-1\n")
    again = type_in(room, "set", "API_TOKEN", value=b"CANARY-1")
    own = type_in(room, "set", "BUNDLE", "--for", "ada", "--from", "bundle")
    status, out, _ = type_in(room, "list", "--json")
    listed = json.loads(out)

    assert (first[0], again[0], own[0], status) == (0, 0, 0, 0)
    assert first[2] == again[2], "an end of line at the end is not the value's"
    assert "`workshop provision` hands it over" in first[2]
    assert [(item["name"], item["participant"]) for item in listed] == [
        ("API_TOKEN", ""),
        ("BUNDLE", "ada"),
    ]
    table = type_in(room, "list")[1]
    assert type_in(room, "rm", "BUNDLE", "--for", "ada")[0] == 0
    assert type_in(room, "rm", "--all", "--yes")[0] == 0
    assert json.loads(type_in(room, "list", "--json")[1]) == []
    assert "CANARY" not in str((first, again, own, out, table))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set"], "set and rm take one"),
        (["list", "A"], "list and `rm --all` take no name"),
        (["set", "A", "--all"], "--all belongs to rm"),
        (["list", "--from", "x"], "--from belongs to set"),
        (["set", "A", "--from", "nothing"], "cannot read nothing: No such file or directory"),
        (["set", "A", "--for", "adda"], "did you mean ada?"),
        (["set", "a-b"], "'a-b' cannot name a secret"),
        (["rm", "A"], "no secret A that everybody has"),
        (["rm", "--all", "--for", "ada", "--yes"], "leave out --for"),
        (["rm", "--all"], "add --yes"),
    ],
)
def test_mistake_is_told_with_the_way_out(room: Path, arguments: list[str], words: str) -> None:
    """Exit code 2, a sentence, and neither a traceback nor the value."""
    status, out, err = type_in(room, *arguments, value=b"CANARY")

    assert status == 2
    assert words in err
    assert "CANARY" not in out + err
    assert not (room / ".workshop" / "secrets.json").exists()


def test_value_may_not_stand_on_the_command_line(room: Path) -> None:
    """Every process of a machine can read arguments."""
    status, _, err = type_in(room, "set", "A", "CANARY")

    assert status == 2
    assert "unexpected extra argument" in err.lower()
