"""A gateway that really runs, between a fake upstream and its clients, for a test to ask."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from tests.waiting import PATIENCE, until
from workshop.gateway import ledger as ledgers
from workshop.gateway.__main__ import make_server
from workshop.gateway.config import (
    FILE,
    SECRETS,
    Config,
    Model,
    Pace,
    Seat,
    Task,
    Upstream,
    dump,
)
from workshop.gateway.doors import Patience
from workshop.gateway.service import Options, Service
from workshop.serving import bind, log_to

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.fake import Fake, FakeThread

PROVIDER_KEY = "sk-provider-CANARY-0123456789abcdef"
FAST = Patience(
    connect=0.5,
    first_byte=0.3,
    between=0.3,
    whole=2.0,
    retrying=5,
    first_pause=0.01,
    longest_pause=1.0,
    down=0.15,
)
QUICK = Pace(requests_per_minute=100_000, tokens_per_minute=100_000_000, concurrency=4)


def key_of(name: str) -> str:
    """Make a participant's key."""
    return f"wk-{name}-CANARY-{'0' * 32}"


def seat(name: str, **changes: Any) -> Seat:
    """Describe a participant without narrow limits."""
    key_hash = hashlib.sha256(key_of(name).encode()).hexdigest()
    return replace(Seat(name, f"{name}-1", key_hash, pace=QUICK), **changes)


def upstream(url: str, name: str = "main", **changes: Any) -> Upstream:
    """Describe the fake upstream."""
    models = {
        "small": Model("up-small", Task.CHAT, 100, 200),
        "vectors": Model("up-vectors", Task.EMBEDDING, 10, 0),
    }
    plain = Upstream(name, url, models, secret="main.key")  # noqa: S106 - the name of a file
    return replace(plain, **changes)


def write_config(directory: Path, config: Config) -> None:
    """Replace the configuration as the command does, by a rename."""
    (directory / SECRETS).mkdir(parents=True, exist_ok=True)
    (directory / SECRETS / "main.key").write_text(f" {PROVIDER_KEY}\n", "utf-8")
    new = directory / f".{FILE}"
    new.write_text(dump(config), "utf-8")
    new.rename(directory / FILE)


@dataclass
class Lab:
    """One gateway, its upstream, and ways to ask it."""

    directory: Path
    upstream: FakeThread
    config: Config
    patience: Patience = FAST
    log: io.StringIO = field(default_factory=io.StringIO)
    service: Service | None = None
    address: str = ""

    @property
    def fake(self) -> Fake:
        """The upstream's state."""
        return self.upstream.fake

    @property
    def url(self) -> str:
        """Base URL for clients."""
        return f"http://{self.address}/llm/v1"

    @property
    def running(self) -> Service:
        """The service under test."""
        assert self.service
        return self.service

    def start(self) -> Lab:
        """Run the gateway in a thread."""
        write_config(self.directory / "config", self.config)
        (self.directory / "data").mkdir(exist_ok=True)
        options = Options(
            self.directory / "config",
            self.directory / "data",
            frozenset({"127.0.0.1"}),
            self.patience,
            look=0.03,
        )
        self.service = Service(options, log_to(self.log))
        listener = bind("127.0.0.1:0")
        self.address = "{}:{}".format(*listener.getsockname())
        self._server = make_server(self.service)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def leave(self) -> None:
        """Let the gateway stop by itself while the next test begins."""
        self._server.should_exit = True

    @property
    def stopping(self) -> bool:
        """Whether it is still at that."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """See that the gateway has stopped, and end its upstream."""
        self.leave()
        self._thread.join(PATIENCE)
        assert not self.stopping, "the gateway did not stop"
        self.upstream.stop()

    def configure(self, **changes: Any) -> None:
        """Change the configuration and wait until it holds."""
        self.config = replace(self.config, **changes)
        write_config(self.directory / "config", self.config)
        until(lambda: self.running.view.fingerprint == self.config.fingerprint)

    def client(self, name: str = "ada", **options: Any) -> openai.OpenAI:
        """Make an official client of one participant."""
        return openai.OpenAI(
            base_url=self.url, api_key=key_of(name), max_retries=0, **{"timeout": 10, **options}
        )

    def post(
        self, body: Any, name: str = "ada", path: str = "/chat/completions", **headers: str
    ) -> httpx2.Response:
        """Send a request by hand."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = {"authorization": f"Bearer {key_of(name)}", **headers}
        return httpx2.post(
            self.url + path, content=content, headers=found, timeout=PATIENCE, trust_env=False
        )

    def ask(self, text: str = "hello", name: str = "ada", **fields: Any) -> httpx2.Response:
        """Ask for a chat answer by hand."""
        return self.post(
            {"model": "small", "messages": [{"role": "user", "content": text}], **fields}, name
        )

    def idle(self) -> None:
        """Wait until nothing is held: no request, no place, no reservation."""
        service = self.running
        until(lambda: not len(service.calls))
        assert service.forwarder.queue.length() == 0
        assert all(not pool.held for pool in service.forwarder.queue.pools.values())
        for owner in ("", *(s.name for s in self.config.seats)):
            held = service.budgets.reserved(owner)
            assert (held.tokens, held.money) == (0, 0)

    def rows(self) -> list[dict[str, Any]]:
        """Read the ledger once everything is written."""
        import sqlite3

        self.idle()
        until(lambda: self.running.ledger.pending == 0)
        with_names = sqlite3.connect(self.directory / "data" / ledgers.FILE)
        with_names.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in with_names.execute("select * from requests order by id")]
        finally:
            with_names.close()
