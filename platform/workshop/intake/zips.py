"""Reads zip archives by their central directory, after proving that it tells the truth.

Zip says everything twice and lets both places differ. Here every entry's bytes must lie apart from
all others', both places must agree, and what comes out must have the size and checksum announced.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from workshop.intake.inflate import deflate, inflate_all
from workshop.intake.members import CHUNK, Member, broken
from workshop.intake.names import path_of, shown, why_left_out
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workshop.intake.meter import Meter

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_HUGE = 0xFFFFFFFF
_ENCRYPTED = 0x2041
"""Bits of the flags: encrypted, strongly encrypted, with a hidden directory."""
_UNIX, _DARWIN = 3, 19
_STORED, _DEFLATED = 0, 8
_KIND, _REGULAR, _DIRECTORY, _LINK = 0o170000, 0o100000, 0o040000, 0o120000
_SPECIAL_BITS = 0o6000
_PLAIN = "Pack it anew the usual way: zip -r app.zip . (or the file manager's own 'Compress')"


@dataclass(frozen=True)
class _Entry:
    name: bytes
    path: tuple[str, ...]
    needless: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int
    mode: int
    """Unix's; 0 when the archive comes from elsewhere."""

    @property
    def directory(self) -> bool:
        return self.name.endswith(b"/") or self.mode & _KIND == _DIRECTORY


def members(source: BinaryIO, meter: Meter) -> Iterator[Member]:
    """Read every entry, in the directory's order.

    Raises:
        Refused: one of them is not a regular file or a directory, or the archive is damaged.

    """
    begin, count, length = _end(source)
    entries = list(_directory(source, begin, count, length, meter))
    for entry in entries:
        if not entry.needless:
            _check(entry)
    starts = [_start(source, entry) for entry in entries]
    _check_apart(zip(entries, starts, strict=True), begin)
    for entry, start in zip(entries, starts, strict=True):
        content = _content(source, entry, start, meter)
        executable = bool(entry.mode & 0o111)
        yield Member(entry.path, entry.directory, executable, content, entry.needless)
        for _ in content:
            pass


def _end(source: BinaryIO) -> tuple[int, int, int]:
    """Find the end record; it must end where the file ends. Return begin, count and length."""
    size = source.seek(0, 2)
    tail_begin = max(0, size - _END.size - _LONGEST_COMMENT)
    source.seek(tail_begin)
    tail = source.read(_END.size + _LONGEST_COMMENT)
    at = len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if at + _END.size > len(tail):
            continue
        _, disk, first, here, count, length, begin, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment != len(tail):
            continue
        if disk or first or here != count:
            raise Refused(f"The zip is one part of several. {_PLAIN}.", 422)
        if _HUGE in {length, begin} or count == 0xFFFF:  # noqa: PLR2004 - zip64's mark
            raise Refused(f"The zip is of the form for huge files (zip64). {_PLAIN}.", 413)
        if begin + length != tail_begin + at:
            raise broken("its directory is not where it should be")
        return begin, count, length
    raise broken("its directory is missing, or something follows its end")


def _directory(
    source: BinaryIO, begin: int, count: int, length: int, meter: Meter
) -> Iterator[_Entry]:
    source.seek(begin)
    left = length
    for _ in range(count):
        fixed = source.read(_CENTRAL.size)
        left -= _CENTRAL.size
        if len(fixed) < _CENTRAL.size or not fixed.startswith(b"PK\x01\x02") or left < 0:
            raise broken("its directory is not readable")
        (_, made_by, _, flags, method, _, _, checksum, packed, size, *lengths, offset) = (
            _CENTRAL.unpack(fixed)
        )
        name_length, extra_length, comment_length, _, _, attributes = lengths
        variable = source.read(name_length + extra_length + comment_length)
        left -= len(variable)
        if len(variable) < name_length + extra_length + comment_length or left < 0:
            raise broken("its directory is not readable")
        name = _name(variable[:name_length])
        extra = variable[name_length : name_length + extra_length]
        size, packed, offset = _wide(extra, size, packed, offset)
        mode = attributes >> 16 if made_by >> 8 in {_UNIX, _DARWIN} else 0
        path = path_of(name)
        needless = why_left_out(path)
        meter.entry(needless)
        yield _Entry(name, path, needless, flags, method, checksum, packed, size, offset, mode)
    if left:
        raise broken("its directory holds more than it says")


