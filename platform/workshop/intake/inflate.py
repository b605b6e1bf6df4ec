"""Compressed streams, unpacked in small steps under a meter."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

from workshop.intake.members import CHUNK, broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.intake.meter import Meter

_XZ_MEMORY = 100 * 1024 * 1024
"""`xz -9` asks for 65 MB to unpack."""

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class Inflater(Protocol):
    """Unpacks one compressed stream step by step."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its own end."""

    @property
    def unused_data(self) -> bytes:
        """What was given and lies behind that end."""

    def more(self, data: bytes) -> bytes:
        """Unpack at most :data:`CHUNK` bytes; ``data`` follows what was given before."""

    @property
    def hungry(self) -> bool:
        """Whether nothing more comes out without further data."""


class _Deflate:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)
        self.hungry = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def more(self, data: bytes) -> bytes:
        found = self._inner.decompress(self._inner.unconsumed_tail + data, CHUNK)
        # A full chunk may have left something inside although all of the input is used up.
        self.hungry = not self._inner.unconsumed_tail and len(found) < CHUNK
        return found


class _Other:
    def __init__(self, inner: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def hungry(self) -> bool:
        return self._inner.needs_input

    def more(self, data: bytes) -> bytes:
        return self._inner.decompress(data, CHUNK)


def gzip() -> Inflater:
    """Unpack gzip."""
    return _Deflate(16 + zlib.MAX_WBITS)


def deflate() -> Inflater:
    """Unpack what zip calls deflated."""
    return _Deflate(-zlib.MAX_WBITS)


_MAKERS: dict[str, Callable[[], Inflater]] = {
    "gzip": gzip,
    "bzip2": lambda: _Other(bz2.BZ2Decompressor()),
    "xz": lambda: _Other(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
}


def plain(source: BinaryIO, meter: Meter) -> Iterator[bytes]:
    """Read what is not compressed."""
    while data := source.read(CHUNK):
        meter.took(len(data))
        meter.gave(len(data))
        yield data


def unpacked(source: BinaryIO, kind: str, meter: Meter) -> Iterator[bytes]:
    """Unpack a file of one or several streams of ``kind`` and nothing else.

    Raises:
        Refused: it is damaged, or the meter has had enough.

    """
    make = _MAKERS[kind]
    magic = next(key for key, value in MAGIC.items() if value == kind)
    rest = b""
    while True:
        inflater = make()
        yield from _one(inflater, source, rest, meter)
        rest = inflater.unused_data
        while len(rest) < len(magic) and (data := source.read(CHUNK)):
            meter.took(len(data))
            rest += data
        if not rest.startswith(magic):
            break
    _only_padding(rest, source, meter)


def inflate_all(
    inflater: Inflater, take: Callable[[], bytes], meter: Meter, what: str
) -> Iterator[bytes]:
    """Unpack until the stream's own end, or until ``take`` has nothing more.

    Raises:
        Refused: it is damaged, or the meter has had enough.

    """
    data = b""
    while not inflater.eof:
        if inflater.hungry and not data and not (data := take()):
            raise broken(f"{what} ends too early")
        try:
            found = inflater.more(data)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as exc:
            raise broken(f"{what} cannot be unpacked") from exc
        data = b""
        meter.gave(len(found))
        if found:
            yield found


def _one(inflater: Inflater, source: BinaryIO, rest: bytes, meter: Meter) -> Iterator[bytes]:
    first = [rest] if rest else []

    def take() -> bytes:
        if first:
            return first.pop()
        data = source.read(CHUNK)
        meter.took(len(data))
        return data

    return inflate_all(inflater, take, meter, "its compressed stream")


def _only_padding(rest: bytes, source: BinaryIO, meter: Meter) -> None:
    while rest:
        if rest.strip(b"\0"):
            raise broken("something follows its end")
        rest = source.read(CHUNK)
        meter.took(len(rest))
