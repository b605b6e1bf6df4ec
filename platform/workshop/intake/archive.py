"""Turns whatever participants upload into one clean archive, and refuses early what it cannot.

Nothing is ever unpacked to a disk. A first pass reads everything and writes nothing, so a refused
archive leaves no byte behind; a second one copies plain files into an uncompressed tar in which
nothing of the original's headers is left but names and the executable bit.
"""

from __future__ import annotations

import itertools
import tarfile
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from workshop.intake import tars, zips
from workshop.intake.inflate import MAGIC, plain, unpacked
from workshop.intake.meter import Meter, deadline
from workshop.intake.names import Path, common_root, folded, shown
from workshop.intake.refusal import Refused, amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.intake.config import Limits
    from workshop.intake.members import Member

MTIME = 946_684_800
"""1 January 2000: equal sources give equal archives."""
_ADVICE = "Send a .zip or a .tar.gz of your app's directory, such as: tar czf app.tgz -C my-app ."
_OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\x7fELF": "a program",
    b"<!DO": "a web page",
    b"<htm": "a web page",
}


@dataclass(frozen=True)
class Summary:
    """What was kept of an archive."""

    files: int
    bytes: int
    left_out: tuple[str, ...] = ()
    """The kinds of things that deploys do without."""
    root: str = ""
    """The single directory around everything, which was taken off."""

    def __str__(self) -> str:
        plural = "" if self.files == 1 else "s"
        return f"{self.files} file{plural}, {amount(self.bytes)}"


@dataclass(frozen=True)
class _Kept:
    path: Path
    directory: bool
    executable: bool
    size: int


def normalise(
    source: BinaryIO,
    target: BinaryIO,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Read the archive in ``source``, which can seek, and write a clean one to ``target``.

    Raises:
        Refused: something in it is not taken; nothing was written then.

    """
    end = deadline(limits, clock)
    kept, left_out = _plan(_members(source, Meter(limits, end, clock)))
    files = [item for item in kept if not item.directory]
    if not files:
        found = f" All that is in it is left out: {', '.join(left_out)}." if left_out else ""
        raise Refused(f"The archive holds no file.{found} {_ADVICE}", 422)
    strip = common_root((item.path, item.directory) for item in kept)
    _write(kept, strip, _members(source, Meter(limits, end, clock)), target)
    size = sum(item.size for item in files)
    return Summary(len(files), size, left_out, kept[0].path[0] if strip else "")


def _members(source: BinaryIO, meter: Meter) -> Iterator[Member]:
    """Tell the form by the content; names of files say nothing."""
    source.seek(0)
    head = source.read(tars.BLOCK)
    source.seek(0)
    if not head:
        raise Refused(f"The upload is empty. {_ADVICE}", 400)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zips.members(source, meter)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return _inner(unpacked(source, kind, meter), kind, meter)
    if tars.looks_like_tar(head):
        return tars.members(plain(source, meter), meter)
    raise Refused(f"The upload is {_guess(head)}, not an archive that is read here. {_ADVICE}", 415)


def _inner(chunks: Iterator[bytes], kind: str, meter: Meter) -> Iterator[Member]:
    """See that what was compressed is a tar archive before it is read as one."""
    head, pieces = b"", []
    while len(head) < tars.BLOCK and (piece := next(chunks, None)) is not None:
        pieces.append(piece)
        head += piece
    if not tars.looks_like_tar(head[: tars.BLOCK]):
        raise Refused(
            f"The upload is one file compressed with {kind}, not an archive. {_ADVICE}", 415
        )
    return tars.members(itertools.chain(pieces, chunks), meter)


def _guess(head: bytes) -> str:
    for magic, what in _OTHERS.items():
        if head.lower().startswith(magic.lower()):
            return what
    return "something else" if b"\0" in head else "a text"


def _plan(found: Iterator[Member]) -> tuple[list[_Kept], tuple[str, ...]]:
    """Read everything once; what comes back is what will be written."""
    kept: list[_Kept] = []
    left_out: Counter[str] = Counter()
    seen = _Seen()
    for member in found:
        size = sum(map(len, member.chunks))
        if member.needless:
            left_out[member.needless] += 1
        elif member.path and seen.is_new(member.path, directory=member.directory):
            kept.append(_Kept(member.path, member.directory, member.executable, size))
    return kept, tuple(sorted(left_out))


class _Seen:
    """The names so far; no two of them may be one file on any participant's computer."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._directories: dict[str, Path] = {}

    def is_new(self, path: Path, *, directory: bool) -> bool:
        """Take ``path`` in; false for a directory that is known already."""
        for depth in range(1, len(path)):
            self._directory(path[:depth])
        if directory:
            return self._directory(path)
        key = folded(path)
        if key in self._directories:
            raise _twice(path, self._directories[key])
        if key in self._files:
            raise _twice(path, self._files[key])
        self._files[key] = path
        return True

    def _directory(self, path: Path) -> bool:
        key = folded(path)
        if key in self._files:
            raise _twice(path, self._files[key])
        known = self._directories.setdefault(key, path)
        if known != path:
            raise _twice(path, known)
        return known is path


def _twice(path: Path, other: Path) -> Refused:
    if path == other:
        return Refused(
            f"The archive holds {shown('/'.join(path))} twice. Pack it anew with each file once.",
            422,
        )
    return Refused(
        f"The archive holds {shown('/'.join(other))} and {shown('/'.join(path))}, which are one"
        " name on many computers. Rename one of them.",
        422,
    )


def _write(kept: list[_Kept], strip: int, found: Iterator[Member], target: BinaryIO) -> None:
    made: set[Path] = {()}
    planned = iter(kept)
    following = next(planned, None)
    for member in found:
        # Both passes read the same bytes, so they see the same members in the same order.
        if following is None:
            break
        if member.needless or member.path != following.path:
            continue
        path = following.path[strip:]
        for depth in range(1, len(path)):
            _write_directory(path[:depth], made, target)
        if following.directory:
            _write_directory(path, made, target)
        else:
            _write_file(path, following, member.chunks, target)
        following = next(planned, None)
    target.write(bytes(2 * tars.BLOCK))


def _write_directory(path: Path, made: set[Path], target: BinaryIO) -> None:
    if path not in made:
        made.add(path)
        target.write(_header(path, tarfile.DIRTYPE, 0o755, 0))


def _write_file(path: Path, item: _Kept, chunks: Iterator[bytes], target: BinaryIO) -> None:
    target.write(_header(path, tarfile.REGTYPE, 0o755 if item.executable else 0o644, item.size))
    target.writelines(chunks)
    target.write(bytes(-item.size % tars.BLOCK))


def _header(path: Path, kind: bytes, mode: int, size: int) -> bytes:
    info = tarfile.TarInfo("/".join(path))
    info.type, info.mode, info.size, info.mtime = kind, mode, size, MTIME
    return info.tobuf(tarfile.PAX_FORMAT)
