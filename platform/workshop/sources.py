"""What images are made of, reduced to content hashes: one image per distinct source."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from workshop import resources
from workshop.desired import Sources
from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.roster import Roster
    from workshop.settings import Settings

BASE_REPOSITORY = "workshop-base"
_LENGTH = 12
_ALWAYS_LEFT_OUT = [".env", ".git", ".venv", "**/__pycache__", ".workshop"]


def read(roster: Roster, settings: Settings) -> Sources:
    """Hash everything ``roster`` builds from.

    Raises:
        InputError: a source cannot be read.

    """
    base = base_tag(settings)
    directories = {
        person.source or roster.template for person in roster.participants if not person.image
    }
    return Sources(
        base=base,
        edge_context=resources.edge_image(),
        edge=_digest(base, *_content(resources.edge_image())),
        apps={path: _digest(base, *_content(path)) for path in directories},
    )


def base_tag(settings: Settings) -> str:
    """Name the base image by what goes into it."""
    bundle = settings.bundle()
    try:
        authorities = bundle.read_bytes() if bundle else b""
    except OSError as exc:
        raise InputError(f"cannot read the certificate bundle {bundle}: {exc.strerror}") from exc
    return f"{BASE_REPOSITORY}:{_digest(settings.base_image, authorities)}"


def left_out(directory: Path) -> list[str]:
    """List the patterns of files that never enter an image: ``.dockerignore`` and our own."""
    ignore = directory / ".dockerignore"
    lines = ignore.read_text("utf-8").splitlines() if ignore.is_file() else []
    own = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [*own, *_ALWAYS_LEFT_OUT]


def files(directory: Path) -> list[str]:
    """List the files of a build context, relative, in a stable order."""
    from docker.utils.build import exclude_paths  # noqa: PLC0415 - only commands that build pay for it

    return sorted(exclude_paths(str(directory), left_out(directory)))


def _content(directory: Path) -> Iterator[str | bytes]:
    """Yield name, mode and content of every file that goes into the image."""
    try:
        for name in files(directory):
            path = directory / name
            if path.is_symlink():
                yield from (name, "link", str(path.readlink()))
            elif path.is_file():
                yield from (name, str(path.stat().st_mode & 0o111), path.read_bytes())
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename}: {exc.strerror}") from exc


def _digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()[:_LENGTH]
