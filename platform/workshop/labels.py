"""The labels every object carries: the only database of what runs.

One module writes them and reads them back; ``docs/labels.md`` describes each, and a test keeps
the two equal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "workshop.name"
RUN = "workshop.run"
ROLE = "workshop.role"
DIRECTORY = "workshop.directory"
PARTICIPANT = "workshop.participant"
SLOT = "workshop.slot"
CONFIG_HASH = "workshop.config-hash"
VERSION = "workshop.version"
DEPLOY = "workshop.deploy"
STEP = "workshop.step"

BASE_REPOSITORY = "workshop-base"

ALL = (NAME, RUN, ROLE, DIRECTORY, PARTICIPANT, SLOT, CONFIG_HASH, VERSION, DEPLOY, STEP)


class Role(StrEnum):
    """What an object is for."""

    SEAT = "seat"
    EDGE = "edge"
    GATEWAY = "gateway"
    EMBEDDED = "embedded"
    """The model that needs nobody's key."""
    REGISTRY = "registry"
    INTAKE = "intake"
    """What faces participants who deploy."""
    SERVE = "serve"
    """The one process that deploys."""
    BOARD = "board"
    """What shows the instructor everybody, and each participant the own seat."""
    EGRESS = "egress"
    """The way out of builds, to package sources alone."""
    OUTBOUND = "outbound"
    """The way out of seats whose egress is approved."""
    WALL = "wall"
    """What sets the firewall rules around seats, and ends."""
    RELAY = "relay"
    """The network of one build: its own loopback, and on it the way to the egress."""
    NETWORK = "network"
    APP = "app"
    """An image made from a participant's or the template's source."""
    BASE = "base"
    """The image all others start from; shared by every workshop on the engine."""
    BUILD = "build"
    """A step of a participant's build: a container while it runs, an image where it is kept."""


def owner(name: str, run: str, directory: str, role: Role) -> dict[str, str]:
    """Labels that say whose an object is and what it is for."""
    return {NAME: name, RUN: run, ROLE: role.value, DIRECTORY: directory}


def role_of(labels: Mapping[str, str]) -> Role | None:
    """Read the role back; ``None`` for an object that is not ours or from a newer version."""
    try:
        return Role(labels.get(ROLE, ""))
    except ValueError:
        return None


def is_own_image(tag: str, labels: Mapping[str, str]) -> bool:
    """Tell an image the platform made from one somebody built on top of it.

    Images inherit the labels of their base, so the labels alone do not say who made them.
    """
    repository = tag.rpartition(":")[0]
    if labels.get(ROLE) == Role.BASE.value:
        return repository == BASE_REPOSITORY
    return NAME in labels and repository.startswith(f"{labels[NAME]}/")


def slot_of(labels: Mapping[str, str]) -> int | None:
    """Read the slot back; ``None`` when the object holds none."""
    text = labels.get(SLOT, "")
    return int(text) if text.isdecimal() else None
