"""What one command works with, and the one look it takes before it decides anything."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import host, resources, sources, state
from workshop import roster as rosters
from workshop import settings as settings_module
from workshop.board import config as board
from workshop.deploys import current
from workshop.deploys.stage import DeployFiles
from workshop.desired import Desired, make_desired
from workshop.errors import InputError
from workshop.events import Note, ignore
from workshop.gateway import config as gateway
from workshop.gateway.config import SECRETS
from workshop.health import LOCAL, HttpProbe
from workshop.intake import config as intake
from workshop.labels import Role
from workshop.llm.publish import GatewayPublisher, loaded
from workshop.llm.secrets import Secrets
from workshop.llm.secrets import find as find_secrets
from workshop.observed import ALTERED, Observed, State
from workshop.parts.board import TOLD
from workshop.proxy.publish import Publisher
from workshop.proxy.render import fingerprint
from workshop.proxy.switch import GREEN, Switch
from workshop.specs import Directories, Server
from workshop.vault import delivery, store
from workshop.wall import firewall

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.deploys.current import Current
    from workshop.engines.base import Engine
    from workshop.events import Emit
    from workshop.health import Probe
    from workshop.proxy.routes import Edge
    from workshop.roster import Roster
    from workshop.settings import Settings
    from workshop.state import State as Choices
    from workshop.tls.supply import Supply


def connect_docker() -> Engine:
    """Reach the Docker engine of this machine; the SDK is loaded only now."""
    from workshop.engines.docker import DockerEngine  # noqa: PLC0415

    return DockerEngine()


@dataclass
class Workspace:
    """What one command works with. Tests bring an engine and a probe of their own."""

    roster_path: Path
    connect: Callable[[], Engine] = connect_docker
    probe: Probe = field(default_factory=HttpProbe)
    emit: Emit = ignore

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine, connected on first use."""
        return self.connect()

    @functools.cached_property
    def roster(self) -> Roster:
        """The roster, read once."""
        return rosters.load(self.roster_path)

    @functools.cached_property
    def settings(self) -> Settings:
        """Settings of this machine."""
        return settings_module.load(self.roster_path.parent)

    @property
    def state_directory(self) -> Path:
        """Where the state lies; need not exist."""
        return self.roster_path.parent.resolve() / state.DIRECTORY

    @property
    def directories(self) -> Directories:
        """What containers have mounted."""
        home = self.state_directory
        return Directories(
            home=home,
            edge=home / "edge",
            gateway=home / "gateway",
            usage=home / "usage",
            intake=home / "intake",
            inbox=home / "inbox",
            deploys=home / "deploys",
            shown=home / "deploys" / "shown",
            registry=home / "registry",
            storage=home / "storage",
            egress=home / "egress",
            wall=home / "wall",
            board=home / "board",
            memory=delivery.root(self.settings),
        )

    @property
    def server(self) -> Server:
        """What about this machine decides how parts are started."""
        socket = host.engine_socket()
        owner = self.roster_path.parent.resolve()
        if self.state_directory.is_dir():
            owner = self.state_directory
        return Server(
            privileged_port=any(map(host.port_is_privileged, self.roster.edge_ports)),
            socket=socket,
            socket_group=host.group_of(socket),
            user=host.owner_of(owner),
            nameservers=host.nameservers(),
            ready_seconds=self.settings.ready_seconds,
        )

    @functools.cached_property
    def secrets(self) -> Secrets:
        """Providers' keys, as far as this server has them."""
        llm = self.roster.llm
        staged = self.directories.gateway / SECRETS
        return find_secrets(llm.providers if llm else (), self.roster_path, staged)

    @property
    def certificates(self) -> Path:
        """Where the workshop keeps certificates it made or was issued."""
        return self.state_directory / "tls"

    @functools.cached_property
    def certificate(self) -> Supply | None:
        """The certificate the edge is to show, read or made once; ``None`` without TLS."""
        if self.roster.tls is None:
            return None
        from workshop.tls import supply  # noqa: PLC0415 - its library is loaded only where needed

        now = datetime.now(UTC)
        return supply.find(self.roster, self.certificates, self.settings.bundle(), now)

    def look_again(self) -> None:
        """Forget which certificate was found: another one has been issued."""
        self.__dict__.pop("certificate", None)

    def read_again(self) -> None:
        """Forget what was read: who had to wait for another command finds what that one wrote."""
        for name in ("roster", "secrets", "certificate"):
            self.__dict__.pop(name, None)

    def seat_url(self, name: str) -> str:
        """Give the URL of one participant's app."""
        return self.roster.seat_url(self.roster.participant(name).name)

    def publisher(self, edge: Edge | None = None) -> Publisher:
        """Build the one that brings edge configurations live; it asks where ``edge`` listens."""
        address, port = edge.asked_at if edge else (LOCAL, self.roster.port)
        places = self.directories
        return Publisher(places.edge, self.probe, port, self.roster.url.host, address)

    def deploy_files(self) -> DeployFiles:
        """Build the one that writes what the deploy loop's parts read."""
        return DeployFiles(self.directories, self.probe)

    def secret_files(self) -> delivery.Delivery:
        """Build the one that writes what seats see of their secrets."""
        return delivery.Delivery(self.directories.memory / self.roster.name)

    def gateway_publisher(self) -> GatewayPublisher:
        """Build the one that tells the gateway what changed."""
        places = self.directories
        return GatewayPublisher(places.gateway, places.usage, self.secrets, self.probe)


@dataclass(frozen=True)
class Survey:
    """Both sides of the comparison, taken at one moment."""

    choices: Choices
    desired: Desired
    observed: Observed


