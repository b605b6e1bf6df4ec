"""What one command works with, and the one look it takes before it decides anything."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import host, resources, sources, state
from workshop import roster as rosters
from workshop import settings as settings_module
from workshop.deploys import current
from workshop.deploys.stage import DeployFiles
from workshop.desired import Desired, make_desired
from workshop.errors import InputError
from workshop.events import ignore
from workshop.gateway.config import SECRETS
from workshop.health import HttpProbe
from workshop.labels import Role
from workshop.llm.publish import GatewayPublisher, loaded
from workshop.llm.secrets import Secrets
from workshop.llm.secrets import find as find_secrets
from workshop.observed import Observed, State
from workshop.proxy.publish import Publisher
from workshop.proxy.render import fingerprint
from workshop.proxy.switch import GREEN, Switch
from workshop.specs import Directories, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.deploys.current import Current
    from workshop.engines.base import Engine
    from workshop.events import Emit
    from workshop.health import Probe
    from workshop.roster import Roster
    from workshop.settings import Settings
    from workshop.state import State as Choices


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
        )

    @property
    def server(self) -> Server:
        """What about this machine decides how parts are started."""
        socket = host.engine_socket()
        owner = self.roster_path.parent.resolve()
        if self.state_directory.is_dir():
            owner = self.state_directory
        return Server(
            privileged_port=host.port_is_privileged(self.roster.port),
            socket=socket,
            socket_group=host.group_of(socket),
            user=host.owner_of(owner),
            ready_seconds=self.settings.ready_seconds,
        )

    @functools.cached_property
    def secrets(self) -> Secrets:
        """Providers' keys, as far as this server has them."""
        llm = self.roster.llm
        staged = self.directories.gateway / SECRETS
        return find_secrets(llm.providers if llm else (), self.roster_path, staged)

    def seat_url(self, name: str) -> str:
        """Give the URL of one participant's app."""
        return f"{self.roster.url}/{self.roster.participant(name).name}/"

    def publisher(self) -> Publisher:
        """Build the one that brings edge configurations live."""
        edge = self.directories.edge
        return Publisher(edge, self.probe, self.roster.port, self.roster.url.host)

    def deploy_files(self) -> DeployFiles:
        """Build the one that writes what the deploy loop's parts read."""
        return DeployFiles(self.directories, self.probe)

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


def survey(work: Workspace) -> Survey:
    """Read the files and take one snapshot.

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
    names = [person.name for person in roster.participants]
    choices = state.settle(known, bounded, roster.name, names, roster.network)
    content = sources.read(roster, work.settings, work.secrets.files)
    places = work.directories
    desired = make_desired(roster, choices, content, places, work.server, _current(work, bounded))
    if desired.edge is not None:
        print_of = fingerprint(desired.edge, resources.nginx_templates())
        desired = replace(desired, edge_config=print_of)
    return Survey(choices, desired, _with_what_parts_say(work, desired, observed))


def _with_what_parts_say(work: Workspace, desired: Desired, observed: Observed) -> Observed:
    """Add what the engine does not know: which configuration each part works with."""

    def asked(role: Role) -> str | None:
        spec, running = desired.part(role), observed.container(role, role.value)
        if spec is None or running is None or running.state is not State.RUNNING:
            return None
        if role is Role.EDGE:
            return asyncio.run(work.publisher().loaded())
        return asyncio.run(loaded(work.probe, spec.answers_at, spec.port))

    return replace(
        observed,
        edge_config=asked(Role.EDGE),
        gateway_config=asked(Role.GATEWAY),
        intake_config=asked(Role.INTAKE),
        deploys_config=work.deploy_files().known(),
        greens=Switch(work.directories.edge / GREEN).greens(),
    )


def _current(work: Workspace, observed: Observed) -> Current:
    """Read what is deployed; a version whose image is gone counts as never deployed."""
    known = current.load(work.directories.deploys)
    there = {image.tag for image in observed.images}
    return {
        name: held if held.live is None or held.live.image in there else replace(held, live=None)
        for name, held in known.items()
    }


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
