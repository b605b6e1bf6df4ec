"""What is deployed right now: one record for each seat that no longer runs the roster's own image.

``serve`` alone writes the file, in one step and under the class's lock, when a route has moved; the
command reads it whenever it says what should be.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

SCHEMA = 1
FILE = "current.json"


@dataclass(frozen=True)
class Deployment:
    """One version of one seat's app."""

    id: str
    """Of the order it came from."""
    number: int
    """Counts the seat's deploys from 1."""
    version: str
    """What the app is told as WORKSHOP_VERSION."""
    image: str
    """Tag of the image on this engine."""
    green: bool
    """Which of the slot's two addresses it has: false is blue, the one a seat begins with."""
    digest: str = ""
    """Of the image as it was pushed; empty for one that was built here."""
    volumes: tuple[str, ...] = ()
    """Directories the image wants to keep; they are small, in memory, and kept by nobody."""


@dataclass(frozen=True)
class SeatDeploys:
    """What one seat runs and could go back to."""

    live: Deployment | None = None
    """``None``: what the roster says, at the blue address unless ``green``."""
    green: bool = False
    """Where the roster's own image runs after a rollback to it."""
    kept: tuple[Deployment, ...] = ()
    """Versions before it whose images are kept, newest first."""
    count: int = 0
    """Deploys so far, failed ones included."""

    @property
    def is_green(self) -> bool:
        """Whether the route leads to the slot's second address."""
        return self.live.green if self.live else self.green


Current = dict[str, SeatDeploys]


def load(directory: Path) -> Current:
    """Read the file in ``directory``; empty when there is none.

    A garbled file is set aside as ``current.json.broken``: every seat then runs what the roster
    says, and participants can deploy again.
    """
    path = directory / FILE
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw["schema"] == SCHEMA:
            return {str(name): _seat(item) for name, item in raw["seats"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    path.replace(path.with_suffix(".json.broken"))
    return {}


def present(known: Mapping[str, SeatDeploys], images: Collection[str]) -> Current:
    """Count a version whose image is not among ``images`` as never deployed."""
    return {
        name: held if held.live is None or held.live.image in images else replace(held, live=None)
        for name, held in known.items()
    }


def dump(current: Mapping[str, SeatDeploys]) -> str:
    """Write every seat's record as JSON."""
    seats = {name: asdict(item) for name, item in sorted(current.items())}
    return json.dumps({"schema": SCHEMA, "seats": seats}, indent=1) + "\n"


def _seat(raw: Mapping[str, Any]) -> SeatDeploys:
    live = raw["live"]
    return SeatDeploys(
        live=_deployment(live) if live else None,
        green=bool(raw["green"]),
        kept=tuple(map(_deployment, raw["kept"])),
        count=int(raw["count"]),
    )


def _deployment(raw: Mapping[str, Any]) -> Deployment:
    return Deployment(**{**raw, "volumes": tuple(raw["volumes"])})
