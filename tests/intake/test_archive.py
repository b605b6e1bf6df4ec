"""Archives: what is refused and why, and what is left of those that are taken."""

from __future__ import annotations

import io
import random
import sys
import tarfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.intake import crafted
from tests.intake.crafted import GOOD, HOSTILE, Zipped, header, member, tar, zipped
from workshop.intake.archive import MTIME, Summary, normalise
from workshop.intake.config import Limits
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.intake.crafted import Case

LIMITS = Limits()


def clean(content: bytes, limits: Limits = LIMITS) -> tuple[Summary, list[tarfile.TarInfo]]:
    """Clean an archive and list what came out."""
    out = io.BytesIO()
    summary = normalise(io.BytesIO(content), out, limits)
    out.seek(0)
    with tarfile.open(fileobj=out, mode="r:") as found:
        return summary, found.getmembers()


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archive_is_refused_early_with_its_reason(case: Case) -> None:
    """Each gives its own words, writes not a byte, and takes little time and memory."""
    source, target = io.BytesIO(case.make()), io.BytesIO()
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        normalise(source, target, LIMITS)
    took = time.monotonic() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert case.words in refused.value.message
    assert refused.value.status == case.status
    assert target.getvalue() == b""
    assert took < 10
    assert peak < 16 * crafted.MIB


@pytest.mark.parametrize(("make", "names"), GOOD.values(), ids=GOOD.keys())
def test_good_archive_becomes_plain_files(make: Callable[[], bytes], names: list[str]) -> None:
    """What comes out has the files and nothing of the original's headers."""
    summary, found = clean(make())

    assert sorted(item.name for item in found if item.isreg()) == names
    assert all(item.isreg() or item.isdir() for item in found)
    assert {(item.uid, item.gid, item.uname, item.gname, item.mtime) for item in found} == {
        (0, 0, "", "", MTIME)
    }
    assert {item.mode for item in found} <= {0o644, 0o755}
    assert summary.files == len(names)


@pytest.mark.parametrize("make", [crafted.plain_tar, crafted.plain_tgz, crafted.plain_zip])
def test_content_survives_byte_for_byte(make: Callable[[], bytes]) -> None:
    """Every file holds what it held."""
    out = io.BytesIO()
    normalise(io.BytesIO(make()), out, LIMITS)
    out.seek(0)
    with tarfile.open(fileobj=out, mode="r:") as found:
        files = {item.name: found.extractfile(item) for item in found if item.isreg()}
        assert {name: file.read() for name, file in files.items() if file} == crafted.FILES


def test_parents_come_before_their_children() -> None:
    """A reader that makes directories only where they are listed can unpack it."""
    _, found = clean(tar(member(b"a/b/c.py"), member(b"d.py")))
    assert [item.name for item in found] == ["a", "a/b", "a/b/c.py", "d.py"]


def test_only_the_executable_bit_is_kept() -> None:
    """A script stays executable; every other bit of a mode is ours."""
    content = tar(member(b"run.sh", mode=0o777), member(b"a.py", mode=0o600))
    _, found = clean(content)
    assert [(item.name, item.mode) for item in found] == [("run.sh", 0o755), ("a.py", 0o644)]


def test_summary_names_what_was_left_out() -> None:
    """Whoever sent a .env reads why it did not go along."""
    content = zipped(
        Zipped(b"app/main.py"),
        Zipped(b"app/.env", b"SECRET=1"),
        Zipped(b"app/.git/config"),
        Zipped(b"app/__pycache__/main.pyc"),
        Zipped(b"app/node_modules/x/index.js"),
        Zipped(b"__MACOSX/app/._main.py"),
    )
    summary, found = clean(content)

    assert [item.name for item in found] == ["main.py"]
    assert summary.root == "app"
    assert [kind.split(" ")[0] for kind in summary.left_out] == [
        ".env", ".git", "__pycache__", "macOS", "node_modules",
    ]  # fmt: skip
    assert "secrets" in summary.left_out[0]


def test_too_many_entries_names_the_needless_ones() -> None:
    """Somebody who packed a .venv reads that it is the cause."""
    limits = Limits(entries=10)
    content = tar(*(member(b".venv/f%d" % n, b"") for n in range(20)))
    with pytest.raises(Refused, match=r"10 of them|11 of them") as refused:
        clean(content, limits)
    assert ".venv" in refused.value.message


def test_time_is_bounded() -> None:
    """A clock past the limit ends the work wherever it is."""
    ticks = iter(range(10_000))
    with pytest.raises(Refused, match="takes longer than 20 s"):
        normalise(io.BytesIO(crafted.plain_tgz()), io.BytesIO(), LIMITS, lambda: next(ticks) * 3.0)


