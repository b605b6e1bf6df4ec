"""The difference between what should be and what is, as steps with causes.

``make_plan`` is pure: it compares two pieces of frozen data and returns steps. ``str(plan)`` is
stable text; it is what ``workshop plan`` prints and what the tests compare. Carrying steps out
is ``apply``'s work, and ``apply`` decides nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop.labels import Role
from workshop.observed import ALTERED, State
from workshop.parts.wall import setter
from workshop.specs import NO_NETWORK
from workshop.subnets import bridge_prefix
from workshop.wall.rules import difference

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from workshop.desired import Desired
    from workshop.observed import Observed, ObservedContainer
    from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec

NOTHING = "nothing"
FIREWALL = "firewall"
"""Name of the step that sets the rules around seats."""
SWITCHES = "switches"
"""Name of the step that settles which of its two addresses each route leads to."""
RUNNING_STATE = "conversations in memory and /tmp"
"""What a seat can lose: its root is read-only and the rest lives in the roster or an image."""
_AT_REST = frozenset({State.CREATED, State.EXITED, State.REMOVING, State.DEAD})
"""States of containers that are not started by themselves any more."""


class Kind(StrEnum):
    """What a step is about."""

    IMAGE = "image"
    NETWORK = "network"
    SEAT = "seat"
    EDGE = "edge"
    GATEWAY = "gateway"
    EMBEDDED = "embedded"
    REGISTRY = "registry"
    INTAKE = "intake"
    BOARD = "board"
    SERVE = "serve"
    EGRESS = "egress"
    RELAY = "relay"
    OUTBOUND = "outbound"
    WALL = "wall"
    ROUTES = "routes"
    KEYS = "keys"


class Action(StrEnum):
    """What a step does."""

    FETCH = "fetch"
    BUILD = "build"
    CREATE = "create"
    REPLACE = "replace"
    START = "start"
    RESUME = "resume"
    RESTART = "restart"
    STOP = "stop"
    PUBLISH = "publish"
    VERIFY = "verify"
    REMOVE = "remove"


@dataclass(frozen=True)
class Step:
    """One thing to do.

    ``needs`` are numbers of steps that must have succeeded, ``after`` of steps that must merely
    be over. ``old`` are the engine's ids of what is removed.
    """

    number: int
    kind: Kind
    name: str
    action: Action
    cause: str
    loses: str = NOTHING
    needs: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    target: ImageSpec | NetworkSpec | ContainerSpec | None = None
    old: tuple[str, ...] = ()

    def __str__(self) -> str:
        before = sorted((*self.needs, *self.after))
        text = f"[{_ranges(before)}] -> " if before else ""
        loses = "" if self.loses == NOTHING else f" (loses {self.loses})"
        return f"{text}#{self.number} {self.kind} {self.name}: {self.action}, {self.cause}{loses}"


@dataclass(frozen=True)
class Plan:
    """Steps in an order that respects their own, and what is left as it is."""

    workshop: str
    steps: tuple[Step, ...] = ()
    unchanged: tuple[str, ...] = ()
    """Participants whose seats stay untouched."""
    warnings: tuple[str, ...] = ()
    unproven: bool = False
    """Whether an earlier command ended before the seats that stay were proved right."""
    about: tuple[str, ...] = ()
    """Participants whose seats alone the plan is about, its proof included; empty: everybody."""
    held: tuple[str, ...] = ()
    """Participants whose seats are stopped and to stay so; nobody asks them anything."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def summary(self) -> str:
        """Count the seats by what happens to them."""
        counts = Counter(step.action for step in self.steps if step.kind is Kind.SEAT)
        parts = [f"{count} to {action}" for action, count in sorted(counts.items())]
        return ", ".join([*parts, f"{len(self.unchanged)} unchanged"])

    def __str__(self) -> str:
        head = f"{self.workshop}: {self.summary}"
        lines = [head, *(f"  {step}" for step in self.steps)]
        lines += [f"  held: {', '.join(self.held)}"] if self.held else []
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def make_plan(
    desired: Desired,
    observed: Observed,
    *,
    prune: frozenset[str] | None = None,
    unproven: bool = False,
    held: Collection[str] = frozenset(),
) -> Plan:
    """Compare and return the steps that make ``observed`` equal ``desired``.

    Args:
        desired: what the files say.
        observed: one snapshot of the engine.
        prune: participants whose seats may be removed when the roster no longer names them;
            ``None`` allows all. Others stay, with a warning.
        unproven: whether the last command ended before its proof; then even a plan without
            changes asks every seat who it is.
        held: participants whose seats stay stopped, whatever else is wrong with them.

    """
    return _Planner(desired, observed, prune, held).plan(unproven=unproven)


