"""Step 5 of the README: its commands do what they promise, as they are printed."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.template_files.files import TEMPLATE, copy_app
from tests.template_files.standin import intake
from workshop.intake.archive import normalise
from workshop.intake.config import Limits

if TYPE_CHECKING:
    from pathlib import Path

KEY = "wk-ada-1-x"


def commands(heading: str) -> list[str]:
    """Give the lines of the shell blocks below a heading."""
    text = (TEMPLATE / "README.md").read_text("utf-8")
    section = re.split(r"\n#{2,3} ", text.partition(f"### {heading}\n")[2])[0]
    return "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()


def filled(command: str, host: str) -> str:
    """Put a participant's card in."""
    return (
        command.replace("https://SERVER", f"http://{host}")
        .replace("SERVER", host)
        .replace("NAME", "ada")
        .replace("KEY", KEY)
    )


def shell(command: str, place: Path) -> str:
    """Run one command; it must succeed."""
    done = subprocess.run(
        ["sh", "-c", command], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(archive: bytes) -> set[str]:
    """Give what the intake makes of an archive: the names that are built."""
    target = io.BytesIO()
    normalise(io.BytesIO(archive), target, Limits())
    target.seek(0)
    with tarfile.open(fileobj=target) as found:
        return {member.name for member in found if member.isfile()}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Copy the app, with what a participant has lying about."""
    app = copy_app(tmp_path)
    for name in (".env", ".venv/bin/python", "data/history.db", ".git/config"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("secret", "utf-8")
    return app


def test_source_is_packed_without_secrets_and_sent(app: Path) -> None:
    """Two commands; what arrives is what the server can build from, and nothing private."""
    pack, send = commands("Without Docker: send the source")
    with intake(202, "deployed\n") as (host, told):
        shell(pack, app)
        said = shell(filled(send, host), app)

    (seen,) = told.seen
    with tarfile.open(fileobj=io.BytesIO(seen.body)) as packed:
        raw = set(packed.getnames())
    assert said == "deployed\n"
    assert (seen.method, seen.path, seen.authorization) == ("PUT", "/deploy/ada", f"Bearer {KEY}")
    assert {"Dockerfile", "requirements.txt", "app/main.py"} <= names(seen.body)
    assert not [name for name in raw if re.search(r"^\./(\.env|\.venv|\.git|data)(/|$)", name)]
    assert "./.env.example" in raw


def test_last_commit_is_packed_as_the_readme_says(app: Path) -> None:
    """For those who use git: the same files, `.env` being ignored."""
    (pack,) = re.findall(r"`(git archive [^`]+)`", (TEMPLATE / "README.md").read_text("utf-8"))
    (app / ".git" / "config").unlink()
    (app / ".git").rmdir()
    me = "-c user.name=Ada -c user.email=ada@example.org"
    shell(f"git init -q && git add . && git {me} commit -q -m first && {pack}", app)
    found = names((app.parent / "app.zip").read_bytes())

    assert {"Dockerfile", "requirements.txt", "app/main.py", "compose.yaml"} <= found
    assert not [name for name in found if name.startswith((".env/", ".venv", "data"))]
    assert ".env" not in found


@pytest.mark.parametrize(
    ("heading", "path"),
    [
        ("With Docker: push the image", "/deploy/ada?follow=1"),
        ("When it goes wrong", "/deploy/ada"),
    ],
)
def test_deploy_is_followed_and_listed_with_one_line(heading: str, path: str, app: Path) -> None:
    """The key travels in a header, never in the address."""
    (ask,) = [line for line in commands(heading) if line.startswith("curl")]
    with intake(200, "deployed\n") as (host, told):
        said = shell(filled(ask, host), app)

    (seen,) = told.seen
    assert said == "deployed\n"
    assert (seen.method, seen.path, seen.authorization) == ("GET", path, f"Bearer {KEY}")


def test_image_is_built_and_pushed_under_the_participants_name(app: Path, tmp_path: Path) -> None:
    """Three commands, in this order; the key is asked for, so it is in no history."""
    recorder = tmp_path / "docker"
    recorder.write_text('#!/bin/sh\necho "$@"\n', "utf-8")
    recorder.chmod(0o755)
    lines = [line for line in commands("With Docker: push the image") if line.startswith("docker")]
    path = f"{tmp_path}:{os.environ['PATH']}"
    said = [shell(f"PATH={path}; {filled(line, 'class.example.org')}", app) for line in lines]

    assert said == [
        "login class.example.org -u ada\n",
        "build -t class.example.org/ada/app .\n",
        "push class.example.org/ada/app\n",
    ]


def test_greeting_to_edit_is_where_the_readme_says(app: Path) -> None:
    """Step 5 sends people back to step 1's line."""
    text = (TEMPLATE / "README.md").read_text("utf-8")
    (file, line) = re.findall(r"open `([\w./]+)`, change `([^`]+)`", text)[0]

    assert (app / file).read_text("utf-8").count(f"    {line}\n") == 1
