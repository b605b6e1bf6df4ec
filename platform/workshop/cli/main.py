"""The entry point: the application with every command registered."""

from __future__ import annotations

from workshop.cli import classroom, deploys, models, seats, secrets, server
from workshop.cli.app import app

__all__ = ["app", "classroom", "deploys", "main", "models", "seats", "secrets", "server"]


def main() -> None:
    """Run the command line."""
    app()
