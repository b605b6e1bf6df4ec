"""Whether a test that a page or a table names is really there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def is_there(reference: str) -> bool:
    """Whether ``path::test_name`` exists; ``path::*`` asks for the file with any test."""
    path, _, name = reference.partition("::")
    file = ROOT / path
    wanted = r"test_\w+" if name == "*" else re.escape(name)
    return file.is_file() and bool(
        re.search(rf"(?m)^(?:async )?def {wanted}\(", file.read_text("utf-8"))
    )
