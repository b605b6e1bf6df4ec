"""Rules about secrets that no reader should have to check again: over the source, all at once."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "platform").rglob("*.py"))
LOCKED = sorted((ROOT / "platform" / "workshop" / "images").glob("*/requirements.txt"))
RECIPES = sorted((ROOT / "platform" / "workshop" / "images").glob("*/Dockerfile"))
SECRET = re.compile(r"(?i)(^|_)(secret|password|token|credential|hashed|authorization|api_key)$")
SERVICES = re.compile(r"(?i)(^|_)(secret|password|token|hashed|authorization|key|key_hash)$")
"""Where participants' keys are checked, the word alone is enough; elsewhere it names a seat."""
PARAMETERS = {
    "platform/workshop/board/me/steps.py: value == KEY",
    "platform/workshop/intake/exchange.py: name == key",
}
"""Names of parameters and placeholders, which are no secrets."""


def compared(path: Path) -> Iterator[tuple[str, list[str]]]:
    """List every `==` and `!=` of a file: its text, and the last names on both sides."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = (node.left, *node.comparators)
            names = [
                side.attr if isinstance(side, ast.Attribute) else side.id
                for side in sides
                if isinstance(side, ast.Attribute | ast.Name)
            ]
            # To compare with an empty text is to ask whether there is one.
            fixed = any(isinstance(side, ast.Constant) and not side.value for side in sides)
            yield ast.get_source_segment(text, node) or "", [] if fixed else names


def test_no_key_is_compared_in_a_time_that_tells() -> None:
    """T51: `hmac.compare_digest`, or a look-up by hash; never `==`."""
    found = set()
    for path in SOURCES:
        where = path.relative_to(ROOT).as_posix()
        words = SERVICES if re.search(r"workshop/(board|gateway|intake)/", where) else SECRET
        for text, names in compared(path):
            if any(words.search(name) for name in names):
                found.add(f"{where}: {text}")

    assert found == PARAMETERS


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.parent.name)
def test_every_package_of_a_service_is_one_version_with_hashes(path: Path) -> None:
    """T57: what the process that holds the provider's key is made of was chosen once."""
    entries = re.split(r"\n(?=\S)", path.read_text("utf-8").strip())

    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; [^\\]+)? \\\n", entry), entry
        assert "--hash=sha256:" in entry
        assert "litellm" not in entry


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_every_installation_in_a_service_checks_the_hashes(path: Path) -> None:
    """A lock file that nobody enforces locks nothing."""
    commands = path.read_text("utf-8").replace("\\\n", " ")
    for line in re.findall(r"pip install[^\n&|;]*", commands):
        assert "--require-hashes" in line
        assert "--no-deps" in line
        assert "--only-binary :all:" in line
