"""What should be: roster, settings and state turned into frozen specifications.

Nothing here talks to an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.gateway.config import PREFIX
from workshop.labels import Role
from workshop.llm import keys
from workshop.parts import GATEWAY_PORT, edge_config, gateway_config, parts, route
from workshop.specs import PORT, ContainerSpec, Desired, ImageSpec, Owner
from workshop.state import SLOTS_PER_SHARD
from workshop.subnets import bridge_address, network_name, networks, seat_address

if TYPE_CHECKING:
    from workshop.roster import Participant, Roster
    from workshop.specs import Directories, Sources
    from workshop.state import State


def make_desired(
    roster: Roster,
    state: State,
    sources: Sources,
    directories: Directories,
    *,
    privileged_port: bool,
) -> Desired:
    """Turn what the files say into what should run.

    Args:
        roster: who takes part.
        state: what was chosen once for this run.
        sources: content hashes of what images are made of.
        directories: what containers get mounted.
        privileged_port: whether this machine lets only root listen on the edge's port.

    """
    owner = Owner(roster.name, state.run, str(roster.path.parent.resolve()))
    images = {sources.base: ImageSpec(sources.base, Role.BASE)}
    seats = []
    for person in roster.participants:
        image, version = _app_image(person, roster, sources)
        images[image.tag] = image
        seats.append(_seat(person, roster, state, image.tag, version))
    bridges = networks(state, seats)
    own = []
    for image, part in parts(roster, sources, bridges, directories, privileged=privileged_port):
        images[image.tag] = image
        own.append(part)
    routes = tuple(
        route(person, seat) for person, seat in zip(roster.participants, seats, strict=True)
    )
    return Desired(
        owner=owner,
        images=tuple(images.values()),
        networks=bridges,
        containers=(*own, *seats),
        edge=edge_config(roster, routes, bridges),
        gateway=gateway_config(roster, state, sources, bridges),
    )


def _app_image(person: Participant, roster: Roster, sources: Sources) -> tuple[ImageSpec, str]:
    if person.image is not None:
        return ImageSpec(person.image, Role.APP), person.image.rpartition(":")[2][:12]
    source = person.source or roster.template
    digest = sources.apps[source, person.dockerfile]
    tag = f"{roster.name}/app:{digest}"
    return ImageSpec(tag, Role.APP, source, person.dockerfile, sources.base), digest


def _seat(
    person: Participant, roster: Roster, state: State, image: str, version: str
) -> ContainerSpec:
    slot = state.slots[person.name]
    prefix = f"/{person.name}"
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
        env={**_models(roster), **person.env, **platform, **_key(person, roster, state)},
        slot=slot,
        network=network_name(roster.name, slot // SLOTS_PER_SHARD),
        address=seat_address(state.network, slot),
    )


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
