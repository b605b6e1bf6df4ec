"""Archives made by hand, good ones and hostile ones, from bytes rather than by a kind library."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

APP = b"from fastapi import FastAPI\napp = FastAPI()\n"
MIB = 1024 * 1024


def octal(value: int, width: int) -> bytes:
    """Write a tar header's number."""
    return f"{value:0{width - 1}o}".encode() + b"\0"


def header(  # noqa: PLR0913, PLR0917 - the fields of a header
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    mode: int = 0o644,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """Write one tar header with a right checksum, whatever else is wrong."""
    length = size if isinstance(size, bytes) else octal(size, 12)
    block = name.ljust(100, b"\0") + octal(mode, 8) + octal(0, 8) * 2 + length.ljust(12, b"\0")
    block += octal(0, 12) + b" " * 8 + kind + link.ljust(100, b"\0") + magic
    block = block.ljust(512, b"\0")
    return block[:148] + octal(sum(block), 7) + b" " + block[156:]


def member(name: bytes, content: bytes = APP, **more: object) -> bytes:
    """Write one tar member: header, content, padding."""
    made = header(name, len(content), **more)  # type: ignore[arg-type]
    return made + content + bytes(-len(content) % 512)


def tar(*members: bytes, end: bytes = bytes(1024)) -> bytes:
    """Put members together."""
    return b"".join(members) + end


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """Write an extended header; ``GNU_sparse_map`` becomes ``GNU.sparse.map``."""
    content = b"".join(record(key.replace("_", ".").encode(), v) for key, v in records.items())
    return member(b"PaxHeaders/x", content, kind=kind)


def record(key: bytes, value: bytes) -> bytes:
    """Write one PAX record, whose length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def gnu_long(name: bytes) -> bytes:
    """Write GNU's header for a long name."""
    return member(b"././@LongLink", name + b"\0", kind=b"L")


@dataclass
class Zipped:
    """One entry of a zip, with every field open to lies."""

    name: bytes
    content: bytes = APP
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    size: int | None = None
    checksum: int | None = None
    local_name: bytes | None = None
    local_extra: bytes = b""
    offset: int | None = None
    packed: bytes | None = None


def zipped(*entries: Zipped, comment: bytes = b"", before: bytes = b"") -> bytes:
    """Write a zip from its entries."""
    out, directory = bytearray(before), bytearray()
    for entry in entries:
        packed = entry.packed
        if packed is None:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            whole = deflate.compress(entry.content) + deflate.flush()
            packed = whole if entry.method == 8 else entry.content
        size = len(entry.content) if entry.size is None else entry.size
        checksum = zlib.crc32(entry.content) if entry.checksum is None else entry.checksum
        name = entry.name if entry.local_name is None else entry.local_name
        offset = len(out) if entry.offset is None else entry.offset
        facts = (20, entry.flags, entry.method, 0, 33, checksum, len(packed), size)
        out += struct.pack("<4s5H3L2H", b"PK\3\4", *facts, len(name), len(entry.local_extra))
        out += name + entry.local_extra + packed
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", 0x031E, *facts, len(entry.name), *[0] * 4, entry.mode << 16, offset)  # fmt: skip
        directory += entry.name
    end = (b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(out), len(comment))
    return bytes(out + directory + struct.pack("<4s4H2LH", *end) + comment)


def plain_tar() -> bytes:
    """Pack a small app as a class's laptops would."""
    return _by_library("w")


def plain_tgz() -> bytes:
    """Pack it compressed."""
    return _by_library("w:gz")


def plain_zip() -> bytes:
    """Pack it as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    return out.getvalue()


FILES = {
    "app/main.py": APP,
    "requirements.txt": b"fastapi\nuvicorn\n",
    "static/"
    + "long/" * 12
    + "style-with-a-rather-long-name-that-fills-a-header-with-ease.css": b"a{}\n",
    "data/grüße.txt": "schöne Grüße\n".encode() * 50,
    "big.bin": bytes(range(256)) * 300,
}


def _by_library(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


def overlapping() -> bytes:
    """Let many directory entries point at one and the same body."""
    body = Zipped(b"a", bytes(200_000))
    more = [Zipped(b"a", bytes(200_000), packed=b"", offset=0) for _ in range(300)]
    return zipped(body, *more)


def quoting() -> bytes:
    """Hide the second entry's header in the first one's extra field, so that bodies are shared."""
    content = bytes(50_000)
    second = Zipped(b"b", content)
    alone = zipped(second)
    shared = alone[: alone.index(b"PK\1\2")]
    first = Zipped(
        b"a",
        content,
        local_extra=b"\xff\xff" + struct.pack("<H", 31) + shared[:31],
        packed=shared[31:],
    )
    return zipped(first, Zipped(b"b", content, offset=35, packed=b""))


def many(count: int) -> bytes:
    """Pack a great many empty files."""
    return tar(*(member(b"f%d" % number, b"") for number in range(count)))


def gzip_bomb() -> bytes:
    """Compress half a gigabyte of zeros without ever holding it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [deflate.compress(header(b"zeros", 2_000_000_000))]
    parts += [deflate.compress(bytes(MIB)) for _ in range(500)]
    return b"".join(parts) + deflate.flush()


def zip_bomb() -> bytes:
    """Say truthfully that a small zip holds much."""
    return zipped(*(Zipped(b"z%d" % n, bytes(20 * MIB)) for n in range(3)))


def slow_pax() -> bytes:
    """Fill extended headers with thousands of records."""
    block = member(b"p", record(b"a", b"") * 10_000, kind=b"x")
    return gzip.compress(tar(*[block, member(b"f", b"")] * 1000), 1)


def xz_with_huge_window() -> bytes:
    """Ask for 512 MB to unpack a kilobyte."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 26, "preset": 0}]
    good = bytearray(lzma.compress(tar(member(b"a.py")), filters=filters))
    # The window's size stands in the block header, behind stream header, sizes and flags.
    assert good[16] == 28
    good[16] = 36
    good[20:24] = struct.pack("<L", zlib.crc32(good[12:20]))
    return bytes(good)


LINKS = (
    member(b"link", b"", kind=b"2", link=b"/etc"),
    member(b"link/passwd", b"root::0:0::/:/bin/sh\n"),
)


@dataclass(frozen=True)
class Case:
    """One archive and what must become of it."""

    make: Callable[[], bytes]
    status: int
    words: str
    """Part of the reason it is refused for."""


HOSTILE = {
    "empty": Case(lambda: b"", 400, "is empty"),
    "text": Case(lambda: b"print('hello')\n" * 80, 415, "a text, not an archive"),
    "rar": Case(lambda: b"Rar!\x1a\x07\x01\x00" + bytes(900), 415, "a RAR archive"),
    "gzip-of-text": Case(lambda: gzip.compress(APP), 415, "one file compressed with gzip"),
    "gzip-of-zip": Case(lambda: gzip.compress(plain_zip()), 415, "one file compressed with gzip"),
    "truncated-tar": Case(lambda: plain_tar()[:3000], 422, "ends in the middle"),
    "truncated-tgz": Case(lambda: plain_tgz()[:-40], 422, "ends too early"),
    "truncated-zip": Case(lambda: plain_zip()[:-40], 422, "directory is missing"),
    "tar-with-junk": Case(lambda: tar(member(b"a.py")) + b"junk", 422, "something follows its end"),
    "tgz-with-junk": Case(lambda: plain_tgz() + b"junk", 422, "something follows its end"),
    "zip-with-junk": Case(lambda: plain_zip() + b"junk", 422, "something follows its end"),
    "tar-nothing": Case(lambda: bytes(10240), 422, "holds no file"),
    "zip-nothing": Case(zipped, 422, "holds no file"),
    "only-rubbish": Case(
        lambda: tar(member(b".git/HEAD"), member(b"__pycache__/a.pyc")),
        422,
        "All that is in it is left out",
    ),
    "zip-encrypted": Case(lambda: zipped(Zipped(b"a.py", flags=1)), 422, "encrypted"),
    "zip-strange-method": Case(lambda: zipped(Zipped(b"a.py", method=14)), 422, "packed in a way"),
    "zip-wrong-checksum": Case(
        lambda: zipped(Zipped(b"a.py", checksum=1)), 422, "not what its directory says"
    ),
    "zip-lying-small": Case(
        lambda: zipped(Zipped(b"a.py", bytes(5000), size=10)), 422, "larger than it says"
    ),
    "zip-lying-large": Case(
        lambda: zipped(Zipped(b"a.py", size=5_000_000)), 422, "not what its directory says"
    ),
    "zip-two-names": Case(
        lambda: zipped(Zipped(b"a.py", local_name=b"b.py")), 422, "two different things"
    ),
    "zip-overlapping": Case(overlapping, 422, "overlap"),
    "zip-quoting": Case(quoting, 422, "overlap"),
    "zip-prefixed": Case(
        lambda: zipped(Zipped(b"a.py"), before=b"PK\3\4 hidden"), 422, "before its first entry"
    ),
    "zip-traversal": Case(lambda: zipped(Zipped(b"../../etc/cron.d/x")), 422, "leads out"),
    "zip-backslash-traversal": Case(lambda: zipped(Zipped(rb"..\..\x.py")), 422, "leads out"),
    "zip-absolute": Case(lambda: zipped(Zipped(b"/etc/passwd")), 422, "root of a disk"),
    "zip-drive": Case(lambda: zipped(Zipped(rb"C:\x.py")), 422, "root of a disk"),
    "zip-symlink": Case(
        lambda: zipped(Zipped(b"a", b"/etc/passwd", mode=0o120777)), 422, "symbolic link"
    ),
    "zip-device": Case(lambda: zipped(Zipped(b"a", b"", mode=0o060644)), 422, "device"),
    "zip-setuid": Case(lambda: zipped(Zipped(b"a", mode=0o104755)), 422, "as somebody else"),
    "zip-nul": Case(lambda: zipped(Zipped(b"a.py\0.txt")), 422, "cannot be seen"),
    "zip-not-utf8": Case(lambda: zipped(Zipped(b"gr\x81\xe1e.txt")), 422, "UTF-8"),
    "zip-bomb": Case(zip_bomb, 413, "times its size"),
    "tar-traversal": Case(lambda: tar(member(b"../../etc/cron.d/x")), 422, "leads out"),
    "tar-inner-traversal": Case(lambda: tar(member(b"a/b/../../../x")), 422, "leads out"),
    "tar-prefix-traversal": Case(lambda: tar(_prefixed(b"x", b"..")), 422, "leads out"),
    "tar-absolute": Case(lambda: tar(member(b"/etc/passwd")), 422, "root of a disk"),
    "tar-backslash": Case(lambda: tar(member(rb"..\x")), 422, "backslash"),
    "tar-symlink": Case(
        lambda: tar(member(b"a", b"", kind=b"2", link=b"/etc/passwd")), 422, "symbolic link"
    ),
    "tar-link-then-write": Case(lambda: tar(*LINKS), 422, "symbolic link"),
    "tar-hardlink": Case(
        lambda: tar(member(b"a", b"", kind=b"1", link=b"/etc/passwd")), 422, "hard link"
    ),
    "tar-character-device": Case(lambda: tar(member(b"a", b"", kind=b"3")), 422, "a device"),
    "tar-block-device": Case(lambda: tar(member(b"a", b"", kind=b"4")), 422, "a device"),
    "tar-fifo": Case(lambda: tar(member(b"a", b"", kind=b"6")), 422, "a pipe"),
    "tar-unknown-kind": Case(lambda: tar(member(b"a", kind=b"Z")), 422, "not known"),
    "tar-setuid": Case(lambda: tar(member(b"a", mode=0o4755)), 422, "as somebody else"),
    "tar-sparse": Case(lambda: tar(member(b"a", kind=b"S")), 422, "sparse"),
    "tar-pax-sparse": Case(lambda: tar(pax(GNU_sparse_map=b"0,1"), member(b"a")), 422, "sparse"),
    "tar-pax-traversal": Case(lambda: tar(pax(path=b"../../x"), member(b"a")), 422, "leads out"),
    "tar-pax-nul": Case(lambda: tar(pax(path=b"a\0b"), member(b"a")), 422, "cannot be seen"),
    "tar-pax-size-lie": Case(
        lambda: tar(pax(size=b"99999999"), member(b"a")), 422, "ends in the middle"
    ),
    "tar-pax-negative": Case(lambda: tar(pax(size=b"-512"), member(b"a")), 422, "not a number"),
    "tar-pax-garbled": Case(
        lambda: tar(member(b"x", b"9999999 path=a\n", kind=b"x"), member(b"a")), 422, "not readable"
    ),
    "tar-pax-global": Case(lambda: tar(pax(b"g", path=b"evil"), member(b"a")), 422, "to all files"),
    "tar-pax-huge": Case(
        lambda: tar(header(b"x", 10**9, b"x"), bytes(4096)), 422, "bytes for a name"
    ),
    "tar-pax-endless": Case(lambda: tar(*[pax(comment=b"x")] * 50), 422, "without end"),
    "tar-gnu-traversal": Case(
        lambda: tar(gnu_long(b"../" * 40 + b"x"), member(b"a")), 422, "leads out"
    ),
    "tar-gnu-loop": Case(lambda: tar(*[gnu_long(b"a" * 90)] * 50), 422, "without end"),
    "tar-gnu-alone": Case(lambda: tar(gnu_long(b"a")), 422, "nothing follows"),
    "tar-negative-size": Case(lambda: tar(header(b"a", b"-0000000001")), 422, "not a number"),
    "tar-negative-base256": Case(lambda: tar(header(b"a", b"\xff" * 12)), 422, "not a number"),
    "tar-lying-size": Case(lambda: tar(header(b"a", 10**9)), 422, "ends in the middle"),
    "tar-base256-size": Case(
        lambda: tar(header(b"a", b"\x80" + bytes(3) + b"\xff" * 8)), 422, "ends in the middle"
    ),
    "tar-wrong-checksum": Case(lambda: tar(member(b"a"), b"b" + member(b"a")[1:]), 422, "checksum"),
    "tar-not-utf8": Case(lambda: tar(member(b"gr\xfc\xdfe.txt")), 422, "UTF-8"),
    "tar-control": Case(lambda: tar(member(b"a\x1b[31m.py")), 422, "cannot be seen"),
    "tar-right-to-left": Case(lambda: tar(member("a\u202eyp.exe".encode())), 422, "cannot be seen"),
    "tar-device-name": Case(lambda: tar(member(b"src/CON")), 422, "Windows keeps"),
    "tar-device-name-dotted": Case(lambda: tar(member(b"nul.txt")), 422, "Windows keeps"),
    "tar-21-levels": Case(lambda: tar(member(b"d/" * 20 + b"f")), 422, "21 levels deep"),
    "tar-300-characters": Case(lambda: tar(gnu_long(b"n" * 300), member(b"a")), 422, "too long"),
    "tar-twice": Case(lambda: tar(member(b"a.py"), member(b"a.py")), 422, "twice"),
    "tar-case": Case(
        lambda: tar(member(b"Readme.md"), member(b"README.md")), 422, "one name on many"
    ),
    "tar-case-directory": Case(
        lambda: tar(member(b"Src/a"), member(b"src/b")), 422, "one name on many"
    ),
    "tar-composed": Case(
        lambda: tar(member("é".encode()), member("e\u0301".encode())), 422, "one name on many"
    ),
    "tar-file-and-directory": Case(lambda: tar(member(b"a"), member(b"a/b")), 422, "twice"),
    "tar-directory-with-bytes": Case(
        lambda: tar(member(b"d/", b"hidden", kind=b"5")), 422, "claims to hold"
    ),
    "tar-nameless": Case(lambda: tar(member(b"./")), 422, "no name"),
    "tar-5001-entries": Case(lambda: many(5001), 413, "more than 5000"),
    "tgz-million-entries": Case(lambda: gzip.compress(many(20_000), 1), 413, "more than"),
    "tar-100-megabytes-and-one": Case(
        lambda: tar(
            member(b"a", bytes(range(256)) * (400 * 1024) + b"1"), member(b"b", bytes(5 * MIB))
        ),
        413,
        "unpacks to more",
    ),
    "tgz-bomb": Case(gzip_bomb, 413, "times its size"),
    "bz2-bomb": Case(
        lambda: bz2.compress(tar(member(b"a", bytes(60 * MIB)))), 413, "times its size"
    ),
    "xz-bomb": Case(
        lambda: lzma.compress(tar(member(b"a", bytes(60 * MIB)))), 413, "times its size"
    ),
    "xz-huge-window": Case(xz_with_huge_window, 422, "cannot be unpacked"),
}


def _prefixed(name: bytes, prefix: bytes) -> bytes:
    block = bytearray(header(name, 0))
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = octal(sum(block), 7) + b" "
    return bytes(block)


GOOD = {
    "tar": (plain_tar, sorted(FILES)),
    "tgz": (plain_tgz, sorted(FILES)),
    "zip": (plain_zip, sorted(FILES)),
    "bz2": (lambda: bz2.compress(plain_tar()), sorted(FILES)),
    "xz": (lambda: lzma.compress(plain_tar()), sorted(FILES)),
    "two-gzip-streams": (
        lambda: gzip.compress(plain_tar()[:700]) + gzip.compress(plain_tar()[700:]),
        sorted(FILES),
    ),
    "gzip-padded": (lambda: plain_tgz() + bytes(5000), sorted(FILES)),
    "tar-without-end": (lambda: tar(member(b"a.py"), end=b""), ["a.py"]),
    "old-tar": (
        lambda: tar(
            header(b"d/", 0, b"\0", magic=bytes(8)), member(b"d2.py", kind=b"\0", magic=bytes(8))
        ),
        ["d2.py"],
    ),
    "one-root": (
        lambda: tar(
            header(b"my-app-main/", 0, b"5", 0o755),
            member(b"my-app-main/app.py"),
            member(b"my-app-main/lib/x.py"),
        ),
        ["app.py", "lib/x.py"],
    ),
    "one-root-and-macos": (
        lambda: zipped(
            Zipped(b"app/main.py"), Zipped(b"__MACOSX/app/._main.py"), Zipped(b".DS_Store")
        ),
        ["main.py"],
    ),
    "two-roots": (lambda: tar(member(b"a/x.py"), member(b"b/y.py")), ["a/x.py", "b/y.py"]),
    "root-and-file": (lambda: tar(member(b"a/x.py"), member(b"y.py")), ["a/x.py", "y.py"]),
    "git-archive": (lambda: tar(pax(b"g", comment=b"c0ffee"), member(b"r/a.py")), ["a.py"]),
    "dots": (
        lambda: tar(header(b"./", 0, b"5"), member(b"./a.py"), member(b".//b//c.py")),
        ["a.py", "b/c.py"],
    ),
    "windows-zip": (
        lambda: zipped(Zipped(rb"src\app.py"), Zipped(rb"requirements.txt")),
        ["requirements.txt", "src/app.py"],
    ),
    "links-where-nobody-looks": (
        lambda: tar(
            member(b".venv/bin/python", b"", kind=b"2", link=b"/usr/bin/python"), member(b"a.py")
        ),
        ["a.py"],
    ),
    "nested": (
        lambda: tar(member(b"inner.zip", plain_zip()), member(b"a.py")),
        ["a.py", "inner.zip"],
    ),
    "stored-zip": (lambda: zipped(Zipped(b"a.py", method=0)), ["a.py"]),
    "zip-comment": (lambda: zipped(Zipped(b"a.py"), comment=b"PK\5\6 made by hand" * 3), ["a.py"]),
    "setgid-directory": (
        lambda: tar(header(b"d/", 0, b"5", 0o2775), member(b"d/a.py"), member(b"b.py")),
        ["b.py", "d/a.py"],
    ),
    "directory-twice": (
        lambda: tar(
            header(b"d/", 0, b"5"), member(b"d/a.py"), header(b"d/", 0, b"5"), member(b"b.py")
        ),
        ["b.py", "d/a.py"],
    ),
    "20-levels": (lambda: tar(member(b"d/" * 19 + b"f"), member(b"g")), ["d/" * 19 + "f", "g"]),
    "5000-entries": (lambda: many(5000), sorted(f"f{n}" for n in range(5000))),
    "env-example": (
        lambda: tar(member(b".env"), member(b".env.example"), member(b"a.py")),
        [".env.example", "a.py"],
    ),
}
