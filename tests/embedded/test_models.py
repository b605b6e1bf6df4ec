"""Model files are taken only when they are the right ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from workshop.embedded.models import FILES, ModelFile, WrongModelError

if TYPE_CHECKING:
    from pathlib import Path


def test_verified_right_content_gives_the_path(tmp_path: Path) -> None:
    """The checksum is that of the whole file."""
    (tmp_path / "m").write_bytes(b"weights")
    file = ModelFile("m", hashlib.sha256(b"weights").hexdigest())
    assert file.verified(tmp_path) == tmp_path / "m"


def test_verified_other_content_names_file_and_both_checksums(tmp_path: Path) -> None:
    """Whoever reads it sees what was found, what was expected and what to do."""
    (tmp_path / "m").write_bytes(b"other")
    with pytest.raises(WrongModelError) as caught:
        ModelFile("m", "0" * 64).verified(tmp_path)
    found = hashlib.sha256(b"other").hexdigest()
    assert str(caught.value) == (
        f"{tmp_path}/m: the checksum is {found}, expected {'0' * 64}; build the image anew"
    )


def test_verified_missing_file_says_so(tmp_path: Path) -> None:
    """An image built halfway is named as such."""
    with pytest.raises(WrongModelError, match="No such file or directory; build the image anew"):
        FILES[0].verified(tmp_path)