def make_teardown(desired: Desired, observed: Observed, *, keep_images: bool = False) -> Plan:
    """Return the steps that remove everything of the workshop ``desired`` names."""
    planner = _Planner(desired, observed, None)
    planner.remove_everything(keep_images=keep_images)
    return Plan(desired.owner.workshop, tuple(planner.steps))


def make_restart(
    desired: Desired,
    observed: Observed,
    names: Sequence[str],
    *,
    fresh: bool,
    held: Collection[str] = frozenset(),
) -> Plan:
    """Return the steps that restart some seats, or put fresh containers in their place.

    Seats that do not exist or are not as the roster says are brought there instead. The proof asks
    these seats alone: what others do must not fail them.
    """
    planner = _Planner(desired, observed, frozenset(), held, names)
    return planner.again(Action.REPLACE if fresh else Action.RESTART)


def make_start(
    desired: Desired,
    observed: Observed,
    names: Sequence[str],
    *,
    held: Collection[str] = frozenset(),
) -> Plan:
    """Return the steps that bring some seats up; those that run as they should stay as they are."""
    return _Planner(desired, observed, frozenset(), held, names).again(Action.START)


def make_stop(
    desired: Desired,
    observed: Observed,
    names: Sequence[str],
    *,
    held: Collection[str] = frozenset(),
) -> Plan:
    """Return the steps that stop some seats; what else is wrong with the class stays as it is."""
    return _Planner(desired, observed, frozenset(), held, names).stop()


