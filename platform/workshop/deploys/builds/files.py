"""The files of COPY, on their way into a container."""

from __future__ import annotations

import contextlib
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.deploys.builds import failure
from workshop.deploys.builds.dockerfile import Unreadable
from workshop.deploys.builds.source import Entry, Load, Source, moved
from workshop.deploys.builds.steps import Kind
from workshop.errors import EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from workshop.deploys.builds.plan import Group, Placement
    from workshop.deploys.builds.steps import Steps


@dataclass(frozen=True)
class Filler:
    """Fills one container."""

    steps: Steps
    source: Source
    container: str
    bounded: Callable[[Iterable[bytes]], Iterator[bytes]]
    """Ends an archive that is too long, or whose build shall stop."""
    origin: Callable[[str], AbstractContextManager[str]]
    """Opens a container of another image, to copy from."""

    def fill(self, group: Group, origins: Mapping[int | str | None, str]) -> None:
        """Put a group's files into its container, as many at a time as may be."""
        loads: list[Load] = []
        for placement in group.placements:
            owner = self._owner(placement)
            if placement.origin is None:
                loads += self._loads(placement, owner, loads)
                continue
            if loads:
                self._put(placement, self.source.pack(loads))
            loads = []
            image = origins.get(placement.origin, str(placement.origin))
            self._from_image(placement, image, owner)
        if loads:
            self._put(group.placements[-1], self.source.pack(loads))

    def _loads(
        self, placement: Placement, owner: tuple[int, int], before: list[Load]
    ) -> list[Load]:
        """Lay out one COPY, knowing what is on its way already."""
        coming = {load.entry.path: load.entry for load in before}
        entries: list[Entry] = []
        directories: set[str] = set()
        for name in placement.sources:
            if self.source.is_directory(name):
                entries += self.source.below(name, placement.target)
                directories.add(placement.target.strip("/"))
            else:
                entries.append(self.source.file(name, self._target(placement, name, coming)))
        directories |= {entry.path for entry in entries if entry.is_directory}
        directories |= {parent for entry in entries for parent in _parents(entry.path)}
        missing = self._missing(directories, coming)
        own = {entry.path for entry in entries}
        made = [Entry(path, None) for path in missing if path not in own]
        wanted = [entry for entry in entries if not entry.is_directory or entry.path in missing]
        return [Load(entry, owner, placement.mode) for entry in (*made, *wanted)]

    def _target(self, placement: Placement, name: str, coming: Mapping[str, Entry]) -> str:
        """Say where one file goes: into a directory, or to a name of its own."""
        there = self._kind(placement.target, coming)
        if placement.into or there is Kind.DIRECTORY:
            return posixpath.join(placement.target, posixpath.basename(name.rstrip("/")))
        return placement.target

    def _missing(self, directories: set[str], coming: Mapping[str, Entry]) -> dict[str, None]:
        """Keep those that are not there yet, parents first; others keep their owner and mode."""
        missing: dict[str, None] = {}
        for path in sorted(directories - {""}, key=lambda path: (path.count("/"), path)):
            known = posixpath.dirname(path) not in missing
            if not known or self._kind(path, coming) is None:
                missing[path] = None
        return missing

    def _kind(self, path: str, coming: Mapping[str, Entry]) -> Kind | None:
        entry = coming.get(path.strip("/"))
        if entry is not None:
            return Kind.DIRECTORY if entry.is_directory else Kind.FILE
        return self.steps.kind(self.container, posixpath.join("/", path))

    def _from_image(self, placement: Placement, image: str, owner: tuple[int, int]) -> None:
        with self.origin(image) as origin:
            for path in placement.sources:
                wanted = posixpath.normpath(posixpath.join("/", path))
                kind = self.steps.kind(origin, wanted)
                if kind is None:
                    raise failure.no_such_file(placement.line, "COPY --from", path)
                if kind is Kind.DIRECTORY:
                    target, wanted = placement.target, f"{wanted.rstrip('/')}/."
                else:
                    target = self._target(placement, wanted, {})
                rename = _renamed(target, whole=kind is Kind.FILE)
                taken = self.steps.take(origin, wanted)
                archive = moved(taken, rename, owner, placement.mode)
                self._put(placement, archive)

    def _put(self, placement: Placement, archive: Iterable[bytes]) -> None:
        try:
            self.steps.put(self.container, self.bounded(archive))
        except EngineError as exc:
            text = f"COPY {' '.join(placement.sources)} {placement.target}"
            raise failure.not_placed(placement.line, text, exc.message) from exc

    def _owner(self, placement: Placement) -> tuple[int, int]:
        """Turn ``--chown`` into numbers, with the image's own lists of users and groups."""
        user, _, group = placement.owner.partition(":")
        if not user:
            return 0, 0
        uid, own_group = self._number("/etc/passwd", user, placement.line)
        if not group:
            return uid, own_group
        return uid, self._number("/etc/group", group, placement.line)[0]

    def _number(self, path: str, name: str, line: int) -> tuple[int, int]:
        if name.isdecimal():
            return int(name), int(name)
        with contextlib.suppress(NotFound):
            raw = b"".join(self.steps.take(self.container, path)).decode("utf-8", "replace")
            for text in raw.replace("\0", "\n").splitlines():
                fields = [*text.split(":"), "", "", ""]
                if fields[0] == name and fields[2].isdecimal():
                    return int(fields[2]), int(fields[3]) if fields[3].isdecimal() else 0
        raise Unreadable(
            line,
            f"{name[:40]!a} is nobody in this image",
            "use numbers, such as --chown=10001:10001",
        )


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _renamed(target: str, *, whole: bool) -> Callable[[str], str]:
    """Make a function that turns a name in an archive of ``/dir/.`` or a file into its new one."""
    place = target.strip("/")

    def rename(name: str) -> str:
        if whole:
            return place
        rest = name.removeprefix("./").strip("/")
        return f"{place}/{rest}".strip("/") if rest and rest != "." else place

    return rename
