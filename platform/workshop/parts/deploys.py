"""The deploy loop: registry, intake, the server of deploys, and the way out of builds."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from workshop.deploys import registry
from workshop.deploys.config import Config, DeploySeat
from workshop.health import LOCAL
from workshop.intake import config as intake
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.llm import keys
from workshop.specs import NO_NETWORK, ContainerSpec
from workshop.subnets import EDGE_PORT, EGRESS_PORT, INTAKE_PORT, REGISTRY_PORT, seat_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workshop.parts.ground import Ground
    from workshop.specs import ImageSpec

REGISTRY_USER = 10005
INTAKE_USER = "10006:10006"
EGRESS_USER = "10007:10007"
RELAYS = ("relay-1", "relay-2")
"""One for each build that may run at the same time: two cores build no more than that, and builds
that share a loopback could reach each other."""
SOCKET = "/var/run/docker.sock"
CGROUPS, CGROUPS_MOUNT = "/sys/fs/cgroup", "/cgroup"
"""Where the kernel counts what each container uses, on the server and as `serve` sees it."""
EGRESS_SOCKET = "/egress"
EGRESS_CONFIG = "/egress-config"
_DIGEST_LENGTH = 16


def parts(ground: Ground) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Specify what a class that deploys needs."""
    if ground.roster.deploys is None:
        return
    yield _registry(ground)
    yield _intake(ground)
    yield _egress(ground)
    for key in RELAYS:
        yield _relay(ground, key)
    yield _serve(ground)


