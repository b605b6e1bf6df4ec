"""Commands for deploys: deploy, deploys, rollback, serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.app import (
    DEFAULT_ROSTER,
    Act,
    AllOption,
    JsonOption,
    NamesArgument,
    RosterOption,
    app,
    boundary,
    complete_name,
    interrupted,
)
from workshop.errors import InputError

if TYPE_CHECKING:
    from workshop.cli.output import Output
    from workshop.intake.orders import Order
    from workshop.workspace import Workspace

LONGEST_SECONDS = 4 * 3600.0
"""Three hundred builds that each take a minute, two at a time, and then some."""

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Follow the deploys until they are over.")
]


@app.command()
def deploy(  # noqa: PLR0917 - typer hands options over by name
    names: NamesArgument = None,
    everybody: AllOption = False,
    source: Annotated[
        Path | None, typer.Option(help="A directory with a Dockerfile, to be built.")
    ] = None,
    dockerfile: Annotated[
        str | None, typer.Option(help="Name of the Dockerfile in it; default: Dockerfile.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="An image that is built already.")] = None,
    wait: WaitOption = True,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Bring a new version of seats live; the one before stays up if it fails.

    Example: workshop deploy ada --source participant_template
    """
    from workshop import deploying
    from workshop.packing import DOCKERFILE
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("deploy", roster, names)) as output:
        if (source is None) == (image is None):
            raise InputError(
                "say what is to be deployed: --source DIR or --image REF",
                hint="workshop deploy ada --source participant_template",
            )
        if image is not None and dockerfile is not None:
            raise InputError("--dockerfile belongs to --source", hint="leave one of them out")
        work = Workspace(roster)
        if bool(names) == everybody:
            raise InputError(
                "name some participants, or say --all",
                hint="workshop deploy ada --source participant_template",
            )
        chosen = names or [person.name for person in work.roster.participants]
        if source is not None:
            made = deploying.submit_source(work, chosen, source, dockerfile or DOCKERFILE)
        else:
            made = deploying.submit_image(work, chosen, image or "")
        _follow(output, work, made, wait=wait)


@app.command()
def rollback(  # noqa: PLR0917 - typer hands options over by name
    names: NamesArgument = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody who runs something that was deployed.")
    ] = False,
    to: Annotated[
        str, typer.Option(help="A version, a deploy's number, or template for the roster's own.")
    ] = "",
    wait: WaitOption = True,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Let seats go back to a version that was live before.

    Example: workshop rollback ada --to 3
    """
    from workshop import deploying
    from workshop.workspace import Workspace

    with boundary(as_json=as_json, act=Act("rollback", roster, names)) as output:
        work = Workspace(roster)
        if bool(names) == everybody:
            raise InputError("name some participants, or say --all", hint="workshop rollback ada")
        chosen = names or deploying.deployed(work)
        if not chosen:
            raise InputError(
                "everybody runs what the roster says; there is nothing to go back from",
                hint="`workshop deploys` lists what was deployed",
            )
        _follow(output, work, deploying.submit_rollback(work, chosen, to), wait=wait)


@app.command()
def deploys(
    name: Annotated[
        str | None, typer.Argument(help="A participant.", autocompletion=complete_name)
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="How many, from the end.")] = 20,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """List what was deployed, by whom, and how it ended; with a name, why the last one failed.

    Example: workshop deploys ada
    """
    from workshop import deploying
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        work = Workspace(roster)
        found = deploying.history(work, name)
        live = deploying.live_ids(work, found)
        output.deploys(found[-last:], live, single=name is not None)


@app.command()
def serve(
    directory: Annotated[
        Path, typer.Option(help="The state directory of the workshop, beside its roster.")
    ] = Path(".workshop"),
) -> None:
    """Take orders for deploys and carry them out; `workshop provision` starts this by itself.

    It runs in a container of its own, the only one that may speak to the engine. Started by hand it
    would be a second one.

    Example: workshop serve --directory .workshop
    """
    with boundary(as_json=False):
        if not directory.is_dir():
            raise InputError(
                f"{directory} is no directory",
                hint="`workshop provision` makes it, and starts this by itself",
            )
        from workshop.deploys.server import serve as run

        raise typer.Exit(run(directory))


def _follow(output: Output, work: Workspace, made: list[Order], *, wait: bool) -> None:
    """Show what becomes of orders, and end the command with 1 where one did not go live."""
    from workshop import deploying
    from workshop.intake.orders import Stage

    if not wait:
        output.ordered([deploying.begun(order) for order in made])
        return
    try:
        with output.deploy_progress() as progress:
            found = deploying.follow(work, made, progress, LONGEST_SECONDS)
    except KeyboardInterrupt as exc:
        output.say("not watching any more; the deploys go on. `workshop status` shows them")
        raise typer.Exit(interrupted(exc)) from None
    output.deployed(found)
    raise typer.Exit(0 if all(item.stage is Stage.LIVE for item in found) else 1)
