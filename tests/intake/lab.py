"""An intake that really runs, with a fake deploy server behind it and clients before it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2

from tests.waiting import PATIENCE, until
from workshop import serving
from workshop.intake import orders
from workshop.intake.__main__ import make_server
from workshop.intake.config import (
    CERTIFICATE,
    EVENTS_SECRET,
    FILE,
    SIGNING_KEY,
    Config,
    Limits,
    Seat,
    dump,
)
from workshop.intake.orders import Order, Progress, Stage
from workshop.intake.service import Options, Service
from workshop.intake.tokens import make_pair
from workshop.serving import bind, log_to

if TYPE_CHECKING:
    from pathlib import Path

EVENTS_CANARY = "events-CANARY-0123456789"
DIGEST = "sha256:" + "a" * 64
FAST = {"look": 0.03, "poll": 0.01, "silent": 0.3, "appear": 0.4, "heartbeat": 5.0, "longest": 20.0}


def key_of(name: str) -> str:
    """Make a participant's key."""
    return f"wk-{name}-CANARY-{'0' * 32}"


def seat(name: str, **changes: Any) -> Seat:
    """Describe a participant."""
    return replace(
        Seat(name, f"{name}-1", hashlib.sha256(key_of(name).encode()).hexdigest()), **changes
    )


def bearer(name: str) -> dict[str, str]:
    """Carry a participant's key as curl's documented line does."""
    return {"authorization": f"Bearer {key_of(name)}"}


def basic(name: str, key: str | None = None) -> dict[str, str]:
    """Carry name and key as docker does."""
    pair = f"{name}:{key_of(name) if key is None else key}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


class FakeServer:
    """Takes orders as ``workshop serve`` does, and tells what a test wants it to tell."""

    def __init__(self, inbox: Path, deploys: Path) -> None:
        self.inbox, self.deploys = inbox, deploys
        self.taken: list[Order] = []
        self.sources: dict[str, bytes] = {}
        self.script: list[dict[str, Any]] = [{"stage": Stage.LIVE, "version": "v1", "number": 1}]
        self.pace = 0.02
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            for order_id in orders.waiting(self.inbox):
                order = orders.read_order(self.inbox, order_id)
                assert order is not None
                source = self.inbox / f"{order_id}.tar"
                if source.exists():
                    self.sources[order_id] = source.read_bytes()
                    source.unlink()
                self._play(order)
                (self.inbox / f"{order_id}.json").unlink()
                self.taken.append(order)

    def _play(self, order: Order) -> None:
        progress = begun(order)
        for step in self.script:
            ended = time.time() if Stage(step.get("stage", progress.stage)).over else None
            progress = replace(progress, **{"ended": ended, **step})
            orders.tell(self.deploys / "progress", progress)
            # Each step stands long enough to be seen by somebody who looks a hundred times a second,
            # on a machine that is busy with other things.
            self._stop.wait(self.pace)
        self.log(progress)

    def log(self, progress: Progress) -> None:
        """Write the last word on an order into the log."""
        with (self.deploys / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(replace(progress, lines=()))) + "\n")


def begun(order: Order) -> Progress:
    """Begin an order's progress."""
    return Progress(order.id, order.seat, order.what, order.actor, order.received)


@dataclass
class Lab:
    """One intake and ways to ask it."""

    directory: Path
    config: Config = field(
        default_factory=lambda: Config(
            "class",
            "http://localhost:18999",
            (seat("ada"), seat("bob")),
            Limits(deploys_per_minute=6000, burst=6000),
        )
    )
    log: io.StringIO = field(default_factory=io.StringIO)
    options: dict[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    address: str = ""

    def start(self) -> Lab:
        """Run the intake in a thread."""
        for name in ("config", "deploys/progress", "inbox", "storage"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        private, public = make_pair()
        (self.directory / "config" / SIGNING_KEY).write_text(private, "utf-8")
        (self.directory / "config" / CERTIFICATE).write_text(public, "utf-8")
        (self.directory / "config" / EVENTS_SECRET).write_text(EVENTS_CANARY + "\n", "utf-8")
        self.certificate = public
        listener = bind(f"{self.host}:0")
        self.address = "{}:{}".format(*listener.getsockname())
        self.config = replace(self.config, url=f"http://{self.address}")
        self._write()
        places = (self.directory / name for name in ("config", "deploys", "inbox", "storage"))
        self.service = Service(Options(*places, **{**FAST, **self.options}), log_to(self.log))
        self.server = FakeServer(self.inbox, self.deploys)
        self._server = make_server(self.service)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def stop(self) -> None:
        """See that everything has stopped."""
        self.server.stop()
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the intake did not stop"

    @property
    def inbox(self) -> Path:
        """Where orders come to lie."""
        return self.directory / "inbox"

    @property
    def deploys(self) -> Path:
        """Where progress and log are."""
        return self.directory / "deploys"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.address}"

    def _write(self) -> None:
        serving.replace_whole(self.directory / "config" / FILE, dump(self.config))

    def configure(self, **changes: Any) -> None:
        """Change the configuration and wait until it holds."""
        self.config = replace(self.config, **changes)
        self._write()
        until(lambda: self.service.view.fingerprint == self.config.fingerprint)

    def limit(self, **changes: Any) -> None:
        """Change limits."""
        self.configure(limits=replace(self.config.limits, **changes))

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Send a request."""
        return httpx2.request(method, self.url + path, timeout=PATIENCE, trust_env=False, **more)

    def upload(
        self, content: bytes, name: str = "ada", query: str = "", **more: Any
    ) -> httpx2.Response:
        """Upload as the documented line does."""
        headers = {**bearer(name), **more.pop("headers", {})}
        return self.ask("POST", f"/deploy/{name}{query}", content=content, headers=headers, **more)

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run curl."""
        return subprocess.run(
            ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def events(self, *found: dict[str, Any], secret: str = EVENTS_CANARY) -> httpx2.Response:
        """Announce as the registry does."""
        headers = {
            "authorization": f"Bearer {secret}",
            "content-type": "application/vnd.docker.distribution.events.v2+json",
        }
        return self.ask("POST", "/events", json={"events": found}, headers=headers)

    def orders(self) -> list[Order]:
        """Read what lies in the inbox."""
        found = [orders.read_order(self.inbox, one) for one in orders.waiting(self.inbox)]
        return [order for order in found if order]

    def leftovers(self) -> list[str]:
        """Name the files of the inbox."""
        return sorted(path.name for path in self.inbox.iterdir())

    def free_inbox(self) -> None:
        """Empty the inbox, as if all orders had been taken."""
        shutil.rmtree(self.inbox)
        self.inbox.mkdir()

    def logged(self) -> list[dict[str, Any]]:
        """Read the log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def send_raw(address: str, text: bytes) -> socket.socket:
    """Open a connection and send bytes as they are."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    connection.sendall(text)
    return connection