def _registry(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    image, places = ground.image(Role.REGISTRY), ground.directories
    spec = ContainerSpec(
        role=Role.REGISTRY,
        key=Role.REGISTRY.value,
        name=f"{ground.roster.name}-{Role.REGISTRY}",
        image=image.tag,
        version=ground.version(Role.REGISTRY),
        limits=Limits(memory=256 * MIB, cpus=0, pids=256),
        env={"WORKSHOP_CONFIG": _digest(registry_config(ground))},
        command=registry.COMMAND,
        listen=(ground.loopback,),
        port=REGISTRY_PORT,
        user=ground.server.own_user(REGISTRY_USER),
        nofile=8192,
        mounts=((str(places.registry), registry.MOUNT),),
        data=((str(places.storage), registry.DATA),),
        log_size="5m",
    )
    return image, spec


def registry_config(ground: Ground) -> str:
    """Write the registry's configuration."""
    return registry.config(
        registry.Registry(
            listen=f"{ground.loopback}:{REGISTRY_PORT}",
            intake=f"{ground.loopback}:{INTAKE_PORT}",
            url=str(ground.roster.url),
            secret=events_secret(ground.state.secret),
        )
    )


def events_secret(secret: str) -> str:
    """Make the word that the registry's announcements carry, from the run's secret."""
    return hmac.digest(bytes.fromhex(secret), b"workshop registry events", "sha256").hex()


def _intake(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    image, places = ground.image(Role.INTAKE), ground.directories
    directories = {
        "config": "/intake",
        "deploys": "/deploys",
        "inbox": "/inbox",
        "storage": registry.DATA,
    }
    options = [part for name, path in directories.items() for part in (f"--{name}", path)]
    listen = ("--listen", f"{ground.loopback}:{INTAKE_PORT}")
    spec = ContainerSpec(
        role=Role.INTAKE,
        key=Role.INTAKE.value,
        name=f"{ground.roster.name}-{Role.INTAKE}",
        image=image.tag,
        version=ground.version(Role.INTAKE),
        limits=Limits(memory=256 * MIB, cpus=0, pids=128),
        command=("python", "-m", "workshop.intake", *options, *listen),
        listen=(ground.loopback,),
        port=INTAKE_PORT,
        user=INTAKE_USER,
        nofile=8192,
        mounts=(
            (str(places.intake), "/intake"),
            (str(places.shown), "/deploys"),
            (str(places.storage), registry.DATA),
        ),
        data=((str(places.inbox), "/inbox"),),
        log_size="5m",
    )
    return image, spec


def intake_config(ground: Ground) -> intake.Config | None:
    """Write down what the intake is told. No key stands in it, only hashes."""
    roster, state, options = ground.roster, ground.state, ground.roster.deploys
    if options is None or not ground.networks:
        return None
    seats = []
    for person in roster.participants:
        held = state.key(person.name)
        key = keys.derive(state.secret, person.name, held.serial)
        seats.append(
            intake.Seat(
                name=person.name,
                url=roster.seat_url(person.name),
                key_id=keys.key_id(person.name, held.serial),
                key_hash="" if held.revoked else keys.hashed(key),
            )
        )
    limits = intake.Limits(
        upload_bytes=options.upload_bytes,
        repository_bytes=options.repository_bytes,
        deploys_per_minute=options.per_minute,
        burst=options.per_minute,
    )
    return intake.Config(roster.name, str(roster.url), tuple(seats), limits)


def told(ground: Ground) -> dict[str, str]:
    """Write down what the parts read when they start, by path in the state directory."""
    if ground.roster.deploys is None or not ground.networks:
        return {}
    return {
        "registry/config.yml": registry_config(ground),
        f"intake/{intake.EVENTS_SECRET}": events_secret(ground.state.secret),
        "egress/config/hosts": egress_hosts(ground),
    }


def _egress(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    image, places = ground.image(Role.EGRESS), ground.directories
    spec = ContainerSpec(
        role=Role.EGRESS,
        key=Role.EGRESS.value,
        name=f"{ground.roster.name}-{Role.EGRESS}",
        image=image.tag,
        version=ground.version(Role.EGRESS),
        limits=Limits(memory=256 * MIB, cpus=0, pids=512),
        env={"WORKSHOP_CONFIG": _digest(egress_hosts(ground))},
        command=("egress", f"{ground.loopback}:{EGRESS_PORT}"),
        port=0,
        user=EGRESS_USER,
        nofile=8192,
        mounts=((str(places.egress / "config"), EGRESS_CONFIG),),
        data=((str(places.egress / "socket"), EGRESS_SOCKET),),
    )
    return image, spec


def egress_hosts(ground: Ground) -> str:
    """Write down what builds may reach beside the server's own package sources."""
    options = ground.roster.deploys
    return "".join(f"{host}\n" for host in (options.build.hosts if options else ()))


def _relay(ground: Ground, key: str) -> tuple[ImageSpec, ContainerSpec]:
    image = ground.image(Role.EGRESS)
    spec = ContainerSpec(
        role=Role.RELAY,
        key=key,
        name=f"{ground.roster.name}-{key}",
        image=image.tag,
        version=ground.version(Role.EGRESS),
        limits=Limits(memory=64 * MIB, cpus=0, pids=256),
        command=("relay",),
        network=NO_NETWORK,
        port=0,
        user=EGRESS_USER,
        mounts=((str(ground.directories.egress / "socket"), EGRESS_SOCKET),),
    )
    return image, spec


def _serve(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    """Specify the one process that holds the engine's socket; nothing listens in it."""
    image, home, server = ground.image(Role.SERVE), ground.directories.home, ground.server
    watches = ground.roster.board is not None
    # Whoever watches for the board carries out its wishes too: a claimed spare seat goes into the
    # roster, which lies beside the state directory.
    held = home.parent if watches else home
    spec = ContainerSpec(
        role=Role.SERVE,
        key=Role.SERVE.value,
        name=f"{ground.roster.name}-{Role.SERVE}",
        image=image.tag,
        version=ground.version(Role.SERVE),
        limits=Limits(memory=512 * MIB, cpus=0, pids=256),
        command=("python", "-m", "workshop", "serve", "--directory", str(home)),
        port=0,
        user=server.user,
        groups=(server.socket_group,),
        nofile=8192,
        mounts=((server.socket, SOCKET), *(((CGROUPS, CGROUPS_MOUNT),) if watches else ())),
        # At the path it has on the server, because builds mount files of it.
        data=((str(held), str(held)),),
        log_size="5m",
    )
    return image, spec


def deploy_config(ground: Ground, seats: Sequence[ContainerSpec]) -> Config | None:
    """Write down what the server of deploys is told; ``seats`` are as the roster has them."""
    roster, options = ground.roster, ground.roster.deploys
    if options is None or not ground.networks:
        return None
    recipes = ground.sources.recipes
    people = zip(roster.participants, seats, strict=True)
    return Config(
        owner=ground.owner,
        url=str(roster.url),
        edge_address=ground.loopback if roster.tls else LOCAL,
        edge_port=EDGE_PORT if roster.tls else roster.port,
        registry=f"{ground.loopback}:{REGISTRY_PORT}",
        base=ground.sources.base,
        base_reference=ground.sources.base_reference,
        relays=tuple(f"{roster.name}-{key}" for key in RELAYS),
        ready_seconds=ground.server.ready_seconds,
        options=options,
        secrets={key: str(path) for key, path in roster.build_secrets},
        starters=tuple(sorted(ground.sources.apps.values())),
        roster=roster.path.name,
        seats=tuple(
            DeploySeat(
                spec=spec,
                green=seat_address(ground.state.network, spec.slot or 0, green=True),
                place=roster.place(person.name),
                recipe=recipes.get((person.source or roster.template, person.dockerfile), ""),
            )
            for person, spec in people
        ),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
