"""An intake for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.intake.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run an intake with two participants; nobody takes orders yet."""
    found = Lab(tmp_path).start()
    yield found
    found.stop()


@pytest.fixture
def served(lab: Lab) -> Lab:
    """Have somebody take the orders."""
    lab.server.start()
    return lab
