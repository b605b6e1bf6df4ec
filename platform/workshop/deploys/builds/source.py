"""What a build copies: the files of an uploaded source, and archives as the engine takes them.

The source stays packed. It is read where it lies, so nothing of it is ever written to a directory
of this server, and believed in nothing: whoever packed it, only plain files with plain names count.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tarfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from workshop.context import ignoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

MOST_ENTRIES = 20_000
MOST_NAME = 1024
_CHUNK = 1024 * 1024
_LONGEST_TEXT = 1024 * 1024
_FIRST_SOUND_TIME = 315_532_800
"""1980: zip archives, and so Python's wheels, can hold nothing older."""
_ARCHIVES = (
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\x00"),
    (0, b"\x28\xb5\x2f\xfd"),
    (257, b"ustar"),
)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)


class BadSource(Exception):
    """The archive holds something that is no plain file, or is damaged."""


@dataclass(frozen=True)
class Entry:
    """A file or directory on its way into an image."""

    path: str
    """Where it goes, from the root, without a slash at either end."""
    member: tarfile.TarInfo | None
    """Where it comes from; ``None`` is a directory the target needs."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.member is None or self.member.isdir()


@dataclass(frozen=True)
class Load:
    """An entry with what it shall be like."""

    entry: Entry
    owner: tuple[int, int]
    """Numbers of the user and the group it shall belong to."""
    mode: int = 0
    """0 keeps its own."""


@dataclass
class Source:
    """An uploaded source, open for reading."""

    path: Path
    dockerfile: str = "Dockerfile"
    _tar: tarfile.TarFile = field(init=False, repr=False)
    _all: dict[str, tarfile.TarInfo] = field(init=False, repr=False)
    _kept: dict[str, tarfile.TarInfo] = field(init=False, repr=False)

    def __enter__(self) -> Self:
        """Open the archive and read the names in it.

        Raises:
            BadSource: it is damaged, or holds more than plain files.

        """
        try:
            self._tar = tarfile.open(self.path, "r:")
        except (OSError, tarfile.TarError) as exc:
            raise BadSource(f"the source cannot be read: {exc}") from exc
        try:
            self._all = _members(self._tar, self.path.stat().st_size)
            self._kept = self._without_ignored()
        except (tarfile.TarError, OSError, ValueError) as exc:
            self._tar.close()
            raise BadSource(f"the source cannot be read: {exc}") from exc
        except BadSource:
            self._tar.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the archive."""
        self._tar.close()

    # -- looking ------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """Read a small text; ``None`` when it is not there.

        Raises:
            BadSource: it is not text.

        """
        member = self._all.get(_clean(name))
        if member is None or not member.isfile():
            return None
        try:
            return b"".join(self._bytes(member, _LONGEST_TEXT)).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadSource(f"{name} is not UTF-8 text") from exc

    def find(self, pattern: str) -> list[str]:
        """List the names that ``pattern`` matches; ``""`` is the source's root itself."""
        wanted = _clean(pattern)
        if not re.search(r"[*?\[]", wanted):
            return [wanted] if not wanted or wanted in self._kept else []
        form = _glob(wanted)
        return sorted(name for name in self._kept if form.fullmatch(name))

    def is_directory(self, name: str) -> bool:
        """Whether ``name`` is a directory; the root is one."""
        return not name or self._kept[name].isdir()

    def is_ignored(self, name: str) -> bool:
        """Whether ``name`` is there, and kept out by ``.dockerignore`` or the platform."""
        return _clean(name) in self._all and _clean(name) not in self._kept

    def nearest(self, name: str) -> str:
        """Offer the name that looks most like ``name``; empty when none does."""
        wanted = _clean(name)
        folded = {known.lower(): known for known in self._kept}
        if wanted.lower() in folded:
            return folded[wanted.lower()]
        by_last = {known.rpartition("/")[2]: known for known in self._kept}
        if wanted.rpartition("/")[2] in by_last:
            return by_last[wanted.rpartition("/")[2]]
        return next(iter(difflib.get_close_matches(wanted, self._kept, 1, 0.6)), "")

    def is_archive(self, name: str) -> bool:
        """Whether a file is what Docker's ADD would unpack."""
        head = b"".join(self._bytes(self._kept[name], 512))
        return any(head[place:].startswith(magic) for place, magic in _ARCHIVES)

    # -- copying ------------------------------------------------------------------------------

    def below(self, name: str, target: str) -> Iterator[Entry]:
        """Lay out what a COPY of ``name`` puts below the directory ``target``."""
        prefix = f"{name}/" if name else ""
        for known, member in sorted(self._kept.items()):
            if known.startswith(prefix):
                yield Entry(f"{target}/{known.removeprefix(prefix)}".strip("/"), member)

    def file(self, name: str, target: str) -> Entry:
        """Lay out a COPY of one file to the path ``target``."""
        return Entry(target.strip("/"), self._kept[name])

    def digest(self, entries: Iterable[Entry]) -> str:
        """Name files by where they go, what is in them and whether they may be run."""
        total = hashlib.sha256()
        for entry in entries:
            mode = 0 if entry.member is None else entry.member.mode & 0o111
            total.update(f"{len(entry.path)}:{entry.path}:{mode}:{entry.is_directory}:".encode())
            if entry.member is not None and not entry.is_directory:
                content = hashlib.sha256()
                for chunk in self._bytes(entry.member):
                    content.update(chunk)
                total.update(content.digest())
        return total.hexdigest()

    def pack(self, loads: Iterable[Load]) -> Iterator[bytes]:
        """Pack files the way the engine takes them, a piece at a time."""
        for load in loads:
            entry = load.entry
            header = tarfile.TarInfo(entry.path)
            header.type = tarfile.DIRTYPE if entry.is_directory else tarfile.REGTYPE
            header.mode = load.mode or _mode(entry)
            header.uid, header.gid = load.owner
            header.mtime = _mtime(entry.member)
            content = entry.member if entry.member and not entry.is_directory else None
            header.size = content.size if content else 0
            yield header.tobuf(tarfile.GNU_FORMAT)
            if content:
                yield from self._bytes(content)
                yield _padding(content.size)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _bytes(self, member: tarfile.TarInfo, most: int = 1 << 62) -> Iterator[bytes]:
        file = self._tar.extractfile(member)
        left = most
        while file is not None and left > 0 and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk

    def _without_ignored(self) -> dict[str, tarfile.TarInfo]:
        own = self._text_of(f"{self.dockerfile}.dockerignore")
        text = self._text_of(".dockerignore") if own is None else own
        is_ignored = ignoring(text or "")
        return {name: member for name, member in self._all.items() if not is_ignored(name)}

    def _text_of(self, name: str) -> str | None:
        member = self._all.get(name)
        if member is None or not member.isfile():
            return None
        return b"".join(self._bytes(member, _LONGEST_TEXT)).decode("utf-8", "replace")


