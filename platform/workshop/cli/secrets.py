"""The command for secrets that seats are handed as files."""

from __future__ import annotations

import getpass
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    JsonOption,
    RosterOption,
    YesOption,
    app,
    boundary,
    complete_name,
    confirm,
)
from workshop.errors import InputError

if TYPE_CHECKING:
    from workshop.cli.output import Output
    from workshop.workspace import Workspace

_MORE_THAN_ANY = 1 << 20


class SecretAction(StrEnum):
    """What can be done with secrets."""

    SET = "set"
    LIST = "list"
    RM = "rm"


@app.command()
def secrets(  # noqa: PLR0917 - typer hands options over by name
    action: Annotated[SecretAction, typer.Argument(help="What to do.")],
    name: Annotated[str, typer.Argument(help="What it is called: API_TOKEN.")] = "",
    participant: Annotated[
        str,
        typer.Option("--for", help="For this participant alone.", autocompletion=complete_name),
    ] = "",
    source: Annotated[
        Path | None, typer.Option("--from", help="A file with the value, taken as it is.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With rm: all of them.")] = False,
    yes: YesOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Keep secrets for seats, which find them as files in /run/secrets.

    A value is read from standard input or typed unseen; it is never an argument, because every
    process of a machine can read those.

    Example: workshop secrets set API_TOKEN --for ada < token.txt
    """
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if everything and action is not SecretAction.RM:
            raise InputError("--all belongs to rm", hint="leave it out")
        if source is not None and action is not SecretAction.SET:
            raise InputError("--from belongs to set", hint="leave it out")
        if bool(name) == (everything or action is SecretAction.LIST):
            raise InputError(
                "list and `rm --all` take no name, set and rm take one",
                hint="workshop secrets set API_TOKEN",
            )
        work = Workspace(roster)
        if action is SecretAction.SET:
            _set(output, work, name, participant, source)
        elif action is SecretAction.LIST:
            _list(output, work, participant)
        else:
            _remove(output, work, name, participant, yes=yes)


def _set(output: Output, work: Workspace, name: str, participant: str, source: Path | None) -> None:
    from workshop import safekeeping

    value = _from_file(source) if source is not None else _typed(name)
    output.secret_set(safekeeping.put(work, name, value, participant))


def _list(output: Output, work: Workspace, participant: str) -> None:
    from workshop import safekeeping

    if participant:
        work.roster.participant(participant)
    found = safekeeping.listed(work)
    output.secrets(
        [item for item in found if item.participant in {"", participant or item.participant}]
    )


def _remove(output: Output, work: Workspace, name: str, participant: str, *, yes: bool) -> None:
    from workshop import safekeeping

    if name:
        safekeeping.remove(work, name, participant)
        output.secrets_removed(name, participant)
        return
    if participant:
        raise InputError("--all is for everybody's secrets and each one's", hint="leave out --for")
    confirm(output, "Forget every secret of this workshop?", yes=yes)
    safekeeping.remove_all(work)
    output.secrets_removed("", "")


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MORE_THAN_ANY)
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}", hint="check the path") from None


def _typed(name: str) -> bytes:
    """Read a value; an end of line at its end is the terminal's or the editor's."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ").encode()
    value = sys.stdin.buffer.read(_MORE_THAN_ANY)
    return value.removesuffix(b"\n").removesuffix(b"\r")
