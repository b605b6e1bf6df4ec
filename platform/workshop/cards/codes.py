"""QR codes: an address as a square of dark and light modules."""

from __future__ import annotations

import functools

import segno

_CLASS = 512
"""More than a class has people: the sheet and the page share what is encoded once."""


@functools.lru_cache(_CLASS)
def rows(text: str) -> tuple[tuple[bool, ...], ...]:
    """Encode ``text``; true is dark. The four modules of white around it are the caller's to keep.

    A tenth to a quarter of a code may be lost to a fold or a pen (levels M to Q): segno takes the
    highest level that does not make the code larger.
    """
    code = segno.make_qr(text, error="m")
    return tuple(tuple(module == 1 for module in row) for row in code.matrix)


def runs(text: str) -> list[tuple[int, int, int]]:
    """Lay ``text`` out as dark bars: row, first column and length of each, in modules."""
    found: list[tuple[int, int, int]] = []
    for y, row in enumerate(rows(text)):
        start = 0
        while start < len(row):
            end = start
            while end < len(row) and row[end]:
                end += 1
            if end > start:
                found.append((y, start, end - start))
            start = end + 1
    return found


def path(text: str) -> str:
    """Draw ``text`` as the path of an SVG, one unit a module."""
    return "".join(f"M{x} {y}h{length}v1h-{length}z" for y, x, length in runs(text))
