"""Carry a plan out: many steps at a time, each after those it needs, and nothing decided here.

Engine calls run on a bounded pool of threads; the engine is the bottleneck, so more would only
lengthen each call. Waiting for seats to answer runs on one event loop beside it and holds no
worker. One failing step skips those that need it and stops nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from workshop import base_image, disk
from workshop.errors import (
    EngineError,
    EngineSilent,
    EngineUnreachable,
    NotReady,
    WorkshopError,
)
from workshop.events import Outcome, PlanMade, StepEnded, StepProgress, StepStarted
from workshop.health import identity_problem
from workshop.labels import Role
from workshop.observed import State
from workshop.plan import SWITCHES, Action, Kind, Plan, Step
from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from workshop.deploys.stage import DeployFiles
    from workshop.desired import Desired
    from workshop.engines.base import Engine
    from workshop.events import Emit
    from workshop.health import Probe
    from workshop.llm.publish import GatewayPublisher
    from workshop.proxy.publish import Publisher
    from workshop.routing import Place
    from workshop.settings import Settings

LOOK_SECONDS = 1.0
"""How often the engine is asked whether a seat that does not answer yet is still alive."""
CRASH_LINES = 5
_LAST_CHARACTERS = 300
_IDENTITY_SECONDS = 10.0
_IDENTITY_PAUSE = 0.05


PAST = {
    Action.CREATE: "created",
    Action.REPLACE: "replaced",
    Action.START: "started",
    Action.RESUME: "resumed",
    Action.RESTART: "restarted",
    Action.STOP: "stopped",
    Action.REMOVE: "removed",
}


@dataclass
class Report:
    """How every step ended. ``failed`` maps the name of a seat or part to the reason."""

    plan: Plan
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """Count the seats by how they ended."""
        seats = [step for step in self.plan.steps if step.kind is Kind.SEAT]
        done = Counter(
            step.action for step in seats if self.outcomes.get(step.number) is Outcome.DONE
        )
        parts = [f"{count} {PAST[action]}" for action, count in sorted(done.items())]
        parts += [f"{len(self.plan.unchanged)} unchanged"]
        return ", ".join([*parts, f"{len(self.failed)} failed"] if self.failed else parts)

    @property
    def ok(self) -> bool:
        """Whether everything was done."""
        return not self.failed and all(end is Outcome.DONE for end in self.outcomes.values())


class Door(Protocol):
    """Where the edge is asked, as far as the proof needs to know."""

    @property
    def asked_at(self) -> tuple[str, int]:
        """Address and port in plain HTTP."""
        ...

    def place(self, name: str) -> Place:
        """Say where visitors find a seat."""
        ...


@dataclass(frozen=True)
class Pace:
    """How fast an apply goes where no settings of this machine are at hand."""

    workers: int
    ready_seconds: float


@dataclass(frozen=True)
class Publishers:
    """Who tells the platform's own parts what changed."""

    edge: Publisher
    gateway: GatewayPublisher
    deploys: DeployFiles


@dataclass(frozen=True)
class Tools:
    """What an apply works with; tests bring a memory engine and a probe of their own.

    The control process has no publishers: it moves seats, and nothing else.
    """

    engine: Engine
    probe: Probe
    publishers: Publishers | None
    settings: Settings | Pace
    emit: Emit
    door: Door | None = None
    """Where the edge is asked; ``None``: where the plan's own edge is."""


def apply(plan: Plan, desired: Desired, tools: Tools) -> Report:
    """Carry ``plan`` out.

    Args:
        plan: what to do.
        desired: what the plan leads to; the identity check covers all its seats.
        tools: engine, probe, publisher, settings and the listener.

    Raises:
        KeyboardInterrupt: after the engine calls under way have ended; a further apply converges.
        EngineUnreachable: the engine went away; what had not begun was not tried.

    """
    return _Run(plan, desired, tools).run()


