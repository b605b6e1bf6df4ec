"""Building what a participant sent, without trusting it.

The platform carries a Dockerfile out itself: a walled-in container for each RUN, and an image of
what has become of it. The engine's own builders bound too little
(``ADD`` fetches from the server's network, FROM takes a neighbour's image, processes and disk are
not counted).
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop import labels
from workshop.deploys.builds import dockerfile, failure
from workshop.deploys.builds.files import Filler
from workshop.deploys.builds.plan import Group, Planner, StagePlan
from workshop.deploys.builds.source import BadSource, Source
from workshop.deploys.builds.steps import Call, End, Parent, Room, Steps, Watch
from workshop.deploys.options import BuildLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

PROXY = "http://127.0.0.1:3128"
"""Where a relay listens, in the network that it shares with the steps."""
KEPT_STEPS = 60
_SLACK_SECONDS = 30
_WHOLE_BUILD = 2
"""A build may write this many times what one of its steps may."""
_ROOT = "0:0"
_OFFICIAL = re.compile(r"^(?:[a-z0-9.-]+/)?library/")
"""What may stand before the name of an image that belongs to nobody in particular."""


@dataclass(frozen=True)
class BuildJob:
    """What is to be built, for whom, and within which bounds."""

    source: Path
    """An uncompressed tar archive of plain files."""
    tag: str
    labels: Mapping[str, str]
    """Of the finished image; they win over the Dockerfile's."""
    marks: Mapping[str, str]
    """Of containers and images on the way; the workshop's name is among them."""
    base: str
    """Tag of the class's base image on this engine."""
    relay: str = ""
    """The container whose network the steps share; empty for none at all."""
    dockerfile: str = "Dockerfile"
    recipe: str = ""
    """Text of the class's own Dockerfile, for a source that has none."""
    base_reference: str = "python:3.12-slim"
    """What FROM may say and have ``base`` instead."""
    images: tuple[str, ...] = ()
    """Other images of this engine that FROM may name."""
    limits: BuildLimits = field(default_factory=BuildLimits)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files on the engine's machine, for an instructor's own builds alone."""
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """Name of the images that steps leave for the next build.

        A tag and not a label finds them: an image that somebody pushed brings labels along, but
        no tag of this server's own.
        """
        return step_repository(self.marks[labels.NAME])


@dataclass(frozen=True)
class Built:
    """A finished image."""

    image: str
    tag: str
    cached: int
    """Groups of steps that an earlier build had done already."""
    groups: int
    seconds: float


def step_repository(workshop: str) -> str:
    """Name the repository of a workshop's step images."""
    return f"{workshop}/build-step"


def build(
    job: BuildJob, steps: Steps, say: Callable[[str], None], stop: Callable[[], bool]
) -> Built:
    """Build an image.

    Args:
        job: what.
        steps: the engine.
        say: told each step and each line it writes.
        stop: asked every moment whether to give up.

    Raises:
        DeployFailed: it could not be built; the finding says why.
        EngineError, EngineUnreachable: the engine would not; this is not the participant's fault.

    """
    began = time.monotonic()
    work = _Build(job, steps, say, stop, began + job.limits.seconds)
    try:
        with Source(job.source, job.dockerfile) as source:
            image = work.image(source)
    except BadSource as exc:
        raise failure.bad_source(str(exc)) from exc
    except dockerfile.Unreadable as exc:
        raise failure.unreadable(exc) from exc
    return Built(image, job.tag, work.cached, work.groups, time.monotonic() - began)


def prune(steps: Steps, workshop: str, keep: int = KEPT_STEPS) -> int:
    """Let go of the step images that were not of use for longest; returns how many."""
    return steps.prune(step_repository(workshop), keep)


