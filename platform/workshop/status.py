"""What runs right now, asked of the engine and of every seat through the edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workshop import deploying, held
from workshop.errors import NotFound
from workshop.intake.orders import Stage
from workshop.labels import Role
from workshop.observed import State
from workshop.wall.rules import difference
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workshop.deploys.current import SeatDeploys
    from workshop.intake.orders import Progress
    from workshop.observed import ObservedContainer
    from workshop.specs import ContainerSpec
    from workshop.workspace import Survey, Workspace

_ASKED_AT_ONCE = 32
_UNAVAILABLE = 503
HELD = "held"
"""State of a seat that the instructor stopped: right as it is."""
_BUILD_ROLES = (Role.EGRESS, Role.RELAY)
"""What builds need; neither speaks HTTP to anybody but them."""


@dataclass(frozen=True)
class FailedDeploy:
    """A seat's latest deploy, where it did not go live. The version before it is still there."""

    number: int
    cause: str
    message: str
    ended: float | None
    """Seconds since 1970, as all times here."""


@dataclass(frozen=True)
class DeployStatus:
    """What deploys made of a seat; all empty where nothing was deployed."""

    number: int = 0
    """Of the deploy that is live; 0: what the roster says."""
    version: str = ""
    digest: str = ""
    actor: str = ""
    since: float | None = None
    under_way: str = ""
    """Stage of the deploy that is not over."""
    failed: FailedDeploy | None = None


@dataclass(frozen=True)
class SeatStatus:
    """One line of ``workshop status``."""

    name: str
    display_name: str
    url: str
    state: str
    """live, silent (runs but does not answer), stopped, held (by the instructor), crashing,
    missing or extra."""
    detail: str
    version: str
    deploy: DeployStatus | None = None
    """``None`` where nobody may deploy, and for a seat that is not in the roster."""


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
    deploys: str = "off"
    """The server that deploys, by its own word; off where the roster says so."""
    registry: str = "off"
    intake: str = "off"
    builds: str = "off"
    """The way out of participants' builds."""
    wall: str = "off"
    """The firewall rules around seats: live, not standing, or unseen where nobody may look."""
    outbound: str = "off"
    """The way out of seats whose egress is approved."""
    board: str = "off"
    """What shows the class to its instructor and participants."""
    queue: Mapping[str, int] = field(default_factory=dict)
    """Deploys that are not over, by their stage."""
    warnings: tuple[str, ...] = ()
    """What will be wrong soon, such as a certificate that ends."""

    @property
    def ok(self) -> bool:
        """Whether everybody and everything can be reached."""
        parts = {self.edge, self.gateway, self.embedded}
        parts |= {self.deploys, self.registry, self.intake, self.builds, self.wall, self.outbound}
        parts |= {self.board}
        return parts <= {"live", "off"} and all(seat.state in {"live", HELD} for seat in self.seats)


def status(work: Workspace) -> Status:
    """Look at every seat and ask each through the edge: ``workshop status``."""
    seen = survey(work)
    edge = "live" if seen.observed.edge_config is not None else "not answering"
    if seen.observed.container(Role.EDGE, "edge") is None:
        edge = "missing"
    gateway, embedded, registry, intake, board = (
        asyncio.run(_part(work, seen, role))
        for role in (Role.GATEWAY, Role.EMBEDDED, Role.REGISTRY, Role.INTAKE, Role.BOARD)
    )
    answers = asyncio.run(_ask_all(work, seen))
    deploys = _Deploys(work)
    resting = held.load(work.state_directory)
    rows = [
        _seat_status(work, spec, _container(seen, spec), answers.get(spec.key), deploys)
        for spec in seen.desired.seats
    ]
    rows = [_resting(row) if row.name in resting else row for row in rows]
    wanted = {spec.key for spec in seen.desired.seats}
    for item in seen.observed.containers:
        if item.role is Role.SEAT and item.key not in wanted:
            detail = "not in the roster; `workshop provision --prune` removes it"
            rows.append(SeatStatus(item.key, item.key, "", "extra", detail, item.version))
    return Status(
        workshop=work.roster.name,
        url=str(work.roster.url),
        edge=edge,
        gateway=gateway,
        embedded=embedded,
        seats=tuple(rows),
        deploys=deploying.server(work) if deploys.on else "off",
        registry=registry,
        intake=intake,
        board=board,
        builds=_running(seen, _BUILD_ROLES),
        wall=_wall(seen),
        outbound=_running(seen, (Role.OUTBOUND,)),
        queue=deploys.queue,
        warnings=work.certificate.warnings if work.certificate else (),
    )


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
    if answer.status < _UNAVAILABLE:
        return "live"
    said = answer.json()
    # The gateway answers nobody while it cannot keep its books.
    fault = said.get("ledger") if isinstance(said, dict) else None
    return f"failing: {fault}" if fault else "not answering"


def _wall(seen: Survey) -> str:
    """Say whether the firewall rules around seats stand as they should."""
    wanted, found = seen.desired.wall, seen.observed.wall
    if wanted is None:
        return "off"
    if found is None:
        return "unseen"
    return "not standing" if difference(wanted.lines, found) else "live"