class _Planner:
    """Collects steps; each method handles one kind of object, in the order of the story."""

    def __init__(
        self,
        desired: Desired,
        observed: Observed,
        prune: frozenset[str] | None,
        held: Collection[str] = frozenset(),
        about: Collection[str] = (),
    ) -> None:
        seats = [spec.key for spec in desired.seats]
        self.unproven = False
        self.held = tuple(name for name in seats if name in held)
        self.about = tuple(name for name in seats if name in about)
        self.desired = desired
        self.observed = observed
        self.prune = prune
        self.steps: list[Step] = []
        self.unchanged: list[str] = []
        self.warnings: list[str] = []
        self._images: dict[str, int] = {}
        self._networks: dict[str, int] = {}
        self._misplaced: set[str] = set()
        self._freed: list[int] = []
        self._walled: list[int] = []

    def plan(self, *, unproven: bool) -> Plan:
        self.unproven = unproven
        self._free_addresses()
        self._wall()
        steps = self._parts()
        self._configure(steps)
        planned = [
            self._hold(spec, "held, but it runs")
            if spec.key in self.held
            else self._container(spec)
            for spec in self.desired.seats
        ]
        seat_steps = [step for step in planned if step is not None]
        edge_steps = steps.get(Role.EDGE, [])
        published = self._publish(edge_steps)
        self._strays(published)
        self._verify(needs=[*edge_steps, *published], after=seat_steps)
        return self._made()

    def _made(self) -> Plan:
        return Plan(
            self.desired.owner.workshop,
            tuple(self.steps),
            tuple(self.unchanged),
            tuple(self.warnings),
            self.unproven,
            self.about,
            self.held,
        )

    def _parts(self) -> dict[Role, list[int]]:
        """Plan the platform's own containers; the steps each role needs."""
        steps: dict[Role, list[int]] = {}
        for spec in self.desired.parts:
            step = self._container(spec)
            if step is not None:
                steps.setdefault(spec.role, []).append(step)
        return steps

    def again(self, action: Action) -> Plan:
        """Plan for the seats it is about: to restart, to replace or merely to start them."""
        self._wall()
        parts = self._parts()
        self._configure(parts)
        edge_steps = parts.get(Role.EDGE, [])
        steps = []
        for spec in self.desired.seats:
            if spec.key not in self.about:
                self.unchanged.append(spec.key)
            elif (changed := self._container(spec)) is not None:
                steps.append(changed)
            elif action is not Action.START:
                self.unchanged.remove(spec.key)
                steps.append(self._again(spec, fresh=action is Action.REPLACE))
        self._verify(needs=[*edge_steps, *self._publish(edge_steps)], after=steps)
        return self._made()

    def stop(self) -> Plan:
        """Plan to stop the seats it is about, and nothing else."""
        for spec in self.desired.seats:
            if spec.key in self.about:
                self._hold(spec, "stop")
            else:
                self.unchanged.append(spec.key)
        return self._made()

    def _hold(self, spec: ContainerSpec, cause: str) -> int | None:
        """Plan to stop a seat; one that does not run is right as it is."""
        going = [item for item in self._standing(spec) if item.state not in _AT_REST]
        if not going:
            self.unchanged.append(spec.key)
            return None
        old = tuple(item.id for item in going)
        return self._add(
            Kind.SEAT, spec.key, Action.STOP, cause, spec, old=old, loses=RUNNING_STATE
        )

    def _again(self, spec: ContainerSpec, *, fresh: bool) -> int:
        standing = self._standing(spec)
        old = tuple(item.id for item in standing)
        action, cause = (Action.REPLACE, "reset") if fresh else (Action.RESTART, "restart")
        needs = [*self._walled, *(self._image(spec.image) if fresh else [])]
        return self._add(
            Kind.SEAT, spec.key, action, cause, spec, needs=needs, old=old, loses=RUNNING_STATE
        )

    def _free_addresses(self) -> None:
        """Remove seats that answer at another address than their own, before anybody starts.

        Two that hold each other's address could otherwise not be put right one after the other.
        """
        own = {spec.name: spec.address for spec in self.desired.containers}
        for item in self.observed.containers:
            right = own.get(item.name, item.address)
            if item.state is State.RUNNING and item.address != right:
                cause = f"has address {item.address} instead of {right}"
                self._misplaced.add(item.id)
                self._freed.append(self._remove(item, cause))

    def _wall(self) -> None:
        """Plan to set the firewall rules where they do not stand, before any seat starts."""
        wall = self.desired.wall
        stale = [
            self._remove(item, "left over from an interrupted command")
            for item in self.observed.containers
            if item.role is Role.WALL
        ]
        if wall is None:
            return
        cause = difference(wall.lines, self.observed.wall)
        if self.observed.wall_kept != wall.rules:
            changed = "seats, their egress or the nameservers changed"
            lost = cause or "the copy for the next boot is gone"
            cause = changed if self.observed.wall_kept else lost
        if cause:
            image = self._image(wall.image.tag)
            container = wall.container
            self._walled = [
                self._add(
                    Kind.WALL, FIREWALL, Action.PUBLISH, cause, container, needs=image, after=stale
                )
            ]

    # -- one container ------------------------------------------------------------------------

    def _container(self, spec: ContainerSpec) -> int | None:
        """Plan one container; the number of the step that leaves it running, if one is needed."""
        existing = self._standing(spec)
        altered = self.observed.altered
        right = [item for item in existing if item.config_hash == spec.config_hash]
        keep = next((item for item in right if item.id not in altered), None)
        extra = tuple(item.id for item in existing if item is not keep)
        action, cause = _decide(spec, keep, existing)
        if keep is None and right:
            cause = f"changed by hand: {altered[right[0].id]}"
        if action is None and spec.secrets in self.observed.unsecret:
            action, cause = Action.RESTART, "the files of its secrets are gone"
        if action is None and not extra:
            if spec.role is Role.SEAT:
                self.unchanged.append(spec.key)
            return None
        stays = {Action.START, Action.RESUME, Action.RESTART, None}
        if action in stays and not extra and keep is not None:
            return self._add(
                _kind(spec.role),
                spec.key,
                action or Action.START,
                cause,
                spec,
                needs=[*self._freed, *self._behind_wall(spec)],
                old=(keep.id,),
                loses=RUNNING_STATE if action is Action.RESTART else NOTHING,
            )
        networks = [spec.network, *spec.bridges]
        needs = [*self._freed, *self._image(spec.image)]
        needs += [number for name in networks for number in self._network(name)]
        needs += self._behind_wall(spec)
        running = any(item.state is State.RUNNING for item in existing) and spec.role is Role.SEAT
        return self._add(
            _kind(spec.role),
            spec.key,
            Action.REPLACE if existing else Action.CREATE,
            cause if action is not None else "stands twice",
            spec,
            needs=needs,
            old=tuple(item.id for item in existing),
            loses=RUNNING_STATE if running else NOTHING,
        )

    def _behind_wall(self, spec: ContainerSpec) -> list[int]:
        """Name the step a container on a bridge waits for."""
        return self._walled if spec.network not in {None, NO_NETWORK} else []

    def _standing(self, spec: ContainerSpec) -> list[ObservedContainer]:
        """Find what stands in the place of ``spec``.

        While a deploy is under way a seat has two containers. The one that is not live belongs to
        the server of deploys, which also removes it; unless it takes the place or nobody deploys.
        """
        theirs = self.desired.deploys is not None
        found = [
            item
            for item in self.observed.containers
            if (item.role, item.key) == (spec.role, spec.key) and item.id not in self._misplaced
        ]
        own = [item for item in found if item.name == spec.name]
        if theirs and own:
            return own
        return [item for item in found if not theirs or item.deploy == spec.deploy]

    def _image(self, tag: str) -> list[int]:
        """Make sure the image is there; the step to wait for, if one is needed."""
        if tag in self._images:
            return [self._images[tag]]
        if any(image.tag == tag for image in self.observed.images):
            return []
        spec = next(image for image in self.desired.images if image.tag == tag)
        needs = self._image(spec.base) if spec.base else []
        built = spec.context is not None or spec.role is Role.BASE
        action = Action.BUILD if built else Action.FETCH
        self._images[tag] = self._add(
            Kind.IMAGE, tag, action, "not on this engine", spec, needs=needs
        )
        return [self._images[tag]]

    def _network(self, name: str | None) -> list[int]:
        if name in {None, NO_NETWORK}:
            return []
        if name in self._networks:
            return [self._networks[name]]
        spec = next((item for item in self.desired.networks if item.name == name), None)
        if spec is None:
            # The control process makes no networks; without one the engine refuses the container.
            return []
        found = next((item for item in self.observed.networks if item.name == name), None)
        if found is None:
            self._networks[name] = self._add(Kind.NETWORK, name, Action.CREATE, "not found", spec)
            return [self._networks[name]]
        if found.config_hash != spec.config_hash:
            message = (
                f"network {name} was made with other settings; teardown and provision renew it"
            )
            if message not in self.warnings:
                self.warnings.append(message)
        return []

    # -- keys -----------------------------------------------------------------------------------

    def _configure(self, steps: Mapping[Role, Sequence[int]]) -> None:
        """Plan to tell parts what changed, before any seat starts with a new key."""
        desired, observed = self.desired, self.observed
        for role, wanted, known, change in (
            (Role.GATEWAY, desired.gateway, observed.gateway_config, "budgets or upstreams"),
            (Role.INTAKE, desired.intake, observed.intake_config, "participants or limits"),
            (Role.BOARD, desired.board, observed.board_config, "participants or addresses"),
        ):
            if wanted is None:
                continue
            started = steps.get(role, [])
            if started:
                cause = f"the {role} starts afresh"
            elif known is None:
                cause = f"the {role} does not answer"
            elif known == ALTERED:
                cause = "its file was changed by hand"
            elif known != wanted.fingerprint:
                cause = f"keys, {change} changed"
            else:
                continue
            self._add(Kind.KEYS, role.value, Action.PUBLISH, cause, needs=started)
        if desired.deploys is None or steps.get(Role.SERVE):
            return
        if observed.deploys_config != desired.deploys.fingerprint:
            cause = "seats, keys or limits changed"
            self._add(Kind.KEYS, Role.SERVE.value, Action.PUBLISH, cause)

    # -- routes -------------------------------------------------------------------------------

    def _publish(self, edge_steps: Sequence[int]) -> list[int]:
        """Plan one reload per apply, while seats still start.

        Until a seat answers, its visitors see a page that says so and asks again. Seats that go
        are removed only after their route is gone.
        """
        if self.desired.edge_config is None:
            return []
        if self.observed.greens != self.desired.greens:
            self._add(Kind.ROUTES, SWITCHES, Action.PUBLISH, "some point at the wrong address")
        if edge_steps:
            cause = "the edge starts afresh"
        elif self.observed.edge_config is None:
            cause = "the edge does not answer"
        elif self.observed.edge_config == ALTERED:
            cause = "its files were changed by hand"
        elif self.observed.edge_config != self.desired.edge_config:
            cause = "routes or settings changed"
        else:
            return []
        return [self._add(Kind.ROUTES, "edge", Action.PUBLISH, cause, needs=edge_steps)]

    # -- what is left over --------------------------------------------------------------------

    def _strays(self, published: Sequence[int]) -> None:
        """Remove what the roster no longer asks for, seats only after their routes are gone."""
        kept = {Role.WALL, *(spec.role for spec in self.desired.parts)}
        for item in self.observed.containers:
            if item.role in _KINDS and item.role not in kept:
                self._remove(item, "not in the roster", after=published)
        wanted = {spec.key for spec in self.desired.seats}
        for item in self.observed.containers:
            if item.role is Role.SEAT and item.key not in wanted:
                if self.prune is None or item.key in self.prune:
                    self._remove(item, "not in the roster", after=published)
                else:
                    self.warnings.append(
                        f"{item.key} is not in the roster but still runs; --prune removes the seat"
                    )

    def _verify(self, *, needs: Sequence[int] = (), after: Sequence[int] = ()) -> None:
        """End every apply with the proof that each name leads to its own seat."""
        moved = any(
            step.kind not in {Kind.KEYS, Kind.WALL} and step.action is not Action.STOP
            for step in self.steps
        )
        asked = {*(self.about or (spec.key for spec in self.desired.seats))} - {*self.held}
        if (moved or self.unproven) and asked:
            cause = "each name must lead to its own seat"
            if not self.steps:
                cause = "the last command ended before every seat had answered"
            self._add(Kind.ROUTES, "identity", Action.VERIFY, cause, needs=needs, after=after)

    # -- teardown -----------------------------------------------------------------------------

    def remove_everything(self, *, keep_images: bool) -> None:
        """Begin with what makes new seats, go on with what leads to them; networks come last."""
        servers = [item for item in self.observed.containers if item.role is Role.SERVE]
        ended = [self._remove(item, "teardown") for item in servers]
        order = sorted(
            (item for item in self.observed.containers if item not in servers),
            key=lambda item: (item.role is not Role.EDGE, item.key),
        )
        gone = [*ended, *(self._remove(item, "teardown", after=ended) for item in order)]
        for network in self.observed.networks:
            self._add(
                Kind.NETWORK, network.name, Action.REMOVE, "teardown", old=(network.id,), needs=gone
            )
        gone += self._tear_down_wall(gone)
        if keep_images:
            return
        mine = self.desired.owner.workshop
        shared = any(image.workshop not in {"", mine} for image in self.observed.images)
        ours = [image for image in self.observed.images if image.workshop == mine]
        removed = [
            self._add(
                Kind.IMAGE, image.tag, Action.REMOVE, "teardown", old=(image.tag,), needs=gone
            )
            for image in ours
            if image.role is not Role.BUILD
        ]
        # One line for all: a class that builds all day has dozens.
        steps = tuple(image.tag for image in ours if image.role is Role.BUILD)
        if steps:
            name = f"{len(steps)} steps of builds"
            removed.append(
                self._add(
                    Kind.IMAGE,
                    name,
                    Action.REMOVE,
                    "teardown",
                    old=steps,
                    needs=gone,
                    after=removed,
                )
            )
        for image in self.observed.images:
            if image.role is Role.BASE and not shared:
                cause = "no workshop uses it any more"
                self._add(
                    Kind.IMAGE, image.tag, Action.REMOVE, cause, old=(image.tag,), needs=removed
                )

    def _tear_down_wall(self, gone: Sequence[int]) -> list[int]:
        """Remove the firewall rules once nobody stands behind them."""
        mine = self.desired.owner.workshop
        own = (item for item in self.observed.images if item.workshop == mine)
        image = next((item.tag for item in own if item.role is Role.WALL), None)
        if image is None or not self.observed.wall:
            return []
        spec = replace(setter(mine, image), command=("wall", "remove", bridge_prefix(mine)))
        return [self._add(Kind.WALL, FIREWALL, Action.REMOVE, "teardown", spec, after=gone)]

    def _remove(self, item: ObservedContainer, cause: str, after: Sequence[int] = ()) -> int:
        kind = _kind(item.role)
        running = kind is Kind.SEAT and item.state is State.RUNNING
        loses = RUNNING_STATE if running else NOTHING
        return self._add(
            kind, item.key, Action.REMOVE, cause, old=(item.id,), after=after, loses=loses
        )

    def _add(  # noqa: PLR0913 - one place builds steps, so that numbering has one owner
        self,
        kind: Kind,
        name: str,
        action: Action,
        cause: str,
        target: ImageSpec | NetworkSpec | ContainerSpec | None = None,
        *,
        needs: Sequence[int] = (),
        after: Sequence[int] = (),
        old: tuple[str, ...] = (),
        loses: str = NOTHING,
    ) -> int:
        number = len(self.steps) + 1
        step = Step(
            number, kind, name, action, cause, loses, tuple(needs), tuple(after), target, old
        )
        self.steps.append(step)
        return number


