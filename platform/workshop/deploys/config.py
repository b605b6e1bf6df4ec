"""What the server of deploys is told: frozen data that the command writes and ``serve`` reads.

One JSON file, replaced whole. It holds the seats' environment, keys included, and is therefore for
its owner's eyes alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workshop.deploys.options import BuildLimits, DeployOptions
from workshop.labels import Role
from workshop.limits import Limits
from workshop.routing import Place
from workshop.specs import ContainerSpec, Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
FILE = "config.json"
LOG = "log.jsonl"
"""One line for each deploy that ended, appended and never changed."""
ORDERS = "orders"
PROGRESS = "progress"
STARTERS = "starters"
SERVER = "serve.json"
"""Rewritten every second by the server at work: the proof that there is one."""


@dataclass(frozen=True)
class DeploySeat:
    """One participant's seat as the roster has it, and where its next version may start."""

    spec: ContainerSpec
    """At the blue address, with the roster's own image."""
    green: str
    """The slot's other address."""
    recipe: str
    """Text of the Dockerfile for a source that brings none; empty where there is none."""
    place: Place
    """Where visitors find it."""


@dataclass(frozen=True)
class Config:
    """Everything the server is told."""

    owner: Owner
    url: str
    edge_address: str
    edge_port: int
    """Where the edge is asked in plain HTTP."""
    registry: str
    """Address and port of the registry."""
    base: str
    """Tag of the image everything starts from."""
    base_reference: str
    """What a Dockerfile may call it, such as ``python:3.12-slim``."""
    relays: tuple[str, ...]
    """Names of the containers whose networks builds use: as many builds may run at once."""
    ready_seconds: float
    options: DeployOptions
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Files the instructor's own builds may read, by id."""
    starters: tuple[str, ...] = ()
    """Sources the class starts from, packed in :data:`STARTERS` under these names: built once while
    nobody waits, so that the first participant's change is as quick as the second's."""
    seats: tuple[DeploySeat, ...] = ()
    roster: str = ""
    """Name of the roster's file in the owner's directory, which a claimed spare seat is written
    back to."""

    @property
    def fingerprint(self) -> str:
        """Name the configuration by its content."""
        return hashlib.sha256(dump(self).encode()).hexdigest()[:16]

    def place(self, name: str) -> Place:
        """Say where visitors find a seat, one that has left the roster meanwhile included."""
        held = self.seat(name)
        return held.place if held else Place("http", urlsplit(self.url).netloc, f"/{name}")

    def seat(self, name: str) -> DeploySeat | None:
        """Find one participant's seat."""
        return next((item for item in self.seats if item.spec.key == name), None)


def dump(config: Config) -> str:
    """Write ``config`` as JSON; equal configurations give equal text."""
    return json.dumps({"schema": SCHEMA, **asdict(config)}, indent=1, sort_keys=True) + "\n"


def load(text: str) -> Config:
    """Read what :func:`dump` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not such a text.

    """
    raw = json.loads(text)
    if raw.pop("schema") != SCHEMA:
        raise ValueError("a configuration for another version of the server")
    return Config(
        **{
            **raw,
            "owner": Owner(**raw["owner"]),
            "relays": tuple(raw["relays"]),
            "starters": tuple(raw["starters"]),
            "options": _options(raw["options"]),
            "seats": tuple(map(_seat, raw["seats"])),
        }
    )


def _options(raw: Mapping[str, Any]) -> DeployOptions:
    build = raw["build"]
    limits = BuildLimits(
        **{
            **build,
            "limits": Limits(**build["limits"]),
            "hosts": tuple(build["hosts"]),
            "images": tuple(build["images"]),
        }
    )
    return DeployOptions(**{**raw, "build": limits})


def _seat(raw: Mapping[str, Any]) -> DeploySeat:
    return DeploySeat(**{**raw, "spec": _spec(raw["spec"]), "place": Place(**raw["place"])})


def _spec(raw: Mapping[str, Any]) -> ContainerSpec:
    pairs = {key: tuple(map(tuple, raw[key])) for key in ("mounts", "data")}
    texts = {
        key: tuple(raw[key])
        for key in ("bridges", "listen", "command", "capabilities", "groups", "volumes", "dns")
    }
    role = Role(raw["role"])
    return ContainerSpec(
        **{**raw, **pairs, **texts, "role": role, "limits": Limits(**raw["limits"])}
    )
