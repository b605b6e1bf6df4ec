"""The five steps from the own computer to the own address, each command filled in.

They are those of the template's README and of ``docs/deploys.md``; :data:`KEY` in a command stands
for the participant's key, which this server never has: the page in the browser puts it in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.board.config import Config, Seat

KEY = "\0"
"""Stands for the key in a command; no text that people write holds this character."""
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_ESCAPED = re.compile(r'["\\$]')
_LOCAL = {"localhost", "127.0.0.1"}


@dataclass(frozen=True)
class Command:
    """One or more lines for a terminal or a file, copied together."""

    text: str
    label: str
    """What the copy button calls them."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The text, cut where the key stands."""
        return tuple(self.text.split(KEY))


@dataclass(frozen=True)
class Step:
    """One of the five."""

    title: str
    words: str
    """Plain text; what stands between backticks is code."""
    commands: tuple[Command, ...]
    after: str = ""


def dotenv(told: Config) -> Command:
    """Give the lines for ``.env``, as ``workshop keys show`` gives them."""
    if not told.base_url:
        return Command(f"WORKSHOP_KEY={KEY}", "lines for .env")
    lines = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": told.base_url,
        "OPENAI_MODEL": told.model,
        "OPENAI_EMBEDDING_MODEL": told.embedding,
    }
    return Command(
        "\n".join(f"{name}={_quoted(value)}" for name, value in lines.items() if value),
        "lines for .env",
    )


def steps(told: Config, seat: Seat) -> tuple[Step, ...]:
    """Fill the five steps in for one participant."""
    return (_run(), _settings(told), _pack(told, seat), _send(told, seat), _see(told, seat))


def archive(told: Config, seat: Seat) -> tuple[Command, ...]:
    """Give the commands that send the source without Docker."""
    return (
        Command(
            "tar --exclude=.venv --exclude=.git --exclude=.env --exclude=data -czf ../app.tar.gz .",
            "command that packs",
        ),
        Command(
            f'curl -T ../app.tar.gz -H "Authorization: Bearer {KEY}" {told.url}/deploy/{seat.name}',
            "command that sends",
        ),
    )


def _run() -> Step:
    return Step(
        "Run it on your computer",
        "Open a terminal in your app's folder; your instructor says where to get it. You need"
        " Python 3.11 or newer.",
        (
            Command(
                "python3 -m venv .venv\n"
                ". .venv/bin/activate\n"
                "pip install -r requirements.txt\n"
                "uvicorn app.main:app --reload",
                "commands",
            ),
        ),
        "Then open `http://localhost:8000`. On Windows the first two lines are `py -m venv .venv`"
        " and `.venv\\Scripts\\activate`.",
    )


def _settings(told: Config) -> Step:
    after = (
        "Start the app again: now the class's model answers."
        if told.base_url
        else "This class has no models; your key is for deploying alone."
    )
    return Step(
        "Give it your key",
        "`cp .env.example .env`, then put these lines into `.env`. Never share that file.",
        (dotenv(told),),
        after,
    )


def _pack(told: Config, seat: Seat) -> Step:
    return Step(
        "Pack it as an image",
        "With Docker installed and running. No Docker? Drop your app above, under Your deploys: the"
        " server builds it for you.",
        (
            Command(
                f"docker build --platform linux/amd64 -t {told.registry}/{seat.name}/app .",
                "command",
            ),
        ),
    )


def _send(told: Config, seat: Seat) -> Step:
    return Step(
        "Send it",
        f"The login asks for a password: that is your key. You type it once.{_insecure(told)}",
        (
            Command(f"docker login {told.registry} -u {seat.name}", "login command"),
            Command(f"docker push {told.registry}/{seat.name}/app", "push command"),
        ),
    )


def _see(told: Config, seat: Seat) -> Step:
    return Step(
        "See it live",
        "The push goes live by itself, and shows up above, under Your deploys. The version"
        " before it stays until the new one has answered. In a terminal:",
        (
            Command(
                f'curl -H "Authorization: Bearer {KEY}" "{told.url}/deploy/{seat.name}?follow=1"',
                "command that follows the deploy",
            ),
            Command(f"curl {seat.url.rstrip('/')}/whoami", "command that asks for the version"),
        ),
        "In PowerShell type `curl.exe` for `curl`.",
    )


def _insecure(told: Config) -> str:
    address = urlsplit(told.url)
    host = address.hostname or ""
    if address.scheme != "http" or host in _LOCAL or host.endswith(".localhost"):
        return ""
    return (
        " This server speaks plain http, which Docker has to be told: add"
        f' `"insecure-registries": ["{told.registry}"]` to its settings (Docker Desktop: Settings,'
        " Docker Engine) and restart it."
    )


def _quoted(value: str) -> str:
    if value == KEY or _PLAIN.fullmatch(value):
        return value
    return f'"{_ESCAPED.sub(lambda found: chr(92) + found[0], value)}"'


def origins(told: Config, seat: Seat) -> Iterator[str]:
    """Name what the page in the browser speaks to beside the board: the class and the own app."""
    for url in dict.fromkeys((told.url, seat.url)):
        address = urlsplit(url)
        yield f"{address.scheme}://{address.netloc}"
