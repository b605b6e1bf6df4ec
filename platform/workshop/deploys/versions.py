"""Versions of a seat: what they are called, which one is meant, and what cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.deploys.failure import DeployFailed
from workshop.disk import is_full
from workshop.intake.orders import Finding

if TYPE_CHECKING:
    from workshop.deploys.current import Deployment, SeatDeploys

ROSTER = "template"
"""What `workshop rollback --to` calls the version that the roster names."""
_SHOWN = 7


def name(number: int, digest: str) -> str:
    """Name a version: the seat's deploys counted, and the beginning of the image's digest."""
    return f"{number}-{digest.removeprefix('sha256:')[:_SHOWN]}"


def choose(held: SeatDeploys, wanted: str) -> Deployment | None:
    """Find the version that is meant; ``None`` is the roster's own.

    Args:
        held: what the seat runs and could go back to.
        wanted: a version, the number of a deploy, ``template``, or nothing for the one before.

    Raises:
        DeployFailed: there is no such version any more, or none to go back to.

    """
    known: list[Deployment] = [*([held.live] if held.live else []), *held.kept]
    if wanted == ROSTER:
        return None
    if not wanted:
        if held.kept:
            return held.kept[0]
        if held.live is None:
            raise DeployFailed(_nothing_before())
        return None
    for item in known:
        if wanted in {item.version, str(item.number)}:
            return item
    raise DeployFailed(_not_kept(wanted, [item.version for item in held.kept]))


def unknown_seat(seat: str) -> Finding:
    """Say that nobody has the seat an order is for."""
    return Finding(
        cause="unknown-seat",
        message=f"There is no seat called {seat} in this class (any more).",
        next="Check the name; `workshop add` gives somebody a seat.",
    )


def held(seat: str) -> Finding:
    """Say that a seat is stopped on purpose, and that a deploy does not start it."""
    return Finding(
        cause="seat-held",
        message=f"The instructor has stopped the seat {seat}, so nothing new goes live there.",
        next=f"Ask your instructor to start it (`workshop start {seat}`), then deploy once more.",
    )


def gone(version: Deployment) -> Finding:
    """Say that a kept version's image has been removed by somebody else."""
    return Finding(
        cause="image-gone",
        message=f"The image of version {version.version} is no longer on this server.",
        next="Push or upload it again, or choose another: `workshop deploys` lists them.",
    )


def server_full(words: str) -> Finding:
    """Say that the server's disk takes nothing more."""
    return Finding(
        cause="server-full",
        message="The server's disk is full, so nothing new can be made on it. The version before"
        " this one is still live.",
        evidence=(words[:400],),
        next="Nothing is wrong with your app. Tell your instructor, who sees with `workshop doctor`"
        " how much room there is; once there is some, deploy it again.",
    )


def refused(words: str) -> Finding:
    """Say that the engine would not create the container at all."""
    if is_full(words):
        return server_full(words)
    return Finding(
        cause="start-refused",
        message="The server could not start this version.",
        evidence=(words[:400],),
        next="Tell your instructor; what the server said stands above.",
    )


def unsettled() -> Finding:
    """Say that the class kept changing while the version was started."""
    return Finding(
        cause="class-changed",
        message="The class was changed again and again while this version started.",
        next="Deploy it once more.",
    )


def not_through_edge(problem: str) -> Finding:
    """Say that the version answers, but not under its public address."""
    return Finding(
        cause="not-through-edge",
        message="The new version answers on the server, but not under its public address.",
        evidence=(problem,),
        next="Nothing is wrong with your code. Tell your instructor: see `workshop logs edge`.",
    )


def platform_fault(words: str) -> Finding:
    """Say that the platform itself failed."""
    if is_full(words):
        return server_full(words)
    return Finding(
        cause="platform",
        message="The platform itself failed while it worked on this version.",
        evidence=(words[:400],),
        next="Deploy it once more. If it happens again, tell your instructor.",
    )


def _nothing_before() -> Finding:
    return Finding(
        cause="nothing-before",
        message="There is no earlier version: the seat runs what the roster says.",
        next="`workshop deploys NAME` lists what was deployed.",
    )


def _not_kept(wanted: str, kept: list[str]) -> Finding:
    return Finding(
        cause="not-kept",
        message=f"Version {wanted[:40]} is not kept any more, or never was.",
        evidence=(f"kept: {', '.join([*kept, ROSTER])}",),
        next="Choose one of those.",
    )
