"""Look at the firewall, and keep what a boot of the server needs to put the rules back.

Rules are set and removed by a container that does nothing else; root looks without one, because
every command looks.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from workshop import host, resources
from workshop.errors import EngineError
from workshop.labels import Role
from workshop.parts.wall import HOSTS, RULES, SCRIPT, setter
from workshop.state import write_atomically
from workshop.wall.rules import standing

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.engines.base import Engine
    from workshop.observed import Observed
    from workshop.parts.wall import Standing
    from workshop.specs import Owner

_SIX = "# IPv6\n"


def look(engine: Engine, owner: Owner, observed: Observed, prefix: str) -> tuple[str, ...] | None:
    """List what stands of the wall; ``None`` where neither this user nor a container can look.

    Raises:
        EngineError: the container that looks cannot.

    """
    saved = host.filter_rules() if engine.has_kernel else None
    if saved is not None:
        return standing(*saved, prefix)
    image = image_of(observed, owner.workshop)
    if not image:
        return None
    status, text = engine.once(setter(owner.workshop, image), owner)
    if status:
        raise EngineError(f"cannot look at the firewall: {text.strip()[-300:]}")
    four, _, six = text.partition(_SIX)
    return standing(four, six or None, prefix)


def image_of(observed: Observed, workshop: str) -> str:
    """Name the workshop's image that sets rules; empty where it is not there."""
    own = (item for item in observed.images if item.workshop == workshop)
    return next((item.tag for item in own if item.role is Role.WALL), "")


def kept(directory: Path) -> str:
    """Read the rules that are kept; empty where there are none."""
    try:
        return (directory / RULES).read_text("utf-8")
    except (OSError, ValueError):
        return ""


def keep(directory: Path, wanted: Standing) -> None:
    """Write rules, approved hosts and what sets the rules, for containers and for the next boot.

    Raises:
        InputError: the disk is full or the directory cannot be written.

    """
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    script = resources.images() / Role.WALL.value / SCRIPT
    write_atomically(directory / RULES, wanted.rules, 0o644)
    write_atomically(directory / HOSTS, wanted.hosts, 0o644)
    write_atomically(directory / SCRIPT, script.read_text("utf-8"), 0o755)


def remove_by_hand(prefix: str) -> None:
    """Remove the rules with this machine's own tools, where the image for it is gone."""
    script = resources.images() / Role.WALL.value / SCRIPT
    subprocess.run(["sh", str(script), "remove", prefix], capture_output=True, check=False)  # noqa: S607 - where sh is, is the system's to say
