"""Run the intake: ``python -m workshop.intake --config DIR ... --listen ADDRESS:PORT``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from workshop.intake.app import create_app
from workshop.intake.service import Options, Service
from workshop.intake.view import UNREADABLE
from workshop.serving import SETTINGS, bind, log_to, run

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_server(service: Service) -> uvicorn.Server:
    """Set the server up, silent but for our own log."""
    config = uvicorn.Config(
        create_app(service),
        ws="none",
        **SETTINGS,
    )
    return uvicorn.Server(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parse(arguments)
    log = log_to()
    try:
        service = Service(
            Options(options.config, options.deploys, options.inbox, options.storage), log
        )
    except UNREADABLE as exc:
        log("no usable configuration", directory=str(options.config), error=type(exc).__name__)
        return 2
    try:
        listener = bind(options.listen)
    except (OSError, ValueError) as exc:
        log("cannot listen", address=options.listen, error=str(exc))
        return 1
    log("listening", address=options.listen, fingerprint=service.view.fingerprint)
    run(make_server(service), [listener])
    log("stopped")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workshop.intake", description=__doc__)
    for name, what in (
        ("config", "directory of config.json and the signing key; only read"),
        ("deploys", "directory of progress/ and log.jsonl; only read"),
        ("inbox", "directory that orders are handed over in"),
        ("storage", "the registry's storage, to count what participants use; only read"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
