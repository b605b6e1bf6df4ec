"""A board that really runs, with the files that the command and the control process write."""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2

from tests.waiting import PATIENCE, until
from workshop import serving
from workshop.board import config, guard, shown, wishes
from workshop.board.__main__ import make_server
from workshop.board.app import create_app
from workshop.board.service import CLAIMED, Options, Service
from workshop.board.shown import State
from workshop.serving import bind, log_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastapi import FastAPI
    from selenium.webdriver import Chrome

__all__ = ["Lab", "Visitor", "key_of", "person", "seat", "until"]

METRICS = "metrics-CANARY-0123456789"
"""The token of the figures."""
FAST = {"look": 0.03, "heartbeat": 5.0, "longest": 60.0}


def key_of(name: str) -> str:
    """Make a participant's key."""
    return f"wk-{name}-CANARY-{'0' * 32}"


def code_of(name: str) -> str:
    """Make a participant's claim code in its normal form: eight letters without a dash."""
    return config.hashed(f"code of {name}")[:8].upper()


def person(name: str, **changes: Any) -> config.Seat:
    """Describe a participant, as the command tells the board."""
    return replace(
        config.Seat(
            name,
            name.replace("-", " ").title(),
            f"http://localhost:18999/{name}/",
            f"{name}-1",
            config.hashed(key_of(name)),
            config.hashed(code_of(name)),
        ),
        **changes,
    )


def seat(name: str, state: State = State.LIVE, **changes: Any) -> shown.Seat:
    """Describe a seat, as the control process saw it."""
    found = shown.Seat(
        name,
        state,
        since=time.time() - 60,
        version="v1",
        memory=36 << 20,
        memory_limit=256 << 20,
        cpu=0.02,
        cpu_limit=0.5,
        tokens=1200,
        tokens_limit=200_000,
    )
    return replace(found, **changes)


@dataclass
class Visitor:
    """A browser without a screen: it sends what a page of the board's own sends."""

    lab: Lab
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""

    def headers(self, **more: str) -> dict[str, str]:
        """Give what a POST of an own page carries."""
        found = {
            "origin": self.lab.url,
            "sec-fetch-site": "same-origin",
            "sec-fetch-mode": "cors",
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            guard.CSRF: self.csrf,
        }
        return {**found, **{name.replace("_", "-"): value for name, value in more.items()}}

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        **more: Any,
    ) -> httpx2.Response:
        """Send a request; an empty header is left out."""
        found: Any = {
            name: text for name, text in {**self.headers(), **(headers or {})}.items() if text
        }
        return httpx2.request(
            method, self.lab.url + path, headers=found, timeout=PATIENCE, trust_env=False, **more
        )

    def get(self, path: str, **more: Any) -> httpx2.Response:
        """Ask for a page or a piece of one."""
        return self.ask("GET", path, **more)

    def post(self, path: str, content: Any = None, **more: Any) -> httpx2.Response:
        """Ask for something, with a JSON body."""
        return self.ask("POST", path, json={} if content is None else content, **more)

    @contextmanager
    def events(self, path: str) -> Iterator[Iterator[tuple[str, str]]]:
        """Open a stream and read its events, each with its name and its data."""
        timeout = httpx2.Timeout(5, read=20)
        with (
            httpx2.Client(trust_env=False, timeout=timeout) as client,
            client.stream("GET", self.lab.url + path, headers=self.headers()) as answer,
        ):
            assert answer.status_code == 200, answer.read()
            yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    name, data = "message", list[str]()
    for line in lines:
        kind, _, text = line.partition(": ")
        if kind == "event":
            name = text
        elif kind == "data":
            data.append(text)
        elif not line and data:
            yield name, "\n".join(data)
            name, data = "message", []


