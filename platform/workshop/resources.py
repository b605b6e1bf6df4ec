"""Files that travel with the package: templates an instructor starts from, recipes of images.

In a wheel they lie in ``workshop/_files``; in a checkout, at the root of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
GATEWAY_RECIPE = "images/gateway/Dockerfile"
EMBEDDED_RECIPE = "images/embedded/Dockerfile"
"""Dockerfiles of the platform's own services, inside the package."""


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


def edge_image() -> Path:
    """Find the build context of the edge's image."""
    return _PACKAGE / "images" / "edge"
