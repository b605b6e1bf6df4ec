"""A class to be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.watching.room import Room

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Make a class of three whose watcher is turned by hand."""
    return Room(tmp_path)
