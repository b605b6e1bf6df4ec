"""Run the board: ``python -m workshop.board --told DIR ... --listen ADDRESS:PORT``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from workshop.board.app import create_app
from workshop.board.service import UNREADABLE, Options, Service
from workshop.serving import SETTINGS, bind, log_to, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_LONGEST_MESSAGE = 4096
"""Bytes, of a WebSocket."""


class Server(uvicorn.Server):
    """Ends the streams when told to stop, so that stopping does not wait for them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every stream, then stop."""
        self._service.end_streams()
        await super().shutdown(sockets)


def make_server(service: Service, *, openapi: bool = False) -> Server:
    """Set the server up, silent but for our own log."""
    config = uvicorn.Config(
        create_app(service, openapi=openapi),
        loop="uvloop",
        ws="websockets-sansio",
        ws_max_size=_LONGEST_MESSAGE,
        **SETTINGS,
    )
    return Server(config, service)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parse(arguments)
    log = log_to()
    # The control process, another user, takes wishes out of directories made here.
    os.umask(0)
    try:
        service = Service(Options(options.told, options.shown, options.kept), log)
    except UNREADABLE as exc:
        log("no usable configuration", directory=str(options.told), error=type(exc).__name__)
        return 2
    try:
        listener = bind(options.listen)
    except (OSError, ValueError) as exc:
        log("cannot listen", address=options.listen, error=str(exc))
        return 1
    log("listening", address=options.listen, fingerprint=service.view.fingerprint)
    run(make_server(service, openapi=options.openapi), [listener])
    log("stopped")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workshop.board", description=__doc__)
    for name, what in (
        ("told", "directory of config.json and the one-time links; only read"),
        ("shown", "directory of what the control process saw; only read"),
        ("kept", "directory of wishes, hands and sessions"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--openapi", action="store_true", help="serve /openapi.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
