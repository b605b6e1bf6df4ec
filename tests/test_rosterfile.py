"""Editing the roster: what was not meant to change does not change by a single byte."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workshop import names, roster, rosterfile
from workshop.errors import InputError
from workshop.roster import Participant

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = """\
# the class of spring
workshop: {name: class}   # short

participants:
    # front row
    - ada          # first
    - name: bob
      env: {A: "1"}   # one
      # bob sits at the window

    # back row
    - 'grace'
# the end
"""


@pytest.fixture
def file(directory: Path) -> Path:
    """Write a roster with comments everywhere."""
    path = directory / "participants.yaml"
    path.write_text(BLOCK)
    return path


def test_add_puts_one_line_after_the_last(file: Path) -> None:
    """The newcomer stands at the end, in the file's own indentation."""
    rosterfile.add(file, Participant("joan"))

    assert file.read_text() == BLOCK.replace("    - 'grace'\n", "    - 'grace'\n    - joan\n")


def test_add_with_details_writes_the_long_form(file: Path) -> None:
    """What needs quotes gets them, and reads back exactly."""
    person = Participant(
        "joan",
        display_name='Joan "J" Clarke: #1',
        email="j@x.org",
        env={"A": "a\nb", "B": "no", "C": "ż"},
    )
    rosterfile.add(file, person)
    found = roster.load(file).participant("joan")

    assert (found.display_name, found.email, found.env) == (
        person.display_name,
        person.email,
        person.env,
    )
    assert "    - name: joan\n      display_name:" in file.read_text()


def test_remove_takes_the_lines_of_one_entry(file: Path) -> None:
    """Bob's lines go; comments of others stay."""
    rosterfile.remove(file, "bob")

    assert file.read_text() == BLOCK.replace('    - name: bob\n      env: {A: "1"}   # one\n', "")


def test_remove_then_add_keeps_everybody_else(file: Path) -> None:
    """A round trip through both edits loses nothing."""
    rosterfile.remove(file, "ada")
    rosterfile.add(file, Participant("ada"))

    assert [p.name for p in roster.load(file).participants] == ["bob", "grace", "ada"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("participants: [ada, bob]  # two\n", "participants: [ada, bob, joan]  # two\n"),
        ("participants: [\n  ada,\n  bob ]\n", "participants: [\n  ada,\n  bob, joan]\n"),
    ],
)
def test_add_into_brackets(directory: Path, before: str, after: str) -> None:
    """A list in brackets stays one."""
    path = directory / "participants.yaml"
    path.write_text("workshop: {name: class}\n" + before)
    rosterfile.add(path, Participant("joan"))

    assert path.read_text() == "workshop: {name: class}\n" + after


def test_remove_from_brackets(directory: Path) -> None:
    """A short list in brackets can lose a name."""
    path = directory / "participants.yaml"
    path.write_text("workshop: {name: class}\nparticipants: [ada, bob]  # two\n")
    rosterfile.remove(path, "ada")

    assert path.read_text() == "workshop: {name: class}\nparticipants: [bob]  # two\n"


def test_remove_from_brackets_with_details_is_refused(directory: Path) -> None:
    """What cannot be edited safely is left to the person, untouched."""
    path = directory / "participants.yaml"
    text = "workshop: {name: class}\nparticipants: [ada, {name: bob}]\n"
    path.write_text(text)

    with pytest.raises(InputError, match="in brackets"):
        rosterfile.remove(path, "ada")
    assert path.read_text() == text


def test_add_to_a_file_without_a_last_newline(directory: Path) -> None:
    """The last line is completed first."""
    path = directory / "participants.yaml"
    path.write_text("workshop: {name: class}\nparticipants:\n- ada")
    rosterfile.add(path, Participant("joan"))

    assert path.read_text() == "workshop: {name: class}\nparticipants:\n- ada\n- joan\n"


@pytest.mark.parametrize("name", ["ada", "Ada", "api", "x"])
def test_add_of_a_bad_or_taken_name_changes_nothing(file: Path, name: str) -> None:
    """The file is only replaced by one that reads back without a fault."""
    with pytest.raises(InputError):
        rosterfile.add(file, Participant(name))

    assert file.read_text() == BLOCK


def test_remove_of_nobody_or_the_last_changes_nothing(directory: Path) -> None:
    """An empty class is a teardown, not a removal."""
    path = directory / "participants.yaml"
    text = "workshop: {name: class}\nparticipants:\n  - ada\n"
    path.write_text(text)

    for name, said in (("bob", "nobody"), ("ada", "only participant")):
        with pytest.raises(InputError, match=said):
            rosterfile.remove(path, name)
    assert path.read_text() == text


def test_edit_keeps_the_files_mode(file: Path) -> None:
    """A roster only its owner reads stays so."""
    file.chmod(0o600)
    rosterfile.add(file, Participant("joan"))

    assert file.stat().st_mode & 0o777 == 0o600


def test_edit_keeps_windows_line_ends_and_the_byte_order_mark(directory: Path) -> None:
    """A file written by another editor stays that editor's file."""
    path = directory / "participants.yaml"
    path.write_bytes(b"\xef\xbb\xbfworkshop: {name: class}\r\nparticipants:\r\n- ada\r\n- bob\r\n")
    rosterfile.add(path, Participant("joan", email="j@x.org"))
    rosterfile.remove(path, "bob")

    assert path.read_bytes() == (
        b"\xef\xbb\xbfworkshop: {name: class}\r\nparticipants:\r\n- ada\r\n"
        b"- name: joan\r\n  email: j@x.org\r\n"
    )


SLUGS = st.from_regex(r"[a-z][a-z0-9]{1,6}(-[a-z0-9]{1,4})?", fullmatch=True).filter(
    lambda name: names.problem(name) is None
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(SLUGS, min_size=2, max_size=6, unique=True), st.data())
def test_any_removal_leaves_the_others_byte_for_byte(
    directory: Path, people: list[str], data: st.DataObject
) -> None:
    """Whoever leaves, the lines of the others are the same as before."""
    forms = [
        data.draw(
            st.sampled_from(
                ["- {n}\n", "- name: {n}\n  env: {{A: b}}\n", "# c\n- {n}  # e\n", "-   {n}\n\n"]
            )
        )
        for _ in people
    ]
    blocks = [form.format(n=name) for form, name in zip(forms, people, strict=True)]
    head = "workshop: {name: class}\nparticipants:\n"
    path = directory / "participants.yaml"
    path.write_text(head + "".join(blocks))
    gone = data.draw(st.sampled_from(people))
    rosterfile.remove(path, gone)
    left = path.read_text()

    assert [p.name for p in roster.load(path).participants] == [
        name for name in people if name != gone
    ]
    for name, block in zip(people, blocks, strict=True):
        if name != gone:
            assert textwrap.indent(block.strip("\n"), "") in left
