"""Layers that outlive one test's workshop, so that the next does not install everything again.

Each end-to-end fixture tears its workshop down, images included. The engine would then build the
same layers anew for the next one, minutes in all. Tags of another name keep them; the base image
stays because another "workshop" has an image. Everything goes at the end of the session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import ImageNotFound

from workshop import base_image, labels, sources
from workshop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.base import Engine

_PREFIX = "testlayers"
NAME = f"{_PREFIX}{os.getpid()}"
"""Of this very session: several may share the engine."""


def base(engine: Engine) -> str:
    """Find the product's base image, or make it, once for the whole session."""
    settings = Settings()
    tag = sources.base_tag(settings)
    with _alone():
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
    with _alone():
        kept = [tag for tag in _tags(client) if _is_over(tag)]
        for tag in kept:
            client.images.remove(tag)
        in_use = any("/" in tag for tag in _own(client))
        for tag in _tags(client):
            if kept and not in_use and tag.startswith(f"{labels.BASE_REPOSITORY}:"):
                client.images.remove(tag)
    client.close()


def _is_over(tag: str) -> bool:
    """Tell what this session kept, or one that was killed before it could clear up."""
    if not tag.startswith(_PREFIX):
        return False
    process = tag.partition("/")[0].removeprefix(_PREFIX)
    return process == str(os.getpid()) or not Path("/proc", process).exists()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one session at a time make or remove what all stand on."""
    with Path(tempfile.gettempdir(), "workshop-test-layers.lock").open(
        "w", encoding="ascii"
    ) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    for image in client.api.images(filters={"label": labels.NAME}):
        yield from image["RepoTags"] or ()


def _tags(client: Any) -> Iterator[str]:
    # Not client.images.list(): it looks at each image again, which may be gone by then.
    for image in client.api.images():
        yield from image["RepoTags"] or ()
