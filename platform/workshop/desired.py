"""What should be: roster, settings and state turned into frozen specifications.

Nothing here talks to an engine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import workshop
from workshop.deploys.current import SeatDeploys
from workshop.gateway.config import PREFIX
from workshop.labels import Role
from workshop.llm import keys
from workshop.parts import parts
from workshop.parts.board import board_config, metrics_token
from workshop.parts.deploys import deploy_config, intake_config, told
from workshop.parts.edge import edge_config, route
from workshop.parts.ground import Ground
from workshop.parts.models import GATEWAY_PORT, gateway_config
from workshop.parts.wall import NO_NAMES, Standing, proxy_variables, standing
from workshop.specs import PORT, ContainerSpec, ImageSpec, Owner
from workshop.state import SLOTS_PER_SHARD
from workshop.subnets import bridge_address, network_name, networks, seat_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.board import config as board
    from workshop.deploys.config import Config as DeployConfig
    from workshop.gateway import config as gateway
    from workshop.intake import config as intake
    from workshop.proxy.routes import Edge
    from workshop.roster import Participant, Roster
    from workshop.specs import Directories, NetworkSpec, Server, Sources
    from workshop.state import State


_DIGEST_LENGTH = 24
_PERSONAL = frozenset({"display_name", "email", "spare"})
"""What the roster says of a person that changes nothing about the seat."""


@dataclass(frozen=True)
class Desired:
    """One workshop as it should be. Empty collections mean: nothing of it should exist."""

    owner: Owner
    images: tuple[ImageSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    containers: tuple[ContainerSpec, ...] = ()
    edge: Edge | None = None
    edge_config: str | None = None
    """Fingerprint the edge must answer with once everything is live."""
    gateway: gateway.Config | None = None
    """What the gateway is told; ``None`` where the class does without models."""
    intake: intake.Config | None = None
    """What the intake is told; ``None`` where nobody may deploy."""
    deploys: DeployConfig | None = None
    """What the server of deploys is told."""
    board: board.Config | None = None
    """What the board is told; ``None`` where there is none."""
    metrics_token: str = field(default="", repr=False)
    """What Prometheus sends to the board; empty where there is none."""
    greens: frozenset[str] = frozenset()
    """Seats whose route leads to their green address."""
    starters: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    """What the class starts from: directory and Dockerfile, by name."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What the deploy loop's parts read when they start: text by path in the state directory."""

    wall: Standing | None = None
    """The firewall rules around seats, and what sets them."""
    asked: str = ""
    """Digest of what the instructor asked for: the roster, and what images are made of."""

    @property
    def seats(self) -> tuple[ContainerSpec, ...]:
        """The participants' containers, in the order of the roster."""
        return tuple(item for item in self.containers if item.role is Role.SEAT)

    @property
    def parts(self) -> tuple[ContainerSpec, ...]:
        """The platform's own containers."""
        return tuple(item for item in self.containers if item.role is not Role.SEAT)

    def part(self, role: Role) -> ContainerSpec | None:
        """Find one of the platform's own containers."""
        return next((item for item in self.containers if item.role is role), None)


def make_desired(  # noqa: PLR0913, PLR0917 - one for each place that something is read from
    roster: Roster,
    state: State,
    sources: Sources,
    directories: Directories,
    server: Server,
    current: Mapping[str, SeatDeploys],
) -> Desired:
    """Turn what the files say into what should run.

    Args:
        roster: who takes part.
        state: what was chosen once for this run.
        sources: content hashes of what images are made of.
        directories: what containers get mounted.
        server: what about this machine matters.
        current: what participants have deployed meanwhile.

    """
    owner = Owner(roster.name, state.run, str(roster.path.parent.resolve()))
    images = {sources.base: ImageSpec(sources.base, Role.BASE)}
    blue, seats, routes, greens = [], [], [], set()
    for person in roster.participants:
        image, version = _app_image(person, roster, sources)
        images[image.tag] = image
        seat = _seat(person, roster, state, image.tag, version)
        green = seat_address(state.network, state.slots[person.name], green=True)
        held = current.get(person.name, SeatDeploys()) if roster.deploys else SeatDeploys()
        seat = replace(seat, secrets=_secrets(person, roster, state, sources, directories))
        blue.append(seat)
        routes.append(route(person, seat, green if roster.deploys else ""))
        seats.append(seat.placed(held, green))
        if held.is_green:
            greens.add(person.name)
        if held.live is not None:
            images[held.live.image] = ImageSpec(held.live.image, Role.APP)
    ground = Ground(owner, roster, state, sources, directories, networks(state, seats), server)
    own = []
    for image, part in parts(ground):
        images[image.tag] = image
        own.append(part)
    wall = standing(ground)
    if wall is not None:
        images[wall.image.tag] = wall.image
    return Desired(
        owner=owner,
        images=tuple(images.values()),
        networks=ground.networks,
        containers=(*own, *seats),
        edge=edge_config(ground, tuple(routes)),
        gateway=gateway_config(ground),
        intake=intake_config(ground),
        deploys=deploy_config(ground, blue),
        board=board_config(ground),
        metrics_token=metrics_token(ground) if roster.board else "",
        greens=frozenset(greens),
        starters={digest: recipe for recipe, digest in sources.apps.items()},
        told=told(ground),
        wall=wall,
        asked=_asked(roster, sources),
    )


