"""Boards with the class of 32, for one test or for a module that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.board.instructor.classroom import classroom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.board.lab import Lab


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Lab]:
    """Run a board for the class of 32."""
    found = classroom(tmp_path / "board")
    yield found
    found.stop()
