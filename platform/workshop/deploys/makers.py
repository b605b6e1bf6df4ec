"""What the pipeline works with: the engine's verbs, and the three ways an image comes to be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop import labels
from workshop.deploys.builds import build as builds
from workshop.deploys.diagnosis import evidence
from workshop.deploys.diagnosis.candidate import Superseded, await_ready
from workshop.deploys.diagnosis.findings import explain
from workshop.deploys.drain import Drainer
from workshop.deploys.failure import DeployFailed
from workshop.deploys.images import policy as image_policy
from workshop.deploys.images.fetch import Fetcher
from workshop.deploys.proof.visit import visit
from workshop.deploys.versions import server_full
from workshop.disk import is_full
from workshop.errors import BuildFailed, Conflict
from workshop.health import HttpProbe, identity_problem
from workshop.intake.orders import INSTRUCTOR, Finding, What
from workshop.intake.tokens import Signer
from workshop.labels import Role
from workshop.proxy.switch import GREEN, Switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.deploys.builds.steps import Steps
    from workshop.deploys.config import Config, DeploySeat
    from workshop.deploys.diagnosis.evidence import Remains
    from workshop.deploys.images.layers import Weight
    from workshop.deploys.images.store import ImageStore
    from workshop.engines.base import Engine
    from workshop.errors import WorkshopError
    from workshop.intake.orders import Order, Proof
    from workshop.specs import ContainerSpec

EDGE_SECONDS = 2.0
"""How long the edge may take to lead to a new version; it looks at every request."""
_PAUSE = 0.02


@dataclass(frozen=True)
class Made:
    """An image that is on this engine and may go live."""

    tag: str
    id: str
    digest: str = ""
    """As it was pushed; empty for one that was built here or was here."""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """What :meth:`Makers.make` is to make."""

    order: Order
    seat: DeploySeat
    config: Config
    number: int
    relay: str
    source: Path


@dataclass
class Makers:
    """The tools of one server."""

    engine: Engine
    store: ImageStore
    steps: Steps
    remains: Remains
    switch: Switch
    signer: Signer
    drainer: Drainer
    _weighed: dict[str, Weight] = field(default_factory=dict)

    @classmethod
    def on_docker(cls, home: Path, config: Config) -> Makers:
        """Work on this machine's Docker engine; the SDK is loaded only now."""
        from workshop.engines.docker import DockerEngine  # noqa: PLC0415
        from workshop.engines.remains import DockerRemains  # noqa: PLC0415
        from workshop.engines.steps import DockerSteps  # noqa: PLC0415
        from workshop.engines.store import DockerStore  # noqa: PLC0415

        engine = DockerEngine()
        return cls(
            engine=engine,
            store=DockerStore(),
            steps=DockerSteps(),
            remains=DockerRemains(config.base, _marks(config)),
            switch=Switch(home / "edge" / GREEN),
            signer=Signer.load(home / "intake"),
            drainer=Drainer(engine),
        )

    def make(self, task: Task, say: Callable[[str], None], stop: Callable[[], bool]) -> Made:
        """Make the image an order asks for.

        Args:
            task: the order and everything about it.
            say: hears each line of a build.
            stop: says when to give up.

        Raises:
            DeployFailed: it cannot be made, or may not go live.

        """
        if task.order.what is What.SOURCE:
            return self._build(task, say, stop)
        if task.order.what is What.PUSH:
            return self._fetch(task, say, stop)
        return self._take(task, say)

    def has(self, image: str) -> bool:
        """Whether an image is still on this engine."""
        return self.store.image(image) is not None

    def prove(
        self, spec: ContainerSpec, container: str, seconds: float, stop: Callable[[], bool]
    ) -> None:
        """Wait until a candidate answers as its seat should.

        Raises:
            DeployFailed: it will not, with the reason.
            Superseded: ``stop`` said so.

        """
        await_ready(spec, container, self.remains, seconds=seconds, stop=stop)

    def seen_through_edge(self, config: Config, spec: ContainerSpec) -> str | None:
        """Ask a seat's public address who answers; ``None`` when it is ``spec``."""
        probe, deadline = HttpProbe(), time.monotonic() + EDGE_SECONDS
        place = config.place(spec.key)
        while True:
            try:
                answer = asyncio.run(
                    probe.get(
                        config.edge_port,
                        f"{place.prefix}/whoami",
                        place.host,
                        config.edge_address,
                    )
                )
                problem = identity_problem(answer, spec.key, spec.version)
            except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
                problem = "the edge does not answer"
            if problem is None or time.monotonic() > deadline:
                return problem
            time.sleep(_PAUSE)

    def visit(self, config: Config, spec: ContainerSpec) -> Proof:
        """Look at an app the way its visitors do, for addresses that leave its prefix."""
        return visit(
            place=config.place(spec.key),
            edge=(config.edge_address, config.edge_port),
            address=spec.address or "",
            port=spec.port,
        )

    @staticmethod
    def why_not_started(spec: ContainerSpec, error: WorkshopError) -> Finding:
        """Put into words why the engine did not start a container."""
        if is_full(error.message):
            return server_full(error.message)
        return explain(replace(evidence.about(spec), refusal=error.message))

    def warm(self, config: Config, starter: Path, relay: str) -> None:
        """Build what the class starts from, for the sake of its steps.

        Raises:
            DeployFailed: it cannot be built.

        """
        job = self._job(config, starter, f"{config.owner.workshop}/starter:{starter.stem}", relay)
        builds.build(job, self.steps, lambda _line: None, lambda: False)

    def forget(self, config: Config, seat: str, kept: frozenset[str]) -> None:
        """Remove images of ``seat`` that nothing runs and nothing could go back to."""
        repository = f"{_repository(config, seat)}:"
        for image in self.engine.observe(config.owner.workshop).images:
            if image.tag.startswith(repository) and image.tag not in kept:
                # One that still drains is in use; it goes when the seat deploys the next time.
                with contextlib.suppress(Conflict):
                    self.store.untag(image.tag)
        builds.prune(self.steps, config.owner.workshop)

    def clear(self, config: Config) -> None:
        """Remove what a server that was killed left of builds."""
        self.steps.clear(_marks(config))

    # -- three ways -----------------------------------------------------------------------------

    def _build(self, task: Task, say: Callable[[str], None], stop: Callable[[], bool]) -> Made:
        config, order = task.config, task.order
        tag = self._tag(task, order.id.rpartition("-")[2])
        job = self._job(config, task.source, tag, task.relay)
        trusted = order.actor == INSTRUCTOR
        secrets = {key: Path(path) for key, path in config.secrets.items()} if trusted else {}
        job = replace(job, recipe=task.seat.recipe, secrets=secrets)
        try:
            built = builds.build(job, self.steps, say, stop)
        except DeployFailed as exc:
            if exc.finding.cause == "build-stopped":
                raise Superseded(exc.message) from exc
            raise
        facts = self.store.image(tag)
        if facts is None:
            raise BuildFailed(f"{tag} was built and is not there")
        accepted = image_policy.check(facts, self.store.platform(), config.options)
        return Made(tag, built.image, volumes=accepted.volumes)

    def _fetch(self, task: Task, say: Callable[[str], None], stop: Callable[[], bool]) -> Made:
        config, order = task.config, task.order
        fetcher = Fetcher(
            registry=config.registry,
            host=urlsplit(config.url).netloc,
            store=self.store,
            signer=self.signer,
            options=config.options,
            platform=self.store.platform(),
            weighed=self._weighed,
        )
        tag = self._tag(task, order.digest.removeprefix("sha256:")[:12])
        fetched = fetcher.fetch(order, tag, _final(config), say=say, stop=stop)
        return Made(tag, order.digest, fetched.digest, fetched.volumes)

    def _take(self, task: Task, say: Callable[[str], None]) -> Made:
        """Take an image of the instructor's choice: one that is here, or one to be pulled."""
        config, reference = task.config, task.order.image
        facts = self.store.image(reference)
        if facts is None:
            say(f"pulling {reference}")
            try:
                self.engine.fetch(reference)
            except BuildFailed as exc:
                raise DeployFailed(_cannot_pull(reference, exc)) from exc
            facts = self.store.image(reference)
        if facts is None:
            raise BuildFailed(f"{reference} was pulled and is not there")
        accepted = image_policy.check(facts, self.store.platform(), config.options, reference)
        short = facts.id.removeprefix("sha256:")[:12]
        tag = self._tag(task, short)
        self.store.adopt(reference, tag, _final(config))
        return Made(tag, facts.id, volumes=accepted.volumes)

    @staticmethod
    def _job(config: Config, source: Path, tag: str, relay: str) -> builds.BuildJob:
        return builds.BuildJob(
            source=source,
            tag=tag,
            labels=_final(config),
            marks=_marks(config),
            base=config.base,
            relay=relay,
            base_reference=config.base_reference,
            images=config.options.build.images,
            limits=config.options.build,
        )

    @staticmethod
    def _tag(task: Task, version: str) -> str:
        return f"{_repository(task.config, task.seat.spec.key)}:{task.number}-{version}"


def _repository(config: Config, seat: str) -> str:
    """Name the images of one seat; only this server makes such."""
    return f"{config.owner.workshop}/seat-{seat}"


def _marks(config: Config) -> dict[str, str]:
    """Mark what builds leave on the way, so that it is known as ours like every container."""
    return {**config.owner.labels(Role.BUILD), labels.CONFIG_HASH: Role.BUILD.value}


def _final(config: Config) -> dict[str, str]:
    """Mark a finished image; a container run from it by hand must not pass for ours."""
    return {**config.owner.labels(Role.APP), labels.CONFIG_HASH: ""}


def _cannot_pull(reference: str, error: BuildFailed) -> Finding:
    if is_full(error.message):
        return server_full(error.message)
    return Finding(
        cause="no-such-image",
        message=f"There is no image {reference} on this server, and it cannot be pulled.",
        evidence=(error.message[:400],),
        next="Check the name (`docker images` lists what is here), or push it somewhere reachable.",
    )
