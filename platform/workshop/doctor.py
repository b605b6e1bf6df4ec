"""Whether this server can carry this roster, and how to mend what stands in the way.

Each check is one function that returns what it found and, where something is wrong, the command
that mends it. Nothing is changed.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop import host, sources
from workshop.errors import WorkshopError
from workshop.gateway.config import SECRETS
from workshop.labels import Role
from workshop.limits import MIB, show_memory
from workshop.llm import secrets
from workshop.parts.deploys import RELAYS
from workshop.state import DIRECTORY
from workshop.subnets import EGRESS_PORT, INTAKE_PORT, REGISTRY_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.engines.base import Engine, EngineInfo
    from workshop.observed import Observed
    from workshop.roster import Roster
    from workshop.settings import Settings

OLDEST_ENGINE = (20, 10)
SEAT_DISK = 4 * MIB
"""Bytes a seat may fill: two log files of 1 MB each and the engine's own records."""
IMAGES_DISK = 1024 * MIB
EMBEDDED_CPU = frozenset({"avx2", "fma", "f16c"})
"""What the embedded model's ready-built engine was compiled for."""
PLATFORM_MEMORY = 512 * MIB
"""Bytes kept for the engine, the edge and the system."""
KERNEL = {
    "net.bridge.bridge-nf-call-iptables": (
        "1",
        "without it seats can reach each other",
        "sudo modprobe br_netfilter && sudo sysctl -w net.bridge.bridge-nf-call-iptables=1",
    ),
    "net.ipv4.ip_forward": (
        "1",
        "without it seats cannot reach the internet",
        "sudo sysctl -w net.ipv4.ip_forward=1",
    ),
}


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found and how to mend it."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def examine(roster: Roster, settings: Settings, connect: Callable[[], Engine]) -> list[Check]:
    """Make all checks; those that need an engine are left out when none answers."""
    checks = [_roster(roster), *_kernel(), _name(roster)]
    try:
        engine = connect()
        info = engine.info()
        observed = engine.observe(roster.name, [settings.base_image])
    except WorkshopError as exc:
        checks.insert(1, Check("engine", Verdict.FAILED, exc.message, exc.hint))
        return [*checks, _port(roster, None)]
    return [
        checks[0],
        *_engine(info),
        *checks[1:],
        _port(roster, observed),
        _memory(roster, info),
        _disk(roster, info),
        _base_image(observed, settings),
        *_models(roster),
        *_deploys(roster, observed),
    ]


def _roster(roster: Roster) -> Check:
    count = len(roster.participants)
    if roster.warnings:
        found = "; ".join(str(warning) for warning in roster.warnings[:3])
        return Check(
            "roster", Verdict.WARNING, found, "move secrets into an env_file with mode 600"
        )
    return Check("roster", Verdict.OK, f"{roster.path.name}: {count} participants of {roster.name}")


def _engine(info: EngineInfo) -> Iterator[Check]:
    found = f"{info.kind} {info.version} at {info.endpoint}"
    numbers = tuple(int(part) for part in re.findall(r"\d+", info.version)[:2])
    if info.kind == "docker" and numbers < OLDEST_ENGINE:
        yield Check("engine", Verdict.FAILED, found, "upgrade to Docker 20.10 or newer")
    elif not info.endpoint.startswith(("unix://", "http+unix", "memory:")):
        mend = "run this command on the server itself: seats and the edge are reached directly"
        yield Check("engine", Verdict.FAILED, f"{found} is on another machine", mend)
    else:
        yield Check("engine", Verdict.OK, found)
    for text in info.warnings:
        yield Check("engine", Verdict.WARNING, text, "see the engine's documentation")


def _kernel() -> Iterator[Check]:
    for name, (wanted, reason, mend) in KERNEL.items():
        value = host.sysctl(name)
        if value == wanted:
            yield Check("kernel", Verdict.OK, f"{name} = {value}")
        else:
            shown = "is missing" if value is None else f"= {value}"
            yield Check("kernel", Verdict.FAILED, f"{name} {shown}: {reason}", mend)


def _name(roster: Roster) -> Check:
    name = roster.url.host
    if roster.url.is_loopback:
        mend = "set workshop.url to the server's public address before the class"
        found = f"{roster.url} can be opened on this machine only"
        return Check("address", Verdict.WARNING, found, mend)
    addresses = host.resolves(name)
    if not addresses:
        mend = f"add a DNS record for {name} that points at this server"
        return Check("address", Verdict.FAILED, f"nobody knows the name {name}", mend)
    return Check("address", Verdict.OK, f"{name} is {', '.join(addresses)}")