@dataclass
class Lab:
    """One board, its files, and ways to ask it."""

    directory: Path
    config: config.Config = field(
        default_factory=lambda: config.Config(
            "class",
            "Summer class",
            "http://localhost:18999",
            (),
            (person("ada"), person("bob")),
            config.hashed(METRICS),
            base_url="http://localhost:18999/llm/v1",
            model="gpt-oss",
            embedding="embed",
            registry="localhost:18999",
        )
    )
    shown: shown.Shown | None = None
    """``None``: everybody in the configuration is live."""
    options: dict[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    openapi: bool = False
    log: io.StringIO = field(default_factory=io.StringIO)
    address: str = ""

    def start(self) -> Lab:
        """Run the board in a thread."""
        for path in (self.told / config.LINKS, self.shown_in / shown.ANSWERS, self.kept):
            path.mkdir(parents=True, exist_ok=True)
        (self.shown_in / shown.LOGS).mkdir(exist_ok=True)
        listener = bind(self.address or f"{self.host}:0")
        self.address = "{}:{}".format(*listener.getsockname())
        if not self.config.origins:
            port = self.address.rpartition(":")[2]
            names = (f"http://{self.address}", f"http://localhost:{port}")
            self.config = replace(self.config, origins=names)
        self._write()
        if self.shown is None:
            self.shown = shown.Shown(
                self.config.workshop,
                time.time(),
                time.time() - 600,
                tuple(seat(one.name) for one in self.config.seats),
                parts=(("edge", "running"), ("gateway", "running")),
            )
        self._show()
        places = (self.told, self.shown_in, self.kept)
        self.service = Service(Options(*places, **{**FAST, **self.options}), log_to(self.log))
        self._server = make_server(self.service, openapi=self.openapi)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def app(self) -> FastAPI:
        """Give the app as it was put together."""
        return create_app(self.service)

    def stop(self) -> None:
        """See that everything has stopped."""
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the board did not stop"

    def restart(self) -> None:
        """Stop the board and run it again on the same files and the same address."""
        self.stop()
        self.start()

    @property
    def told(self) -> Path:
        """What the command writes."""
        return self.directory / "told"

    @property
    def shown_in(self) -> Path:
        """What the control process writes."""
        return self.directory / "shown"

    @property
    def kept(self) -> Path:
        """What the board writes."""
        return self.directory / "kept"

    @property
    def url(self) -> str:
        """Base URL, which is an origin of the board's too."""
        return f"http://{self.address}"

    # -- what the command and the control process do --------------------------------------------

    def configure(self, **changes: Any) -> None:
        """Change the configuration and wait until it holds."""
        self.config = replace(self.config, **changes)
        self._write()
        until(lambda: self.service.view.fingerprint == self.config.fingerprint)

    def change(self, name: str, **changes: Any) -> None:
        """Let the control process see something else of one seat, and wait until it is known."""
        assert self.shown is not None
        seats = tuple(
            replace(one, **changes) if one.name == name else one for one in self.shown.seats
        )
        self.show(replace(self.shown, seats=seats))

    def show(self, found: shown.Shown) -> None:
        """Let the control process see something else, and wait until it is known."""
        self.shown = replace(found, time=time.time())
        self._show()
        until(lambda: self.service.view.shown == self.shown)

    def announce(self, text: str) -> None:
        """Say something to everybody."""
        said = json.dumps({"text": text, "time": time.time()})
        serving.replace_whole(self.shown_in / shown.ANNOUNCEMENT, said)

    def claimed(self, *names: str) -> None:
        """Mark claim codes as used."""
        marks = json.dumps(dict.fromkeys(names, time.time()))
        serving.replace_whole(self.shown_in / CLAIMED, marks)
        until(lambda: self.service.view.claimed == frozenset(names))

    def write_log(self, name: str, *lines: str) -> None:
        """Write the last lines of a seat."""
        tail = json.dumps({"name": name, "time": time.time(), "lines": lines})
        serving.replace_whole(self.shown_in / shown.LOGS / f"{name}.json", tail)

    def wishes(self) -> list[wishes.Wish]:
        """Read the wishes that lie there."""
        place = self.kept / wishes.WISHES
        found = [wishes.read(place, one) for one in wishes.waiting(place)]
        return [wish for wish in found if wish]

    def grant(self, words: str = "done", *, done: bool = True, key: str = "") -> wishes.Wish:
        """Wait for a wish, take it and answer it."""
        wish: wishes.Wish = until(self.wishes)[0]
        said = wishes.Answer(wish.id, done, words, key)
        wishes.answer(self.shown_in / shown.ANSWERS, said)
        (self.kept / wishes.WISHES / f"{wish.id}.json").unlink()
        return wish

    def _write(self) -> None:
        serving.replace_whole(self.told / config.FILE, config.dump(self.config))

    def _show(self) -> None:
        assert self.shown is not None
        serving.replace_whole(self.shown_in / shown.FILE, shown.dump(self.shown))

    # -- people ---------------------------------------------------------------------------------

    def link(self, seconds: float = 600) -> str:
        """Make a one-time link as `workshop board` does, and return its word."""
        word = secrets.token_urlsafe(32)
        ends = f"{time.time() + seconds}\n"
        (self.told / config.LINKS / config.hashed(word)).write_text(ends, "ascii")
        return word

    def visitor(self) -> Visitor:
        """Open a browser in which nobody is logged in."""
        return Visitor(self)

    def instructor(self) -> Visitor:
        """Log the instructor in through a one-time link."""
        found = self.visitor()
        answer = found.post("/login", {"word": self.link()})
        assert answer.status_code == 200, answer.text
        return self._with(found, guard.INSTRUCTOR, answer.cookies[guard.INSTRUCTOR])

    def participant(self, name: str = "ada") -> Visitor:
        """Log a participant in, as the page does once the key was found right."""
        held = self.service.view.person(name)
        assert held is not None
        session_id = self.service.sessions.begin(name, held.key_hash)
        return self._with(self.visitor(), guard.PARTICIPANT, session_id)

    def _with(self, found: Visitor, cookie: str, session_id: str) -> Visitor:
        session = self.service.sessions.find(session_id)
        assert session is not None
        return replace(found, cookies={cookie: session_id}, csrf=session.csrf)

    def open_wall(self, page: Chrome) -> None:
        """Log the instructor in in a real browser, through the link, until the wall is there."""
        page.get(f"{self.url}/login#{self.link()}")
        until(lambda: page.execute_script("return location.pathname") == "/")

    def open_seat(self, page: Chrome, name: str = "ada") -> None:
        """Show a participant's page in a real browser that already has the session."""
        session_id = self.participant(name).cookies[guard.PARTICIPANT]
        page.get(f"{self.url}/healthz")
        page.add_cookie(
            {
                "name": guard.PARTICIPANT,
                "value": session_id,
                "path": "/",
                "secure": True,
                "httpOnly": True,
                "sameSite": "Strict",
            }
        )
        page.get(f"{self.url}/me")

    def logged(self) -> list[dict[str, Any]]:
        """Read the log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]
