"""Where certificates lie: the workshop's own in the state directory, the edge's in the edge's."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from workshop.errors import InputError
from workshop.state import write_atomically
from workshop.tls.certificates import Pair, Unreadable, read_pair

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = "tls"
CERTIFICATE = "fullchain.pem"
KEY = "key.pem"
_NAMED = re.compile(r"/tls/([0-9a-f]{16})/")


def read(path: Path) -> Pair | None:
    """Read a certificate and its key back from one file; ``None`` where it is lost or garbled."""
    try:
        text = path.read_text("utf-8")
        return read_pair(text, text)
    except (OSError, Unreadable, UnicodeDecodeError):
        return None


def keep(folder: Path, files: Mapping[str, str]) -> None:
    """Write files that only the owner of the state directory may read.

    Raises:
        InputError: they cannot be written.

    """
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError(f"cannot create {path.parent}: {exc.strerror}") from exc
        write_atomically(path, text)


def stage(edge: Path, pair: Pair) -> None:
    """Lay a certificate where the edge reads it, whole, under a name of its own.

    Its files can be read by the edge's user, as all of the edge's; the state directory above keeps
    everybody else out.

    Raises:
        InputError: they cannot be written.

    """
    target = edge / FOLDER / pair.digest
    files = {CERTIFICATE: pair.chain, KEY: pair.key}
    if all(_holds(target / name, text) for name, text in files.items()):
        return
    unfinished = target.with_name(f".{pair.digest}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        for name, text in files.items():
            write_atomically(unfinished / name, text)
            (unfinished / name).chmod(0o644)
        for folder in (unfinished, unfinished.parent, edge):
            folder.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    except OSError as exc:
        raise InputError(f"cannot write the edge's certificate: {exc.strerror}") from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def forget(edge: Path, digest: str) -> None:
    """Remove certificates that no release of the edge names any more, ``digest`` excepted."""
    named = {digest}
    for path in (edge / "releases").glob("*/*.conf"):
        named |= set(_NAMED.findall(path.read_text("utf-8", "replace")))
    for folder in (edge / FOLDER).glob("*"):
        if folder.name not in named:
            shutil.rmtree(folder, ignore_errors=True)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text("utf-8") == text
    except OSError:
        return False
