"""The build context: which files of a directory enter an image.

The content hash and the build read the same list, so whatever is sent is also noticed when it
changes. Files that hold secrets or belong to the machine stay out even where nobody wrote a
``.dockerignore``.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEVER = (".env", "**/.env", ".git", ".venv", "**/__pycache__", ".workshop")


def files(directory: Path, dockerfile: str = "Dockerfile") -> list[str]:
    """List the files of the context, relative, in a stable order."""
    from docker.utils.build import exclude_paths  # noqa: PLC0415 - only commands that build pay

    return sorted(exclude_paths(str(directory), _patterns(directory, dockerfile), dockerfile))


def archive(directory: Path, dockerfile: str, *, compressed: bool = False) -> IO[bytes]:
    """Pack the context as a tar file, the way the engine takes it.

    Compressed for a client that reads it from standard input: older ones know an archive there by
    its first bytes, and take an uncompressed one for a Dockerfile.
    """
    from docker.utils.build import tar  # noqa: PLC0415 - only commands that build pay

    packed: Any = tar(
        directory,
        exclude=_patterns(directory, dockerfile),
        dockerfile=(dockerfile, None),
        gzip=compressed,
    )
    opened: IO[bytes] = packed
    return opened


def ignoring(text: str) -> Callable[[str], bool]:
    """Make a test for names out of the text of a ``.dockerignore``."""
    from docker.utils.build import PatternMatcher  # noqa: PLC0415 - only commands that build pay

    matcher: Any = PatternMatcher(_lines(text))
    matches: Callable[[str], bool] = matcher.matches
    return matches


def _patterns(directory: Path, dockerfile: str) -> list[str]:
    """Read what stays out: ``<Dockerfile>.dockerignore`` where there is one, as BuildKit does."""
    own_ignore = directory / f"{dockerfile}.dockerignore"
    ignore = own_ignore if own_ignore.is_file() else directory / ".dockerignore"
    return _lines(ignore.read_text("utf-8") if ignore.is_file() else "")


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    own = [line for line in stripped if line and not line.startswith("#")]
    # Last, because a later pattern wins: no "!.env" brings a secret back.
    return [*own, *NEVER]
