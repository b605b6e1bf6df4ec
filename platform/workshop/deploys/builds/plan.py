"""What a build will do: a Dockerfile and a source turned into groups of steps, each with a name.

Neighbouring instructions that need no process share one container and one commit. A group's name
is a hash of everything it depends on, so equal steps of different participants are one image. All
of it is known before anything runs: a file that is not there is noticed at once.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workshop.deploys.builds import failure, words
from workshop.deploys.builds.dockerfile import Copy, Recipe, Run, Secret, Setting, Stage, Unreadable
from workshop.deploys.builds.steps import Call, Parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workshop.deploys.builds.source import Source

_GLOB = re.compile(r"[*?\[]")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_SIGNAL = re.compile(r"(?:SIG)?[A-Z]{2,10}[0-9]?|[0-9]{1,2}")
_LAST_PORT = 65535
_OWN_LABELS = "workshop."
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What Docker takes for granted where an image says nothing."""


@dataclass(frozen=True)
class Placement:
    """One COPY, its variables put in and its files found."""

    line: int
    sources: tuple[str, ...]
    target: str
    into: bool
    """Whether the target must be a directory; else it is asked what stands there."""
    owner: str
    mode: int
    origin: int | str | None
    """Number of a stage or id of an image; ``None`` is the source."""
    digest: str


@dataclass(frozen=True)
class Group:
    """What one container does before it becomes an image."""

    key: str
    texts: tuple[str, ...]
    cwd: str
    line: int = 0
    """Of the RUN."""
    placements: tuple[Placement, ...] = ()
    call: Call | None = None
    secrets: tuple[Secret, ...] = ()


@dataclass
class Surroundings:
    """What holds at one place of a Dockerfile."""

    env: dict[str, str]
    cwd: str
    user: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, dict[str, str]] = field(default_factory=dict)
    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    stop_signal: str = ""
    command_set: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """Values of everything a ``$NAME`` may mean here; ENV wins over ARG."""
        return {**self.arguments, **self.env}

    def config(self) -> dict[str, object]:
        """Build what the engine keeps beside an image's files."""
        return {
            "Env": [f"{key}={value}" for key, value in self.env.items()],
            "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint),
            "WorkingDir": self.cwd,
            "User": self.user,
            "ExposedPorts": self.ports,
            "Volumes": self.volumes,
            "Healthcheck": {"Test": ["NONE"]},
            **({"StopSignal": self.stop_signal} if self.stop_signal else {}),
        }


@dataclass
class StagePlan:
    """One stage: where it starts, its groups, and what holds at its end."""

    parent: int | str
    """Number of an earlier stage, or an image's id."""
    key: str
    around: Surroundings
    groups: list[Group] = field(default_factory=list)


@dataclass
class _Open:
    """A group in the making."""

    cwd: str = ""
    texts: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)


