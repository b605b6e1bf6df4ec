"""A board for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.board.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a board for two participants, ada and bob, who are both live."""
    found = Lab(tmp_path / "board").start()
    yield found
    found.stop()
