"""Commands for the way in: a link to the board, and a card for each participant."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

from workshop.cli.app import DEFAULT_ROSTER, JsonOption, RosterOption, app, boundary


@app.command()
def board(roster: RosterOption = DEFAULT_ROSTER, as_json: JsonOption = False) -> None:
    """Make a one-time link to the instructor's board; it is good for ten minutes.

    Example: workshop board --json
    """
    from workshop import boarding
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        output.way(boarding.open_way(Workspace(roster)))


@app.command()
def cards(
    output_directory: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where the files go; made if it is not there."
        ),
    ],
    claim: Annotated[
        bool, typer.Option("--claim", help="One-time claim codes in place of keys.")
    ] = False,
    spares: Annotated[
        bool, typer.Option("--spares/--no-spares", help="Cards for spare seats as well.")
    ] = True,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Write a card for each participant: to print, for the browser, and for mail merge.

    Example: workshop cards --output cards
    """
    from workshop.cards.deck import Word
    from workshop.cards.making import make
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        kind = Word.CLAIM if claim else Word.KEY
        output.cards(make(Workspace(roster), output_directory, kind, spares=spares))
