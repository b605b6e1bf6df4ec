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


def test_dockerfile_with_an_ignore_file_of_its_own_ignores_by_it_alone(source: Path) -> None:
    """Two images made from one directory hold different files, as BuildKit has it."""
    (source / ".dockerignore").write_text("app.py\n")
    (source / "Other").write_text("FROM x\n")
    (source / "Other.dockerignore").write_text("**\n!a\n!app.py\n")

    assert "app.py" not in context.files(source)
    assert "app.py" in context.files(source, "Other")
    assert "sub" not in context.files(source, "Other")


@pytest.mark.parametrize("service", ["gateway", "embedded"])
def test_image_of_a_service_holds_its_own_package_alone(service: str) -> None:
    """Another part of the platform that changes does not make it anew."""
    from workshop import resources

    names = context.files(resources.package(), f"images/{service}/Dockerfile")
    folders = {name.split("/")[0] for name in names if "/" in name}

    assert folders == {service, "images"}
    assert f"{service}/__main__.py" in names
    assert "__init__.py" in names
    assert not [name for name in names if "pyc" in name]