_GARBLED = (
    "state.json was garbled and is set aside as state.json.broken; run, network and slots are read "
    "back from labels, and participants get new keys"
)


def survey(work: Workspace, *, closely: bool = False) -> Survey:
    """Read the files and take one snapshot.

    Args:
        work: where.
        closely: look for what was changed by hand on containers too, one call for each.

    Raises:
        InputError: the roster is wrong, or the workshop's name is in use elsewhere.
        EngineUnreachable: no engine answers.

    """
    roster = work.roster
    images = [person.image for person in roster.participants if person.image]
    observed = work.engine.observe(roster.name, images)
    refuse_foreign(observed, roster.name, work.roster_path)
    own = {network.subnet for network in observed.networks}
    routed = tuple(route for route in host.routes() if route not in own)
    bounded = replace(observed, taken_subnets=(*observed.taken_subnets, *routed))
    known = state.load(work.state_directory) if work.state_directory.is_dir() else None
    state.refuse_other(known, roster.name, work.state_directory)
    if known is None and (work.state_directory / f"state{state.BROKEN}").exists():
        work.emit(Note(_GARBLED, warning=True))
    names = [person.name for person in roster.participants]
    choices = state.settle(known, bounded, roster.name, names, roster.network)
    content = sources.read(roster, work.settings, work.secrets.files)
    places = work.directories
    content = replace(content, sealed=_sealed(work))
    if work.certificate is not None:
        content = replace(content, certificate=work.certificate.pair.digest)
    desired = make_desired(roster, choices, content, places, work.server, _current(work, bounded))
    if desired.edge is not None:
        print_of = fingerprint(desired.edge, resources.nginx_templates())
        desired = replace(desired, edge_config=print_of)
    if closely and observed.containers:
        altered = work.engine.altered(roster.name, desired.containers)
        observed = replace(observed, altered=altered)
    return Survey(choices, desired, _with_what_parts_say(work, desired, observed))


def _with_what_parts_say(work: Workspace, desired: Desired, observed: Observed) -> Observed:
    """Add what the engine does not know: which configuration each part works with."""
    places = work.directories
    texts = {
        Role.GATEWAY: (places.gateway, desired.gateway and gateway.dump(desired.gateway)),
        Role.INTAKE: (places.intake, desired.intake and intake.dump(desired.intake)),
        Role.BOARD: (places.board / TOLD, desired.board and board.dump(desired.board)),
    }

    def is_altered(role: Role) -> bool:
        """Tell a file that was changed by hand; the part still works with what it once read."""
        directory, text = texts[role]
        try:
            return (directory / gateway.FILE).read_text("utf-8") != text
        except (OSError, UnicodeDecodeError):
            return True

    def asked(role: Role) -> str | None:
        spec, running = desired.part(role), observed.container(role, role.value)
        if spec is None or running is None or running.state is not State.RUNNING:
            return None
        if role is Role.EDGE:
            publisher = work.publisher(desired.edge)
            serves = asyncio.run(publisher.loaded())
            return serves if serves is None or publisher.is_intact(serves) else ALTERED
        says = asyncio.run(loaded(work.probe, spec.answers_at, spec.port))
        return ALTERED if says is not None and is_altered(role) else says

    return replace(
        observed,
        edge_config=asked(Role.EDGE),
        gateway_config=asked(Role.GATEWAY),
        intake_config=asked(Role.INTAKE),
        board_config=asked(Role.BOARD),
        deploys_config=work.deploy_files().known(),
        greens=Switch(work.directories.edge / GREEN).greens(),
        unsecret=_unsecret(work, desired),
        wall=_wall(work, desired, observed),
        wall_kept=firewall.kept(work.directories.wall),
    )


def _sealed(work: Workspace) -> dict[str, dict[str, str]]:
    """Read the fingerprints of everybody's secrets; no key is needed for it."""
    kept = store.load(work.state_directory, work.roster.name)
    people = (person.name for person in work.roster.participants)
    found = {name: kept.for_seat(name) for name in people} if kept.entries else {}
    return {
        name: {item.name: item.fingerprint for item in held.values()}
        for name, held in found.items()
        if held
    }


def _unsecret(work: Workspace, desired: Desired) -> frozenset[str]:
    """Look which seats' secrets are not where they should be mounted from."""
    files = work.secret_files()
    wanted = {seat.secrets for seat in desired.seats if seat.secrets}
    return frozenset(item for item in wanted if not files.has(item))


def _wall(work: Workspace, desired: Desired, observed: Observed) -> tuple[str, ...] | None:
    """Look at the firewall, where there is or should be anything of ours in it."""
    if desired.wall is None:
        return None
    return firewall.look(work.engine, desired.owner, observed, desired.wall.prefix)


def _current(work: Workspace, observed: Observed) -> Current:
    """Read what is deployed; a version whose image is gone counts as never deployed."""
    known = current.load(work.directories.deploys)
    return current.present(known, {image.tag for image in observed.images})


def refuse_foreign(observed: Observed, name: str, path: Path) -> None:
    """Stop when another directory runs a workshop of the same name on this engine."""
    here = str(path.parent.resolve())
    found = {item.directory for item in observed.containers}
    for directory in found | {network.directory for network in observed.networks}:
        # A directory that is gone or holds no state was moved here, or lost: then it is ours.
        if directory != here and Path(directory, state.DIRECTORY).is_dir():
            raise InputError(
                f"the workshop {name!r} runs from {directory} already",
                hint="work there, or give this one another workshop.name",
            )
