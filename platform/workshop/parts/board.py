"""The board: a service beside the edge that shows the class to its instructor and participants."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from workshop import claims
from workshop.board import config as board
from workshop.gateway.config import PREFIX
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.llm import keys
from workshop.specs import ContainerSpec
from workshop.subnets import BOARD_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.parts.ground import Ground
    from workshop.roster import Participant
    from workshop.specs import ImageSpec

BOARD_USER = "10008:10008"
TOLD, SHOWN, KEPT = "told", "shown", "kept"
"""Directories of the state directory's ``board``, and at the root of the container."""
TUNNELLED = "127.0.0.1"
"""Where the board is reached through SSH from another computer, which lacks the address here.

Not at ``localhost``: browsers send cookies to all ports of a host, and classes are tried there."""


def parts(ground: Ground) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Specify what a class with a board needs."""
    if ground.roster.board is None:
        return
    image, places = ground.image(Role.BOARD), ground.directories
    directories = {name: f"/{name}" for name in (TOLD, SHOWN, KEPT)}
    options = [part for name, path in directories.items() for part in (f"--{name}", path)]
    listen = ("--listen", f"{ground.loopback}:{BOARD_PORT}")
    spec = ContainerSpec(
        role=Role.BOARD,
        key=Role.BOARD.value,
        name=f"{ground.roster.name}-{Role.BOARD}",
        image=image.tag,
        version=ground.version(Role.BOARD),
        limits=Limits(memory=256 * MIB, cpus=0, pids=128),
        command=("python", "-m", "workshop.board", *options, *listen),
        listen=(ground.loopback,),
        port=BOARD_PORT,
        user=BOARD_USER,
        nofile=8192,
        mounts=tuple((str(places.board / name), directories[name]) for name in (TOLD, SHOWN)),
        data=((str(places.board / KEPT), directories[KEPT]),),
        log_size="5m",
    )
    yield image, spec


def board_config(ground: Ground) -> board.Config | None:
    """Write down what the board is told. No key stands in it, only hashes."""
    roster, llm, deploys = ground.roster, ground.roster.llm, ground.roster.deploys
    if roster.board is None or deploys is None or not ground.networks:
        return None
    url = str(roster.url)
    return board.Config(
        workshop=roster.name,
        title=roster.title,
        url=url,
        origins=_origins(ground, roster.board.host),
        seats=tuple(_seat(ground, person) for person in roster.participants),
        metrics_hash=board.hashed(metrics_token(ground)),
        llm=llm is not None,
        base_url=f"{url}{PREFIX}" if llm else "",
        model=llm.model if llm else "",
        embedding=llm.embedding if llm else "",
        currency=llm.currency if llm else "",
        registry=url.partition("://")[2],
        upload_bytes=deploys.upload_bytes,
    )


def _origins(ground: Ground, host: str) -> tuple[str, ...]:
    public = (str(ground.roster.url.at(host)),) if host else ()
    local = (f"http://{name}:{BOARD_PORT}" for name in (ground.loopback, TUNNELLED))
    return (*public, *local)


def _seat(ground: Ground, person: Participant) -> board.Seat:
    secret, held = ground.state.secret, ground.state.key(person.name)
    key = keys.derive(secret, person.name, held.serial)
    code = claims.normal(claims.code(secret, person.name))
    return board.Seat(
        name=person.name,
        display_name=person.display_name,
        url=ground.roster.seat_url(person.name),
        key_id=keys.key_id(person.name, held.serial),
        key_hash="" if held.revoked else keys.hashed(key),
        claim_hash=board.hashed(code),
        spare=person.spare,
    )


def metrics_token(ground: Ground) -> str:
    """Make what Prometheus sends to the board, from the run's secret: 256 bits in hexadecimal."""
    secret = bytes.fromhex(ground.state.secret)
    return hmac.digest(secret, b"workshop metrics token", "sha256").hex()