@dataclass
class Planner:
    """Turns stages into plans, in order."""

    recipe: Recipe
    source: Source
    image: Callable[[int, str], Parent]
    """Finds the image a FROM names in that line, or refuses it."""
    given: Mapping[str, str]
    """Build arguments."""
    plans: list[StagePlan] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _open: _Open = field(default_factory=_Open)

    def plan(self) -> list[StagePlan]:
        """Plan every stage.

        Raises:
            Unreadable: a line cannot be carried out.
            DeployFailed: a file is missing, or an image not allowed.

        """
        outer: dict[str, str] = dict(self.given)
        for argument in self.recipe.arguments:
            self._declare(argument, outer, outer, outer)
        for number, stage in enumerate(self.recipe.stages):
            plan = self._begin(stage, outer)
            self._open = _Open()
            for step in stage.steps:
                self._take(plan, step, outer)
            self._close(plan)
            self.plans.append(plan)
            self._names.update({name: number for name in (stage.name, str(number)) if name})
        return self.plans

    def _begin(self, stage: Stage, outer: Mapping[str, str]) -> StagePlan:
        reference = self._expand(stage.line, stage.reference, outer)
        if reference.lower() in self._names and not reference.isdecimal():
            number = self._names[reference.lower()]
            before = self.plans[number]
            around = replace(before.around, arguments={}, command_set=False)
            copied = Surroundings(**{**vars(around), "env": dict(around.env)})
            return StagePlan(number, before.key, copied)
        found = self.image(stage.line, reference)
        around = Surroundings(
            {"PATH": _PATH, **dict(found.env)},
            found.cwd,
            found.user,
            found.command,
            found.entrypoint,
        )
        return StagePlan(found.id, found.id, around)

    # -- steps --------------------------------------------------------------------------------

    def _take(self, plan: StagePlan, step: Run | Copy | Setting, outer: Mapping[str, str]) -> None:
        if isinstance(step, Copy):
            self._note(plan, step)
            self._open.placements.append(self._placement(plan, step))
        elif isinstance(step, Run):
            self._note(plan, step)
            self._close(plan, step)
        elif step.keyword == "WORKDIR":
            self._move(plan, step)
        else:
            self._set(plan.around, step, outer)

    def _note(self, plan: StagePlan, step: Run | Copy) -> None:
        self._open.texts.append(step.text)
        self._open.cwd = plan.around.cwd

    def _move(self, plan: StagePlan, step: Setting) -> None:
        place = self._expand(step.line, step.rest, plan.around.variables)
        cwd = posixpath.normpath(posixpath.join("/", plan.around.cwd, place))
        if cwd == plan.around.cwd:
            return
        # A container makes one directory, when it is created; so an earlier one is for another.
        self._close(plan)
        plan.around.cwd = cwd
        self._open = _Open(cwd, [step.text])

    def _close(self, plan: StagePlan, run: Run | None = None) -> None:
        """End the group, with ``run`` as its last step."""
        made, around = self._open, plan.around
        self._open = _Open()
        if not made.texts:
            return
        call = _call(run, around) if run else None
        secrets = run.secrets if run else ()
        facts = [
            plan.key,
            made.cwd,
            [_facts(item) for item in made.placements],
            [call.command, sorted(call.env), call.cwd, call.user] if call else None,
            [[secret.id, secret.target] for secret in secrets],
        ]
        plan.key = _hash(facts)
        plan.groups.append(
            Group(
                key=plan.key,
                line=run.line if run else 0,
                texts=tuple(made.texts),
                cwd=made.cwd,
                placements=tuple(made.placements),
                call=call,
                secrets=secrets,
            )
        )

    # -- copies -------------------------------------------------------------------------------

    def _placement(self, plan: StagePlan, step: Copy) -> Placement:
        variables = plan.around.variables
        said = [self._expand(step.line, word, variables) for word in (*step.sources, step.target)]
        sources, target = said[:-1], said[-1]
        into = target.endswith(("/", "/.")) or target in {".", ""}
        path = posixpath.normpath(posixpath.join("/", plan.around.cwd, target))
        placement = Placement(
            line=step.line,
            sources=tuple(sources),
            target=path,
            into=into,
            owner=self._expand(step.line, step.owner, variables),
            mode=int(step.mode or "0", 8),
            origin=None,
            digest="",
        )
        if step.origin:
            return self._from_stage(step, placement)
        return self._from_source(step, placement)

    def _from_source(self, step: Copy, placement: Placement) -> Placement:
        found: list[str] = []
        for pattern in placement.sources:
            names = self.source.find(pattern)
            if not names:
                raise failure.no_such_file(
                    step.line,
                    step.text,
                    pattern,
                    nearest=self.source.nearest(pattern),
                    ignored=self.source.is_ignored(pattern),
                )
            found += names
        if len(found) > 1 and not placement.into:
            raise Unreadable(
                step.line,
                f"{len(found)} things are to be copied into {placement.target}",
                f"end the target with a slash: {placement.target}/",
            )
        for name in found:
            if step.add and not self.source.is_directory(name) and self.source.is_archive(name):
                raise Unreadable(
                    step.line,
                    f"ADD would unpack {name}",
                    "unpack it and COPY the directory, or COPY the archive as it is",
                )
        entries = [
            entry
            for name in found
            for entry in (
                self.source.below(name, "")
                if self.source.is_directory(name)
                else [self.source.file(name, posixpath.basename(name))]
            )
        ]
        return replace(placement, sources=tuple(found), digest=self.source.digest(entries))

    def _from_stage(self, step: Copy, placement: Placement) -> Placement:
        if any(_GLOB.search(name) for name in placement.sources):
            raise Unreadable(
                step.line,
                "COPY --from takes no * here",
                "name each file, or copy the directory it is in",
            )
        if len(placement.sources) > 1 and not placement.into:
            raise Unreadable(
                step.line,
                f"several things are to be copied into {placement.target}",
                f"end the target with a slash: {placement.target}/",
            )
        number = self._names.get(step.origin.lower())
        if number is None:
            origin: int | str = self.image(step.line, step.origin).id
            key = str(origin)
        else:
            origin, key = number, self.plans[number].key
        return replace(placement, origin=origin, digest=_hash([key, placement.sources]))

    # -- settings -----------------------------------------------------------------------------

    def _set(self, around: Surroundings, step: Setting, outer: Mapping[str, str]) -> None:
        if step.keyword == "ARG":
            self._declare(step, around.arguments, around.variables, outer)
        elif step.keyword in {"ENV", "LABEL"}:
            self._pairs(around, step)
        elif step.keyword in {"CMD", "ENTRYPOINT", "SHELL"}:
            _commands(around, step)
        elif step.keyword == "USER":
            around.user = self._expand(step.line, step.rest, around.variables)
        elif step.keyword == "STOPSIGNAL":
            around.stop_signal = self._expand(step.line, step.rest, around.variables)
            if not _SIGNAL.fullmatch(around.stop_signal):
                raise Unreadable(step.line, "this is no signal", "write STOPSIGNAL SIGTERM")
        else:
            self._listed(around, step)

    def _declare(
        self,
        step: Setting,
        into: dict[str, str],
        variables: Mapping[str, str],
        outer: Mapping[str, str],
    ) -> None:
        """Give an ARG its value: what was given, else its own default, else that above FROM."""
        for word in words.split(step.rest, self.recipe.escape):
            name, equals, default = word.partition("=")
            if name in self.given:
                into[name] = self.given[name]
            elif equals:
                into[name] = self._expand(step.line, default, {**outer, **variables})
            elif name in outer:
                into[name] = outer[name]

    def _pairs(self, around: Surroundings, step: Setting) -> None:
        # All values of one line see the variables as they were before it.
        variables = around.variables
        for name, value in words.pairs(step.rest, self.recipe.escape):
            key = self._expand(step.line, name, variables)
            text = self._expand(step.line, value, variables)
            if step.keyword == "ENV" and not _VARIABLE.fullmatch(key):
                raise Unreadable(step.line, f"{key[:40]!a} is no name", "write ENV NAME=value")
            if step.keyword == "ENV":
                around.env[key] = text
            elif not key.startswith(_OWN_LABELS):
                around.labels = {**around.labels, key: text}

    def _listed(self, around: Surroundings, step: Setting) -> None:
        listed = words.json_list(step.rest) or words.split(step.rest, self.recipe.escape)
        items = [self._expand(step.line, word, around.variables) for word in listed]
        if step.keyword == "VOLUME":
            if not all(item.startswith("/") for item in items):
                raise Unreadable(
                    step.line, "VOLUME takes paths from the root", "write VOLUME /data"
                )
            around.volumes = {**around.volumes, **{item: {} for item in items}}
            return
        for item in items:
            port = _PORT.fullmatch(item)
            if port is None or not 0 < int(port[1]) <= _LAST_PORT:
                raise Unreadable(step.line, f"{item[:40]!a} is no port", "write EXPOSE 8000")
            around.ports = {**around.ports, f"{port[1]}/{port[2] or 'tcp'}": {}}

    def _expand(self, line: int, word: str, variables: Mapping[str, str]) -> str:
        try:
            return words.expand(word, variables, self.recipe.escape)
        except ValueError as exc:
            raise Unreadable(line, str(exc), "mend the quotes and variables of this line") from exc


def _commands(around: Surroundings, step: Setting) -> None:
    said = words.json_list(step.rest)
    command = (*around.shell, step.rest) if said is None else said
    if step.keyword == "SHELL":
        around.shell = command
    elif step.keyword == "CMD":
        around.command, around.command_set = command, True
    else:
        around.entrypoint = command
        # The base image's own command was meant for the base image's entry point.
        around.command = around.command if around.command_set else ()


def _call(run: Run, around: Surroundings) -> Call:
    shell = isinstance(run.command, str)
    command = (*around.shell, str(run.command)) if shell else tuple(run.command)
    return Call(command, tuple(around.variables.items()), around.cwd, around.user)


def _facts(item: Placement) -> list[object]:
    return [item.target, item.into, item.owner, item.mode, item.digest]


def _hash(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]
