"""Commands that show the class in figures: top, metrics, monitoring, journal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    JsonOption,
    RosterOption,
    app,
    boundary,
    complete_name,
    interrupted,
)
from workshop.errors import InputError
from workshop.ranking import Sort

if TYPE_CHECKING:
    from collections.abc import Iterator


@app.command()
def top(
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="What comes first.")] = Sort.NEEDS,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show live how everybody fares: who needs you first. Ctrl+C ends it.

    Example: workshop top --sort requests
    """
    from workshop.figures import look
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if once or not output.is_watched:
            output.top(look(Workspace(roster)), sort)
            return
        # The roster is read again each time: it may be edited while this stands on the screen.
        with until_stopped():
            output.redraw(lambda: output.top_view(look(Workspace(roster)), sort))


@app.command()
def metrics(
    token: Annotated[
        bool, typer.Option("--token", help="Print the word Prometheus has to show instead.")
    ] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Print the class's figures as Prometheus reads them: what the board answers at /metrics.

    Example: workshop metrics | grep workshop_seat_up
    """
    from workshop import figures
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        work = Workspace(roster)
        text = figures.token(work) if token else figures.metrics(work)
        if as_json:
            output.document({"token" if token else "text": text})
        else:
            output.lines(text.splitlines())


@app.command()
def monitoring(
    directory: Annotated[
        Path, typer.Option("--output", "-o", help="Where; made when it does not exist.")
    ] = Path("monitoring"),
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Write what Prometheus and Grafana need: where to look, alerts, a dashboard.

    Example: workshop monitoring --output monitoring
    """
    from workshop import monitoring as files
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        written = files.write(Workspace(roster), directory)
        if as_json:
            output.document({"directory": str(directory), "written": written})
            return
        output.lines(f"wrote {directory / name}" for name in written)
        output.say(f"next: read {directory / 'README.md'}")


@app.command()
def journal(  # noqa: PLR0917 - typer hands options over by name
    name: Annotated[
        str,
        typer.Argument(
            help="A participant, workshop, deploys, gateway, intake, serve or board.",
            autocompletion=complete_name,
        ),
    ] = "",
    last: Annotated[int, typer.Option(min=1, max=100_000, help="How many lines back.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Requests that went well too.")
    ] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show what the platform did, from all its parts, oldest first.

    Example: workshop journal ada --last 20
    """
    from workshop.chronicle import Choice, Chronicle
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if as_json and follow:
            raise InputError("--json gives one document; --follow has no end", hint="leave one out")
        chronicle = Chronicle(Workspace(roster), Choice(name, everything=everything))
        found = chronicle.last(last)
        output.journal(found)
        if not found and not follow:
            output.say("nothing was written down yet")
        for text in chronicle.troubles:
            output.say(f"warning: {text}")
        if follow:
            with until_stopped():
                for entry in chronicle.follow():
                    output.journal([entry])


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Take Ctrl+C for the end of what has no other; another signal ends it as it ends all."""
    try:
        yield
    except KeyboardInterrupt as exc:
        code = interrupted(exc)
        raise typer.Exit(0 if code == interrupted(KeyboardInterrupt()) else code) from None