def moved(
    archive: Iterable[bytes], rename: Callable[[str], str], owner: tuple[int, int], mode: int
) -> Iterator[bytes]:
    """Rewrite an archive that another container gave, a piece at a time."""
    readable: Any = _Readable(iter(archive))
    with tarfile.open(fileobj=readable, mode="r|") as tar:
        for member in tar:
            if member.isdev():
                continue
            member.name = rename(member.name)
            if member.islnk():
                member.linkname = rename(member.linkname)
            member.uid, member.gid = owner
            member.uname = member.gname = ""
            if mode and not member.issym():
                member.mode = mode
            member.pax_headers = {}
            if not member.name:
                continue
            yield member.tobuf(tarfile.GNU_FORMAT)
            if member.isreg() and (file := tar.extractfile(member)) is not None:
                while chunk := file.read(_CHUNK):
                    yield chunk
                yield _padding(member.size)
    # What follows the last file is read too, so that the other end is not cut off.
    readable.read()
    yield bytes(2 * tarfile.BLOCKSIZE)


class _Readable:
    """Pieces of bytes, read like a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while (size < 0 or len(self._rest) < size) and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _members(tar: tarfile.TarFile, size: int) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if len(found) >= MOST_ENTRIES:
            raise BadSource(f"the source has more than {MOST_ENTRIES} files")
        name = member.name.rstrip("/").removeprefix("./")
        if name in {"", "."}:
            continue
        shown = ascii(name[:80])
        parts = name.split("/")
        if member.type not in _PLAIN or member.sparse is not None:
            raise BadSource(f"{shown} is no plain file")
        if not {"", ".", ".."}.isdisjoint(parts) or len(name) > MOST_NAME or not _is_plain(name):
            raise BadSource(f"{shown} is no plain name")
        if member.offset_data + member.size > size:
            raise BadSource(f"{shown} is cut short")
        found[name] = member
    for name in list(found):
        for place in (index for index, char in enumerate(name) if char == "/"):
            parent = found.setdefault(name[:place], _directory(name[:place]))
            if not parent.isdir():
                raise BadSource(f"{name[:80]!a} lies below a file")
    return found


def _is_plain(name: str) -> bool:
    """Whether a name can be written down: printable, and no stray bytes in it."""
    return name.isprintable() and name == name.encode("utf-8", "ignore").decode("utf-8")


def _directory(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    return made


def _clean(name: str) -> str:
    """Read a name the way COPY does: from the source's root, which nothing lies above."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _glob(pattern: str) -> re.Pattern[str]:
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]/]+\]|.", pattern, re.DOTALL)
    return re.compile(
        "".join(
            forms.get(piece) or (f"[{_class(piece[1:-1])}]" if len(piece) > 1 else re.escape(piece))
            for piece in pieces
        )
    )


def _class(text: str) -> str:
    negated, rest = ("^", text[1:]) if text[0] in "^!" and len(text) > 1 else ("", text)
    first, dash, last = rest.partition("-")
    if dash and len(first) == len(last) == 1 and first <= last:
        return f"{negated}{re.escape(first)}-{re.escape(last)}"
    return negated + re.escape(rest)


def _mode(entry: Entry) -> int:
    if entry.is_directory:
        return 0o755
    executable = entry.member is not None and entry.member.mode & 0o111
    return 0o755 if executable else 0o644


def _mtime(member: tarfile.TarInfo | None) -> float:
    if member is None or member.mtime < _FIRST_SOUND_TIME:
        return int(time.time())
    return int(member.mtime)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
