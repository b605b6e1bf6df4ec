"""Whether this server can carry this roster, and how to mend what stands in the way.

Each check is one function that returns what it found and, where something is wrong, the command
that mends it. Nothing is changed.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import advisories, audit, capacity, disk, host, sources
from workshop.errors import InputError, WorkshopError
from workshop.gateway.config import SECRETS
from workshop.labels import Role
from workshop.limits import MIB, show_memory
from workshop.llm import secrets
from workshop.parts.deploys import RELAYS
from workshop.state import DIRECTORY
from workshop.subnets import (
    BOARD_PORT,
    EDGE_PORT,
    EGRESS_PORT,
    INTAKE_PORT,
    REGISTRY_PORT,
    own_loopback,
)
from workshop.vault import delivery, keyfile, store
from workshop.wall.options import Mode
from workshop.wall.rules import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workshop.audit import Facts
    from workshop.engines.base import Engine, EngineInfo
    from workshop.observed import Observed
    from workshop.roster import Roster
    from workshop.settings import Settings

OLDEST_ENGINE = (20, 10)
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
    checks = [_roster(roster), *_kernel(), _name(roster), *_hosts(roster)]
    try:
        engine = connect()
        info = engine.info()
        observed = engine.observe(roster.name, [settings.base_image])
    except WorkshopError as exc:
        checks.insert(1, Check("engine", Verdict.FAILED, exc.message, exc.hint))
        return [*checks, *_ports(roster, None)]
    return [
        checks[0],
        *_engine(info),
        *checks[1:],
        *_ports(roster, observed),
        _memory(roster, info),
        *_disk(roster, info),
        _base_image(observed, settings),
        *_models(roster),
        *_deploys(roster, observed),
        *_board(roster, observed),
        *_certificate(roster, settings),
        *_secrets(roster, settings),
        *_hardening(roster, engine.facts(roster.name)),
    ]


def wall(wanted: Sequence[str], found: Sequence[str] | None, *, own: bool) -> Check:
    """Check that the firewall rules around seats stand, and the engine's ``own`` as well."""
    trouble = difference(wanted, found)
    if trouble:
        mend = "`workshop provision` puts them back; find out who changes the firewall"
        return Check("wall", Verdict.FAILED, f"firewall rules around seats: {trouble}", mend)
    if not own:
        found_out = "the engine's own firewall rules are gone: seats reach no internet"
        return Check("wall", Verdict.FAILED, found_out, "sudo systemctl restart docker")
    return Check("wall", Verdict.OK, f"{len(wanted)} lines of the firewall stand around seats")


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


def open_bridges() -> Iterator[str]:
    """Warn where packets within a bridge pass no firewall, which every command should say."""
    name = "net.bridge.bridge-nf-call-iptables"
    _, _, mend = KERNEL[name]
    if host.sysctl(name) == "0":
        yield f"{name} is 0: seats can reach each other; {mend}"


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


def _hosts(roster: Roster) -> Iterator[Check]:
    """Check that a seat's own host leads where the workshop's does; one stands for all."""
    if not roster.routing.by_host or roster.url.is_loopback or not roster.participants:
        return
    name = f"{roster.participants[0].name}.{roster.url.host}"
    wanted, found = host.resolves(roster.url.host), host.resolves(name)
    if found and set(found) == set(wanted):
        yield Check("address", Verdict.OK, f"{name} is {', '.join(found)}")
        return
    mend = f"add a DNS record for *.{roster.url.host} like the one for {roster.url.host}"
    said = f"{name} is {', '.join(found)}" if found else f"nobody knows the name {name}"
    yield Check("address", Verdict.FAILED, f"{said}; seats have hosts of their own", mend)


def _ports(roster: Roster, observed: Observed | None) -> Iterator[Check]:
    edge = observed.container(Role.EDGE, "edge") if observed else None
    running = edge is not None and edge.address is None and edge.state == "running"
    for port in roster.edge_ports:
        key = "workshop.port" if port == roster.port else "workshop.tls.http_port"
        yield _port(port, key, running=running)
    if roster.tls is not None and not running and not host.loopback_is_free(EDGE_PORT):
        mend = "stop that program or bind it to one address"
        found = f"port {EDGE_PORT} is taken on all addresses by {host.port_holder(EDGE_PORT)}"
        yield Check("port", Verdict.FAILED, found, mend)


def _port(port: int, key: str, *, running: bool) -> Check:
    if running:
        return Check("port", Verdict.OK, f"{port} is held by this workshop's edge")
    if host.port_needs_root(port):
        mend = f"run as root, or set {key} to 1024 or more"
        return Check("port", Verdict.FAILED, f"{port} may only be opened by root", mend)
    if not host.port_is_free(port):
        mend = f"stop that program, or set {key} to another one"
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


def _disk(roster: Roster, info: EngineInfo) -> Iterator[Check]:
    """Check that the class fits below the engine's directory: by bytes, and by files."""
    room, need = disk.room(Path(info.root)), capacity.of_class(roster)
    if room is None:
        found = f"cannot look at {info.root}"
        yield Check("disk", Verdict.WARNING, found, "run as root to see it")
        return
    found = f"{show_memory(room.free)} free in {info.root}, about {show_memory(need.size)} needed"
    yield _room(room.free, need.size, found, "free some space")
    if room.most_files:
        found = f"{room.files:,} files may be made in {info.root}, about {need.files:,} needed"
        yield _room(room.files, need.files, found, "remove what has many files")


