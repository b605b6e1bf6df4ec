"""What all commands share: the application, its common options, and where errors end."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import workshop
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.cli.output import Output

HELP = """Give every participant of a workshop a live, public app: one roster, one command.

Start here:  workshop init my-class && cd my-class && workshop doctor && workshop provision
"""

app = typer.Typer(
    name="workshop",
    help=HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # A traceback with local values could show a key.
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer hands the flag over by position
    if value:
        typer.echo(f"workshop {workshop.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hold the options of the command itself."""
    del version


def complete_name(context: typer.Context, incomplete: str) -> list[str]:
    """Offer participants for completion, from the roster alone: no engine is asked."""
    from workshop import roster

    path = context.params.get("roster") or Path("participants.yaml")
    try:
        people = roster.load(path).participants
    except WorkshopError:
        return []
    return [person.name for person in people if person.name.startswith(incomplete)]


RosterOption = Annotated[
    Path, typer.Option("--roster", "-r", help="The roster.", envvar="WORKSHOP_ROSTER")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write one JSON document to standard output.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NameArgument = Annotated[str, typer.Argument(help="A participant.", autocompletion=complete_name)]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Participants.", autocompletion=complete_name)
]
AllOption = Annotated[bool, typer.Option("--all", help="Everybody in the roster.")]
DEFAULT_ROSTER = Path("participants.yaml")


@contextlib.contextmanager
def boundary(*, as_json: bool) -> Iterator[Output]:
    """End errors here: one line and an exit code for the operator's, a traceback for ours."""
    from workshop.cli.output import Output

    output = Output(as_json=as_json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield output
    except WorkshopError as exc:
        output.error(exc)
        raise typer.Exit(exc.exit_code) from None
    except KeyboardInterrupt as exc:
        output.say("interrupted; `workshop provision` takes up where this one stopped")
        raise typer.Exit(interrupted(exc)) from None
    except BrokenPipeError:
        # Whoever read our output is gone; there is nobody left to tell.
        sys.stderr.close()
        raise typer.Exit(1) from None


def interrupted(exc: KeyboardInterrupt) -> int:
    """Give the exit code of an interrupted command: 128 and the signal's number, as in shells."""
    return 128 + int(next(iter(exc.args), signal.SIGINT))


def _interrupt(number: int, frame: object) -> None:
    del frame
    raise KeyboardInterrupt(number)


def confirm(output: Output, question: str, *, yes: bool) -> None:
    """Ask before something is lost; without a terminal only ``--yes`` is an answer.

    Raises:
        InputError: nobody is there to ask.
        WorkshopError: the answer was no.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is here to ask", hint="add --yes")
    output.say(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise WorkshopError("nothing was done")