def _asked(roster: Roster, sources: Sources) -> str:
    """Digest what the instructor asked for; what participants do meanwhile is no part of it.

    They deploy, and a latecomer who claims a spare seat is written into the roster under a name of
    their own: the seat stays what it was.
    """
    people = [
        {key: value for key, value in asdict(person).items() if key not in _PERSONAL}
        for person in roster.participants
    ]
    alone = asdict(replace(roster, participants=()))
    said = {**alone, "warnings": (), "spares": 0, "participants": people}
    made = [sources.base, sorted(sources.apps.values()), sorted(sources.parts.items())]
    text = json.dumps([said, made, workshop.__version__], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, frozenset | set) else str(value)


def _app_image(person: Participant, roster: Roster, sources: Sources) -> tuple[ImageSpec, str]:
    if person.image is not None:
        return ImageSpec(person.image, Role.APP), person.image.rpartition(":")[2][:12]
    source = person.source or roster.template
    digest = sources.apps[source, person.dockerfile]
    tag = f"{roster.name}/app:{digest}"
    secrets = roster.build_secrets
    return ImageSpec(tag, Role.APP, source, person.dockerfile, sources.base, secrets), digest


def _seat(
    person: Participant, roster: Roster, state: State, image: str, version: str
) -> ContainerSpec:
    slot = state.slots[person.name]
    prefix = roster.place(person.name).prefix
    platform = {
        "PORT": str(PORT),
        "WORKSHOP_PARTICIPANT": person.name,
        "WORKSHOP_VERSION": version,
        "ROOT_PATH": prefix,
        "UVICORN_ROOT_PATH": prefix,
        # Only the edge can connect, so its word on the visitor's address is good.
        "FORWARDED_ALLOW_IPS": "*",
        # An open stream would otherwise keep uvicorn alive past SIGTERM.
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "2",
    }
    return ContainerSpec(
        role=Role.SEAT,
        key=person.name,
        name=f"{roster.name}-{person.name}",
        image=image,
        version=version,
        limits=person.limits,
        env={
            **_models(roster),
            **person.env,
            **platform,
            **_key(person, roster, state),
            **proxy_variables(person, bridge_address(state.network, slot)),
        },
        slot=slot,
        network=network_name(roster.name, slot // SLOTS_PER_SHARD),
        address=seat_address(state.network, slot),
        dns=NO_NAMES.get(person.egress, ()),
    )


def _secrets(
    person: Participant,
    roster: Roster,
    state: State,
    sources: Sources,
    directories: Directories,
) -> str:
    """Name the directory of a seat's secrets; the run's own secret keeps it from being guessed."""
    sealed = sources.sealed.get(person.name)
    if not sealed:
        return ""
    text = json.dumps([person.name, sorted(sealed.items())]).encode()
    digest = hmac.digest(bytes.fromhex(state.secret), b"workshop secrets\0" + text, "sha256")
    home = directories.memory / roster.name / person.name
    return str(home / digest.hex()[:_DIGEST_LENGTH])


def _models(roster: Roster) -> dict[str, str]:
    """Name the models an app asks for unless the roster says otherwise."""
    if roster.llm is None:
        return {}
    chosen = {"OPENAI_MODEL": roster.llm.model, "OPENAI_EMBEDDING_MODEL": roster.llm.embedding}
    return {name: model for name, model in chosen.items() if model}


def _key(person: Participant, roster: Roster, state: State) -> dict[str, str]:
    """Hand the seat its own key and the address its models answer at."""
    if roster.llm is None:
        return {}
    address = bridge_address(state.network, state.slots[person.name])
    return {
        "OPENAI_BASE_URL": f"http://{address}:{GATEWAY_PORT}{PREFIX}",
        "OPENAI_API_KEY": keys.derive(state.secret, person.name, state.key(person.name).serial),
    }