def _running(seen: Survey, roles: Sequence[Role]) -> str:
    """Say whether parts that answer no visitor all run."""
    specs = [spec for spec in seen.desired.parts if spec.role in roles]
    found = [_container(seen, spec) for spec in specs]
    if not specs:
        return "off"
    if None in found:
        return "missing"
    running = all(item is not None and item.state is State.RUNNING for item in found)
    return "live" if running else "not answering"


def _container(seen: Survey, spec: ContainerSpec) -> ObservedContainer | None:
    """Find what runs a specification; a seat may have its next version beside it."""
    return seen.observed.container(spec.role, spec.key, spec.address or "")


async def _ask_all(work: Workspace, seen: Survey) -> dict[str, int | None]:
    gate, edge = asyncio.Semaphore(_ASKED_AT_ONCE), seen.desired.edge
    if edge is None:
        return {}
    address, port = edge.asked_at

    async def ask(name: str) -> int | None:
        async with gate:
            try:
                place = edge.place(name)
                answer = await work.probe.get(port, f"{place.prefix}/healthz", place.host, address)
            except (OSError, EOFError, TimeoutError, ValueError):
                return None
            return answer.status

    running = [item.key for item in seen.observed.containers if item.state is State.RUNNING]
    names = [spec.key for spec in seen.desired.seats if spec.key in running]
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _seat_status(
    work: Workspace,
    spec: ContainerSpec,
    item: ObservedContainer | None,
    answer: int | None,
    deploys: _Deploys,
) -> SeatStatus:
    if item is None:
        verdict, detail = "missing", "`workshop provision` creates it"
    elif item.state is State.RUNNING:
        verdict, detail = _running_seat(work, spec, item, answer)
    elif item.state is State.RESTARTING:
        verdict, detail = _crashing(spec, item)
    else:
        verdict, detail = "stopped", f"{item.status}; `workshop provision` starts it"
    person = work.roster.participant(spec.key)
    deploy = deploys.of(spec.key) if deploys.on else None
    return SeatStatus(
        name=spec.key,
        display_name=person.display_name,
        url=work.seat_url(spec.key),
        state=verdict,
        detail=detail + (_told(spec.key, deploy) if deploy else ""),
        version=item.version if item else "",
        deploy=deploy,
    )


def _resting(seat: SeatStatus) -> SeatStatus:
    """Say of a seat that is stopped on purpose that it is; one that runs all the same stays so."""
    if seat.state not in {"stopped", "missing"}:
        return seat
    return replace(seat, state=HELD, detail=f"stopped by you; `workshop start {seat.name}`")


def _running_seat(
    work: Workspace, spec: ContainerSpec, item: ObservedContainer, answer: int | None
) -> tuple[str, str]:
    if answer is not None and answer < _UNAVAILABLE:
        return "live", item.status
    with contextlib.suppress(NotFound):
        # What crashes again and again runs in between, for a moment or for seconds.
        if work.engine.uptime(item.id).crashing:
            return _crashing(spec, item)
    return "silent", f"runs but does not answer ({item.status})"


def _crashing(spec: ContainerSpec, item: ObservedContainer) -> tuple[str, str]:
    return "crashing", f"{item.status}; `workshop logs {spec.key}` shows why"


def _told(name: str, deploy: DeployStatus) -> str:
    """Say in few words what is under way, or why the latest deploy is not what is live."""
    if deploy.under_way:
        return f"; deploy under way: {deploy.under_way}"
    if deploy.failed is None:
        return ""
    number = f"deploy {deploy.failed.number}" if deploy.failed.number else "deploy"
    return f"; {number} failed: {deploy.failed.cause}; `workshop deploys {name}`"


class _Deploys:
    """What the files of the deploy loop say, read once."""

    def __init__(self, work: Workspace) -> None:
        self.on = work.roster.deploys is not None
        self._current = deploying.deployments(work) if self.on else {}
        self._log = _by_seat(deploying.history(work)) if self.on else {}
        self._open = deploying.under_way(work) if self.on else []

    @property
    def queue(self) -> dict[str, int]:
        found = Counter(item.stage for item in self._open)
        return {stage.value: found[stage] for stage in Stage if found[stage]}

    def of(self, name: str) -> DeployStatus:
        """Tell what deploys made of one seat."""
        log = self._log.get(name, [])
        record: SeatDeploys | None = self._current.get(name)
        live = record.live if record else None
        came = next((item for item in reversed(log) if item.stage is Stage.LIVE), None)
        return DeployStatus(
            number=live.number if live else 0,
            version=live.version if live else "",
            digest=live.digest if live else "",
            actor=came.actor if live and came else "",
            since=came.ended if live and came else None,
            under_way=next((item.stage.value for item in self._open if item.seat == name), ""),
            failed=_failed(log),
        )


def _by_seat(log: Sequence[Progress]) -> dict[str, list[Progress]]:
    found: dict[str, list[Progress]] = {}
    for item in log:
        found.setdefault(item.seat, []).append(item)
    return found


def _failed(log: Sequence[Progress]) -> FailedDeploy | None:
    """Find a seat's latest deploy, if it failed; one that a newer took over says nothing."""
    last = next((item for item in reversed(log) if item.stage is not Stage.SUPERSEDED), None)
    if last is None or last.finding is None or last.stage is Stage.LIVE:
        return None
    return FailedDeploy(last.number, last.finding.cause, last.finding.message, last.ended)
