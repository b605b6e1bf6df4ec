"""Layers that outlive one test's workshop, so that the next does not install everything again.

Each end-to-end fixture tears its workshop down, images included. The engine would then build the
same layers anew for the next one, minutes in all. Tags of another name keep them; the base image
stays because another "workshop" has an image. Everything goes at the end of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import docker
from docker.errors import ImageNotFound

from workshop import base_image, labels, sources
from workshop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.base import Engine

NAME = "testlayers"


def base(engine: Engine) -> str:
    """Find the product's base image, or make it, once for the whole session."""
    settings = Settings()
    tag = sources.base_tag(settings)
    if not any(image.tag == tag for image in engine.observe("").images):
        base_image.provide(engine, tag, settings, lambda _: None)
    client: Any = docker.from_env()
    _hold(client, tag)
    client.close()
    return tag


def keep(workshop: str) -> None:
    """Keep the layers of the images that ``workshop`` has now, and the base they stand on."""
    client: Any = docker.from_env()
    for tag in _tags(client):
        repository, _, version = tag.rpartition(":")
        if repository.startswith(f"{workshop}/"):
            client.images.get(tag).tag(f"{NAME}/{repository.split('/')[1]}", version)
        elif repository == labels.BASE_REPOSITORY:
            _hold(client, tag)
    client.close()


def forget() -> None:
    """Remove what was kept, and the base image if no workshop is left that uses it."""
    client: Any = docker.from_env()
    kept = [tag for tag in _tags(client) if tag.startswith(f"{NAME}/")]
    for tag in kept:
        client.images.remove(tag)
    in_use = any("/" in tag and not tag.startswith(f"{NAME}/") for tag in _own(client))
    for tag in _tags(client):
        if kept and not in_use and tag.startswith(f"{labels.BASE_REPOSITORY}:"):
            client.images.remove(tag)
    client.close()


def _hold(client: Any, base: str) -> None:
    """Make an image of a workshop of our own on ``base``, so that no teardown removes the base."""
    import io

    tag = f"{NAME}/holder:{base.rpartition(':')[2]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        recipe = io.BytesIO(f"FROM {base}\n".encode())
        marks = {labels.NAME: NAME, labels.ROLE: labels.Role.APP.value}
        client.images.build(fileobj=recipe, tag=tag, labels=marks, rm=True, forcerm=True)


def _own(client: Any) -> Iterator[str]:
    for image in client.images.list(filters={"label": labels.NAME}):
        yield from image.tags


def _tags(client: Any) -> Iterator[str]:
    for image in client.images.list():
        yield from image.tags
