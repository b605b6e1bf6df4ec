"""What enters an image: never a secret, and never anything the content hash does not see."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from workshop import context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a source with things that must stay out."""
    for name in ("app.py", "Dockerfile", ".env", "sub/.env", ".git/config", "a/__pycache__/x.pyc"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


@pytest.mark.parametrize("ignore", [None, "", "# nothing\n", "!.env\n!**/.env\n"])
def test_secrets_stay_out_whatever_the_ignore_file_says(source: Path, ignore: str | None) -> None:
    """A participant who wrote no .dockerignore, or a wrong one, does not publish a key."""
    if ignore is not None:
        (source / ".dockerignore").write_text(ignore)
    with (
        context.archive(source, "Dockerfile") as raw,
        tarfile.open(fileobj=raw) as packed,
    ):
        names = set(packed.getnames())

    assert {"app.py", "Dockerfile"} <= names
    assert not [name for name in names if ".env" in name or ".git/" in name or "pyc" in name]


def test_what_is_packed_is_what_is_hashed(source: Path) -> None:
    """A file that can change the image changes its name."""
    (source / ".dockerignore").write_text("app.py\n")
    with (
        context.archive(source, "Dockerfile") as raw,
        tarfile.open(fileobj=raw) as packed,
    ):
        names = {member.name for member in packed.getmembers() if member.isfile()}

    assert names == {name for name in context.files(source) if (source / name).is_file()}
