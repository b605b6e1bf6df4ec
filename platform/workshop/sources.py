"""What images are made of, reduced to content hashes: one image per distinct source."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from workshop import context, labels, resources
from workshop.errors import InputError
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
    package, llm = resources.package(), roster.llm
    services = {
        resources.GATEWAY_RECIPE: llm is not None,
        resources.EMBEDDED_RECIPE: llm is not None and llm.embedded is not None,
    }
    digests = {
        recipe: _digest(base, *_content(package, recipe))
        for recipe, wanted in services.items()
        if wanted
    }
    return Sources(
        base=base,
        edge_context=resources.edge_image(),
        edge=_digest(base, *_content(resources.edge_image())),
        apps={recipe: _digest(base, *_content(*recipe)) for recipe in recipes},
        package=package,
        gateway=digests.get(resources.GATEWAY_RECIPE, ""),
        embedded=digests.get(resources.EMBEDDED_RECIPE, ""),
        secrets=secrets,
    )


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
