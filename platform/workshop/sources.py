"""What images are made of, reduced to content hashes: one image per distinct source."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from workshop import context, labels, resources
from workshop.errors import InputError
from workshop.labels import Role
from workshop.specs import Sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workshop.roster import Roster
    from workshop.settings import Settings

_LENGTH = 12


def read(roster: Roster, settings: Settings, secrets: Mapping[str, str]) -> Sources:
    """Hash everything ``roster`` builds from.

    Args:
        roster: whose participants' sources.
        settings: the base image.
        secrets: names of the files with providers' keys, by upstream.

    Raises:
        InputError: a source cannot be read.

    """
    base = base_tag(settings)
    recipes = {
        (person.source or roster.template, person.dockerfile)
        for person in roster.participants
        if not person.image
    }
    return Sources(
        base=base,
        base_reference=settings.base_image,
        apps={recipe: _digest(base, *_content(*recipe)) for recipe in recipes},
        package=resources.package(),
        images=resources.images(),
        parts={role: _digest(base, *_content(*_recipe(role))) for role in _roles(roster)},
        secrets=secrets,
        recipes={recipe: _text(*recipe) for recipe in recipes},
    )


def _roles(roster: Roster) -> Iterator[Role]:
    """Yield the roles whose images this class needs beside its seats'."""
    yield Role.EDGE
    if roster.llm is not None:
        yield Role.GATEWAY
        if roster.llm.embedded is not None:
            yield Role.EMBEDDED
    if roster.deploys is not None:
        yield from (Role.REGISTRY, Role.INTAKE, Role.SERVE)
    if roster.board is not None:
        yield Role.BOARD
    if roster.deploys is not None or roster.has_approved:
        # The proxy of builds and that of approved seats run from the same image.
        yield Role.EGRESS
    yield Role.WALL


def _recipe(role: Role) -> tuple[Path, str]:
    recipe = resources.RECIPES.get(role.value)
    if recipe is None:
        return resources.images() / role.value, "Dockerfile"
    return resources.package(), recipe


def _text(directory: Path, dockerfile: str) -> str:
    try:
        return (directory / dockerfile).read_text("utf-8", "replace")
    except OSError as exc:
        raise InputError(f"cannot read {directory / dockerfile}: {exc.strerror}") from exc


def base_tag(settings: Settings) -> str:
    """Name the base image by what goes into it."""
    bundle = settings.bundle()
    try:
        authorities = bundle.read_bytes() if bundle else b""
    except OSError as exc:
        raise InputError(f"cannot read the certificate bundle {bundle}: {exc.strerror}") from exc
    return f"{labels.BASE_REPOSITORY}:{_digest(settings.base_image, authorities)}"


def _content(directory: Path, dockerfile: str = "Dockerfile") -> Iterator[str | bytes]:
    """Yield name, mode and content of every file that goes into the image, and its recipe."""
    try:
        if dockerfile != "Dockerfile":
            yield from ("recipe", dockerfile)
        for name in context.files(directory, dockerfile):
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
