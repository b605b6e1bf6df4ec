"""What the rules look at: what the engine says of a container, with names for its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workshop import labels

if TYPE_CHECKING:
    from workshop.labels import Role

Raw = Mapping[str, Any]
SAFE_API = (1, 44)
"""The API of Docker 25.0, whose own seccomp profile has no io_uring."""
NO_IPV6 = tuple(f"net.ipv6.conf.{which}.disable_ipv6" for which in ("all", "default"))


@dataclass(frozen=True)
class Facts:
    """What the engine says, unabridged, of everything that carries a workshop's name."""

    containers: tuple[Raw, ...] = ()
    networks: tuple[Raw, ...] = ()
    security: tuple[str, ...] = ()
    """Which of AppArmor, SELinux and seccomp it has."""
    api: tuple[int, ...] = (1, 41)
    components: Mapping[str, str] = field(default_factory=dict)
    """Versions of what the engine is made of."""
    has_ipv6: bool = True


@dataclass(frozen=True)
class Subject:
    """One container under audit, and what must be known beside it."""

    raw: Raw
    facts: Facts
    dark: frozenset[str]

    @property
    def name(self) -> str:
        """Its name, as the engine has it."""
        return str(self.raw["Name"]).lstrip("/")

    @property
    def marks(self) -> Mapping[str, str]:
        """Its labels."""
        return self.raw["Config"].get("Labels") or {}

    @property
    def role(self) -> Role | None:
        """What it is for."""
        return labels.role_of(self.marks)

    @property
    def key(self) -> str:
        """Whose seat it is."""
        return self.marks.get(labels.PARTICIPANT, "")

    @property
    def host(self) -> Raw:
        """How it is held."""
        found: Raw = self.raw["HostConfig"]
        return found

    @property
    def config(self) -> Raw:
        """What runs in it."""
        found: Raw = self.raw["Config"]
        return found

    @property
    def mounts(self) -> tuple[Raw, ...]:
        """What of the server it sees."""
        return tuple(item for item in self.raw.get("Mounts") or () if item["Type"] == "bind")

    @property
    def security(self) -> list[str]:
        """Its security options, in the newer of their two spellings."""
        options = self.host.get("SecurityOpt") or ()
        return [option.replace(":", "=", 1) for option in options]

    @property
    def seccomp(self) -> str:
        """Its own seccomp profile; empty where the engine's applies."""
        found = (text for text in self.security if text.startswith("seccomp="))
        return next(found, "").removeprefix("seccomp=")

    def runs_with(self, part: str) -> bool:
        """Say whether the engine has ``part`` and has already set it on this container."""
        there = any(part in option for option in self.facts.security)
        return there and bool(self.raw["State"].get("Running"))


@dataclass(frozen=True)
class Rule:
    """One thing that must hold of every container."""

    id: str
    title: str
    wanted: str
    look: Callable[[Subject], Iterator[str]]


@dataclass(frozen=True)
class NetworkRule:
    """One thing that must hold of every network; ``look`` returns what is wrong, if anything."""

    id: str
    title: str
    wanted: str
    look: Callable[[Raw], str]


def published(it: Subject) -> Iterator[tuple[str, str]]:
    """Yield address and port of everything that is published on the server."""
    for bindings in (it.host.get("PortBindings") or {}).values():
        for binding in bindings or ():
            yield binding.get("HostIp") or "", binding.get("HostPort") or ""


def is_within(path: str, directory: str) -> bool:
    """Say whether ``path`` is ``directory`` or below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")
