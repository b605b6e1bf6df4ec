"""Commands for the server itself: its certificate, and what brings the workshop back at boot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

from workshop.cli.app import DEFAULT_ROSTER, JsonOption, RosterOption, app, boundary
from workshop.errors import InputError


class TlsAction(StrEnum):
    """What can be done with the certificate."""

    SHOW = "show"
    RENEW = "renew"


@app.command()
def tls(
    action: Annotated[TlsAction, typer.Argument(help="What to do.")] = TlsAction.SHOW,
    force: Annotated[
        bool, typer.Option("--force", help="Renew now, however long the old one lasts.")
    ] = False,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Show the edge's certificate and how long it lasts, or renew it when that is due.

    Example: workshop tls renew
    """
    from workshop.tls import renewal
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if action is TlsAction.SHOW:
            if force:
                raise InputError("--force goes with renew", hint="workshop tls renew --force")
            output.certificate(renewal.show(Workspace(roster)))
            return
        with output.progress() as progress:
            done = renewal.renew(Workspace(roster, emit=progress), force=force)
        output.renewal(done)


@app.command(name="install-service")
def install_service(
    show: Annotated[bool, typer.Option("--print", help="Show the units; write nothing.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the units away.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="Where units lie; default: /etc/systemd/system.")
    ] = None,
    roster: RosterOption = DEFAULT_ROSTER,
    as_json: JsonOption = False,
) -> None:
    """Have systemd bring this workshop back after a reboot, and mend it every few minutes.

    Example: sudo workshop install-service --roster spring.yaml
    """
    from workshop import service
    from workshop.workspace import Workspace

    with boundary(as_json=as_json) as output:
        if show and remove:
            raise InputError("--print shows, --remove removes", hint="leave one of them out")
        name = Workspace(roster).roster.name
        if show:
            output.units(service.units(service.describe(name, roster)))
        elif remove:
            output.service(service.remove(name, roster, directory))
        else:
            output.service(service.install(service.describe(name, roster), directory))
