"""The entry point: the application with every command registered."""

from __future__ import annotations

from workshop.cli import classroom, deploys, handouts, models, seats, secrets, server, watching
from workshop.cli.app import app

__all__ = [
    "app",
    "classroom",
    "deploys",
    "handouts",
    "main",
    "models",
    "seats",
    "secrets",
    "server",
    "watching",
]


def main() -> None:
    """Run the command line."""
    app()
