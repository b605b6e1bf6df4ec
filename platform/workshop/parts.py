"""The platform's own containers: edge, gateway and embedded model, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workshop.gateway import config as gateway
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.llm import keys
from workshop.llm.options import EMBEDDED, TOY_CHAT, TOY_EMBEDDING
from workshop.proxy.routes import Edge, Route
from workshop.proxy.routes import Limits as EdgeLimits
from workshop.resources import EMBEDDED_RECIPE, GATEWAY_RECIPE
from workshop.specs import PORT, ContainerSpec, ImageSpec
from workshop.subnets import embedded_address, seat_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.roster import Participant, Roster
    from workshop.specs import Directories, NetworkSpec, Sources
    from workshop.state import State

EDGE_USER = "10002:10002"
ROOT = "0:0"
EDGE_KEY = "edge"
EDGE_MOUNT = "/edge"
GATEWAY_USER = "10003:10003"
GATEWAY_KEY = "gateway"
GATEWAY_MOUNT = "/gateway"
GATEWAY_DATA = "/data"
GATEWAY_PORT = 8011
"""TCP port of the gateway on each bridge's own address."""
EMBEDDED_USER = "10004:10004"
EMBEDDED_SLOTS = 4
"""Answers the embedded model gives at the same time; more wait in the gateway's queue, which tells
everybody their place."""
BURST_SECONDS = 4
"""A page with many assets asks for all of them at once; this many seconds' worth may."""


def parts(
    roster: Roster,
    sources: Sources,
    networks: tuple[NetworkSpec, ...],
    directories: Directories,
    *,
    privileged: bool,
) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Yield the platform's own containers, each with the image it is made from."""
    name, base = roster.name, sources.base
    image = ImageSpec(f"{name}/edge:{sources.edge}", Role.EDGE, sources.edge_context, base=base)
    yield (
        image,
        _edge(roster, image.tag, sources.edge, directories.edge, privileged=privileged),
    )
    if roster.llm is None or not networks:
        return
    if roster.llm.embedded is not None:
        tag = f"{name}/{EMBEDDED}:{sources.embedded}"
        image = ImageSpec(tag, Role.EMBEDDED, sources.package, EMBEDDED_RECIPE, base)
        yield (
            image,
            _embedded(roster, roster.llm.embedded, tag, sources.embedded, networks[0]),
        )
    tag = f"{name}/gateway:{sources.gateway}"
    image = ImageSpec(tag, Role.GATEWAY, sources.package, GATEWAY_RECIPE, base)
    yield image, _gateway(roster, tag, sources.gateway, networks, directories)


def _edge(
    roster: Roster, image: str, version: str, directory: Path, *, privileged: bool
) -> ContainerSpec:
    return ContainerSpec(
        role=Role.EDGE,
        key=EDGE_KEY,
        name=f"{roster.name}-{EDGE_KEY}",
        image=image,
        version=version,
        limits=Limits(memory=1024 * MIB, cpus=0, pids=512),
        command=("nginx", "-c", f"{EDGE_MOUNT}/current/nginx.conf", "-g", "daemon off;"),
        user=ROOT if privileged else EDGE_USER,
        # A port below 1024 takes root to open; workers then give root up.
        capabilities=("CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID") if privileged else (),
        nofile=None,
        mounts=((str(directory), EDGE_MOUNT),),
        log_size="20m",
        reload_on_hup=True,
    )


def edge_config(
    roster: Roster, routes: tuple[Route, ...], networks: tuple[NetworkSpec, ...]
) -> Edge:
    """Say what the edge serves."""
    shown = roster.edge
    return Edge(
        title=roster.title,
        url=str(roster.url),
        listen=roster.port,
        landing=shown.landing,
        routes=routes,
        limits=EdgeLimits(
            requests_per_second=shown.requests_per_second,
            burst=shown.requests_per_second * BURST_SECONDS,
            connections=shown.connections,
            body_bytes=shown.body,
        ),
        directory=f"{EDGE_MOUNT}/current",
        gateway=f"{networks[0].gateway}:{GATEWAY_PORT}" if roster.llm and networks else "",
    )


