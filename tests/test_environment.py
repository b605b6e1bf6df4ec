"""``.env`` files: one grammar, exact values, faults that never show a value."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import nasty
from workshop import settings as machine
from workshop.environment import MAX_VALUE, looks_secret, parse_env_file, quote
from workshop.errors import InputError
from workshop.roster import Participant, parse
from workshop.rosterfile import block_entry
from workshop.yamltree import read_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n\n# note\nB=two words  # why\n", {"A": "1", "B": "two words"}),
        ("export A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A='it is\n$HOME \\n'\n", {"A": "it is\n$HOME \\n"}),
        ('A="line\\nline \\"q\\" \\\\ \\$x"  # c\n', {"A": 'line\nline "q" \\ $x'}),
        ('A="over\ntwo"\nB=', {"A": "over\ntwo", "B": ""}),
        ("A=a=b#c", {"A": "a=b#c"}),
        ("  A = spaced  ", {"A": "spaced"}),
        ("A=''\n", {"A": ""}),
        ('A="\\x41\\x0a\\xZZ\\q\\x4"', {"A": "A\n\\xZZ\\q\\x4"}),
        ("", {}),
    ],
)
def test_env_file_is_read_as_documented(text: str, expected: dict[str, str]) -> None:
    """B28: each line of the grammar."""
    assert parse_env_file(text, ".env") == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nA=2\n", ".env:2:1: A stands twice"),
        ("A='open\nB=1\n", ".env:1:1: expected NAME=value"),
        ("justtext\n", ".env:1:1: expected NAME=value"),
        ("1A=x\n", ".env:1:1: '1A' is not a variable name"),
        ("PATH=/x\n", ".env:1:1: PATH is set by the platform"),
        ("A='x' trailing\n", ".env:1:1: expected NAME=value"),
    ],
)
def test_env_file_fault_names_its_line(text: str, expected: str) -> None:
    """B28: what is wrong, and where."""
    _, faults = parse_env_file(text, ".env")

    assert str(faults[0]).startswith(expected)


def test_env_file_fault_never_shows_a_value() -> None:
    """A secret in a broken line stays secret."""
    _, faults = parse_env_file("KEY='verysecret\nPATH=alsosecret\n", ".env")

    assert faults
    assert "secret" not in " ".join(map(str, faults))


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@settings(max_examples=1000)
@given(TEXT)
def test_quoted_value_comes_back_as_it_was(value: str) -> None:
    """T58: any text without NUL, written by the platform, is read back exactly."""
    assert parse_env_file(f"A={quote(value)}\n", ".env") == ({"A": value}, [])


@settings(max_examples=300)
@given(st.lists(TEXT, max_size=8))
def test_quoted_values_do_not_run_into_each_other(given_values: list[str]) -> None:
    """Neither with Windows line ends, which change nothing inside a value."""
    wanted = {f"A{number}": value for number, value in enumerate(given_values)}
    for end in ("\n", "\r\n"):
        text = "".join(f"export {name}={quote(value)}{end}" for name, value in wanted.items())
        assert parse_env_file(text, ".env") == (wanted, [])


def test_twenty_thousand_values_come_back_from_a_file(directory: Path) -> None:
    """T58: written by the platform to a disk, and read with the file's own reader."""
    known = list(nasty.values(seed=5, count=20_000))
    file = directory / "seat.env"
    for start in range(0, len(known), 2000):
        wanted = {f"A{n}": value for n, value in enumerate(known[start : start + 2000])}
        text = "".join(f"{name}={quote(value)}\n" for name, value in wanted.items())
        file.write_text(text, "utf-8", newline="")
        assert parse_env_file(read_text(file), file.name) == (wanted, [])


