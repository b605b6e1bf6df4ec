"""A new workshop directory: a roster to edit, the app to start from, and nothing else."""

from __future__ import annotations

import csv
import io
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop import names, resources, roster, rosterfile, yamltree
from workshop.errors import Fault, InputError
from workshop.roster import MAX_PARTICIPANTS, Participant
from workshop.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

IGNORED = ".workshop/\n.env\n"
COLUMNS = ("name", "display_name", "email")


@dataclass(frozen=True)
class Started:
    """What ``init`` wrote."""

    directory: Path
    written: tuple[str, ...]
    participants: int


def init(directory: Path, *, name: str | None, people: Path | None) -> Started:
    """Write a roster, a copy of the template app and a ``.gitignore`` into ``directory``.

    Args:
        directory: made when it does not exist.
        name: the workshop's name; default: the directory's own, where it can be one.
        people: a CSV file with the columns name, display_name and email; default: the sample.

    Raises:
        InputError: something of it is there already, or the name or the CSV file is not right.

    """
    target = directory / "participants.yaml"
    if target.exists():
        raise InputError(
            f"{target} is there already", hint="edit it, or start in another directory"
        )
    chosen = name or names.suggestion(directory.resolve().name) or "my-workshop"
    trouble = names.problem(chosen)
    if trouble:
        raise InputError(f"workshop name {trouble}")
    text = _with_name(resources.sample_roster().read_text("utf-8"), chosen)
    if people is not None:
        text = _with_people(text, read_csv(people))
    written = ["participants.yaml"]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "participant_template").exists():
            leave = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".venv", ".env")
            shutil.copytree(
                resources.participant_template(), directory / "participant_template", ignore=leave
            )
            written.append("participant_template/")
    except OSError as exc:
        raise InputError(f"cannot write {directory}: {exc.strerror}") from exc
    known = roster.parse(text, target)
    write_atomically(target, text, 0o644)
    if not (directory / ".gitignore").exists():
        write_atomically(directory / ".gitignore", IGNORED, 0o644)
        written.append(".gitignore")
    return Started(directory, tuple(sorted(written)), len(known.participants))


def _with_name(text: str, name: str) -> str:
    return re.sub(r"(?m)^(  name: )\S+", rf"\g<1>{name}", text, count=1)


def _with_people(text: str, people: list[Participant]) -> str:
    head = text[: text.index("participants:\n")]
    entries = (line for person in people for line in rosterfile.block_entry(person, "  "))
    return f"{head}participants:\n{''.join(entries)}"


def read_csv(path: Path) -> list[Participant]:
    """Read people from a spreadsheet's export: comma or semicolon, with a header line.

    Raises:
        InputError: every fault at once, with its line.

    """
    text = yamltree.read_text(path)
    first = text.partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    faults: list[Fault] = []
    people: list[Participant] = []
    try:
        header = [column.strip().lower() for column in rows.fieldnames or ()]
        if "name" not in header:
            expected = f"expected a header line with {', '.join(COLUMNS)} (only name is needed)"
            raise InputError.of([Fault(path.name, 1, 1, "", f"no column 'name'; {expected}")])
        rows.fieldnames = header
        for row in rows:
            person, trouble = _person(row, [other.name for other in people])
            if trouble:
                faults.append(Fault(path.name, rows.line_num, 1, "", trouble))
            else:
                people.append(person)
            if len(people) > MAX_PARTICIPANTS:
                faults.append(
                    Fault(path.name, rows.line_num, 1, "", f"at most {MAX_PARTICIPANTS} people")
                )
                break
    except csv.Error as exc:
        faults.append(Fault(path.name, rows.line_num, 1, "", f"not valid CSV: {exc}"))
    if not people and not faults:
        faults.append(Fault(path.name, 1, 1, "", "nobody is in it"))
    if faults:
        raise InputError.of(faults)
    return people


def _person(row: dict[str, str | None], taken: list[str]) -> tuple[Participant, str | None]:
    name, display, email = ((row.get(column) or "").strip() for column in COLUMNS)
    person = Participant(name, display_name=display, email=email)
    if name in taken:
        return person, f"{names.shown(name)} stands twice"
    return person, names.problem(name)