class _Run:
    """One apply. The calling thread schedules; workers and the event loop report to its queue."""

    def __init__(self, plan: Plan, desired: Desired, tools: Tools) -> None:
        self.plan = plan
        self.desired = desired
        self.tools = tools
        self.report = Report(plan)
        self._ended: queue.SimpleQueue[tuple[Step, BaseException | None]] = queue.SimpleQueue()
        self._started: dict[int, float] = {}
        self._edge: str | None = None
        self._waiting: dict[str, tuple[Step, asyncio.Task[None]]] = {}
        self._looking: asyncio.Future[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._gone: EngineUnreachable | None = None
        self._heard = 0.0

    # -- scheduling ---------------------------------------------------------------------------

    def run(self) -> Report:
        begun = time.monotonic()
        self.tools.emit(PlanMade(self.plan))
        thread = threading.Thread(target=self._loop.run_forever, name="readiness", daemon=True)
        thread.start()
        pool = ThreadPoolExecutor(self.tools.settings.workers, thread_name_prefix="engine")
        try:
            self._schedule(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._loop.call_soon_threadsafe(self._stop_waiting)
            thread.join()
            self._loop.close()
        self.report.seconds = time.monotonic() - begun
        if self._gone is not None:
            raise self._gone
        return self.report

    def _schedule(self, pool: ThreadPoolExecutor) -> None:
        pending = {step.number: step for step in self.plan.steps}
        under_way = 0
        while pending or under_way:
            for step in self._next(pending):
                del pending[step.number]
                pool.submit(self._work, step)
                under_way += 1
            if not under_way:
                continue
            step, failure = self._ended.get()
            under_way -= 1
            self._end(step, failure)

    def _next(self, pending: dict[int, Step]) -> list[Step]:
        """Pick what may start now; what can never start any more is skipped on the way."""
        outcomes = self.report.outcomes
        ready = []
        if self._gone is not None:
            for step in pending.values():
                self._finish(step, Outcome.SKIPPED, "the engine went away")
            pending.clear()
        for step in list(pending.values()):
            broken = [
                number
                for number in step.needs
                if outcomes.get(number, Outcome.DONE) != Outcome.DONE
            ]
            if broken:
                del pending[step.number]
                self._skip(step, broken[0])
            elif all(number in outcomes for number in (*step.needs, *step.after)):
                ready.append(step)
        return ready

    def _skip(self, step: Step, broken: int) -> None:
        other = self.plan.steps[broken - 1]
        detail = f"{other.kind} {other.name} failed"
        self._finish(step, Outcome.SKIPPED, detail)

    def _end(self, step: Step, failure: BaseException | None) -> None:
        if failure is None:
            self._finish(step, Outcome.DONE, "")
        elif isinstance(failure, WorkshopError):
            detail = f"{failure.message} ({failure.hint})" if failure.hint else failure.message
            self._finish(step, Outcome.FAILED, detail)
            if self._gone is not None:
                self._loop.call_soon_threadsafe(self._stop_asking)
        else:
            raise failure

    def _lives(self, step: Step, failure: EngineUnreachable) -> bool:
        """Say whether the engine lately did something else while it left this step waiting."""
        now = time.monotonic()
        half = (self._started.get(step.number, now) + now) / 2
        return isinstance(failure, EngineSilent) and self._heard > half

    def _finish(self, step: Step, outcome: Outcome, detail: str) -> None:
        self.report.outcomes[step.number] = outcome
        if outcome is not Outcome.DONE:
            self.report.failed.setdefault(step.name, detail)
        now = time.monotonic()
        seconds = now - self._started.get(step.number, now)
        self.tools.emit(StepEnded(step, outcome, detail, seconds))

    # -- one step, on a worker ----------------------------------------------------------------

    def _work(self, step: Step) -> None:
        if self._gone is not None:
            self._ended.put((step, self._gone))
            return
        self._started[step.number] = time.monotonic()
        self.tools.emit(StepStarted(step))
        try:
            follow_up = self._perform(step)
        except BaseException as exc:  # noqa: BLE001 - the scheduling thread decides what it means
            if isinstance(exc, EngineError) and disk.is_full(exc.message):
                exc.hint = disk.engine_hint(self._root())
            if isinstance(exc, EngineUnreachable) and not self._lives(step, exc):
                # Each further call would wait as long as this one did.
                self._gone = self._gone or exc
            self._ended.put((step, exc))
            return
        self._heard = time.monotonic()
        if follow_up is None:
            self._ended.put((step, None))
        else:
            waiting = asyncio.run_coroutine_threadsafe(follow_up, self._loop)
            waiting.add_done_callback(lambda done: self._ended.put((step, _failure_of(done))))

    def _root(self) -> str:
        try:
            return self.tools.engine.info().root
        except WorkshopError:
            return ""

    def _perform(self, step: Step) -> Coroutine[None, None, None] | None:
        """Do the step's engine calls; what remains to be waited for is returned."""
        engine, target = self.tools.engine, step.target
        if step.action is Action.VERIFY:
            return self._verify(step)
        if step.kind is Kind.WALL and isinstance(target, ContainerSpec):
            self._once(target)
        elif step.action is Action.PUBLISH:
            self._publish(step)
        elif step.action is Action.REMOVE:
            self._remove(step)
        elif isinstance(target, ImageSpec):
            self._image(step, target)
        elif isinstance(target, NetworkSpec):
            engine.create_network(target, self.desired.owner)
        elif isinstance(target, ContainerSpec):
            return self._container(step, target)
        return None

    def _container(self, step: Step, spec: ContainerSpec) -> Coroutine[None, None, None] | None:
        engine = self.tools.engine
        if step.action is Action.STOP:
            for old in step.old:
                engine.stop(old)
            return None
        if step.action is Action.RESTART:
            container = step.old[0]
            engine.restart(container)
        elif step.action in {Action.START, Action.RESUME}:
            container = self._start(step.old[0], spec)
        else:
            for old in step.old:
                engine.remove(old)
            container = engine.create(spec, self.desired.owner)
            engine.start(container)
        if spec.role is Role.EDGE:
            self._edge = container
        if spec.role is Role.EDGE or not spec.port:
            return None
        self.tools.emit(StepProgress(step, "started"))
        return self._ready(step, spec, container)

    def _once(self, spec: ContainerSpec) -> None:
        """Run what does one thing, and require that it did."""
        status, output = self.tools.engine.once(spec, self.desired.owner)
        if status:
            said = output.strip()[-_LAST_CHARACTERS:] or f"status {status}"
            raise EngineError(
                f"the firewall rules cannot be set: {said}",
                hint="seats do not start without them; the kernel needs xt_conntrack, xt_iprange, "
                "xt_multiport, xt_connlimit and ipt_REJECT",
            )

    def _start(self, container: str, spec: ContainerSpec) -> str:
        """Start what stands there; put a fresh one in its place where the engine cannot.

        An engine that was killed while it started a container refuses it for ever after
        (https://github.com/moby/moby/issues/40613).
        """
        engine = self.tools.engine
        try:
            engine.start(container)
        except EngineError:
            engine.remove(container)
            container = engine.create(spec, self.desired.owner)
            engine.start(container)
        return container

    def _image(self, step: Step, spec: ImageSpec) -> None:
        settings = self.tools.settings
        if spec.role is Role.BASE:
            if isinstance(settings, Pace):
                raise EngineError("the base image is gone", hint="`workshop provision` makes it")
            base_image.provide(
                self.tools.engine,
                spec.tag,
                settings,
                lambda text: self.tools.emit(StepProgress(step, text)),
            )
        elif spec.context is None:
            self.tools.engine.fetch(spec.tag)
        else:
            self.tools.engine.build(spec, self.desired.owner.labels(spec.role))

    def _remove(self, step: Step) -> None:
        for old in step.old:
            if step.kind is Kind.IMAGE:
                self.tools.engine.remove_image(old)
            elif step.kind is Kind.NETWORK:
                self.tools.engine.remove_network(old)
            else:
                self.tools.engine.remove(old)

    def _publish(self, step: Step) -> None:
        publishers = self.tools.publishers
        if publishers is None:
            raise EngineError(f"the {step.name} is not told from here", hint="`workshop provision`")
        with disk.writing(publishers.edge.directory):
            self._take_over(step, publishers)

    def _take_over(self, step: Step, publishers: Publishers) -> None:
        if step.kind is Kind.KEYS:
            self._tell(step.name, publishers)
        elif step.name == SWITCHES:
            publishers.edge.switch.settle(self.desired.greens)
        else:
            self._publish_routes(publishers.edge)

    def _tell(self, part: str, publishers: Publishers) -> None:
        """Let a part take over what changed; the server of deploys reads it with every order."""
        if part == Role.GATEWAY.value:
            self._tell_gateway(publishers.gateway)
            return
        for role, wanted in (
            (Role.INTAKE, self.desired.intake),
            (Role.BOARD, self.desired.board),
        ):
            spec = self.desired.part(role)
            if part == role.value and spec is not None and wanted is not None:
                publishers.deploys.publish(wanted, spec)

    def _tell_gateway(self, publisher: GatewayPublisher) -> None:
        gateway = self.desired.part(Role.GATEWAY)
        if gateway is None or self.desired.gateway is None:
            raise EngineError("the gateway is not wanted", hint="`workshop plan` shows what is")
        publisher.publish(self.desired.gateway, gateway.answers_at, gateway.port)

    def _publish_routes(self, publisher: Publisher) -> None:
        fingerprint = self.desired.edge_config
        edge = self._edge or self._running_edge()
        if fingerprint is None or edge is None:
            raise EngineError("the edge is not running", hint="`workshop provision` starts it")
        publisher.publish(self.tools.engine, edge, fingerprint)

    def _running_edge(self) -> str | None:
        seen = self.tools.engine.observe(self.desired.owner.workshop)
        return next((item.id for item in seen.containers if item.role is Role.EDGE), None)

    # -- waiting, on the event loop -----------------------------------------------------------

    async def _ready(self, step: Step, spec: ContainerSpec, container: str) -> None:
        """Wait until the seat answers; end early, with its last words, when it dies instead."""
        seconds = self.tools.settings.ready_seconds
        asking = asyncio.ensure_future(self.tools.probe.ready(spec.answers_at, spec.port, seconds))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        self._waiting[container] = (step, asking)
        try:
            await asking
        except asyncio.CancelledError:
            raise NotReady(await asyncio.to_thread(self._last_words, container)) from None
        finally:
            del self._waiting[container]

    async def _look(self) -> None:
        """Once a second, one list call for all seats waited for; give up on those that crash."""
        struck: set[str] = set()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._waiting:
                return
            # Whoever starts while the engine answers may be listed as it was before.
            watched = frozenset(self._waiting)
            try:
                seen = await asyncio.to_thread(
                    self.tools.engine.observe, self.desired.owner.workshop
                )
            except WorkshopError:
                continue
            for item in seen.containers:
                if item.state is State.RUNNING or item.id not in watched & self._waiting.keys():
                    continue
                if item.id in struck or item.state is State.EXITED:
                    self._waiting[item.id][1].cancel()
                struck.add(item.id)

    def _stop_asking(self) -> None:
        for _, asking in self._waiting.values():
            asking.cancel()

    def _last_words(self, container: str) -> str:
        if self._gone is not None:
            return "the engine went away before it answered"
        try:
            lines = [
                line for line in self.tools.engine.logs(container, tail=CRASH_LINES) if line.strip()
            ]
        except WorkshopError:
            lines = []
        return f"exits at once: {lines[-1].strip()}" if lines else "exits at once, without a word"

    async def _verify(self, step: Step) -> None:
        """Ask the seats it is about, through the edge, who they are; some seconds each."""
        unfit = {*self.report.failed, *self.plan.held}
        asked = self.plan.about or {seat.key for seat in self.desired.seats}
        seats = [seat for seat in self.desired.seats if seat.key in asked and seat.key not in unfit]
        problems = await asyncio.gather(*(self._identity(seat) for seat in seats))
        for seat, problem in zip(seats, problems, strict=True):
            if problem is not None:
                self.report.failed[seat.key] = problem
        wrong = [seat.key for seat, problem in zip(seats, problems, strict=True) if problem]
        if wrong:
            raise NotReady(f"not what their name says: {', '.join(wrong)}")
        whose = "1 seat answers under its own name"
        if len(seats) != 1:
            whose = f"{len(seats)} seats answer under their own names"
        self.tools.emit(StepProgress(step, whose))

    async def _identity(self, seat: ContainerSpec) -> str | None:
        door = self.tools.door or self.desired.edge
        if door is None:
            return None
        place, (address, port) = door.place(seat.key), door.asked_at
        waits = self.plan.unproven and seat.key in self.plan.unchanged
        seconds = self.tools.settings.ready_seconds if waits else _IDENTITY_SECONDS
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = await self.tools.probe.get(
                    port, f"{place.prefix}/whoami", place.host, address
                )
                problem = identity_problem(answer, seat.key, seat.version)
            except (OSError, EOFError, TimeoutError, ValueError):
                problem = "the edge does not answer"
            if problem is None or time.monotonic() > deadline:
                return problem
            await asyncio.sleep(_IDENTITY_PAUSE)

    def _stop_waiting(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)


def _failure_of(done: Future[None]) -> BaseException | None:
    return None if done.cancelled() else done.exception()
