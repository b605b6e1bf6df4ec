"""A class of light seats whose server of deploys is real, and may be killed at any moment.

The server runs in a fork, with its own makers, on the real engine. Registry, intake and builds are
left out: an order comes as the file that it is.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import docker
from tests.faults import killing
from tests.faults.room import APP, Heard, drive, room

from workshop import sources
from workshop.deploys import current, versions
from workshop.deploys.config import LOG, ORDERS
from workshop.deploys.server import LOOK_SECONDS, Server
from workshop.engines.docker import DockerEngine
from workshop.intake import orders
from workshop.intake.orders import INSTRUCTOR, Order, Stage, What
from workshop.labels import Role
from workshop.proxy.switch import GREEN, Switch
from workshop.settings import Settings
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.faults.killing import Ending, Point
    from tests.faults.room import Room, Turns

OPTIONS = "{drain_seconds: 1, keep: 1, per_minute: 600}"
ADA = "ada"


@dataclass
class Scene:
    """A class that stands, another image for Ada, and what must not be touched meanwhile."""

    room: Room
    image: str
    """Another edition of everybody's app."""
    image_id: str
    others: dict[str, str] = field(default_factory=dict)
    """The neighbours' containers and the edge: when each was started."""

    # -- what happens -------------------------------------------------------------------------

    def begin(self) -> Turns:
        """Bring everybody up; from now on nobody is ever without an answer."""
        yield from self.room.provision_without_doors()
        names = self.room.names()
        own = f"{self.room.name}-{ADA}"
        started = self.room.started()
        self.others = {key: moment for key, moment in started.items() if names[key] != own}
        assert len(self.others) == len(self.room.people)
        self.room.heard = Heard()

    def order(self, what: What = What.IMAGE, **fields: str) -> Order:
        """Order another image for Ada: as the instructor, or as the intake does after a push."""
        pushed = what is What.PUSH
        made = Order(
            id=orders.new_id(),
            seat=ADA,
            what=what,
            actor=ADA if pushed else INSTRUCTOR,
            received=time.time(),
            **(fields or {"image": self.image}),
        )
        orders.place(self.room.home / ("inbox" if pushed else f"deploys/{ORDERS}"), made)
        return made

    def serve(
        self, point: Point | None = None, change: Callable[[Server], object] = lambda _: None
    ) -> Turns:
        """Run a server of deploys until every order is over and nothing drains, or it dies."""

        def act(effects: killing.Effects) -> None:
            effects.calls(docker.APIClient)
            server = Server(self.room.home)
            change(server)
            server.tidy()
            deadline = time.monotonic() + killing.PATIENCE
            while self._waiting() or self._drains(server):
                server.step()
                assert time.monotonic() < deadline
                time.sleep(LOOK_SECONDS)

        return self.room.fork(act, point)

    def _waiting(self) -> list[str]:
        home = self.room.home
        return [*orders.waiting(home / "deploys" / ORDERS), *orders.waiting(home / "inbox")]

    def _drains(self, server: Server) -> bool:
        seen = server.makers.engine.observe(self.room.name).containers
        return sum((item.role, item.key) == (Role.SEAT, ADA) for item in seen) != 1

    def kill(self, point: Point) -> Turns:
        """Order another image, let the server die at ``point``, and let the next one end it."""
        self.order()
        ending: Ending = yield from self.serve(point)
        where = f"{self.room.name}: {point}, {ending.effects[-1]}"
        self.room.listen()
        self.must_have_answered(where)
        if ending.killed:
            yield from self.serve()
        self.must_be_settled(where)
        return ending

    # -- what must hold -----------------------------------------------------------------------

    def must_have_answered(self, where: str) -> None:
        """Whoever asked since the beginning heard the right seat."""
        heard = self.room.heard
        assert (heard.wrong, heard.silent) == ([], []), (where, heard.wrong, heard.silent)

    def must_be_settled(self, where: str) -> None:
        """One version, its route, the record and the engine say the same; nobody else noticed."""
        found, home = self.room, self.room.home
        held = current.load(home / "deploys")[ADA]
        assert held.live is not None, where
        assert held.live.version == versions.name(held.live.number, self.image_id), where
        assert Switch(home / "edge" / GREEN).greens() == {ADA} - {"" if held.is_green else ADA}
        own = f"{ADA}.green" if held.is_green else ADA
        names = (own, "edge", *(name for name in found.people if name != ADA))
        assert sorted(found.names().values()) == sorted(f"{found.name}-{n}" for n in names), where
        assert found.listen()[ADA] == held.live.version, where
        self.must_have_answered(where)
        after = found.started()
        assert {key: after.get(key) for key in self.others} == self.others, where
        plan = found.plan_without_doors()
        assert plan.is_empty, f"{where}: {plan}"
        assert orders.history(home / "deploys/shown" / LOG)[-1].stage is Stage.LIVE, where
        assert not self._waiting(), where
        self._images_must_be_bounded(held, where)

    def _images_must_be_bounded(self, held: current.SeatDeploys, where: str) -> None:
        """Keep the live one, those to go back to, and at most the last one that drained."""
        tags = [tag for tag in self.room.images() if "/seat-" in tag or ":" not in tag]
        known = {item.image for item in (held.live, *held.kept) if item}
        assert known <= set(tags), where
        assert len(set(tags) - known) <= 1, (where, tags)


@contextlib.contextmanager
def scene(directory: Path, name: str, people: Sequence[str]) -> Iterator[Scene]:
    """Make a class that stands; at the end nothing of it may be left."""
    with room(directory, name, people, OPTIONS) as found, _edition(found) as image:
        inspect: Any = found.api.inspect_image  # its stub has no types
        made = Scene(found, image, inspect(image)["Id"])
        drive([made.begin()])
        yield made


@contextlib.contextmanager
def _edition(found: Room) -> Iterator[str]:
    """Make another edition of the app, which is nobody's yet."""
    source = found.directory / "edition"
    shutil.copytree(found.directory / "participant_template", source)
    (source / "app.py").write_text(f"# another edition\n{APP}")
    tag = f"{found.name}-edition:2"
    spec = ImageSpec(tag, Role.APP, source, base=sources.base_tag(Settings()))
    with contextlib.closing(DockerEngine()) as engine:
        engine.build(spec, {})
        try:
            yield tag
        finally:
            engine.remove_image(tag)
