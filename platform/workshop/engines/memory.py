"""An engine in memory: it ships with the package, so everything above the seam can be tried fast.

It keeps what an engine keeps (objects with labels), refuses what an engine refuses (a missing
image, a taken name or address), and passes the same contract suite. Nothing runs inside it.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from workshop import labels as marks
from workshop.audit import Facts
from workshop.engines.base import EngineInfo, Event
from workshop.errors import BuildFailed, Conflict, EngineError, NotFound
from workshop.labels import Role
from workshop.observed import (
    Observed,
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    State,
    Uptime,
)
from workshop.specs import NO_NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workshop.engines.base import Stream
    from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec, Owner

T = TypeVar("T")

_USER_CHAIN = "DOCKER-USER"


@dataclass
class _Held:
    workshop: str
    spec: ContainerSpec
    seen: ObservedContainer
    restarts: int = 0
    since: float = 0.0
    wrote: list[tuple[str, str]] = field(default_factory=list)
    readers: list[MemoryStream[tuple[str, str]]] = field(default_factory=list)


class MemoryStream(Generic[T]):
    """A :class:`~workshop.engines.base.Stream` of what is put into it."""

    def __init__(self) -> None:
        self._items: SimpleQueue[T | None] = SimpleQueue()

    def put(self, item: T) -> None:
        """Let whoever reads have one more."""
        self._items.put(item)

    def __iter__(self) -> Iterator[T]:
        while (item := self._items.get()) is not None:
            yield item

    def close(self) -> None:
        """End it after what was put so far."""
        self._items.put(None)


def stamp(seconds: float) -> str:
    """Write a time, in seconds since 1970, so that it sorts as text."""
    return f"{int(seconds * 1e9):020d}"


class MemoryEngine:
    """An :class:`~workshop.engines.base.Engine` without containers.

    ``calls`` records every verb that changes something; ``alterations`` says what a careless hand
    changed, by container; ``pullable`` names the images a fetch
    finds; ``broken`` maps a verb and a name, such as ``("start", "class-ada")``, to the error it
    ends in. ``firewall`` are the lines its host's firewall has: a test may take some out; ``root``
    is the directory it says it keeps everything in.
    """

    has_kernel = False

    def __init__(self, *, pullable: Sequence[str] = ("python:3.12-slim",)) -> None:
        self.pullable = set(pullable)
        self.broken: dict[tuple[str, str], EngineError] = {}
        self.calls: list[tuple[str, str]] = []
        self.alterations: dict[str, str] = {}
        self._images: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._networks: dict[str, tuple[NetworkSpec, ObservedNetwork, str]] = {}
        self._held: dict[str, _Held] = {}
        self.firewall: list[str] = []
        self.root = "/"
        self._ids = itertools.count(1)
        self._listeners: list[tuple[str, MemoryStream[Event]]] = []
        self._lock = threading.RLock()

    # -- looking ------------------------------------------------------------------------------

    def info(self) -> EngineInfo:
        return EngineInfo("memory", "1", "memory://", cpus=2, memory=8 << 30, root=self.root)

    def observe(self, workshop: str, references: Sequence[str] = ()) -> Observed:
        with self._lock:
            containers = [held.seen for held in self._held.values() if held.workshop == workshop]
            networks = list(self._networks.values())
            return Observed(
                containers=tuple(reversed(containers)),
                networks=tuple(seen for _, seen, name in networks if name == workshop),
                images=tuple(self._seen_images(frozenset(references))),
                taken_subnets=tuple(seen.subnet for _, seen, name in networks if name != workshop),
            )

    def _seen_images(self, references: frozenset[str]) -> Iterator[ObservedImage]:
        for tag, (image_id, given) in self._images.items():
            if marks.is_own_image(tag, given):
                role = marks.role_of(given) or Role.APP
                yield ObservedImage(image_id, tag, role, given.get(marks.NAME, ""))
            elif tag in references:
                yield ObservedImage(image_id, tag, Role.APP, "-")

    def containers(self, workshop: str) -> Sequence[ObservedContainer]:
        return self.observe(workshop).containers

    def events(self, workshop: str) -> Stream[Event]:
        stream: MemoryStream[Event] = MemoryStream()
        with self._lock:
            self._listeners.append((workshop, stream))
        return stream

    def _happened(self, held: _Held, action: str, exit_code: int | None = None) -> None:
        event = Event(held.seen.id, action, held.spec.role, held.spec.key, exit_code)
        for workshop, stream in self._listeners:
            if workshop == held.workshop:
                stream.put(event)

    def remove_nameless(self, workshop: str) -> None:
        del workshop  # an image is its name here

    def leftovers(self, workshop: str, volumes: Sequence[str] = ()) -> list[str]:
        del volumes
        seen = self.observe(workshop)
        return [
            *(f"container {item.name}" for item in seen.containers),
            *(f"network {item.name}" for item in seen.networks),
            *(f"image {item.tag}" for item in seen.images if item.workshop == workshop),
        ]

    def uptime(self, container_id: str) -> Uptime:
        held = self._get(container_id)
        running = held.seen.state is State.RUNNING
        return Uptime(1.0 if running else 0.0, restarts=held.restarts, since=held.since)

    def facts(self, workshop: str) -> Facts:
        del workshop
        return Facts()

    def altered(self, workshop: str, specs: Sequence[ContainerSpec]) -> Mapping[str, str]:
        del workshop, specs
        return {key: words for key, words in self.alterations.items() if key in self._held}

    def logs(self, container_id: str, *, tail: int, follow: bool = False) -> Iterator[str]:
        del follow
        held = self._get(container_id)
        wrote = [text for _, text in held.wrote]
        yield from [f"{held.spec.key} says hello", *wrote][-tail:]

    def follow(self, container_id: str, since: float) -> Stream[tuple[str, str]]:
        held, first = self._get(container_id), stamp(since)
        stream: MemoryStream[tuple[str, str]] = MemoryStream()
        with self._lock:
            for line in held.wrote:
                if line[0] >= first:
                    stream.put(line)
            held.readers.append(stream)
            if held.seen.state is not State.RUNNING:
                stream.close()
        return stream

    # -- images -------------------------------------------------------------------------------

    def fetch(self, reference: str) -> None:
        self._record("fetch", reference)
        if reference not in self.pullable:
            raise BuildFailed(f"cannot pull {reference}: not found")
        self._images[reference] = (self._new_id(), {})

    def build(self, spec: ImageSpec, labels: Mapping[str, str]) -> None:
        self._record("build", spec.tag)
        if spec.base and spec.base not in self._images:
            raise BuildFailed(f"{spec.tag} starts from {spec.base}, which is not here")
        self._images[spec.tag] = (self._new_id(), dict(labels))

    def load_rootfs(
        self, archive: Path, tag: str, labels: Mapping[str, str], env: Mapping[str, str]
    ) -> None:
        del archive, env
        self._record("load", tag)
        self._images[tag] = (self._new_id(), dict(labels))

    def remove_image(self, tag: str) -> None:
        self._record("remove-image", tag)
        self._images.pop(tag, None)

    # -- networks -----------------------------------------------------------------------------

    def create_network(self, spec: NetworkSpec, owner: Owner) -> None:
        self._record("create-network", spec.name)
        with self._lock:
            if any(spec.bridge == other.bridge for other, _, _ in self._networks.values()):
                raise EngineError(f"bridge {spec.bridge} exists")
            identifier = self._new_id()
            seen = ObservedNetwork(
                identifier, spec.name, owner.run, owner.directory, spec.config_hash, spec.subnet
            )
            self._networks[identifier] = (spec, seen, owner.workshop)

    def remove_network(self, network_id: str) -> None:
        with self._lock:
            if network_id not in self._networks:
                return
            spec = self._networks[network_id][0]
            self._record("remove-network", spec.name)
            if any(held.spec.network == spec.name for held in self._held.values()):
                raise EngineError(f"network {spec.name} has active endpoints")
            del self._networks[network_id]

    # -- containers ---------------------------------------------------------------------------

    def create(self, spec: ContainerSpec, owner: Owner) -> str:
        self._record("create", spec.name)
        with self._lock:
            if spec.image not in self._images:
                raise NotFound(f"no such image: {spec.image}")
            if spec.network not in {None, NO_NETWORK} and not any(
                spec.network == net.name for net, _, _ in self._networks.values()
            ):
                raise NotFound(f"network {spec.network} not found")
            if any(held.spec.name == spec.name for held in self._held.values()):
                raise Conflict(f"the container name {spec.name} is already in use")
            seen = ObservedContainer(
                id=self._new_id(),
                name=spec.name,
                role=spec.role,
                key=spec.key,
                run=owner.run,
                directory=owner.directory,
                slot=spec.slot,
                address=None,
                config_hash=spec.config_hash,
                version=spec.version,
                deploy=spec.deploy,
                state=State.CREATED,
                status="Created",
            )
            self._held[seen.id] = held = _Held(owner.workshop, spec, seen)
            self._happened(held, "create")
        return seen.id

    def start(self, container_id: str) -> None:
        held = self._get(container_id)
        self._record("start", held.spec.name)
        with self._lock:
            taken = {other.seen.address for other in self._held.values() if other is not held}
            if held.spec.address is not None and held.spec.address in taken:
                raise EngineError("Address already in use")
            self._become(container_id, State.RUNNING, "Up 1 second", held.spec.address)

    def restart(self, container_id: str) -> None:
        held = self._get(container_id)
        self._record("restart", held.spec.name)
        self._become(container_id, State.RUNNING, "Up 1 second", held.spec.address)

    def stop(self, container_id: str) -> None:
        held = self._get(container_id)
        self._record("stop", held.spec.name)
        if held.seen.state not in {State.CREATED, State.EXITED}:
            self._become(container_id, State.EXITED, "Exited (143) 1 second ago", None)

    def once(self, spec: ContainerSpec, owner: Owner) -> tuple[int, str]:
        """Do what the container of the firewall does, with rules that are a list of lines."""
        del owner
        if spec.image not in self._images:
            raise NotFound(f"no such image: {spec.image}")
        _, verb, *arguments = spec.command
        if verb == "show":
            return 0, "".join(f"{line}\n" for line in self.firewall)
        self._record(verb, spec.name)
        if verb == "apply":
            self._apply_rules(spec, arguments[0])
        else:
            self.firewall = [line for line in self.firewall if arguments[0] not in line]
        return 0, ""

    def _apply_rules(self, spec: ContainerSpec, place: str) -> None:
        source = next(source for source, mounted in spec.mounts if place.startswith(f"{mounted}/"))
        text = Path(source, Path(place).name).read_text("utf-8")
        prefix = next(line.split()[-1] for line in text.splitlines() if "# prefix" in line)
        foreign = [line for line in self.firewall if prefix not in line]
        ways = [f"-A FORWARD -j {_USER_CHAIN}"] if not foreign else []
        ways += [f"-A {_USER_CHAIN} -i {prefix}+ -j {prefix}-forward"]
        ways += [f"-A INPUT -i {prefix}+ -j {prefix}-input"]
        rules = [line for line in text.splitlines() if line.startswith((":", "-A "))]
        self.firewall = [*ways, *foreign, *rules]

    def remove(self, container_id: str) -> None:
        with self._lock:
            held = self._held.get(container_id)
            if held is not None:
                self._record("remove", held.spec.name)
                del self._held[container_id]
                self._end_logs(held)
                self._happened(held, "destroy")

    def run(self, container_id: str, command: Sequence[str]) -> tuple[int, str]:
        held = self._get(container_id)
        self._record("run", held.spec.name)
        if held.seen.state is not State.RUNNING:
            raise Conflict(f"container {held.spec.name} is not running")
        return 0, " ".join(command)

    def attach(self, container_id: str, command: Sequence[str]) -> int:
        return self.run(container_id, command)[0]

    # -- accidents ----------------------------------------------------------------------------

    def kill(self, container_id: str) -> None:
        """Let a container die the way a crash or a careless hand would."""
        self._get(container_id)
        self._become(container_id, State.EXITED, "Exited (137) 1 second ago", None)

    def crash(self, container_id: str) -> None:
        """Let a container end by itself and be started again, as the restart policy wants it."""
        held = self._get(container_id)
        held.restarts += 1
        self._become(container_id, State.RUNNING, "Up Less than a second", held.spec.address)

    def write(self, container_id: str, line: str) -> None:
        """Let a container write one line to its standard output."""
        held, line_of_log = self._get(container_id), (stamp(time.time()), line)
        with self._lock:
            held.wrote.append(line_of_log)
            for reader in held.readers:
                reader.put(line_of_log)

    def tell(self, container_id: str, action: str, exit_code: int | None = None) -> None:
        """Let the engine tell of something, such as ``oom``, that leaves no other trace here."""
        with self._lock:
            self._happened(self._get(container_id), action, exit_code)

    # -- inside -------------------------------------------------------------------------------

    def _become(self, container_id: str, state: State, status: str, address: str | None) -> None:
        with self._lock:
            held = self._held[container_id]
            held.seen = replace(held.seen, state=state, status=status, address=address)
            held.since = time.time()
            if state is not State.RUNNING:
                self._end_logs(held)
            self._happened(held, "start" if state is State.RUNNING else "die")

    @staticmethod
    def _end_logs(held: _Held) -> None:
        for reader in held.readers:
            reader.close()
        held.readers.clear()

    def _get(self, container_id: str) -> _Held:
        try:
            return self._held[container_id]
        except KeyError:
            raise NotFound(f"no such container: {container_id}") from None

    def _record(self, verb: str, name: str) -> None:
        with self._lock:
            self.calls.append((verb, name))
        if (verb, name) in self.broken:
            raise self.broken[verb, name]

    def _new_id(self) -> str:
        return f"{next(self._ids):064x}"