def _port(roster: Roster, observed: Observed | None) -> Check:
    port = roster.port
    edge = observed.container(Role.EDGE, "edge") if observed else None
    if edge is not None and edge.address is None and edge.state == "running":
        return Check("port", Verdict.OK, f"{port} is held by this workshop's edge")
    if host.port_needs_root(port):
        mend = "run as root, or set workshop.port to 1024 or more"
        return Check("port", Verdict.FAILED, f"{port} may only be opened by root", mend)
    if not host.port_is_free(port):
        mend = "stop that program, or set workshop.port to another one"
        return Check("port", Verdict.FAILED, f"{port} is taken by {host.port_holder(port)}", mend)
    return Check("port", Verdict.OK, f"{port} is free")


def _memory(roster: Roster, info: EngineInfo) -> Check:
    wanted = memory_wanted(roster)
    found = f"{show_memory(wanted)} for all limits together, of {show_memory(info.memory)}"
    if wanted + PLATFORM_MEMORY > info.memory:
        mend = "lower workshop.limits.memory, or take a larger server"
        return Check("memory", Verdict.WARNING, found, mend)
    return Check("memory", Verdict.OK, found)


def memory_wanted(roster: Roster) -> int:
    """Add up the memory limits of all seats, the embedded model and builds, in bytes."""
    embedded = roster.llm.embedded if roster.llm else None
    seats = sum(person.limits.memory for person in roster.participants)
    builds = len(RELAYS) * roster.deploys.build.limits.memory if roster.deploys else 0
    return seats + (embedded.memory if embedded else 0) + builds


def _disk(roster: Roster, info: EngineInfo) -> Check:
    wanted = IMAGES_DISK + SEAT_DISK * len(roster.participants)
    free = host.free_bytes(info.root)
    if free is None:
        return Check(
            "disk", Verdict.WARNING, f"cannot look at {info.root}", "run as root to see it"
        )
    found = f"{show_memory(free)} free in {info.root}, about {show_memory(wanted)} needed"
    if free < wanted:
        return Check(
            "disk",
            Verdict.FAILED,
            found,
            "free some space; `docker system df` shows what lies there",
        )
    return Check("disk", Verdict.OK, found)


def _models(roster: Roster) -> Iterator[Check]:
    """Check what the class's models need: a processor, keys, a bound to what they may cost."""
    llm = roster.llm
    if llm is None:
        return
    if llm.embedded is not None:
        flags = host.cpu_flags()
        lacking = sorted(EMBEDDED_CPU - flags) if flags else []
        if lacking:
            found = f"this processor lacks {', '.join(lacking)}: the embedded model cannot run"
            mend = "name an upstream, such as url: 'echo:', under workshop.llm.upstreams"
            yield Check("models", Verdict.FAILED, found, mend)
        else:
            yield Check("models", Verdict.OK, "the embedded model can run here")
    staged = roster.path.parent / DIRECTORY / "gateway" / SECRETS
    for provider in llm.providers:
        missing = secrets.find([provider], roster.path, staged).missing
        if missing:
            mend = "set it in the environment or in .env beside the roster"
            yield Check("models", Verdict.FAILED, missing[0], mend)
        else:
            found = f"upstream {provider.upstream.name}: {provider.upstream.base_url}"
            yield Check("models", Verdict.OK, found)
    if llm.is_paid and llm.budget.tokens is None and llm.budget.money is None:
        mend = "set workshop.llm.budget, such as {money: 20, per: workshop}"
        yield Check("models", Verdict.WARNING, "nothing bounds what the class may spend", mend)


def _deploys(roster: Roster, observed: Observed) -> Iterator[Check]:
    """Check that nobody else holds the ports of the deploy loop on all addresses."""
    if roster.deploys is None or observed.container(Role.REGISTRY, Role.REGISTRY.value):
        return
    for port in (REGISTRY_PORT, INTAKE_PORT, EGRESS_PORT):
        if not host.loopback_is_free(port):
            mend = "stop that program or bind it to one address, or set workshop.deploys to false"
            found = f"port {port} is taken on all addresses by {host.port_holder(port)}"
            yield Check("deploys", Verdict.FAILED, found, mend)
            return
    yield Check("deploys", Verdict.OK, "the registry's and the intake's ports are free")


def _base_image(observed: Observed, settings: Settings) -> Check:
    tag = sources.base_tag(settings)
    if any(image.tag == tag for image in observed.images):
        return Check("base image", Verdict.OK, f"{tag} is ready")
    if any(image.tag == settings.base_image for image in observed.images):
        return Check("base image", Verdict.OK, f"{settings.base_image} is on this engine")
    if shutil.which("mmdebstrap"):
        found = f"{settings.base_image} will be pulled, or made from Debian's packages"
        return Check("base image", Verdict.OK, found)
    mend = "sudo apt-get install mmdebstrap makes the workshop independent of it"
    found = f"{settings.base_image} must be pulled from its registry"
    return Check("base image", Verdict.WARNING, found, mend)