def _room(there: int, needed: int, found: str, first: str) -> Check:
    mend = f"{first}; `docker system df` shows what lies there"
    if there < needed:
        return Check("disk", Verdict.FAILED, found, mend)
    if there < capacity.LITTLE * needed:
        return Check("disk", Verdict.WARNING, f"little room: {found}", mend)
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


def _board(roster: Roster, observed: Observed) -> Iterator[Check]:
    """Check that nobody holds the board's port, and say where it is found by whom."""
    if roster.board is None:
        return
    if not observed.container(Role.BOARD, Role.BOARD.value) and not host.loopback_is_free(
        BOARD_PORT
    ):
        mend = "stop that program or bind it to one address, or set workshop.board to false"
        found = f"port {BOARD_PORT} is taken on all addresses by {host.port_holder(BOARD_PORT)}"
        yield Check("board", Verdict.FAILED, found, mend)
        return
    name = roster.board.host
    if name:
        yield _board_host(roster, name)
        return
    here = _loopback(observed)
    found = f"answers on this server alone, at {here or 'a loopback address'} port {BOARD_PORT}"
    if roster.url.is_loopback:
        yield Check("board", Verdict.OK, found)
    else:
        mend = f"set workshop.board.host, such as board: {{host: board.{roster.url.host}}}"
        found = f"{found}: participants cannot open it from their own computers"
        yield Check("board", Verdict.WARNING, found, mend)


def _board_host(roster: Roster, name: str) -> Check:
    """Check that the board's own host is known; browsers find ``*.localhost`` by themselves."""
    found = f"answers at {roster.url.at(name)}"
    if name.endswith(".localhost") or host.resolves(name):
        return Check("board", Verdict.OK, found)
    mend = f"add a DNS record for {name} that points at this server"
    return Check("board", Verdict.FAILED, f"nobody knows the name {name}", mend)


def _loopback(observed: Observed) -> str:
    """Tell the workshop's own loopback address; empty before the first provision."""
    subnets = sorted((network.subnet for network in observed.networks), key=ipaddress.IPv4Network)
    return own_loopback(subnets[0]) if subnets else ""


def _secrets(roster: Roster, settings: Settings) -> Iterator[Check]:
    """Check that secrets can be opened, and that their files would lie in memory."""
    try:
        kept = store.load(roster.path.parent / DIRECTORY, roster.name)
        if not kept.entries:
            return
        key = keyfile.find(settings)
        for entry in kept.entries:
            kept.value(entry, key)
    except InputError as exc:
        yield Check("secrets", Verdict.FAILED, exc.message, exc.hint)
        return
    place = delivery.root(settings)
    if host.is_in_memory(place):
        found = f"{len(kept.entries)} can be opened; {place} is in memory"
        yield Check("secrets", Verdict.OK, found)
    else:
        mend = "set WORKSHOP_RUNTIME_DIRECTORY to a directory in a tmpfs"
        yield Check("secrets", Verdict.FAILED, f"{place} is on a disk", mend)


def _hardening(roster: Roster, facts: Facts) -> Iterator[Check]:
    """Hold what runs against the rules of the wall, and the engine against the known holes."""
    dark = frozenset(item.name for item in roster.participants if item.egress is not Mode.OPEN)
    findings = audit.audit(facts, dark)
    for finding in findings:
        yield Check("hardening", Verdict.FAILED, str(finding), _replace(finding))
    if facts.containers and not findings:
        count = len(facts.containers)
        yield Check("hardening", Verdict.OK, f"{audit.COUNT} checks on {count} containers")
    for match in advisories.matches(facts.components):
        found = f"{match.component} {match.version}: {match.what} ({match.names})"
        mend = f"upgrade to {match.mended} or later"
        if match.from_distribution:
            mend += "; this one is a distribution's, which may have mended it: read its changelog"
        yield Check("engine", Verdict.WARNING, found, mend)


def _certificate(roster: Roster, settings: Settings) -> Iterator[Check]:
    """Check that visitors will accept the edge's certificate, and for how long."""
    if roster.tls is None:
        return
    from workshop.tls import supply  # noqa: PLC0415 - its library is loaded only where needed

    now = datetime.now(UTC)
    try:
        found = supply.find(roster, roster.path.parent / DIRECTORY / "tls", settings.bundle(), now)
    except InputError as exc:
        yield Check("certificate", Verdict.FAILED, exc.message, exc.hint)
        return
    if found is None:
        return
    for text in found.warnings:
        yield Check("certificate", Verdict.WARNING, text, "docs/tls.md says what to do")
    if not found.warnings:
        days, who = found.facts.days_left(now), found.facts.issuer
        names = ", ".join(supply.wanted_names(roster)[:3])
        yield Check("certificate", Verdict.OK, f"{names}: by {who}, good for {days} days")


def _replace(finding: audit.Finding) -> str:
    if finding.is_network:
        return "workshop teardown, then workshop provision"
    if finding.is_seat:
        return f"workshop reset {finding.key}"
    return f"docker rm -f {finding.container}, then workshop provision"


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