_KINDS: Mapping[Role | None, Kind] = {
    role: Kind(role.value)
    for role in (
        Role.EDGE,
        Role.GATEWAY,
        Role.EMBEDDED,
        Role.REGISTRY,
        Role.INTAKE,
        Role.BOARD,
        Role.SERVE,
        Role.EGRESS,
        Role.RELAY,
        Role.OUTBOUND,
        Role.WALL,
    )
}


def _kind(role: Role | None) -> Kind:
    """Name the kind of a container; one of a newer version counts as a seat."""
    return _KINDS.get(role, Kind.SEAT)


def _decide(  # noqa: PLR0911 - a flat list of cases reads best
    spec: ContainerSpec, keep: ObservedContainer | None, existing: Sequence[ObservedContainer]
) -> tuple[Action | None, str]:
    """Say what one container needs and why; ``None`` when it is right as it is."""
    if not existing:
        return Action.CREATE, "no container"
    if keep is None:
        was = existing[0].version
        if was != spec.version:
            return Action.REPLACE, f"version {spec.version} instead of {was}"
        return Action.REPLACE, "settings changed"
    if keep.state is State.RUNNING:
        return None, ""
    if keep.state is State.EXITED:
        return Action.START, f"not running: {keep.status}"
    if keep.state is State.CREATED:
        # An engine that died meanwhile has forgotten the address, or cannot start it any more.
        return Action.REPLACE, "never started: left over from an interrupted command"
    if keep.state is State.PAUSED:
        return Action.RESUME, "paused"
    return Action.REPLACE, f"not running: {keep.status}"


def _ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as ``1-3 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return " ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
