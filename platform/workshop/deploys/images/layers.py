"""What a layer unpacks to, found out before the engine unpacks it.

A registry knows packed sizes alone, and 2 MB of packed zeros are 2 GB on the server's disk. So a
layer is unpacked here first, into nothing, and given up as soon as it is too large. Headers of the
archive are read only as far as size and number of files need; what could make the engine write
more bytes than the stream has, such as sparse files, is refused.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FILES = 500_000
"""Entries of all layers together; a large Python image has 50,000."""
_BLOCK = 512
_CHUNK = 256 * 1024
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_LONGEST_EXTRA = 1024 * 1024
"""Bytes of an entry that only describes the next one; Go reads no more either."""
_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"
_EXTRAS = (_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK)
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_PAX_SIZE = re.compile(rb"(?:^|\n)[0-9]{1,9} size=([0-9]{1,18})(?=\n)")


class Unsound(Exception):
    """The layer is damaged, or of a form that no usual tool writes."""


class TooMuch(Exception):
    """The layer is larger, or has more files, than was allowed."""


@dataclass(frozen=True)
class Weight:
    """What one layer comes to on disk."""

    size: int = 0
    files: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.size + other.size, self.files + other.files)


def weigh(read: Callable[[int], bytes], most: Weight) -> Weight:
    """Unpack a layer into nothing.

    Args:
        read: gives up to so many bytes of the packed layer; nothing at its end.
        most: where to stop.

    Raises:
        Unsound: no engine should be asked to unpack it.
        TooMuch: it comes to more than ``most``.

    """
    stream = _Unpacked(read, most.size)
    archive = _Archive(stream, most.files)
    archive.walk()
    return Weight(stream.size, archive.files)


class _Unpacked:
    """The bytes of a layer after unpacking, counted."""

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self.size = 0
        self._read = read
        self._most = most
        self._packed = read(_CHUNK)
        kind = next((name for magic, name in _OTHERS.items() if self._packed.startswith(magic)), "")
        if kind:
            raise Unsound(f"it is packed with {kind}; expected gzip")
        gzipped = self._packed.startswith(_GZIP)
        self._inflate = zlib.decompressobj(wbits=31) if gzipped else None
        self._buffer = b""
        self._at = 0

    def take(self, wanted: int) -> bytes:
        """Give exactly so many bytes, fewer only at the end."""
        while self._held() < wanted and (more := self._more()):
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        begin, self._at = self._at, min(self._at + wanted, len(self._buffer))
        return self._buffer[begin : self._at]

    def skip(self, wanted: int) -> None:
        """Pass over so many bytes, or as many as there are."""
        while wanted > self._held():
            wanted -= self._held()
            self._buffer, self._at = self._more(), 0
            if not self._buffer:
                return
        self._at += wanted

    def drain(self) -> None:
        """Pass over all that is left: an engine unpacks what follows an archive's end as well."""
        while self._more():
            pass

    def _held(self) -> int:
        return len(self._buffer) - self._at

    def _more(self) -> bytes:
        found = self._plain() if self._inflate is None else self._inflated()
        self.size += len(found)
        if self.size > self._most:
            raise TooMuch
        return found

    def _plain(self) -> bytes:
        found, self._packed = self._packed, b""
        return found or self._read(_CHUNK)

    def _inflated(self) -> bytes:
        found = b""
        while not found and self._inflate is not None:
            if self._inflate.eof:
                self._next_member()
            elif self._packed or self._pull():
                found = self._decompress(self._inflate)
            else:
                raise Unsound("it ends too early")
        return found

    def _decompress(self, inflate: zlib._Decompress) -> bytes:
        try:
            found = inflate.decompress(self._packed, _CHUNK)
        except zlib.error as exc:
            raise Unsound(f"it cannot be unpacked: {exc}") from exc
        self._packed = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        return found

    def _next_member(self) -> None:
        """Begin the next of several gzip streams in a row, or end."""
        if self._packed or self._pull():
            self._inflate = zlib.decompressobj(wbits=31)
        else:
            self._inflate = None

    def _pull(self) -> bool:
        self._packed = self._read(_CHUNK)
        return bool(self._packed)


class _Archive:
    """The headers of a tar archive, one after the other."""

    def __init__(self, stream: _Unpacked, most: int) -> None:
        self.files = 0
        self._stream = stream
        self._most = most
        self._size: int | None = None
        """What the entry before said about the size of this one."""

    def walk(self) -> None:
        """Look at every entry."""
        while self._entry():
            pass
        self._stream.drain()

    def _entry(self) -> bool:
        header = self._stream.take(_BLOCK)
        if not header or header == bytes(_BLOCK):
            return False
        kind, size = _read(header)
        if kind == _SPARSE:
            raise Unsound("it has a sparse file")
        if kind in _EXTRAS:
            self._extra(kind, size)
        else:
            self._file(kind, size)
        return True

    def _extra(self, kind: bytes, size: int) -> None:
        if size > _LONGEST_EXTRA:
            raise Unsound("it has a name or attribute of more than 1 MiB")
        text = self._stream.take(_padded(size))[:size]
        if kind not in (_PAX, _PAX_FOR_ALL):
            return
        if b"GNU.sparse" in text:
            raise Unsound("it has a sparse file")
        if found := _PAX_SIZE.findall(text):
            self._size = int(found[-1])

    def _file(self, kind: bytes, size: int) -> None:
        self.files += 1
        if self.files > self._most:
            raise TooMuch
        size, self._size = size if self._size is None else self._size, None
        if kind not in _WITHOUT_DATA:
            self._stream.skip(_padded(size))


def _read(header: bytes) -> tuple[bytes, int]:
    """Read type and size out of a header.

    Raises:
        Unsound: it is none.

    """
    if len(header) < _BLOCK:
        raise Unsound("it ends too early")
    try:
        summed = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        size = _number(header[124:136])
        sound = summed == _number(header[148:156]) and size >= 0
    except ValueError:
        sound = False
    if not sound:
        raise Unsound("it is no tar archive, or a damaged one")
    return header[156:157], size


def _number(field: bytes) -> int:
    """Read octal digits, or the binary form for what they cannot hold."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