def _name(raw: bytes) -> bytes:
    """Take a name as it is meant: some programs on Windows write backslashes for slashes."""
    return raw.replace(b"\\", b"/")


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """Take from zip64's extra field what did not fit in 32 bits."""
    wide = b""
    while len(extra) >= 4:  # noqa: PLR2004 - a field's kind and length
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = extra[4 : 4 + length]
        extra = extra[4 + length :]
    found = []
    for value in values:
        if value != _HUGE:
            found.append(value)
        elif len(wide) < 8:  # noqa: PLR2004 - bytes of one such number
            raise broken("a size in its directory is missing")
        else:
            found.append(int.from_bytes(wide[:8], "little"))
            wide = wide[8:]
    return tuple(found)


def _check_apart(entries: Iterable[tuple[_Entry, int]], begin: int) -> None:
    """See that no two entries share a byte: that is how small zips unpack to huge ones."""
    end = 0
    for entry, start in sorted(entries, key=lambda item: item[0].offset):
        if entry.offset < end:
            raise broken("two of its entries overlap, as in bombs")
        if end == 0 and entry.offset:
            raise broken("something stands before its first entry")
        end = start + entry.packed
    if end > begin:
        raise broken("an entry reaches into its directory")


def _check(entry: _Entry) -> None:
    what = shown(entry.name)
    if entry.flags & _ENCRYPTED:
        raise Refused(f"{what} in the zip is encrypted. Pack it anew without a password.", 422)
    if entry.method not in {_STORED, _DEFLATED}:
        raise Refused(f"{what} is packed in a way that is not read here. {_PLAIN}.", 422)
    kind = entry.mode & _KIND
    if kind == _LINK:
        raise Refused(
            f"{what} in the archive is a symbolic link, which could lead anywhere. Replace it by"
            " the file it leads to (zip without --symlinks does that). Only files and directories"
            " are taken.",
            422,
        )
    if kind not in {0, _REGULAR, _DIRECTORY}:
        raise Refused(f"{what} in the zip is a device or a pipe. Only files are taken.", 422)
    if kind == _REGULAR and entry.name.endswith(b"/"):
        raise broken(f"{what} is said to be a file and a directory")
    if entry.mode & _SPECIAL_BITS and not entry.directory:
        raise Refused(
            f"{what} in the archive would run as somebody else (its mode is"
            f" {entry.mode & 0o7777:o}). Take that off: chmod u-s,g-s FILE",
            422,
        )
    if entry.directory and (entry.size or entry.packed > 2):  # noqa: PLR2004 - deflate's "nothing"
        raise broken(f"the directory {what} claims to hold bytes")


def _start(source: BinaryIO, entry: _Entry) -> int:
    """Find where an entry's bytes begin; its own header must agree with the directory."""
    source.seek(entry.offset)
    fixed = source.read(_LOCAL.size)
    if len(fixed) < _LOCAL.size or not fixed.startswith(b"PK\x03\x04"):
        raise broken(f"{shown(entry.name)} is not where its directory says")
    found = _LOCAL.unpack(fixed)
    flags, method, name_length, extra_length = map(int, (*found[2:4], *found[-2:]))
    name = _name(source.read(name_length))
    if name != entry.name or method != entry.method or (flags ^ entry.flags) & 1:
        raise broken(f"it says two different things about {shown(entry.name)}")
    return entry.offset + _LOCAL.size + name_length + extra_length


def _content(source: BinaryIO, entry: _Entry, start: int, meter: Meter) -> Iterator[bytes]:
    """Unpack one entry; what comes out must be what was announced."""
    if entry.flags & _ENCRYPTED or entry.method not in {_STORED, _DEFLATED}:
        return
    at, left = start, entry.packed

    def take() -> bytes:
        nonlocal at, left
        source.seek(at)
        data = source.read(min(CHUNK, left))
        meter.took(len(data))
        at, left = at + len(data), left - len(data)
        return data

    what = shown(entry.name)
    size, checksum = 0, 0
    inflater = deflate()
    pieces = (
        inflate_all(inflater, take, meter, what)
        if entry.method == _DEFLATED
        else _stored(take, meter)
    )
    for piece in pieces:
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        if size > entry.size:
            raise broken(f"{what} is larger than it says")
        yield piece
    if left or inflater.unused_data or size != entry.size or checksum != entry.checksum:
        raise broken(f"{what} is not what its directory says")


def _stored(take: Callable[[], bytes], meter: Meter) -> Iterator[bytes]:
    while data := take():
        meter.gave(len(data))
        yield data
