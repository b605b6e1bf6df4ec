"""Seats moved by the control process: the command's plan and apply, with what ``serve`` is told.

``serve`` has no roster. It knows each seat's container as the last ``provision`` wrote it down, and
what was deployed since. The platform's own parts, networks and the firewall are none of its plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop import carrying, removals
from workshop.apply import Pace, Tools
from workshop.carrying import Verb
from workshop.deploys import current
from workshop.deploys.current import SeatDeploys
from workshop.desired import Desired
from workshop.errors import WorkshopError
from workshop.events import ignore
from workshop.labels import Role
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workshop.apply import Report
    from workshop.deploys.config import Config
    from workshop.engines.base import Engine
    from workshop.health import Probe
    from workshop.observed import Observed
    from workshop.routing import Place

READY_SECONDS = 10.0
"""How long a wish waits for a seat to answer: it holds the class's lock meanwhile."""
_WORKERS = 6
"""Engine calls at the same time, as a command has them."""
PAST = {
    Verb.RESTART: "restarted",
    Verb.RESET: "reset",
    Verb.STOP: "stopped",
    Verb.START: "started",
}
ALREADY = {
    Verb.RESTART: "nothing to restart",
    Verb.RESET: "nothing to reset",
    Verb.STOP: "stopped already",
    Verb.START: "up already",
}


@dataclass(frozen=True)
class _Door:
    """Where the edge is asked who answers."""

    config: Config

    @property
    def asked_at(self) -> tuple[str, int]:
        return self.config.edge_address, self.config.edge_port

    def place(self, name: str) -> Place:
        return self.config.place(name)


@dataclass(frozen=True)
class Seats:
    """The seats of one workshop, while its lock is held."""

    home: Path
    config: Config
    engine: Engine
    probe: Probe

    def move(self, verb: Verb, names: Sequence[str]) -> Report:
        """Restart, reset, stop or start some seats.

        Raises:
            WorkshopError: what they run is not on this server, or the engine failed.

        """
        removals.finish(self.home, self.engine, self.config.owner.workshop)
        observed = self._observe()
        desired = self.desired(observed)
        if verb is not Verb.STOP:
            self._require_images(desired, observed, names)
        made = carrying.plan_for(verb, self.home, desired, observed, names)
        pace = Pace(_WORKERS, min(self.config.ready_seconds, READY_SECONDS))
        tools = Tools(self.engine, self.probe, None, pace, ignore, _Door(self.config))
        return carrying.carry_out(made, desired, self.home, tools)

    def desired(self, observed: Observed) -> Desired:
        """Say how every seat should be: as it was provisioned, and deployed since."""
        known = current.present(
            current.load(self.home / "deploys"), {image.tag for image in observed.images}
        )
        seats = tuple(
            item.spec.placed(known.get(item.spec.key, SeatDeploys()), item.green)
            for item in self.config.seats
        )
        images = dict.fromkeys(seat.image for seat in seats)
        return Desired(
            owner=self.config.owner,
            images=tuple(ImageSpec(tag, Role.APP) for tag in images),
            containers=seats,
            deploys=self.config,
        )

    def _observe(self) -> Observed:
        """Look at seats and images alone; the rest is the command's."""
        references = sorted({item.spec.image for item in self.config.seats})
        seen = self.engine.observe(self.config.owner.workshop, references)
        seats = tuple(item for item in seen.containers if item.role is Role.SEAT)
        return replace(seen, containers=seats, deploys_config=self.config.fingerprint)

    @staticmethod
    def _require_images(desired: Desired, observed: Observed, names: Sequence[str]) -> None:
        """Refuse to start what would first have to be built, or fetched from somewhere."""
        there = {image.tag for image in observed.images}
        bare = [seat.key for seat in desired.seats if seat.key in names and seat.image not in there]
        if bare:
            raise WorkshopError(
                f"what {', '.join(bare)} should run is not on this server",
                hint="`workshop provision` makes it",
            )
