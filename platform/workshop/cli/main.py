"""The entry point: the application with every command registered."""

from __future__ import annotations

from workshop.cli import classroom, seats
from workshop.cli.app import app

__all__ = ["app", "classroom", "main", "seats"]


def main() -> None:
    """Run the command line."""
    app()
