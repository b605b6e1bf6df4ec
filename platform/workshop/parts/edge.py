"""The edge: the nginx that everybody's requests pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.deploys.options import DeployOptions
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.parts.models import GATEWAY_PORT
from workshop.proxy.routes import Edge, Route, Tls
from workshop.proxy.routes import Limits as EdgeLimits
from workshop.specs import PORT, ContainerSpec
from workshop.subnets import BOARD_PORT, EDGE_PORT, INTAKE_PORT, REGISTRY_PORT

if TYPE_CHECKING:
    from workshop.parts.ground import Ground
    from workshop.roster import Participant
    from workshop.specs import ImageSpec

EDGE_USER = "10002:10002"
ROOT = "0:0"
EDGE_KEY = "edge"
EDGE_MOUNT = "/edge"
BURST_SECONDS = 4
"""A page with many assets asks for all of them at once; this many seconds' worth may."""


def part(ground: Ground) -> tuple[ImageSpec, ContainerSpec]:
    """Specify the edge."""
    image, privileged = ground.image(Role.EDGE), ground.server.privileged_port
    spec = ContainerSpec(
        role=Role.EDGE,
        key=EDGE_KEY,
        name=f"{ground.roster.name}-{EDGE_KEY}",
        image=image.tag,
        version=ground.version(Role.EDGE),
        limits=Limits(memory=1024 * MIB, cpus=0, pids=512),
        command=("nginx", "-c", f"{EDGE_MOUNT}/current/nginx.conf", "-g", "daemon off;"),
        user=ROOT if privileged else EDGE_USER,
        # A port below 1024 takes root to open; workers then give root up.
        capabilities=("CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID") if privileged else (),
        nofile=None,
        mounts=((str(ground.directories.edge), EDGE_MOUNT),),
        log_size="20m",
        reload_on_hup=True,
    )
    return image, spec


def edge_config(ground: Ground, routes: tuple[Route, ...]) -> Edge:
    """Say what the edge serves."""
    roster, networks = ground.roster, ground.networks
    shown, deploys = roster.edge, bool(roster.deploys and networks)
    options = roster.deploys or DeployOptions()
    board = roster.board.host if roster.board and networks else ""
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
            push_bytes=options.image_bytes,
            upload_bytes=options.upload_bytes,
        ),
        directory=f"{EDGE_MOUNT}/current",
        tls=_tls(ground),
        inner=f"{ground.loopback}:{EDGE_PORT}" if roster.tls else "",
        routing=roster.routing,
        gateway=f"{networks[0].gateway}:{GATEWAY_PORT}" if roster.llm and networks else "",
        registry=f"{ground.loopback}:{REGISTRY_PORT}" if deploys else "",
        intake=f"{ground.loopback}:{INTAKE_PORT}" if deploys else "",
        board=f"{ground.loopback}:{BOARD_PORT}" if board else "",
        board_host=board,
    )


def _tls(ground: Ground) -> Tls | None:
    """Name the certificate as the edge's container sees it; a new one lies in a new directory."""
    options, digest = ground.roster.tls, ground.sources.certificate
    if options is None or not digest:
        return None
    home = f"{EDGE_MOUNT}/tls/{digest}"
    return Tls(f"{home}/fullchain.pem", f"{home}/key.pem", digest, options.http_port)


def route(person: Participant, seat: ContainerSpec, green: str) -> Route:
    """Say which seat a name leads to, wherever it stands: ``seat`` is given at its blue address."""
    label = person.display_name or person.name
    return Route(seat.key, seat.address or "", PORT, label, green=green)