@dataclass
class _Build:
    """One build under way."""

    job: BuildJob
    steps: Steps
    say: Callable[[str], None]
    stop: Callable[[], bool]
    deadline: float
    cached: int = 0
    groups: int = 0
    _written: int = 0
    _done: dict[int, str] = field(default_factory=dict)

    def image(self, source: Source) -> str:
        """Plan, do what no earlier build has done, and finish."""
        recipe = dockerfile.parse(self._text(source))
        given = {"BASE_IMAGE": self.job.base, **self.job.arguments}
        plans = Planner(recipe, source, self._parent, given).plan()
        last = plans[-1]
        self._refuse_secrets(plans)
        if not last.around.command and not last.around.entrypoint:
            raise failure.no_command()
        made = self._realise(plans, len(plans) - 1, source)
        return self._finish(made, last)

    def _text(self, source: Source) -> str:
        text = source.text(self.job.dockerfile)
        if text is None and not self.job.recipe:
            raise failure.no_dockerfile(self.job.dockerfile, source.nearest(self.job.dockerfile))
        if text is None:
            self.say(f"there is no {self.job.dockerfile}: building with the class's own")
        return self.job.recipe if text is None else text

    def _parent(self, line: int, reference: str) -> Parent:
        """Find what FROM names, if it may be named."""
        job, plain = self.job, _OFFICIAL.sub("", reference, count=1)
        allowed = tuple(dict.fromkeys((job.base_reference, *job.images)))
        if plain in {job.base, job.base_reference}:
            plain = job.base
        elif plain not in job.images:
            raise failure.base_image(line, reference, allowed, "which is not allowed here")
        found = self.steps.parent(plain)
        if found is None:
            raise failure.base_image(line, reference, allowed, "which this server does not have")
        return found

    def _refuse_secrets(self, plans: Iterable[StagePlan]) -> None:
        for group in (group for plan in plans for group in plan.groups):
            for secret in group.secrets:
                if secret.id not in self.job.secrets:
                    raise failure.no_secret(group.line, secret.id)

    # -- stages and groups --------------------------------------------------------------------

    def _realise(self, plans: list[StagePlan], number: int, source: Source) -> str:
        """Make the image of a stage, beginning after the last group that is there already."""
        if number in self._done:
            return self._done[number]
        plan = plans[number]
        image, begun = self._latest(plan)
        if not image:
            parent = plan.parent
            image = parent if isinstance(parent, str) else self._realise(plans, parent, source)
        for group in plan.groups[begun:]:
            origins: dict[int | str | None, str] = {
                placement.origin: self._realise(plans, placement.origin, source)
                for placement in group.placements
                if isinstance(placement.origin, int)
            }
            image = self._make(group, image, source, origins)
        self.groups += len(plan.groups)
        self._done[number] = image
        return image

    def _latest(self, plan: StagePlan) -> tuple[str, int]:
        for index in range(len(plan.groups) - 1, -1, -1):
            found = self.steps.kept(f"{self.job.repository}:{plan.groups[index].key}")
            if found:
                for group in plan.groups[: index + 1]:
                    self.say(f"{group.texts[-1]} (kept from an earlier build)")
                self.cached += index + 1
                return found, index + 1
        return "", 0

    def _make(
        self, group: Group, image: str, source: Source, origins: Mapping[int | str | None, str]
    ) -> str:
        """Do what a group says in a container of its own, and keep what has become of it."""
        for text in group.texts:
            self.say(text)
        # The process that keeps the container alive is root; the RUN itself is who it should be.
        with self._container(image, group.cwd, _ROOT, group.texts[-1], group) as container:
            Filler(self.steps, source, container, self._bounded, self._origin).fill(group, origins)
            if group.placements:
                self._count(container, group.placements[-1].line)
            if group.call:
                self._run(container, group, group.call)
            marks = {**self.job.marks, labels.STEP: group.key}
            return self.steps.commit(container, f"{self.job.repository}:{group.key}", marks)

    @contextlib.contextmanager
    def _container(
        self, image: str, cwd: str, user: str, note: str, group: Group | None = None
    ) -> Iterator[str]:
        job = self.job
        secrets = group.secrets if group else ()
        room = Room(
            image=image,
            cwd=cwd,
            user=user,
            note=note,
            limits=job.limits.limits,
            disk=job.limits.disk,
            network=f"container:{job.relay}" if job.relay and group and group.call else "none",
            seconds=job.limits.seconds + _SLACK_SECONDS,
            marks=job.marks,
            secrets=tuple((str(job.secrets[item.id]), item.target) for item in secrets),
        )
        self._check()
        container = self.steps.open(room)
        try:
            yield container
        finally:
            self.steps.discard(container)

    def _origin(self, image: str) -> contextlib.AbstractContextManager[str]:
        """Open another image, for a COPY from it."""
        return self._container(image, "/", _ROOT, "copied from")

    def _finish(self, image: str, plan: StagePlan) -> str:
        """Give the image its configuration, labels and name."""
        around = plan.around
        marks = {**around.labels, **self.job.labels}
        with self._container(image, around.cwd, around.user, "finished") as container:
            return self.steps.commit(container, self.job.tag, marks, around.config())

    # -- steps --------------------------------------------------------------------------------

    def _run(self, container: str, group: Group, call: Call) -> None:
        job = self.job
        proxy = {} if not job.relay else _surroundings()
        told = Call(call.command, tuple({**proxy, **dict(call.env)}.items()), call.cwd, call.user)
        watch = Watch(self.deadline, job.limits.disk, job.limits.limits.pids, self.say, self.stop)
        ended = self.steps.run(container, told, watch)
        if ended.end is not End.EXIT or ended.status:
            raise failure.step(group.line, group.texts[-1], ended, job.limits)
        self._count(container, group.line)

    # -- limits -------------------------------------------------------------------------------

    def _bounded(self, archive: Iterable[bytes]) -> Iterator[bytes]:
        sent = 0
        for chunk in archive:
            sent += len(chunk)
            if sent > self.job.limits.disk:
                raise failure.stopped(End.DISK, self.job.limits)
            self._check()
            yield chunk

    def _count(self, container: str, line: int) -> None:
        written, most = self.steps.written(container), self.job.limits.disk
        self._written += written
        if written > most or self._written > _WHOLE_BUILD * most:
            raise failure.stopped(End.DISK, self.job.limits, line)

    def _check(self) -> None:
        if self.stop():
            raise failure.stopped(End.STOPPED, self.job.limits)
        if time.monotonic() > self.deadline:
            raise failure.stopped(End.TIME, self.job.limits)


def _surroundings() -> dict[str, str]:
    """Set what a step sees and no image keeps: the way out, and pip without moving bars."""
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    proxies = {**dict.fromkeys(names, PROXY), "no_proxy": "", "NO_PROXY": ""}
    return {**proxies, "PIP_PROGRESS_BAR": "off"}
