"""Edit the roster file as a careful person would: one line in, one line out, nothing reformatted.

The parser tells where each participant stands; the edit touches those lines alone, so comments,
order, quotes and indentation stay as they were. The result is parsed again before it replaces
the file. See ``docs/adr/0004-editing-the-roster.md`` for why no YAML dumper writes the file.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

from workshop import names, roster, yamltree
from workshop.errors import InputError
from workshop.state import write_atomically
from workshop.yamltree import Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.roster import Participant

_LAST_OF_FOUR = 0xFFFF
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 @._/+-]*")


def add(path: Path, person: Participant) -> None:
    """Append ``person`` to the participants in the file at ``path``.

    Raises:
        InputError: the name is not allowed or taken, or the file is not right; it is unchanged.

    """
    trouble = names.problem(person.name)
    if trouble:
        raise InputError(trouble)
    text = yamltree.read_text(path)
    known = roster.parse(text, path)
    if any(other.name == person.name and not other.spare for other in known.participants):
        raise InputError(f"{person.name} is in {path.name} already")
    people = _people(text, path)
    lines = text.splitlines(keepends=True)
    if people.flow:
        _replace(path, _into_brackets(lines, people, _flow_entry(person)))
        return
    indent = " " * _dash_column(lines, people)
    end = people.items[-1].end_line
    newline = "\r\n" if "\r\n" in text else "\n"
    lines[end - 1] = lines[end - 1].rstrip("\r\n") + newline
    entry = [line.replace("\n", newline) for line in block_entry(person, indent)]
    _replace(path, "".join([*lines[:end], *entry, *lines[end:]]))


def remove(path: Path, name: str) -> None:
    """Take the participant ``name`` out of the file at ``path``.

    Raises:
        InputError: nobody is called that, or it is the last one; the file is unchanged.

    """
    text = yamltree.read_text(path)
    if roster.parse(text, path).participant(name).spare:
        raise InputError(
            f"{name} is a spare seat, which {path.name} does not name",
            hint="lower workshop.spares, then `workshop provision --prune`",
        )
    people = _people(text, path)
    if len(people.items) == 1:
        raise InputError(
            f"{name} is the only participant", hint="`workshop teardown` removes the whole workshop"
        )
    if people.flow:
        kept = [item for item in people.items if _name(item) != name]
        if not all(isinstance(item, Scalar) for item in kept) or people.line != people.end_line:
            raise InputError(
                "participants are written in brackets over several lines or with details",
                hint="write one `- name` per line, or take the name out by hand",
            )
        line = text.splitlines(keepends=True)
        inside = ", ".join(_name(item) for item in kept)
        head, tail = line[people.line - 1][: people.column], _after_bracket(line, people)
        line[people.line - 1] = f"{head}{inside}{tail}"
        _replace(path, "".join(line))
        return
    item = next(item for item in people.items if _name(item) == name)
    lines = text.splitlines(keepends=True)
    _replace(path, "".join(lines[: item.line - 1] + lines[item.end_line :]))


def _people(text: str, path: Path) -> Sequence:
    root = yamltree.parse(text, path.name)
    people = root.entries.get("participants") if isinstance(root, Mapping) else None
    if not isinstance(people, Sequence):
        raise InputError(f"{path.name} has no list of participants")
    return people


def _name(item: Node) -> str:
    if isinstance(item, Mapping):
        item = item.entries["name"]
    return item.text if isinstance(item, Scalar) else ""


def _dash_column(lines: list[str], people: Sequence) -> int:
    last = lines[people.items[-1].line - 1]
    return len(last) - len(last.lstrip(" "))


def block_entry(person: Participant, indent: str) -> list[str]:
    """Write one participant as lines of a block list."""
    fields = _fields(person)
    if len(fields) == 1:
        return [f"{indent}- {person.name}\n"]
    first, *rest = [f"{key}: {value}\n" for key, value in fields]
    return [f"{indent}- {first}", *(f"{indent}  {line}" for line in rest)]


def _flow_entry(person: Participant) -> str:
    fields = _fields(person)
    if len(fields) == 1:
        return person.name
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields) + "}"


def _fields(person: Participant) -> list[tuple[str, str]]:
    fields = [("name", person.name)]
    fields += [("display_name", _quoted(person.display_name))] if person.display_name else []
    fields += [("email", _quoted(person.email))] if person.email else []
    if person.env:
        pairs = ", ".join(f"{key}: {_quoted(value)}" for key, value in person.env.items())
        fields.append(("env", "{" + pairs + "}"))
    return fields


def _quoted(value: str) -> str:
    """Write ``value`` so that YAML reads exactly it back; JSON strings are YAML strings."""
    return (
        value
        if _PLAIN.fullmatch(value) and value.strip() == value and value.lower() != "null"
        else "".join(map(_printable, json.dumps(value, ensure_ascii=False)))
    )


def _printable(char: str) -> str:
    """Escape what a reader would refuse or take for a line's end, in the form YAML has for it."""
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= _LAST_OF_FOUR else f"\\U{ord(char):08x}"


def _into_brackets(lines: list[str], people: Sequence, entry: str) -> str:
    row = people.end_line - 1
    line = lines[row]
    place = _bracket(lines, people)
    separator = ", " if people.items else ""
    lines[row] = f"{line[:place].rstrip()}{separator}{entry}{line[place:]}"
    return "".join(lines)


def _bracket(lines: list[str], people: Sequence) -> int:
    """Find the closing bracket: the last one before a comment on the list's last line."""
    code = re.split(r"\s#", lines[people.end_line - 1], maxsplit=1)[0]
    return code.rindex("]")


def _after_bracket(lines: list[str], people: Sequence) -> str:
    return lines[people.end_line - 1][_bracket(lines, people) :]


def _replace(path: Path, text: str) -> None:
    """Put ``text`` in place of the file, once it has been read back without a fault."""
    roster.parse(text, path)
    mark = "\ufeff" if path.read_bytes().startswith(codecs.BOM_UTF8) else ""
    write_atomically(path, mark + text, path.stat().st_mode & 0o777)
