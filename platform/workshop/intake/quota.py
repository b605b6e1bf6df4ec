"""How much of the registry's disk one participant takes, read from the disk itself."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.intake.orders import DIGEST
from workshop.intake.refusal import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REPOSITORIES = "docker/registry/v2/repositories"
_BLOBS = "docker/registry/v2/blobs/sha256"
_SECONDS = 2.0
_LEAST_BYTES = 64 * 1024 * 1024
"""Less than that takes no image worth pushing, and orders and records lie on that disk as well."""
_LEAST_FILES = 200
_DEEPEST = 16


@dataclass(frozen=True)
class Usage:
    """What was found."""

    layers: int = 0
    bytes: int = 0
    whole: bool = True
    """Whether everything was counted within the time."""


def too_little(storage: Path) -> str:
    """Say what is left where there is no room for another image; empty where there is."""
    found = os.statvfs(storage)
    free = found.f_bavail * found.f_frsize
    if found.f_files and found.f_favail < _LEAST_FILES:
        return f"{found.f_favail} more files"
    return amount(free) if free < _LEAST_BYTES else ""


def usage(storage: Path, seat: str, clock: Callable[[], float] = time.monotonic) -> Usage:
    """Add up the distinct layers of a seat's repositories, and uploads that are not finished."""
    end = clock() + _SECONDS
    digests: set[str] = set()
    size, whole = 0, True
    for kind, path in _entries(storage / _REPOSITORIES / seat):
        if clock() > end:
            whole = False
            break
        if kind == "layer" and path.name not in digests:
            digests.add(path.name)
            size += _size(storage / _BLOBS / path.name[:2] / path.name / "data")
        elif kind == "upload":
            size += _size(path / "data")
    return Usage(len(digests), size, whole)


def _entries(root: Path, depth: int = 0) -> Iterator[tuple[str, Path]]:
    """Walk through a participant's repositories, however deep their names are."""
    for path in _children(root):
        if path.name == "_layers":
            for layer in _children(path / "sha256"):
                if DIGEST.fullmatch(f"sha256:{layer.name}") and (layer / "link").is_file():
                    yield "layer", layer
        elif path.name == "_uploads":
            for upload in _children(path):
                yield "upload", upload
        elif not path.name.startswith("_") and depth < _DEEPEST:
            yield from _entries(path, depth + 1)


def _children(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as found:
            yield from (directory / e.name for e in found if e.is_dir(follow_symlinks=False))
    except OSError:
        # Nothing was pushed yet, or it is being cleaned up right now.
        return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
