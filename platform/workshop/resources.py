"""Files that travel with the package: templates an instructor starts from, recipes of images.

In a wheel they lie in ``workshop/_files``; in a checkout, at the root of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
RECIPES = {
    name: f"images/{name}/Dockerfile"
    for name in ("gateway", "embedded", "intake", "serve", "board")
}
"""Dockerfiles, inside the package, of the services that are made of parts of it."""


def _shared(name: str) -> Path:
    packed = _PACKAGE / "_files" / name
    return packed if packed.exists() else _PACKAGE.parent.parent / name


def participant_template() -> Path:
    """Find the app every participant starts from."""
    return _shared("participant_template")


def nginx_templates() -> Path:
    """Find the templates of the edge's configuration and pages."""
    return _shared("nginx_templates")


def sample_roster() -> Path:
    """Find the roster `workshop init` starts from."""
    return _shared("participants.yaml")


def package() -> Path:
    """Find the package itself: the build context of the images that run parts of it."""
    return _PACKAGE


def images() -> Path:
    """Find the directory with the images that hold nothing of this package, one directory each."""
    return _PACKAGE / "images"
