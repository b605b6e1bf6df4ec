"""The way to the class's models: the gateway, and the model that needs nobody's key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workshop.gateway import config as gateway
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.llm import keys
from workshop.llm.options import EMBEDDED, TOY_CHAT, TOY_EMBEDDING
from workshop.specs import PORT, ContainerSpec
from workshop.subnets import embedded_address, seat_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.parts.ground import Ground
    from workshop.roster import Participant, Roster
    from workshop.specs import ImageSpec, NetworkSpec
    from workshop.state import State

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


def parts(ground: Ground) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Specify what a class with models needs."""
    llm = ground.roster.llm
    if llm is None:
        return
    if llm.embedded is not None:
        yield _embedded(ground, llm.embedded)
    yield _gateway(ground)


def _embedded(ground: Ground, limits: Limits) -> tuple[ImageSpec, ContainerSpec]:
    image, network = ground.image(Role.EMBEDDED), ground.networks[0]
    spec = ContainerSpec(
        role=Role.EMBEDDED,
        key=EMBEDDED,
        name=f"{ground.roster.name}-{EMBEDDED}",
        image=image.tag,
        version=ground.version(Role.EMBEDDED),
        limits=limits,
        network=network.name,
        address=embedded_address(network),
        user=EMBEDDED_USER,
    )
    return image, spec


def _gateway(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    image, networks, directories = ground.image(Role.GATEWAY), ground.networks, ground.directories
    listen = tuple(network.gateway for network in networks)
    options = [part for ip in listen for part in ("--listen", f"{ip}:{GATEWAY_PORT}")]
    spec = ContainerSpec(
        role=Role.GATEWAY,
        key=GATEWAY_KEY,
        name=f"{ground.roster.name}-{GATEWAY_KEY}",
        image=image.tag,
        version=ground.version(Role.GATEWAY),
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
    return image, spec


def gateway_config(ground: Ground) -> gateway.Config | None:
    """Write down what the gateway is told. No key stands in it, only hashes."""
    roster, state, networks, llm = (
        ground.roster,
        ground.state,
        ground.networks,
        ground.roster.llm,
    )
    if llm is None or not networks:
        return None
    upstreams = [
        replace(provider.upstream, secret=ground.sources.secrets.get(provider.upstream.name, ""))
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