def test_values_come_back_from_a_roster_and_its_file(directory: Path) -> None:
    """In the roster as `workshop add` writes it; `make torture` does it with 20,000."""
    wanted = {f"A{n}": value for n, value in enumerate(nasty.values(seed=6, count=200))}
    file = directory / "seat.env"
    file.write_text("".join(f"{name}={quote(value)}\n" for name, value in wanted.items()), "utf-8")
    file.chmod(0o600)
    entry = block_entry(Participant("ada", env=wanted), "")
    head = "workshop: {name: class, llm: false}\nparticipants:\n"
    both = f"{head}- {{name: bob, env_file: seat.env}}\n" + "\n".join(entry) + "\n"
    roster = parse(both, directory / "participants.yaml")

    assert [person.env for person in roster.participants] == [wanted, wanted]


def test_largest_value_is_read_back_and_a_larger_one_refused() -> None:
    """B26: the bound counts bytes of what the process gets, not of how it is written."""
    largest = "\x01" * MAX_VALUE

    assert parse_env_file(f"A={quote(largest)}", ".env") == ({"A": largest}, [])
    _, faults = parse_env_file(f"A={quote(largest + 'x')}", ".env")
    assert [str(fault) for fault in faults] == [".env:1:1: the value is larger than 32 KiB"]


def test_shell_reads_a_quoted_value_the_same_way_where_it_can() -> None:
    """Whoever sources the file in a shell gets the same, as long as no escape is in it."""
    plain = ["", "a", "two words", "it's", "a#b", "#", "a=b", "ü 日本", "C:/x"]
    text = "".join(f"A{number}={quote(value)}\n" for number, value in enumerate(plain))
    script = text + 'printf "%s\\n" ' + " ".join(f'"$A{number}"' for number in range(len(plain)))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WORKSHOP_WORKERS=12\n", {"workers": 12}),
        ('WORKSHOP_BASE_IMAGE="a\\x62c"  # why\n', {"base_image": "abc"}),
        ("export WORKSHOP_WORKERS='9'\r\nPATH=/x\nOPENAI_API_KEY=k\n", {"workers": 9}),
    ],
)
def test_settings_file_has_the_same_grammar(
    directory: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: dict[str, object]
) -> None:
    """One grammar for all .env files; names of this machine are no business of a seat's rules."""
    for name in list(os.environ):
        if name.startswith("WORKSHOP_"):
            monkeypatch.delenv(name)
    file = directory / ".env"
    file.write_text(text, newline="")
    file.chmod(0o600)
    found = machine.load(directory)

    assert {name: getattr(found, name) for name in expected} == expected
    monkeypatch.setenv("WORKSHOP_WORKERS", "3")
    assert machine.load(directory).workers == 3


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("A='CANARY\n", 0o600, "expected NAME=value, with a closing quote"),
        ("A=CANARY\nA=CANARY\n", 0o600, "A stands twice"),
        ("1A=CANARY\n", 0o600, "'1A' is not a variable name"),
        ("A=CANARY\n", 0o644, "can be read by others on this machine"),
        ("A=CANARY\n", 0o620, "can be read by others on this machine"),
    ],
)
def test_settings_file_that_is_wrong_is_told_without_its_values(
    directory: Path, text: str, mode: int, expected: str
) -> None:
    """T58: refused, with the line or the mode, and never a value."""
    file = directory / ".env"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(InputError) as raised:
        machine.load(directory)
    said = " ".join([raised.value.message, raised.value.hint, *map(str, raised.value.faults)])

    assert expected in said
    assert "CANARY" not in said


@settings(max_examples=1000)
@given(st.text(st.sampled_from("A=b'\"\\ \t\n#$1export\r"), max_size=40))
def test_env_file_of_any_text_ends(text: str) -> None:
    """Random lines end in variables or faults, never in a traceback or a hang."""
    found, faults = parse_env_file(text, ".env")

    assert all(isinstance(value, str) for value in found.values())
    assert all(fault.line >= 1 for fault in faults)


def test_secret_is_guessed_by_name_and_by_shape() -> None:
    """The warning about secrets in a roster rests on this guess."""
    assert looks_secret("API_KEY", "x")
    assert looks_secret("OTHER", "sk-abcdefghijkl")
    assert not looks_secret("GREETING", "hello")
    assert not looks_secret("API_KEY", "")
