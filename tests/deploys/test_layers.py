"""What layers come to, before any engine unpacks them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest

from tests.deploys.registry_lab import layer_of
from workshop.deploys.images.layers import TooMuch, Unsound, Weight, weigh
from workshop.limits import MIB

ROOM = Weight(10 * MIB, 100)


def _weigh(packed: bytes, most: Weight = ROOM) -> Weight:
    return weigh(io.BytesIO(packed).read, most)


def _tar(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def _member(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def test_layer_is_weighed_packed_or_not() -> None:
    """Bytes of the whole stream, and the number of entries."""
    packed = layer_of({"a": b"x" * 1000, "b": b""})
    plain = gzip.decompress(packed)

    assert _weigh(packed) == _weigh(plain) == Weight(len(plain), 2)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_usual_form_is_read(form: int) -> None:
    """Directories, links and files of odd sizes, as three generations of tar write them."""
    members = [
        _member("d", type=tarfile.DIRTYPE),
        _member("d/one", 1),
        _member("d/block", 512),
        _member("d/more", 513),
        _member("link", type=tarfile.SYMTYPE, linkname="d/one"),
        _member("hard", type=tarfile.LNKTYPE, linkname="d/one"),
        _member(".wh.gone"),
    ]
    if form != tarfile.USTAR_FORMAT:
        members += [_member("n" * 300, 700), _member("l", type=tarfile.SYMTYPE, linkname="t" * 300)]
    plain = _tar(*members, form=form)

    assert _weigh(gzip.compress(plain)) == Weight(len(plain), len(members))


def test_size_in_an_attribute_is_believed() -> None:
    """PAX says it there where the header's own field is too short."""
    member = _member("big", 3000)
    member.pax_headers = {"size": "3000", "comment": "1 size=9\n"}
    plain = _tar(member, _member("after", 5))

    assert _weigh(plain) == Weight(len(plain), 2)


def test_several_streams_in_a_row_are_one_layer() -> None:
    """Gzip allows it, and so do engines."""
    plain = gzip.decompress(layer_of({"a": b"x" * 5000}))
    packed = gzip.compress(plain[:700]) + gzip.compress(plain[700:])

    assert _weigh(packed) == Weight(len(plain), 1)


def test_empty_layer_weighs_nothing() -> None:
    """Docker pushes one for instructions that change no file."""
    assert _weigh(gzip.compress(bytes(1024))).files == 0


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(layer_of({"zeros": bytes(50 * MIB)}), id="one file of zeros"),
        pytest.param(
            gzip.compress(gzip.decompress(layer_of({"a": b""})) + bytes(50 * MIB), 1),
            id="zeros after the archive's end",
        ),
        pytest.param(
            layer_of({"a": b""}) + gzip.compress(bytes(50 * MIB), 1), id="a second stream of zeros"
        ),
        pytest.param(layer_of({str(number): b"" for number in range(101)}), id="many files"),
    ],
)
def test_layer_that_grows_is_given_up_early(packed: bytes) -> None:
    """No more than the limit and one chunk is ever unpacked."""
    read = []

    def count(size: int) -> bytes:
        read.append(source.read(size))
        return read[-1]

    source = io.BytesIO(packed)
    with pytest.raises(TooMuch):
        weigh(count, ROOM)


def _gnu_sparse() -> bytes:
    header = bytearray(_member("s", 512).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"77777777777\0"
    header[148:156] = b"        "
    header[148:156] = f"{sum(header[:512]):06o}\0 ".encode()
    return bytes(header) + bytes(512 + 1024)


def _pax_sparse() -> bytes:
    member = _member("s", 512)
    member.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "8589934592",
    }
    return _tar(member)


def _long_attribute() -> bytes:
    member = _member("s")
    member.pax_headers = {"comment": "x" * (2 * MIB)}
    return _tar(member)


WHOLE = layer_of({"a": b"0123456789" * 1000})


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (_gnu_sparse(), "sparse"),
        (_pax_sparse(), "sparse"),
        (_long_attribute(), "more than 1 MiB"),
        (WHOLE[:-20], "ends too early"),
        (WHOLE[:5] + b"\xff" + WHOLE[6:40], "ends too early"),
        (WHOLE[:20] + b"\xff\xff" + WHOLE[22:], "cannot be unpacked"),
        (WHOLE + b"trailing", "cannot be unpacked"),
        (gzip.compress(b"hello"), "ends too early"),
        (gzip.compress(b"x" * 2000), "no tar archive"),
        (b"x" * 2000, "no tar archive"),
        (bz2.compress(_tar()), "packed with bzip2"),
        (lzma.compress(_tar()), "packed with xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "packed with zstd"),
        (b"\xff" * 512, "no tar archive"),
        (gzip.compress(_tar(_member("a", 5))[:512] + b"\x01" * 1024), "no tar archive"),
    ],
)
def test_unsound_layer_is_refused(packed: bytes, reason: str) -> None:
    """Damaged, or of a form that would unpack to more than is there."""
    with pytest.raises(Unsound, match=reason):
        _weigh(packed)
