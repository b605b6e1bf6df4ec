"""Where the participants' app finds what it is set to."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.template_files.files import copy_app

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
from app.settings import Settings
found = Settings()
key = found.pinecone_api_key
print(found.greeting, key.get_secret_value() if key else None)
"""


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        (None, {}, "Hello None"),
        ({}, {}, "Hello None"),
        ({"PINECONE_API_KEY": "from-file\n"}, {}, "Hello from-file"),
        ({"PINECONE_API_KEY": "from-file"}, {"PINECONE_API_KEY": "from-env"}, "Hello from-env"),
        ({"GREETING": "Salut", "OTHER": "x"}, {}, "Salut None"),
    ],
)
def test_setting_is_read_from_a_secret_unless_a_variable_says_otherwise(
    tmp_path: Path, files: dict[str, str] | None, variables: dict[str, str], expected: str
) -> None:
    """The same app, at home without the directory and on the server with it, without a warning."""
    app, handed = copy_app(tmp_path / "app"), tmp_path / "handed"
    source = app / "app" / "settings.py"
    source.write_text(source.read_text().replace("/run/secrets", str(handed)))
    if files is not None:
        handed.mkdir()
    for name, text in (files or {}).items():
        (handed / name).write_text(text)
    kept = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=app, env=kept, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.strip() == expected, done.stderr
