"""One snapshot of what the engine runs for a workshop, read from labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.labels import Role


ALTERED = "altered"
"""As a fingerprint: a part serves what it once read, and the file it came from was changed."""


_STEADY_SECONDS = 10.0
"""Docker forgets earlier ends of a container that has run this long (``restartmanager.go``)."""


class State(StrEnum):
    """A container's state in the engine's own words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True)
class ObservedContainer:
    """A container that carries this workshop's name."""

    id: str
    name: str
    role: Role | None
    """``None`` for a part of a newer version, which only teardown touches."""
    key: str
    """The participant of a seat, or the system part's own name."""
    run: str
    directory: str
    slot: int | None
    address: str | None
    """IPv4 address the engine gave it; ``None`` while it is not running."""
    config_hash: str
    version: str
    deploy: str
    """Id of the deploy it comes from; empty for what the roster says."""
    state: State
    status: str
    """The engine's sentence, such as ``Exited (137) 3 minutes ago``."""


@dataclass(frozen=True)
class Uptime:
    """How long a container has run since it last started, and how often it was started again."""

    seconds: float
    restarts: int
    """How often the engine started it after it had ended by itself."""
    since: float = 0.0
    """When it last started, or ended if it does not run, in seconds since 1970; 0: never."""
    out_of_memory: bool = False
    """Whether the kernel killed it when it used more than it may; told only until it runs again."""

    @property
    def crashing(self) -> bool:
        """Whether it ends again and again, by the measure of the engine's own restart manager.

        Between two ends it runs, so its state alone tells nothing.
        """
        return self.restarts > 0 and self.seconds < _STEADY_SECONDS

    def after(self, seconds: float) -> Uptime:
        """Say what it would be ``seconds`` later, if nothing happened meanwhile."""
        return replace(self, seconds=self.seconds + seconds)


@dataclass(frozen=True)
class ObservedNetwork:
    """A network that carries this workshop's name."""

    id: str
    name: str
    run: str
    directory: str
    config_hash: str
    subnet: str


@dataclass(frozen=True)
class ObservedImage:
    """An image the platform built, by its tag."""

    id: str
    tag: str
    role: Role
    workshop: str
    """Empty for a base image, which belongs to all workshops of the engine."""


@dataclass(frozen=True)
class Observed:
    """Everything of one workshop, and what of the others bounds its choices."""

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    images: tuple[ObservedImage, ...] = ()
    taken_subnets: tuple[str, ...] = ()
    """Subnets in use by networks that are not this workshop's."""
    volumes: tuple[str, ...] = ()
    """Names of volumes mounted by this workshop's containers."""
    edge_config: str | None = None
    """Fingerprint of the configuration the edge answers with; ``None`` when it does not answer."""
    gateway_config: str | None = None
    """The same of the gateway."""
    intake_config: str | None = None
    """And of the intake."""
    board_config: str | None = None
    """And of the board."""
    deploys_config: str | None = None
    """Fingerprint of what the server of deploys reads; ``None`` where there is no such file."""
    altered: Mapping[str, str] = field(default_factory=dict)
    """What was changed by hand on a container since it was made, in words, by its id."""
    wall: tuple[str, ...] | None = None
    """Lines of the firewall that make the wall around seats; ``None`` where nobody can look."""
    wall_kept: str = ""
    """The rules as they lie in the state directory, for the boot of the server."""
    greens: frozenset[str] = frozenset()
    """Seats whose route leads to their green address."""
    unsecret: frozenset[str] = frozenset()
    """Directories of seats' secrets whose files are not there: after a reboot, all of them."""

    def container(self, role: Role, key: str, address: str = "") -> ObservedContainer | None:
        """Find the one container of a seat or system part; the newest when there are several.

        While a deploy is under way a seat has two: ``address`` tells which one is meant, where it
        is known.
        """
        found = [item for item in self.containers if (item.role, item.key) == (role, key)]
        meant = [item for item in found if item.address == address]
        return next(iter(meant or found), None)