def route(person: Participant, seat: ContainerSpec) -> Route:
    """Say which seat a name leads to."""
    return Route(seat.key, seat.address or "", PORT, person.display_name or person.name)


def _embedded(
    roster: Roster, limits: Limits, image: str, version: str, network: NetworkSpec
) -> ContainerSpec:
    return ContainerSpec(
        role=Role.EMBEDDED,
        key=EMBEDDED,
        name=f"{roster.name}-{EMBEDDED}",
        image=image,
        version=version,
        limits=limits,
        network=network.name,
        address=embedded_address(network),
        user=EMBEDDED_USER,
    )


def _gateway(
    roster: Roster,
    image: str,
    version: str,
    networks: tuple[NetworkSpec, ...],
    directories: Directories,
) -> ContainerSpec:
    listen = tuple(network.gateway for network in networks)
    options = [part for ip in listen for part in ("--listen", f"{ip}:{GATEWAY_PORT}")]
    return ContainerSpec(
        role=Role.GATEWAY,
        key=GATEWAY_KEY,
        name=f"{roster.name}-{GATEWAY_KEY}",
        image=image,
        version=version,
        limits=Limits(memory=512 * MIB, cpus=0, pids=128),
        command=(
            "python",
            "-m",
            "workshop.gateway",
            "--config",
            GATEWAY_MOUNT,
            "--data",
            GATEWAY_DATA,
            *options,
        ),
        bridges=tuple(network.name for network in networks),
        listen=listen,
        port=GATEWAY_PORT,
        user=GATEWAY_USER,
        nofile=8192,
        mounts=((str(directories.gateway), GATEWAY_MOUNT),),
        data=((str(directories.usage), GATEWAY_DATA),),
        log_size="20m",
    )


def gateway_config(
    roster: Roster, state: State, sources: Sources, networks: tuple[NetworkSpec, ...]
) -> gateway.Config | None:
    """Write down what the gateway is told. No key stands in it, only hashes."""
    llm = roster.llm
    if llm is None or not networks:
        return None
    upstreams = [
        replace(provider.upstream, secret=sources.secrets.get(provider.upstream.name, ""))
        for provider in llm.providers
    ]
    if llm.embedded is not None:
        upstreams.append(_embedded_upstream(networks[0]))
    return gateway.Config(
        workshop=roster.name,
        seats=tuple(_gateway_seat(person, roster, state) for person in roster.participants),
        upstreams=tuple(upstreams),
        budget=llm.budget,
        currency=llm.currency,
        paused=state.paused,
        record=llm.record,
        outage=llm.outage,
        answer_tokens=llm.answer_tokens,
        queue_seconds=llm.queue_seconds,
    )


def _gateway_seat(person: Participant, roster: Roster, state: State) -> gateway.Seat:
    held, allowance = state.key(person.name), person.llm
    key = keys.derive(state.secret, person.name, held.serial)
    address = seat_address(state.network, state.slots[person.name])
    return gateway.Seat(
        name=person.name,
        key_id=keys.key_id(person.name, held.serial),
        key_hash="" if held.revoked else keys.hashed(key),
        address=address if allowance.bound else None,
        paused=held.paused,
        budget=roster.llm.budget_of(allowance) if roster.llm else gateway.Budget(),
        pace=allowance.pace,
    )


def _embedded_upstream(network: NetworkSpec) -> gateway.Upstream:
    return gateway.Upstream(
        name=EMBEDDED,
        base_url=f"http://{embedded_address(network)}:{PORT}/v1",
        models={
            TOY_CHAT: gateway.Model(TOY_CHAT),
            TOY_EMBEDDING: gateway.Model(TOY_EMBEDDING, gateway.Task.EMBEDDING),
        },
        concurrency=EMBEDDED_SLOTS,
        toy=True,
    )
