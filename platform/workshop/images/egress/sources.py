# ruff: noqa: INP001 - a file of an image, imported by nobody
"""Print the names of the hosts that this image's own pip and apt take packages from.

Run once, while the image is made. No name is written down in the product, so a company's mirror
is found as well as the public sources.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

_OF_PIP = """
import os
os.environ.pop("PIP_NO_INDEX", None)
from pip._internal.models.index import PyPI
print("https://" + PyPI.netloc)
print("https://" + PyPI.file_storage_domain)
"""
_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
_ADDRESS = re.compile(r"https?://[^\s'\"\])]+")


def main() -> None:
    """Print one name a line."""
    texts = [_pip(), *_apt(), *(os.environ.get(name, "") for name in _INDEXES)]
    found = {urlsplit(address).hostname for text in texts for address in _ADDRESS.findall(text)}
    sys.stdout.writelines(f"{name}\n" for name in sorted(filter(None, found)))


def _pip() -> str:
    """Ask pip for its index, and for what its configuration adds."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        python = f"{directory}/bin/python"
        asked = ([python, "-c", _OF_PIP], [python, "-m", "pip", "config", "list"])
        return "\n".join(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for command in asked
        )


def _apt() -> list[str]:
    """Read apt's own lists."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    return [path.read_text("utf-8") for path in places if path.is_file()]


if __name__ == "__main__":
    main()
