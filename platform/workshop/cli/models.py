"""Commands for the class's models: keys, usage, llm."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    Act,
    AllOption,
    JsonOption,
    NamesArgument,
    RosterOption,
    YesOption,
    app,
    boundary,
    confirm,
)
from workshop.errors import InputError

if TYPE_CHECKING:
    from workshop.workspace import Workspace


class KeyAction(StrEnum):
    """What can be done with keys."""

    SHOW = "show"
    ROTATE = "rotate"
    REVOKE = "revoke"
    RESTORE = "restore"


class ModelAction(StrEnum):
    """What can be done with the class's models."""

    PAUSE = "pause"
    RESUME = "resume"


@app.command()
def keys(  # noqa: PLR0917 - typer hands options over by name
    action: Annotated[KeyAction, typer.Argument(help="What to do.")],
    names: NamesArgument = None,
    everybody: AllOption = False,
    yes: YesOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show, renew or withdraw participants' keys to the class's models.

    Example: workshop keys show ada > .env
    """
    from workshop import keyring
    from workshop.workspace import Workspace

    shows = action is KeyAction.SHOW
    act = None if shows else Act(f"keys {action.value}", roster, names)
    with boundary(as_json=as_json, act=act) as output:
        work = Workspace(roster)
        chosen = _chosen(work, names, everybody=everybody)
        if shows:
            output.keys(keyring.show(work, chosen))
            return
        change = {
            KeyAction.ROTATE: keyring.rotate,
            KeyAction.REVOKE: keyring.revoke,
            KeyAction.RESTORE: keyring.restore,
        }[action]
        question = f"{action.value.capitalize()} the keys of {', '.join(chosen)}?"
        if action is KeyAction.ROTATE:
            question += " Their apps restart with the new ones."
        confirm(output, question, yes=yes or action is KeyAction.RESTORE)
        with output.progress() as progress:
            report = change(Workspace(roster, emit=progress), chosen)
        output.report(report, work)
        raise typer.Exit(0 if report.ok else 1)


@app.command()
def usage(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live.")] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show what everybody used of the class's models, and what is left.

    Example: workshop usage --watch
    """
    from workshop.cli import tables
    from workshop.cli.watching import until_stopped
    from workshop.usage import usage as look
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if as_json and watch:
            raise InputError("--json gives one document; --watch has no end", hint="leave one out")
        work = Workspace(roster)
        if watch and output.is_watched:
            with until_stopped():
                output.redraw(lambda: tables.usage_table(look(work)))
        output.usage(look(work))


@app.command()
def llm(
    action: Annotated[ModelAction, typer.Argument(help="What to do.")],
    names: NamesArgument = None,
    everybody: AllOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Stop questions to the class's models for a while, for some or for all.

    Example: workshop llm pause --all
    """
    from workshop import keyring
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act(action.value, roster, names)) as output:
        paused = action is ModelAction.PAUSE
        with output.progress() as progress:
            work = Workspace(roster, emit=progress)
            if everybody and not names:
                keyring.pause_class(work, paused=paused)
            else:
                chosen = _chosen(work, names, everybody=everybody)
                keyring.pause(work, chosen, paused=paused)
        output.paused(names or [], paused=paused)


def _chosen(work: Workspace, names: list[str] | None, *, everybody: bool) -> list[str]:
    if bool(names) == everybody:
        raise InputError("name some participants, or say --all", hint="workshop keys show ada")
    people = work.roster.participants
    chosen = names or [person.name for person in people]
    for name in chosen:
        work.roster.participant(name)
    return chosen
