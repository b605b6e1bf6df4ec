"""A class that was provisioned, as far as its files say, and a server of deploys that is a script."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workshop import deploying, serving, state
from workshop.deploys import config, current
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.intake import orders
from workshop.intake.orders import Finding, Order, Stage, What
from workshop.observed import Observed

if TYPE_CHECKING:
    from workshop.intake.orders import Progress
    from workshop.workspace import Workspace

LOCALHOST = Finding(
    "listens-on-localhost",
    "Your app listens on 127.0.0.1, where only it can reach itself.",
    ("tcp 127.0.0.1:8000", "INFO: Uvicorn running on http://127.0.0.1:8000"),
    "Start it with host 0.0.0.0.",
)


class Desk:
    """The files between the instructor's command and the server, and the server's part in them."""

    def __init__(self, work: Workspace) -> None:
        places = work.directories
        self.orders = places.deploys / config.ORDERS
        self.progress = places.shown / config.PROGRESS
        self.log = places.shown / config.LOG
        self.deploys = places.deploys
        for path in (self.orders, self.progress, places.inbox):
            path.mkdir(parents=True, exist_ok=True)
        names = [person.name for person in work.roster.participants]
        choices = state.settle(None, Observed(), work.roster.name, names, None)
        state.save(work.state_directory, choices)
        self.beat()

    def beat(self, ago: float = 0.0) -> None:
        """Say that the server was there ``ago`` seconds before now."""
        now = time.time()
        text = json.dumps({"pid": 1, "started": now - 60, "beat": now - ago})
        serving.replace_whole(self.deploys / config.SERVER, text)

    def taken(self) -> list[Order]:
        """Read the orders that lie there, oldest first."""
        found = [orders.read_order(self.orders, key) for key in orders.waiting(self.orders)]
        return [order for order in found if order is not None]

    def tell(self, order: Order, stage: Stage, **more: Any) -> Progress:
        """Say how far an order has come; what is over goes into the log too."""
        ended = order.received + 2.5 if stage.over else None
        begun = deploying.begun(order)
        item = replace(begun, stage=stage, ended=ended, **more)
        orders.tell(self.progress, item)
        if stage.over:
            line = (self.progress / f"{order.id}.json").read_text("utf-8")
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line)
        return item

    def past(self, seat: str, stage: Stage, number: int, **more: Any) -> Progress:
        """Write a deploy that was over before the test began."""
        moment = 1_700_000_000.0 + number
        order = Order(orders.new_id(moment), seat, What.SOURCE, seat, moment)
        version, digest = f"v{number:011x}", f"sha256:{number:064x}"
        return self.tell(order, stage, number=number, version=version, digest=digest, **more)

    def runs(self, seat: str, live: int, *kept: int) -> None:
        """Say which deploys a seat runs and could go back to, by number."""
        made = [
            Deployment(f"{n:013d}-{n:08x}", n, f"v{n:011x}", f"class/ada:{n}", green=False)
            for n in (live, *kept)
        ]
        there = {**current.load(self.deploys), seat: SeatDeploys(made[0], kept=tuple(made[1:]))}
        serving.replace_whole(self.deploys / current.FILE, current.dump(there))
