"""One order from wish to live: image, candidate beside the old version, proof, route, drain.

Nothing of the seat is touched until a candidate has proved itself; whatever fails before that
leaves the old version where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop.deploys import versions
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.deploys.diagnosis.candidate import Superseded
from workshop.deploys.failure import DeployFailed
from workshop.deploys.makers import Task
from workshop.errors import Conflict, EngineError, NotFound
from workshop.intake.orders import Stage, What
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.deploys.config import Config, DeploySeat
    from workshop.deploys.journal import Journal
    from workshop.deploys.makers import Makers
    from workshop.deploys.records import Records
    from workshop.intake.orders import Order
    from workshop.specs import ContainerSpec

ATTEMPTS = 3
"""Starts of a candidate, when what seats are given changes while it starts."""
NEWER = "a newer version is wanted"


@dataclass(frozen=True)
class Run:
    """One order under way."""

    order: Order
    config: Callable[[], Config]
    """The configuration as it is now; it may change at any time."""
    stop: Callable[[], bool]
    """Whether a newer order has come."""
    moved: Callable[[], None]
    """To be called when the route has moved: what is left to do holds up nobody."""
    relay: str
    """The build's network; empty where nothing is built."""
    source: Path
    """Where the order's archive lies, where it has one."""


class Pipeline:
    """Carries orders out, one call of :meth:`deploy` for each, on as many threads as there are."""

    def __init__(self, makers: Makers, records: Records, journal: Journal) -> None:
        self._makers = makers
        self._records = records
        self._journal = journal

    def deploy(self, run: Run) -> None:
        """Carry one order out and write down what became of it. Raises nothing of its own."""
        order = run.order
        try:
            seat = self._seat(run)
            number = self._records.begin(order.seat)
            self._journal.say(order, number=number)
            wanted = self._make(run, seat, number)
            self._journal.say(order, version=wanted.version, digest=wanted.digest)
            live = self._start(run, wanted)
        except Superseded:
            self._journal.end(order, Stage.SUPERSEDED)
        except DeployFailed as exc:
            self._journal.end(order, Stage.FAILED, finding=exc.finding)
        else:
            run.moved()
            self._journal.stage(order, Stage.PROVING)
            self._journal.end(order, Stage.LIVE, proof=self._makers.visit(run.config(), live))
        self._makers.forget(run.config(), order.seat, self._records.images())

    def _seat(self, run: Run) -> DeploySeat:
        seat = run.config().seat(run.order.seat)
        if seat is None:
            raise DeployFailed(versions.unknown_seat(run.order.seat))
        if self._records.is_held(run.order.seat):
            raise DeployFailed(versions.held(run.order.seat))
        return seat

    # -- the image ----------------------------------------------------------------------------

    def _make(self, run: Run, seat: DeploySeat, number: int) -> Deployment | RosterVersion:
        order = run.order
        if order.what is What.VERSION:
            return self._earlier(order, seat)
        stage = Stage.BUILDING if order.what is What.SOURCE else Stage.FETCHING
        self._journal.stage(order, stage)
        task = Task(order, seat, run.config(), number, run.relay, run.source)
        made = self._makers.make(task, lambda line: self._journal.line(order, line), run.stop)
        if run.stop():
            raise Superseded(NEWER)
        return Deployment(
            id=order.id,
            number=number,
            version=versions.name(number, made.digest or made.id),
            image=made.tag,
            green=False,
            digest=made.digest,
            volumes=made.volumes,
        )

    def _earlier(self, order: Order, seat: DeploySeat) -> Deployment | RosterVersion:
        """Find the version an order wants back."""
        held = self._records.of(order.seat)
        found = versions.choose(held, order.version)
        if found is None:
            return RosterVersion(seat.spec.version)
        if not self._makers.has(found.image):
            raise DeployFailed(versions.gone(found))
        return replace(found, id=order.id)

    # -- the candidate ------------------------------------------------------------------------

    def _start(self, run: Run, wanted: Deployment | RosterVersion) -> ContainerSpec:
        """Start ``wanted`` beside the live version and move the route once it has proved itself."""
        order = run.order
        self._journal.stage(order, Stage.STARTING)
        for _ in range(ATTEMPTS):
            config, seat = run.config(), self._seat(run)
            green = not self._records.of(order.seat).is_green
            spec = _spec(seat, wanted, green=green)
            container = self._candidate(spec, config)
            try:
                self._makers.prove(spec, container, config.ready_seconds, run.stop)
                moved = self._move(run, spec, container, wanted)
            except BaseException:
                self._makers.drainer.add(container)
                raise
            if moved:
                return spec
            self._makers.drainer.remove(container)
        raise DeployFailed(versions.unsettled())

    def _candidate(self, spec: ContainerSpec, config: Config) -> str:
        """Create and start ``spec``; whatever still stands in its place has had its time."""
        engine = self._makers.engine
        for item in engine.observe(config.owner.workshop).containers:
            if item.name == spec.name or (item.role is Role.SEAT and item.address == spec.address):
                self._makers.drainer.remove(item.id)
        container = ""
        try:
            container = engine.create(spec, config.owner)
            engine.start(container)
        except (EngineError, NotFound, Conflict) as exc:
            if container:
                finding = self._makers.why_not_started(spec, exc)
                self._makers.drainer.add(container)
            else:
                finding = versions.refused(exc.message)
            raise DeployFailed(finding) from exc
        return container

    def _move(
        self, run: Run, spec: ContainerSpec, container: str, wanted: Deployment | RosterVersion
    ) -> bool:
        """Move the route, unless what the seat should be given has changed meanwhile.

        Nor is it moved to a candidate that is gone: until the class's lock is held, other commands
        may remove a seat with all that belongs to it, and add it again.
        """
        order = run.order
        with self._records.alone(run.stop):
            seat = self._seat(run)
            green = spec.address == seat.green
            if _spec(seat, wanted, green=green) != spec or not self._is_there(container):
                return False
            if run.stop():
                raise Superseded(NEWER)
            before = self._records.of(order.seat)
            after = _after(before, wanted, run.config().options.keep, green=green)
            self._records.save(order.seat, after)
            try:
                self._makers.switch.move(order.seat, green=green)
            except OSError:
                # No room even for an empty file: what is on record must be where the route leads.
                self._records.save(order.seat, replace(before, count=after.count))
                raise
            problem = self._makers.seen_through_edge(run.config(), spec)
            if problem:
                self._makers.switch.move(order.seat, green=before.is_green)
                self._records.save(order.seat, replace(before, count=after.count))
                raise DeployFailed(versions.not_through_edge(problem))
        self._drain_others(run, spec)
        return True

    def _is_there(self, container: str) -> bool:
        """Ask the engine with one call, since everybody else waits for the lock."""
        try:
            self._makers.engine.uptime(container)
        except NotFound:
            return False
        return True

    def _drain_others(self, run: Run, live: ContainerSpec) -> None:
        config = run.config()
        for item in self._makers.engine.observe(config.owner.workshop).containers:
            if item.role is Role.SEAT and item.key == live.key and item.name != live.name:
                seconds = config.options.drain_seconds
                self._makers.drainer.add(item.id, item.address or "", seconds)


@dataclass(frozen=True)
class RosterVersion:
    """What the roster says a seat runs: the way back from every deploy."""

    version: str
    digest: str = ""


def _spec(seat: DeploySeat, wanted: Deployment | RosterVersion, *, green: bool) -> ContainerSpec:
    spec = seat.spec if isinstance(wanted, RosterVersion) else seat.spec.deployed(wanted)
    return spec.moved(seat.green) if green else spec


def _after(
    before: SeatDeploys, wanted: Deployment | RosterVersion, keep: int, *, green: bool
) -> SeatDeploys:
    """Say what a seat runs and could go back to, once ``wanted`` is live."""
    live = None if isinstance(wanted, RosterVersion) else replace(wanted, green=green)
    image = live.image if live else ""
    earlier = (before.live, *before.kept) if before.live else before.kept
    kept = tuple(item for item in earlier if item.image != image)[:keep]
    return replace(before, live=live, green=green, kept=kept)
