"""Layers that outlive one test's workshop, so that the next does not install everything again.

Each end-to-end fixture tears its workshop down, images included. The engine would then build the
same layers anew for the next one, minutes in all. Tags of another name keep them; the base image
stays because another "workshop" has an image. Everything goes at the end of the session.

``python -m tests.layers prepare|forget``, with ``TEST_LAYERS_OF`` set to a process that lives as
long, does it for many sessions, which then need not all build the same at the same moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import ImageNotFound

from workshop import base_image, labels, resources, sources
from workshop.engines.docker import DockerEngine
from workshop.labels import Role
from workshop.settings import Settings
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.base import Engine
    from workshop.specs import ImageSpec

_PREFIX = "testlayers"
NAME = f"{_PREFIX}{os.environ.get('TEST_LAYERS_OF') or os.getpid()}"
"""Of this very session: several may share the engine."""
_WHOLE = """\
workshop:
  name: layers
  url: http://localhost:18490
  egress: {mode: approved, hosts: [example.org]}
participants: [ada]
"""
"""A class with every part."""


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
    there = set(_tags(client))
    for tag in there:
        repository, _, version = tag.rpartition(":")
        kept = f"{NAME}/{repository.rpartition('/')[2]}"
        # The same layers are below the one that is kept already, which would lose its only name.
        if repository.startswith(f"{workshop}/") and f"{kept}:{version}" not in there:
            client.images.get(tag).tag(kept, version)
        elif repository == labels.BASE_REPOSITORY:
            _hold(client, tag)
    client.close()


@contextlib.contextmanager
def built(roster: Path) -> Iterator[list[str]]:
    """Build what ``roster`` needs on the machine's engine, two images at a time; yields the tags.

    Layers and base image stay until the session ends; the tags go with the block.
    """
    engine = DockerEngine()
    work = Workspace(roster, lambda: engine)
    base(engine)
    seen = survey(work)
    there = {image.tag for image in seen.observed.images}
    needed = [spec for spec in seen.desired.images if spec.role is not Role.BASE]
    lacking = [spec for spec in needed if spec.tag not in there]

    def build(spec: ImageSpec) -> None:
        engine.build(spec, seen.desired.owner.labels(spec.role))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, lacking))
    keep(work.roster.name)
    try:
        yield [spec.tag for spec in seen.desired.images]
    finally:
        for spec in lacking:
            engine.remove_image(spec.tag)
        engine.close()


def prepare() -> None:
    """Build what a class with every part needs."""
    template = resources.participant_template()
    with tempfile.TemporaryDirectory() as directory:
        roster = Path(directory, "participants.yaml")
        shutil.copytree(template, roster.with_name(template.name))
        roster.write_text(_WHOLE, "utf-8")
        with built(roster):
            pass


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
    name = tag.partition("/")[0]
    return name == NAME or not Path("/proc", name.removeprefix(_PREFIX)).exists()


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
        marks = {labels.NAME: NAME, labels.ROLE: Role.APP.value}
        client.images.build(fileobj=recipe, tag=tag, labels=marks, rm=True, forcerm=True)


def _own(client: Any) -> Iterator[str]:
    for image in client.api.images(filters={"label": labels.NAME}):
        yield from image["RepoTags"] or ()


def _tags(client: Any) -> Iterator[str]:
    # Not client.images.list(): it looks at each image again, which may be gone by then.
    for image in client.api.images():
        yield from image["RepoTags"] or ()


if __name__ == "__main__":
    {"prepare": prepare, "forget": forget}[sys.argv[1]]()
