"""``.env`` files: one grammar, exact values, faults that never show a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.environment import looks_secret, parse_env_file


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


@settings(max_examples=1000)
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_env_file_round_trip_is_exact(value: str) -> None:
    """Any text without NUL and CR that is written with the documented escapes comes back."""
    escaped = (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    )

    assert parse_env_file(f'A="{escaped}"\n', ".env") == ({"A": value}, [])


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
