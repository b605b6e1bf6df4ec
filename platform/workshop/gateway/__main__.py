"""Run the gateway: ``python -m workshop.gateway --config DIR --data DIR --listen ADDRESS:PORT``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from workshop.gateway.app import create_app
from workshop.gateway.machine import Machine
from workshop.gateway.service import Options, Service
from workshop.gateway.view import UNREADABLE
from workshop.serving import SETTINGS, bind, log_to, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence


class Server(uvicorn.Server):
    """Ends the answers under way when told to stop, so that stopping does not wait for them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell every caller, then stop."""
        self._service.calls.end_all()
        await super().shutdown(sockets)


def make_server(service: Service) -> Server:
    """Set the server up as fast as it goes, silent but for our own log."""
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        ws="none",
        **SETTINGS,
    )
    return Server(config, service)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parse(arguments)
    log = log_to()
    # The command reads the books as another user.
    os.umask(0)
    try:
        service = Service(Options(options.config, options.data, Machine()), log)
    except UNREADABLE as exc:
        log("no usable configuration", directory=str(options.config), error=type(exc).__name__)
        return 2
    sockets = []
    for address in options.listen:
        try:
            sockets.append(bind(address))
        except (OSError, ValueError) as exc:
            log("cannot listen", address=address, error=str(exc))
            return 1
    log("listening", addresses=options.listen, fingerprint=service.view.fingerprint)
    run(make_server(service), sockets)
    log("stopped")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workshop.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="directory of config.json")
    parser.add_argument("--data", type=Path, required=True, help="directory of the books")
    parser.add_argument("--listen", action="append", required=True, metavar="ADDRESS:PORT")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
