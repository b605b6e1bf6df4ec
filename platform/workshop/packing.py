"""A directory packed the way the server of deploys takes it: plain files in a plain tar archive.

What the server refuses from strangers is settled here for the instructor: links inside the
directory become the files they lead to, and whatever else is no plain file is named.
"""

from __future__ import annotations

import tarfile
from contextlib import closing
from typing import IO, TYPE_CHECKING

from workshop import context
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = "Dockerfile"


def pack(directory: Path, dockerfile: str, target: Path) -> None:
    """Write the build context of ``directory`` to ``target``, its recipe called ``Dockerfile``.

    Raises:
        InputError: something in it is no file and leads to none.
        WorkshopError: a file cannot be read, or the disk is full.

    """
    try:
        with (
            closing(context.archive(directory, dockerfile)) as whole,
            tarfile.open(fileobj=whole) as source,
            tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as packed,
        ):
            for member in source:
                name = _name(member, dockerfile)
                if name is not None:
                    content = _content(source, member, directory)
                    with content:
                        packed.addfile(_plain(name, member, content), content)
    except OSError as exc:
        raise WorkshopError(
            f"{directory} cannot be packed: {exc}",
            hint="leave the file out with .dockerignore, or make room on the disk",
        ) from exc


def _name(member: tarfile.TarInfo, dockerfile: str) -> str | None:
    """Say what a member is called in the archive; ``None`` for what stays out."""
    if member.isdir():
        return None
    if member.name == dockerfile:
        return DOCKERFILE
    # Another recipe was chosen, and the server looks for one name only.
    return None if member.name == DOCKERFILE else member.name


def _content(source: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> IO[bytes]:
    content = source.extractfile(member) if member.isfile() else None
    if content is not None:
        return content
    root, found = directory.resolve(), (directory / member.name).resolve()
    if found.is_file() and found.is_relative_to(root):
        return found.open("rb")
    raise InputError(
        f"{directory / member.name} is no plain file, nor a link to one in {directory}",
        hint="put the file itself there, or leave it out with .dockerignore",
    )


def _plain(name: str, member: tarfile.TarInfo, content: IO[bytes]) -> tarfile.TarInfo:
    plain = tarfile.TarInfo(name)
    plain.size = content.seek(0, 2)
    content.seek(0)
    plain.mtime = int(member.mtime)
    plain.mode = 0o755 if member.mode & 0o100 and not member.issym() else 0o644
    return plain
