"""A class that keeps secrets, with a key file and a place in memory of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.workspace import Workspace


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a directory in memory, where every Linux has some."""
    with tempfile.TemporaryDirectory(prefix="vault-", dir="/dev/shm") as found:
        monkeypatch.setenv("WORKSHOP_RUNTIME_DIRECTORY", f"{found}/run")
        yield Path(found) / "run"


@pytest.fixture
def safe(
    work: Workspace, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Make a workshop of three whose operator has no key yet."""
    monkeypatch.setenv("WORKSHOP_RUNTIME_DIRECTORY", str(memory))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    os.environ.pop("WORKSHOP_SECRETS_KEY", None)
    return work
