"""Commands for seats: add, remove, open, logs, exec, restart, reset, stop, start, announce."""

from __future__ import annotations

import os
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    Act,
    AllOption,
    JsonOption,
    NameArgument,
    NamesArgument,
    RosterOption,
    YesOption,
    app,
    boundary,
    complete_name,
    confirm,
)
from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.apply import Report
    from workshop.workspace import Workspace


@app.command()
def add(  # noqa: PLR0917 - typer hands options over by name
    name: Annotated[str, typer.Argument(help="The newcomer's name, as in the URL.")],
    display_name: Annotated[str, typer.Option(help="The name people see.")] = "",
    email: Annotated[str, typer.Option(help="Where to write to.")] = "",
    env: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for the seat; repeatable.")
    ] = None,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Write a latecomer into the roster, keeping its comments, and bring the seat up.

    Example: workshop add joan --display-name "Joan Clarke"
    """
    from workshop import operations
    from workshop.roster import Participant
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("add", roster, [name])) as output:
        person = Participant(name, display_name=display_name, email=email, env=_pairs(env or []))
        with output.progress() as progress:
            work = Workspace(roster, emit=progress)
            report = operations.add(work, person)
        output.report(report, Workspace(roster))
        raise typer.Exit(0 if report.ok else 1)


@app.command()
def remove(
    name: NameArgument,
    yes: YesOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Take somebody out of the roster, keeping its comments, and remove the seat.

    Example: workshop remove joan --yes
    """
    from workshop import operations
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("remove", roster, [name])) as output:
        work = Workspace(roster)
        work.roster.participant(name)
        confirm(output, f"Remove {name} and everything the seat holds?", yes=yes)
        with output.progress() as progress:
            report = operations.remove(Workspace(roster, emit=progress), name)
        output.report(report, Workspace(roster))
        raise typer.Exit(0 if report.ok else 1)


@app.command("open")
def open_(
    name: NameArgument,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the URL.")] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Print a participant's URL, and open it where there is a browser.

    Example: workshop open ada
    """
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        url = Workspace(roster).seat_url(name)
        if as_json:
            output.document({"name": name, "url": url})
            return
        output.lines([url])
        if not no_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(url)


@app.command()
def logs(
    name: Annotated[
        str,
        typer.Argument(
            help="A participant, edge, gateway or embedded.", autocompletion=complete_name
        ),
    ],
    tail: Annotated[int, typer.Option(min=1, max=100_000, help="How many lines back.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show what a seat has written.

    Example: workshop logs ada --follow
    """
    from workshop import operations
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if as_json and follow:
            raise InputError("--json gives one document; --follow has no end", hint="leave one out")
        lines = operations.logs(Workspace(roster), name, tail=tail, follow=follow)
        if as_json:
            output.document({"name": name, "lines": list(lines)})
        else:
            output.lines(lines)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def exec_(
    name: NameArgument,
    command: Annotated[list[str], typer.Argument(help="What to run, after --.")],
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Run a command inside a seat; its exit status is this command's.

    Example: workshop exec ada -- ls -l /srv/app
    """
    from workshop import operations
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        work = Workspace(roster)
        if as_json:
            code, text = operations.run(work, name, command)
            output.document({"name": name, "exit_code": code, "output": text})
        else:
            code = operations.attach(work, name, command)
        raise typer.Exit(code)


@app.command()
def restart(
    names: NamesArgument = None,
    everybody: AllOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Stop and start seats; what they hold in memory and /tmp is lost.

    Example: workshop restart ada grace
    """
    from workshop.operations import restart as carry_out

    _act("restart", carry_out, names, everybody=everybody, roster=roster, as_json=as_json)


@app.command()
def reset(
    names: NamesArgument = None,
    everybody: AllOption = False,
    yes: YesOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Put fresh containers in place of seats, as the roster says.

    Example: workshop reset ada --yes
    """
    from workshop.operations import reset as carry_out

    _act("reset", carry_out, names, everybody=everybody, roster=roster, as_json=as_json, yes=yes)


@app.command()
def stop(
    names: NamesArgument = None,
    everybody: AllOption = False,
    yes: YesOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Stop seats, to stay so until `workshop start`: no repair and no deploy starts them.

    Example: workshop stop ada --yes
    """
    from workshop.operations import stop as carry_out

    _act("stop", carry_out, names, everybody=everybody, roster=roster, as_json=as_json, yes=yes)


@app.command()
def start(
    names: NamesArgument = None,
    everybody: AllOption = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Bring seats up that were stopped; those that run are left alone.

    Example: workshop start ada
    """
    from workshop.operations import start as carry_out

    _act("start", carry_out, names, everybody=everybody, roster=roster, as_json=as_json)


def _act(
    what: str,
    carry_out: Callable[[Workspace, list[str]], Report],
    names: list[str] | None,
    *,
    everybody: bool,
    roster: Path,
    as_json: bool,
    yes: bool = True,
) -> None:
    """Do one thing to some seats, asked first where ``yes`` does not say so already."""
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act(what, roster, names)) as output:
        if bool(names) == everybody:
            raise InputError("name some participants, or say --all", hint=f"workshop {what} ada")
        known = Workspace(roster).roster
        chosen = names or [person.name for person in known.participants]
        for name in chosen:
            known.participant(name)
        question = f"{what.capitalize()} {', '.join(chosen)}? What they hold in memory is lost."
        confirm(output, question, yes=yes)
        with output.progress() as progress:
            work = Workspace(roster, emit=progress)
            report = carry_out(work, chosen)
        output.report(report, work)
        raise typer.Exit(0 if report.ok else 1)


@app.command()
def announce(
    text: Annotated[str, typer.Argument(help="What to say, in one line.")] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Take back what was said.")] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Say something to everybody, on every participant's page of the board.

    Example: workshop announce "Lunch until one"
    """
    from workshop import announcing
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("announce", roster)) as output:
        if bool(text.strip()) == clear:
            raise InputError(
                "say something, or --clear", hint='workshop announce "Lunch until one"'
            )
        work = Workspace(roster)
        _ = work.roster
        output.announced(announcing.announce(work.state_directory, text))


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--env {key[:40]!r}: expected KEY=VALUE")
        pairs[key] = value
    return pairs
