"""Hundreds of redeploys by the real server of deploys, and what could grow with each.

``REDEPLOYS`` in the environment says how many. Orders are laid down as `workshop deploy` lays them
down, for every seat at once; each seat alternates between two images.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workshop.deploys.config import LOG, ORDERS, PROGRESS
from workshop.deploys.journal import KEPT
from workshop.intake import orders
from workshop.intake.orders import INSTRUCTOR, Order, Progress, Stage, What

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.private import PrivateEngine

REDEPLOYS = int(os.environ.get("REDEPLOYS", "500"))
OPTIONS = "{drain_seconds: 1, keep: 1, per_minute: 600}"
MODELS = '{upstreams: [{name: echo, url: "echo:", models: {echo: }}]}'
PATIENCE = 120.0
LINE = 3000
"""Bytes that one deploy may add to the log."""
ASKED = 2000
"""Bytes that one question may add to the gateway's books."""
BOOKS = 512 * 1024
"""Bytes of books whatever is in them: pages in advance, and a journal that is kept."""
_PAUSE = 0.05
_PARTS = ("serve", "intake", "registry", "gateway", "egress")
_WHAT = ("fd", "task")
SPARE = {f"{part}: {what}": 10 for part in _PARTS for what in _WHAT}
"""Connections and threads that a part may keep for the next time, however many deploys there are."""


@dataclass
class Scene:
    """A class that deploys, and how often it did."""

    engine: PrivateEngine
    roster: Path
    port: int
    names: tuple[str, ...]
    done: int = 0
    failed: list[str] = field(default_factory=list)
    _rounds: int = 0

    def __post_init__(self) -> None:
        self.home = self.roster.parent / ".workshop"
        code, said = self.engine.workshop(self.roster, "keys", "show", "--all", "--json")
        assert code == 0, said
        self._keys: list[dict[str, Any]] = json.loads(said)
        with contextlib.closing(self.engine.client()) as api:
            seat = api.containers(filters={"label": "workshop.role=seat"})[0]
            self._images = [str(seat["Image"]), self._edition(api, str(seat["Image"]))]
            self._warmed(api)

    @staticmethod
    def _warmed(api: Any) -> None:
        """Wait until the server has tried to build what the class starts from, once for all."""
        server = api.containers(filters={"label": "workshop.role=serve"})[0]["Id"]
        deadline = time.monotonic() + 4 * PATIENCE
        while b"for its steps" not in api.logs(server):
            assert time.monotonic() < deadline, api.logs(server).decode()
            time.sleep(1)

    @staticmethod
    def _edition(api: Any, image: str) -> str:
        """Make another edition of the app; this engine cannot build, but needs not."""
        made = api.create_container(image)["Id"]
        api.commit(made, "edition", "2", changes=["ENV EDITION=2"])
        api.remove_container(made)
        return "edition:2"

    def round(self) -> None:
        """Deploy to everybody, ask a model for each, and wait until nothing drains any more."""
        self._rounds += 1
        image = self._images[self._rounds % 2]
        made = [self._order(name, image) for name in self.names]
        for key in self._keys:
            self._ask(key)
        for order in made:
            last = self._over(order)
            if last is None or last.stage is not Stage.LIVE:
                said = last.finding.message if last and last.finding else last and last.stage
                self.failed.append(f"{order.seat}: {said}")
        self._drained()
        self.done += len(made)
        if self._rounds % 10 == 0:
            print(f"    {self.done} redeploys", flush=True)

    def _order(self, name: str, image: str) -> Order:
        now = time.time()
        made = Order(orders.new_id(now), name, What.IMAGE, INSTRUCTOR, now, image=image)
        orders.place(self.home / "deploys" / ORDERS, made)
        return made

    def _over(self, order: Order) -> Progress | None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = orders.read_progress(self.home / "deploys/shown" / PROGRESS, order.id)
            if found is not None and found.stage.over:
                return found
            time.sleep(_PAUSE)
        return None

    def _drained(self) -> None:
        deadline = time.monotonic() + PATIENCE
        with contextlib.closing(self.engine.client()) as api:
            while time.monotonic() < deadline:
                seats = api.containers(all=True, filters={"label": "workshop.role=seat"})
                if len(seats) == len(self.names):
                    return
                time.sleep(_PAUSE)
        self.failed.append(f"{len(seats)} containers of {len(self.names)} seats")

    def _ask(self, key: dict[str, Any]) -> None:
        """Ask the model that repeats what it is told, as the participant of ``key``."""

        def ask(_: None) -> int:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
            headers = {
                "Authorization": f"Bearer {key['key']}",
                "Content-Type": "application/json",
                "Host": "localhost",
            }
            path = f"{urlsplit(key['base_url']).path}/chat/completions"
            with contextlib.closing(line):
                line.request("POST", path, json.dumps(body), headers)
                return line.getresponse().status

        status = self.engine.inside(ask, None)
        if status != http.HTTPStatus.OK:
            self.failed.append(f"{key['name']}: the model answers {status}")

    # -- what could grow ----------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Count what redeploys could leave behind; what is kept on purpose counts above its bound.

        Each deploy has a line in the log for good and a file of progress for a while; each question
        has a line in the books.
        """
        shown, usage = self.home / "deploys/shown", self.home / "usage"
        progress = len(orders.waiting(shown / PROGRESS))
        books = sum(path.stat().st_size for path in usage.iterdir())
        files = sum(path.is_file() for path in self.home.rglob("*"))
        log = (shown / LOG).stat().st_size
        return {
            "state files": files - progress,
            "files of progress above their bound": max(0, progress - KEPT),
            "bytes of the log above its bound": max(0, log - LINE * self.done),
            "bytes of books above their bound": max(0, books - BOOKS - ASKED * self.done),
            "orders": len(orders.waiting(self.home / "deploys" / ORDERS)),
            **self._inside(),
        }

    def _inside(self) -> dict[str, int]:
        """Count threads and descriptors of the platform's own processes, by part."""
        found: dict[str, int] = {}
        with contextlib.closing(self.engine.client()) as api:
            for part in _PARTS:
                box = api.containers(filters={"label": f"workshop.role={part}"})[0]["Id"]
                table = api.top(box)
                place = table["Titles"].index("PID")
                for what in _WHAT:
                    found[f"{part}: {what}"] = sum(
                        len(os.listdir(f"/proc/{row[place]}/{what}"))  # noqa: PTH208 - no Path
                        for row in table["Processes"]
                    )
        return found
