"""What all commands share: the application, its common options, and where errors end."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import workshop
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@dataclass(frozen=True)
class Act:
    """What a command does to the class, for the journal."""

    what: str
    roster: Path
    names: Sequence[str] | None = None
    """Participants; ``None`` for everybody, or where it is about nobody."""
    quiet: bool = False
    """Whether it is worth a line only where it fails, as what a timer does."""


@contextlib.contextmanager
def boundary(*, as_json: bool, act: Act | None = None) -> Iterator[Output]:
    """End errors here: one line and an exit code for the operator's, a traceback for ours.

    A command that changes something says what in ``act``, and how it ended is noted here.
    """
    from workshop.cli.output import Output

    output = Output(as_json=as_json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with _noted(act), _errors_ended(output):
        yield output


@contextlib.contextmanager
def _errors_ended(output: Output) -> Iterator[None]:
    try:
        yield
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


@contextlib.contextmanager
def _noted(act: Act | None) -> Iterator[None]:
    """Note in the journal what was done and how it ended; what touched nothing is not worth it."""
    code, words = 0, ""
    try:
        yield
    except typer.Exit as exc:
        code = exc.exit_code
        words = exc.__context__.message if isinstance(exc.__context__, WorkshopError) else ""
        raise
    except BaseException:
        code = 1
        raise
    finally:
        if act is not None and code != InputError.exit_code and (code or not act.quiet):
            _note(act, code, words)


def _note(act: Act, code: int, words: str) -> None:
    from workshop import journal, state

    home = act.roster.parent / state.DIRECTORY
    if not home.is_dir():
        return
    facts: dict[str, object] = {} if act.names is None else {"seats": list(act.names)}
    facts |= {"words": words} if words else {}
    journal.note(home, act.what, by="instructor", done=code == 0, exit=code, **facts)


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
