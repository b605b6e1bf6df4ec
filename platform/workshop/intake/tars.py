"""Reads tar archives: ustar, GNU's and PAX's long names, and nothing cleverer.

Python's own ``tarfile`` believes headers and has a history of going round in circles on hostile
ones, so it is not the one that reads here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.intake.members import CHUNK, Member, broken
from workshop.intake.names import path_of, shown, why_left_out
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.intake.meter import Meter

BLOCK = 512
_LONGEST_EXTRA = 64 * 1024
"""Bytes of one PAX record block or one long name."""
_MOST_EXTRAS = 8
"""Extended headers before one member; no program writes more than four."""
_SPECIAL_BITS = 0o6000
_FILES = b"0\0" + b"7"
_WORDS = {
    b"1": "a hard link. Pack copies instead: tar --hard-dereference ...",
    b"2": "a symbolic link, which could lead anywhere. Replace it by the file it leads to"
    " (tar -h does that for all)",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe (FIFO)",
    b"S": "a sparse file. Pack it plainly, without --sparse",
}


@dataclass(frozen=True)
class _Header:
    name: bytes
    size: int
    kind: bytes
    mode: int


class _Reader:
    """A stream read in exact amounts."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def some(self, most: int) -> bytes:
        """Read between 1 and ``most`` bytes; none at the end."""
        while not self._rest:
            more = next(self._chunks, None)
            if more is None:
                return b""
            self._rest = more
        found, self._rest = self._rest[:most], self._rest[most:]
        return found

    def exactly(self, size: int) -> bytes:
        """Read ``size`` bytes, less only at the end."""
        parts = []
        while size and (part := self.some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def members(chunks: Iterator[bytes], meter: Meter) -> Iterator[Member]:
    """Read every member of an archive, in its order.

    Raises:
        Refused: one of them is not a regular file or a directory, or the archive is damaged.

    """
    reader = _Reader(chunks)
    extra: dict[str, bytes] = {}
    extras = 0
    while (header := _header(reader)) is not None:
        if header.kind in {b"x", b"g", b"L", b"K"}:
            extras += 1
            if extras > _MOST_EXTRAS:
                raise broken("it holds names without end")
            extra = _extended(header, _extra(reader, header), extra)
            continue
        size = _size(extra, header.size)
        content = _Content(reader, size)
        yield _member(header, extra, size, content, meter)
        content.skip_rest()
        extra, extras = {}, 0
    if extra:
        raise broken("it ends after a name that nothing follows")
    while rest := reader.some(CHUNK):
        if rest.strip(b"\0"):
            raise broken("something follows its end")


def looks_like_tar(block: bytes) -> bool:
    """Whether ``block`` could be the first header of an archive."""
    return len(block) == BLOCK and (
        not block.strip(b"\0") or _number(block[148:156]) in _checksums(block)
    )


class _Content:
    """The bytes of one member; whatever nobody read is skipped."""

    def __init__(self, reader: _Reader, size: int) -> None:
        self._reader = reader
        self._left = size
        self._padding = -size % BLOCK

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            found = self._reader.some(min(self._left, CHUNK))
            if not found:
                raise broken("it ends in the middle of a file")
            self._left -= len(found)
            yield found

    def skip_rest(self) -> None:
        for _ in self:
            pass
        if len(self._reader.exactly(self._padding)) < self._padding:
            raise broken("it ends in the middle of a file")


def _member(
    header: _Header, extra: dict[str, bytes], size: int, content: _Content, meter: Meter
) -> Member:
    raw = extra.get("path", header.name)
    path = path_of(raw)
    needless = why_left_out(path)
    meter.entry(needless)
    old_directory = header.kind == b"\0" and raw.endswith(b"/")
    directory = header.kind == b"5" or old_directory
    if not needless:
        _check(header, raw, extra, directory=directory)
        if not path and not directory:
            raise broken("one of its files has no name")
    if directory and size:
        raise broken(f"the directory {shown(raw)} claims to hold bytes")
    return Member(path, directory, bool(header.mode & 0o111), iter(content), needless)


def _check(header: _Header, raw: bytes, extra: dict[str, bytes], *, directory: bool) -> None:
    if any(key.startswith("GNU.sparse") for key in extra):
        raise Refused(f"{shown(raw)} in the archive is {_WORDS[b'S']}.", 422)
    if header.kind not in _FILES and not directory:
        what = _WORDS.get(header.kind, f"of a kind that is not known ({shown(header.kind)})")
        raise Refused(
            f"{shown(raw)} in the archive is {what}. Only files and directories are taken.", 422
        )
    if header.mode & _SPECIAL_BITS and not directory:
        raise Refused(
            f"{shown(raw)} in the archive would run as somebody else (its mode is"
            f" {header.mode & 0o7777:o}). Take that off: chmod u-s,g-s FILE",
            422,
        )


def _header(reader: _Reader) -> _Header | None:
    block = reader.exactly(BLOCK)
    if not block or (len(block) == BLOCK and not block.strip(b"\0")):
        return None
    if len(block) < BLOCK:
        raise broken("it ends in the middle of a header")
    if _number(block[148:156]) not in _checksums(block):
        raise broken("a header's checksum is wrong")
    name = block[:100].split(b"\0", 1)[0]
    # GNU's own form uses these bytes for times.
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    size = _number(block[124:136])
    if size is None:
        raise broken("a header's size is not a number")
    mode = _number(block[100:108])
    return _Header(prefix + b"/" + name if prefix else name, size, block[156:157], mode or 0)


def _checksums(block: bytes) -> tuple[int, int]:
    """Sum up a header; some old programs took its bytes for signed ones."""
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)  # noqa: PLR2004 - a sign bit


def _number(field: bytes) -> int | None:
    """Read a number: octal digits, or GNU's form for large ones; never a negative one."""
    if field[0] == 0x80:  # noqa: PLR2004 - GNU's mark for a positive number in plain bytes
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text.isdigit() or any(byte in b"89" for byte in text):
        return None if text else 0
    return int(text, 8)


def _size(extra: dict[str, bytes], otherwise: int) -> int:
    text = extra.get("size")
    if text is None:
        return otherwise
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 - digits of a 64-bit number
        raise broken("a size in it is not a number")
    return int(text)


def _extra(reader: _Reader, header: _Header) -> bytes:
    if header.size > _LONGEST_EXTRA:
        raise broken(f"it wants {header.size} bytes for a name")
    padded = header.size + -header.size % BLOCK
    found = reader.exactly(padded)
    if len(found) < padded:
        raise broken("it ends in the middle of a name")
    return found[: header.size]


def _extended(header: _Header, content: bytes, before: dict[str, bytes]) -> dict[str, bytes]:
    if header.kind == b"L":
        return {**before, "path": content.rstrip(b"\0")}
    if header.kind == b"K":
        return before
    found = dict(_records(content))
    if header.kind == b"x":
        return {**before, **found}
    # A header for all members that follow; git writes a comment there and nothing else is needed.
    if found.keys() & {"path", "size", "linkpath"}:
        raise broken("it gives one name or size to all files")
    return before


def _records(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Read PAX records: ``LENGTH KEY=VALUE`` and a line's end each."""
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + 8].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        record = content[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if at + length > len(content) or not equals or not record.endswith(b"\n"):
            raise broken("an extended header is not readable")
        yield key.decode("utf-8", "replace"), value[:-1]
        at += length