def test_extended_headers_without_number_cost_little() -> None:
    """Ten million records are refused or read within the time, and without memory."""
    content = crafted.slow_pax()
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(Refused):
        normalise(io.BytesIO(content), io.BytesIO(), Limits(seconds=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - began < 5
    assert peak < 16 * crafted.MIB


def test_output_of_equal_sources_is_equal() -> None:
    """Neither times nor owners nor the packer change a byte."""
    first, second = io.BytesIO(), io.BytesIO()
    normalise(io.BytesIO(crafted.plain_tar()), first, LIMITS)
    normalise(io.BytesIO(crafted.plain_zip()), second, LIMITS)
    assert first.getvalue() == second.getvalue()


# -- mutations ----------------------------------------------------------------------------------

COUNT = 20_000
_HARD = (0, 1, 0x2F, 0x2E, 0x5C, 0x7F, 0x80, 0xFF)


def mutated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change, cut or splice an archive."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        kind, at = rng.randrange(6), rng.randrange(len(found))
        if kind <= 1:
            found[at] = rng.choice(_HARD) if kind else rng.randrange(256)
        elif kind == 2 and len(found) > 600:
            del found[at:]
        elif kind == 3:
            begin = rng.randrange(len(other))
            found[at : at + 64] = other[begin : begin + rng.randrange(1, 600)]
        elif kind == 4:
            del found[at : at + rng.randrange(1, 64)]
        else:
            found[at:at] = found[at : at + rng.choice((1, 4, 30, 46, 512))]
        found = found or bytearray(b"\0")
    return bytes(found)


def resealed(content: bytes, rng: random.Random) -> bytes:
    """Change a tar header and make its checksum right again, so that the change is looked at."""
    found = bytearray(content)
    headers = [
        at for at in range(0, len(found) - 511, 512) if found[at + 257 : at + 262] == b"ustar"
    ]
    at = rng.choice(headers)
    for _ in range(rng.choice((1, 2, 8))):
        found[
            at
            + rng.choice(
                (
                    rng.randrange(100),
                    100 + rng.randrange(48),
                    156,
                    157 + rng.randrange(100),
                    345 + rng.randrange(155),
                )
            )
        ] = rng.choice((*_HARD, *b"01234567xgLKSZ"))
    found[at + 148 : at + 156] = b" " * 8
    found[at + 148 : at + 156] = crafted.octal(sum(found[at : at + 512]), 7) + b" "
    return bytes(found)


def small(kind: str) -> bytes:
    """Make a short valid archive to mutate."""
    names = [b"app.py", b"src/x.py", b"src/" + b"n" * 60 + b"/y.py", b".env", "grüße.txt".encode()]
    if kind == "zip":
        return zipped(*(Zipped(name, APP * 9) for name in names), Zipped(b"d/", b"", mode=0o40755))
    found = tar(
        header(b"src/", 0, b"5", 0o755),
        *(member(name, APP * 9) for name in names),
        crafted.pax(path=b"pax/" + b"p" * 120, size=b"5"),
        member(b"z", b"12345"),
        crafted.gnu_long(b"gnu/" + b"g" * 120),
        member(b"z"),
    )
    return crafted.gzip.compress(found, mtime=0) if kind == "tgz" else found


APP = crafted.APP


@pytest.mark.slow
def test_twenty_thousand_mutations_break_nothing(touched: list[str]) -> None:
    """Each is refused or becomes plain files below its root, and no file is touched meanwhile."""
    (Path(__file__).parent / "__init__.py").open("rb").close()
    assert touched.pop().endswith("__init__.py"), "the ear is deaf"
    rng = random.Random(20_261_121)
    kinds = ("tar", "tgz", "zip")
    seeds = {kind: small(kind) for kind in kinds}
    limits = Limits(unpacked_bytes=2 * crafted.MIB, entries=50, seconds=5)
    taken, slowest = 0, 0.0
    began = time.monotonic()
    for number in range(COUNT):
        kind = kinds[number % 3]
        if kind == "tgz" and rng.random() < 0.5:
            content = crafted.gzip.compress(mutated(seeds["tar"], seeds["zip"], rng), 1)
        elif kind == "tar" and rng.random() < 0.5:
            content = resealed(seeds["tar"], rng)
        else:
            content = mutated(seeds[kind], seeds[rng.choice(kinds)], rng)
        taken += _is_sound(content, limits)
        now = time.monotonic()
        slowest = max(slowest, now - began)
        began = now
    assert 500 < taken < COUNT
    assert slowest < 2
    assert touched == []


_WRITES = {"os.mkdir", "os.symlink", "os.link", "os.rename", "os.chmod", "os.truncate", "os.remove"}
_audited: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _audited is not None and (event in _WRITES or event == "open"):
        _audited.append(f"{event} {arguments[0]}")


sys.addaudithook(_audit)


@pytest.fixture
def touched() -> Iterator[list[str]]:
    """Hear of every file that the interpreter opens or makes while the test runs."""
    global _audited  # noqa: PLW0603 - a hook cannot be taken off again, only told to be quiet
    _audited = []
    yield _audited
    _audited = None


def _is_sound(content: bytes, limits: Limits) -> bool:
    target = io.BytesIO()
    try:
        summary = normalise(io.BytesIO(content), target, limits)
    except Refused as refused:
        assert refused.message
        assert refused.status in {400, 413, 415, 422}
        assert target.getvalue() == b""
        return False
    assert len(target.getvalue()) <= limits.unpacked_bytes + 2048 * limits.entries
    target.seek(0)
    with tarfile.open(fileobj=target, mode="r:") as found:
        members = found.getmembers()
    assert sum(item.isreg() for item in members) == summary.files
    for item in members:
        assert item.isreg() or item.isdir()
        assert not item.name.startswith("/")
        assert not {"..", "", ".git", ".env"} & set(item.name.split("/"))
        assert item.mode in {0o644, 0o755}
    return True
