"""What runs right now, asked of the engine and of every seat through the edge."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.labels import Role
from workshop.observed import State
from workshop.workspace import survey

if TYPE_CHECKING:
    from workshop.observed import ObservedContainer
    from workshop.specs import ContainerSpec
    from workshop.workspace import Survey, Workspace

_ASKED_AT_ONCE = 32
_UNAVAILABLE = 503


@dataclass(frozen=True)
class SeatStatus:
    """One line of ``workshop status``."""

    name: str
    display_name: str
    url: str
    state: str
    """live, silent (runs but does not answer), stopped, crashing, missing or extra."""
    detail: str
    version: str


@dataclass(frozen=True)
class Status:
    """What runs, asked for a moment ago."""

    workshop: str
    url: str
    edge: str
    """live, not answering or missing."""
    gateway: str
    """The same of the way to the class's models, or off where the class does without."""
    embedded: str
    seats: tuple[SeatStatus, ...]

    @property
    def ok(self) -> bool:
        """Whether everybody and everything can be reached."""
        parts = {self.edge, self.gateway, self.embedded}
        return parts <= {"live", "off"} and all(seat.state == "live" for seat in self.seats)


def status(work: Workspace) -> Status:
    """Look at every seat and ask each through the edge: ``workshop status``."""
    seen = survey(work)
    edge = "live" if seen.observed.edge_config is not None else "not answering"
    if seen.observed.container(Role.EDGE, "edge") is None:
        edge = "missing"
    gateway, embedded = (
        asyncio.run(_part(work, seen, role)) for role in (Role.GATEWAY, Role.EMBEDDED)
    )
    answers = asyncio.run(_ask_all(work, seen))
    rows = [
        _seat_status(
            work, spec, seen.observed.container(Role.SEAT, spec.key), answers.get(spec.key)
        )
        for spec in seen.desired.seats
    ]
    wanted = {spec.key for spec in seen.desired.seats}
    for item in seen.observed.containers:
        if item.role is Role.SEAT and item.key not in wanted:
            detail = "not in the roster; `workshop provision --prune` removes it"
            rows.append(SeatStatus(item.key, item.key, "", "extra", detail, item.version))
    return Status(work.roster.name, str(work.roster.url), edge, gateway, embedded, tuple(rows))


async def _part(work: Workspace, seen: Survey, role: Role) -> str:
    """Ask one of the platform's own parts whether it is ready."""
    spec = seen.desired.part(role)
    if spec is None:
        return "off"
    if seen.observed.container(role, spec.key) is None:
        return "missing"
    try:
        answer = await work.probe.ask(spec.answers_at, spec.port, "/healthz")
    except (OSError, EOFError, TimeoutError, ValueError):
        return "not answering"
    return "live" if answer.status < _UNAVAILABLE else "not answering"


async def _ask_all(work: Workspace, seen: Survey) -> dict[str, int | None]:
    gate = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def ask(name: str) -> int | None:
        async with gate:
            try:
                answer = await work.probe.get(
                    work.roster.port, f"/{name}/healthz", work.roster.url.host
                )
            except (OSError, EOFError, TimeoutError, ValueError):
                return None
            return answer.status

    running = [item.key for item in seen.observed.containers if item.state is State.RUNNING]
    names = [spec.key for spec in seen.desired.seats if spec.key in running]
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _seat_status(
    work: Workspace, spec: ContainerSpec, item: ObservedContainer | None, answer: int | None
) -> SeatStatus:
    if item is None:
        verdict, detail = "missing", "`workshop provision` creates it"
    elif item.state is State.RUNNING:
        fine = answer is not None and answer < _UNAVAILABLE
        verdict = "live" if fine else "silent"
        detail = item.status if fine else f"runs but does not answer ({item.status})"
    elif item.state is State.RESTARTING:
        verdict, detail = "crashing", f"{item.status}; `workshop logs {spec.key}` shows why"
    else:
        verdict, detail = "stopped", f"{item.status}; `workshop provision` starts it"
    person = work.roster.participant(spec.key)
    version = item.version if item else ""
    return SeatStatus(
        spec.key, person.display_name, work.seat_url(spec.key), verdict, detail, version
    )
