"""Commands for the whole class: start, check, plan, provision, status, teardown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    Act,
    JsonOption,
    RosterOption,
    YesOption,
    app,
    boundary,
    confirm,
)
from workshop.errors import EngineUnreachable, InputError

PruneOption = Annotated[
    bool, typer.Option("--prune", help="Remove seats the roster no longer names.")
]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where; made when it does not exist.")] = Path(),
    name: Annotated[str | None, typer.Option(help="The workshop's name.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="People from a CSV file: name, display_name, email.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a roster and the app everyone starts from.

    Example: workshop init my-class --csv registrations.csv
    """
    from workshop import starting

    with boundary(as_json=as_json) as output:
        started = starting.init(directory, name=name, people=csv)
        if as_json:
            output.document(vars(started))
            return
        output.lines([f"wrote {directory / item}" for item in started.written])
        output.say(f"next: edit {directory / 'participants.yaml'}, then workshop doctor")


@app.command()
def names(as_json: JsonOption = False) -> None:
    """Say what a participant may be called, and which names are reserved.

    Example: workshop names
    """
    from workshop import names as rules

    with boundary(as_json=as_json) as output:
        if as_json:
            output.document({"pattern": rules.PATTERN.pattern, "reserved": sorted(rules.RESERVED)})
            return
        output.lines(
            [
                f"{rules.SHORTEST} to {rules.LONGEST} characters: a-z, 0-9, single dashes between,",
                "a letter first. Reserved:",
                " ".join(sorted(rules.RESERVED)),
            ]
        )


@app.command()
def doctor(roster: RosterOption = DEFAULT_ROSTER, as_json: JsonOption = False) -> None:
    """Check this server for this roster, and say how to mend what is wrong.

    Example: workshop doctor --json | jq '.[] | select(.verdict != "ok")'
    """
    from workshop import operations
    from workshop.doctor import Verdict
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        checks = operations.examine(Workspace(roster))
        output.checks(checks)
        failed = {check.name for check in checks if check.verdict is Verdict.FAILED}
        if "engine" in failed:
            raise typer.Exit(EngineUnreachable.exit_code)
        raise typer.Exit(1 if failed else 0)


@app.command()
def plan(
    roster: RosterOption = DEFAULT_ROSTER,
    prune: PruneOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what provision would do, why, and what would be lost. Nothing is changed.

    Example: workshop plan --roster spring.yaml
    """
    from workshop import operations
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        output.plan(operations.plan(Workspace(roster), prune=prune))


@app.command()
def provision(
    roster: RosterOption = DEFAULT_ROSTER,
    prune: PruneOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let warnings stop the command.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Only put back what was lost; apply nothing new."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make what runs equal to the roster. Run it again at any time: it repairs and adds.

    Example: workshop provision --roster spring.yaml
    """
    from workshop import operations
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("provision", roster, quiet=repair)) as output:
        if repair and prune:
            raise InputError("--repair removes nobody", hint="leave --prune out")
        with output.progress() as progress:
            work = Workspace(roster, emit=progress)
            names = None if prune else frozenset[str]()
            if work.roster.tls is None:
                report = operations.provision(work, prune=names, strict=strict, repair=repair)
            else:
                from workshop.tls import renewal

                report = renewal.provision(work, prune=names, strict=strict, repair=repair)
        output.report(report, work)
        raise typer.Exit(0 if report.ok else 1)


@app.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it live; Ctrl+C ends it.")
    ] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show who can be reached right now; exit 1 when somebody cannot.

    Example: workshop status
    """
    from workshop.cli import watching
    from workshop.status import status as look
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if as_json and watch:
            raise InputError("--json gives one document; --watch has no end", hint="leave one out")
        if watch and output.is_watched:
            # The roster is read again each time, the engine is the same.
            first = Workspace(roster)
            with watching.until_stopped():
                output.redraw(
                    lambda: output.status_view(look(Workspace(roster, lambda: first.engine)))
                )
        found = look(Workspace(roster))
        output.status(found)
        raise typer.Exit(0 if found.ok else 1)


@app.command()
def teardown(
    roster: RosterOption = DEFAULT_ROSTER,
    keep_images: Annotated[
        bool,
        typer.Option("--keep-images", help="Keep images, so that the next provision is quick."),
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove everything of this workshop and nothing else, and print the receipt.

    Example: workshop teardown --yes
    """
    from workshop import teardown as ending
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        confirm(output, "Remove every seat of this workshop?", yes=yes)
        with output.progress() as progress:
            receipt = ending.teardown(Workspace(roster, emit=progress), keep_images=keep_images)
        output.receipt(receipt)
        raise typer.Exit(1 if receipt.left else 0)
