"""What the roster says about deploys: ``workshop.deploys``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.limits import MIB, Limits, parse_memory, parse_whole
from workshop.reading import parse_bool
from workshop.yamltree import Scalar, Sequence, describe

if TYPE_CHECKING:
    from workshop.reading import Reader
    from workshop.yamltree import Node

_HOST = re.compile(r"\.?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._:/@-]{0,199}")
_MOST_KEPT = 20


@dataclass(frozen=True)
class BuildLimits:
    """What a participant's build may use."""

    limits: Limits = field(default_factory=lambda: Limits(memory=1024 * MIB, cpus=1.0, pids=256))
    seconds: int = 300
    """For the whole build, waiting for a turn not counted."""
    disk: int = 1024 * MIB
    """Bytes one step may write."""
    hosts: tuple[str, ...] = ()
    """Names a build may reach beside this server's own package sources; ``.example.org`` means
    every name below it as well."""
    images: tuple[str, ...] = ()
    """Images a Dockerfile may start from beside the class's base image."""


@dataclass(frozen=True)
class DeployOptions:
    """How participants' versions come live, and what they may be."""

    keep: int = 3
    """Versions before the live one that `workshop rollback` can go back to."""
    drain_seconds: int = 30
    """How long streams of the old version may go on after the new one is live."""
    image_bytes: int = 2048 * MIB
    """Unpacked size of a pushed image."""
    layers: int = 100
    upload_bytes: int = 20 * MIB
    repository_bytes: int = 4096 * MIB
    """All layers of one participant in the registry together."""
    per_minute: int = 6
    """Deploys of one participant."""
    build: BuildLimits = field(default_factory=BuildLimits)


def read(reader: Reader, node: Node | None) -> DeployOptions | None:
    """Read ``workshop.deploys``; ``None`` where it is ``false``."""
    if node is None:
        return DeployOptions()
    where = "workshop.deploys"
    if isinstance(node, Scalar):
        if reader.value(node, where, parse_bool, True):
            return DeployOptions()
        return None
    known = (
        "keep",
        "drain_seconds",
        "image_size",
        "upload_size",
        "repository_size",
        "per_minute",
        "build",
    )
    section = reader.section(node, where, known)
    if section is None:
        return DeployOptions()
    get, base = section.entries.get, DeployOptions()

    def whole(key: str, default: int, lowest: int, highest: int) -> int:
        return reader.value(
            get(key), f"{where}.{key}", lambda text: parse_whole(text, lowest, highest), default
        )

    def size(key: str, default: int) -> int:
        return reader.value(get(key), f"{where}.{key}", parse_memory, default)

    return DeployOptions(
        keep=whole("keep", base.keep, 0, _MOST_KEPT),
        drain_seconds=whole("drain_seconds", base.drain_seconds, 0, 3600),
        image_bytes=size("image_size", base.image_bytes),
        upload_bytes=size("upload_size", base.upload_bytes),
        repository_bytes=size("repository_size", base.repository_bytes),
        per_minute=whole("per_minute", base.per_minute, 1, 600),
        build=_build(reader, get("build"), f"{where}.build"),
    )


def _build(reader: Reader, node: Node | None, where: str) -> BuildLimits:
    base = BuildLimits()
    if node is None:
        return base
    section = reader.section(node, where, ("limits", "seconds", "disk", "hosts", "images"))
    if section is None:
        return base
    get = section.entries.get
    return BuildLimits(
        limits=reader.limits(get("limits"), f"{where}.limits", base.limits),
        seconds=reader.value(
            get("seconds"),
            f"{where}.seconds",
            lambda text: parse_whole(text, 10, 3600),
            base.seconds,
        ),
        disk=reader.value(get("disk"), f"{where}.disk", parse_memory, base.disk),
        hosts=_names(reader, get("hosts"), f"{where}.hosts", _HOST, "a host name"),
        images=_names(reader, get("images"), f"{where}.images", _REFERENCE, "an image"),
    )


def _names(
    reader: Reader, node: Node | None, where: str, form: re.Pattern[str], what: str
) -> tuple[str, ...]:
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        reader.fault(node, where, f"expected a list, found {describe(node)}")
        return ()
    found = []
    for index, item in enumerate(node.items):
        if isinstance(item, Scalar) and form.fullmatch(item.text):
            found.append(item.text)
        else:
            shown = repr(item.text[:60]) if isinstance(item, Scalar) else describe(item)
            reader.fault(item, f"{where}[{index}]", f"{shown}; expected {what}")
    return tuple(found)
