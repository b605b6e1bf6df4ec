"""A class of light seats on a real engine, every command of which may be killed at any moment.

Commands run in forks (:mod:`tests.faults.killing`); several classes take turns in one process, so
that one's waiting is another's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from tests.faults import killing
from tests.ports import free_port

from tests import layers
from workshop import apply as applying
from workshop import operations, resources, state
from workshop.apply import Publishers, Tools
from workshop.engines.docker import DockerEngine
from workshop.health import fetch
from workshop.labels import Role
from workshop.plan import make_plan
from workshop.proxy.render import render
from workshop.state import SHARDS
from workshop.subnets import bridge_name
from workshop.teardown import teardown
from workshop.wall import firewall
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from workshop.desired import Desired
    from workshop.plan import Plan

    Turns = Generator[None, None, Any]

APP = """\
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        who = {"participant": os.environ["WORKSHOP_PARTICIPANT"],
               "version": os.environ["WORKSHOP_VERSION"]}
        body = json.dumps(who).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), App).serve_forever()
"""
DOCKERFILE = (
    'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY app.py /srv/\nCMD ["python3", "/srv/app.py"]\n'
)
ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  limits: {{memory: 96m, cpus: 1, pids: 64}}
  llm: false
  deploys: {deploys}
  board: false
participants: [{people}]
"""
PACE = 0.05
"""Seconds between two questions to everybody."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Heard:
    """What visitors heard so far."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


class Room:
    """One class; every verb that takes a ``point`` dies there."""

    def __init__(
        self, directory: Path, name: str, people: Sequence[str], deploys: str = "false"
    ) -> None:
        self.name = name
        self.people = list(people)
        self.directory = directory
        self.roster = directory / "participants.yaml"
        self.home = directory / ".workshop"
        self.heard = Heard()
        self._asked = 0.0
        self.port = free_port()
        app = directory / "participant_template"
        app.mkdir(parents=True)
        (app / "Dockerfile").write_text(DOCKERFILE)
        (app / "app.py").write_text(APP)
        self.roster.write_text(
            ROSTER.format(name=name, port=self.port, deploys=deploys, people=", ".join(people))
        )
        self.api = docker.APIClient(version="auto")

    # -- commands ---------------------------------------------------------------------------------

    def provision(self, point: killing.Point | None = None) -> Turns:
        """Provision, and mean it."""

        def up(effects: killing.Effects) -> None:
            report = operations.provision(self.work(effects))
            assert report.ok, report.failed

        return self._turns(up, point)

    def provision_without_doors(self) -> Turns:
        """Bring up seats and edge of a class that deploys, and nothing else of the deploy loop."""

        def up(effects: killing.Effects) -> None:
            work = self.work(effects)
            path = state.open_directory(work.roster_path)
            seen = survey(work)
            state.save(path, seen.choices)
            desired = seen.desired
            assert desired.edge is not None
            assert desired.edge_config is not None
            publisher = work.publisher()
            publisher.stage(desired.edge_config, render(desired.edge, resources.nginx_templates()))
            publisher.prepare(desired.edge_config)
            assert desired.deploys is not None
            # A server of deploys has nobody here whose network it could build starters in.
            told = replace(desired, starters={}, deploys=replace(desired.deploys, starters=()))
            work.deploy_files().prepare(told)
            assert desired.wall is not None
            firewall.keep(work.directories.wall, desired.wall)
            wanted = without_doors(desired)
            made = make_plan(wanted, seen.observed)
            keys, files = work.gateway_publisher(), work.deploy_files()
            publishers = Publishers(publisher, keys, files)
            tools = Tools(work.engine, work.probe, publishers, work.settings, work.emit)
            report = applying.apply(made, wanted, tools)
            assert report.ok, report.failed

        return self._turns(up, None)

    def plan_without_doors(self) -> Plan:
        """Say what is not as :meth:`provision_without_doors` would make it."""
        seen = survey(self.work(), closely=True)
        return make_plan(without_doors(seen.desired), seen.observed)

    def teardown(self, point: killing.Point | None = None, *, keep_images: bool = True) -> Turns:
        """Tear down, and mean it; images stay unless told otherwise."""

        def down(effects: killing.Effects) -> None:
            receipt = teardown(self.work(effects), keep_images=keep_images)
            assert not receipt.left, receipt.left

        return self._turns(down, point)

    def fork(self, act: Any, point: killing.Point | None = None) -> Turns:
        """Do anything else in a fork."""
        return self._turns(act, point)

    def work(self, effects: killing.Effects | None = None) -> Workspace:
        """Begin a command."""
        engine = DockerEngine()
        counted = effects.engine(engine) if effects else engine
        return Workspace(self.roster, lambda: counted)

    def _turns(self, act: Any, point: killing.Point | None) -> Turns:
        """Visitors ask all the while; let others have their turns."""
        fork = killing.Fork(self.home, act, point)
        try:
            while fork.running():
                # The edge bounds how often one visitor may ask.
                if time.monotonic() - self._asked > PACE:
                    self.listen()
                else:
                    time.sleep(PACE / 10)
                yield
        finally:
            fork.end()
        ending = fork.ended()
        assert not ending.words, f"{self.name}: {ending.words}"
        # How often a lock is asked for depends on others, so the last point may not be reached.
        assert point is not None or not ending.killed, self.name
        return ending

    # -- visitors -----------------------------------------------------------------------------

    def listen(self) -> dict[str, str]:
        """Ask every seat through the edge who it is; a name that is not its own is wrong."""

        async def ask_all() -> list[tuple[str, str, str]]:
            return await asyncio.gather(*(_whoami(self.port, name) for name in self.people))

        self._asked = time.monotonic()
        said = dict(zip(self.people, asyncio.run(ask_all()), strict=True))
        for name, (answer, _, why) in said.items():
            self.heard.answers += bool(answer)
            if answer not in {"", name}:
                self.heard.wrong.append(f"/{name}/ answered as {answer!r}")
            if not answer:
                self.heard.silent.append(f"/{name}/: {why}")
        return {name: version for name, (_, version, _) in said.items()}

    # -- what is there ------------------------------------------------------------------------

    def started(self) -> dict[str, str]:
        """Map each running container that is meant to last to the moment it was started."""
        return {
            item["Id"]: self.api.inspect_container(item["Id"])["State"]["StartedAt"]
            for item in self._listed()
            if item["State"] == "running" and item["Labels"]["workshop.role"] != Role.WALL
        }

    def described(self) -> dict[str, Any]:
        """Describe everything of the class, apart from what differs between any two runs."""
        known = json.loads((self.home / "state.json").read_text())
        own = {known["run"]: "RUN", known["secret"]: "SECRET", known["check"]: "CHECK"}
        found: dict[str, Any] = {}
        for item in self._listed():
            raw = self.api.inspect_container(item["Id"])
            networks = raw["NetworkSettings"]["Networks"]
            found[f"container {raw['Name']}"] = {
                "state": raw["State"]["Status"],
                "addresses": {key: net["IPAddress"] for key, net in networks.items()},
                "config": _sorted({**raw["Config"], "Hostname": ""}),
                "host": _sorted(raw["HostConfig"]),
            }
        for net in self.api.networks(filters={"label": f"workshop.name={self.name}"}):
            raw = {key: net[key] for key in ("Driver", "IPAM", "Options", "Labels", "Internal")}
            found[f"network {net['Name']}"] = _sorted(raw)
        skip = ("lock", "intake/token.key", "intake/token.crt", "registry/token.crt")
        found |= {f"file {key}": text for key, text in killing.tree(self.home, skip).items()}
        found["rules"] = sorted(self.rules())
        text = json.dumps(found)
        for drawn, word in own.items():
            text = text.replace(drawn, word)
        return dict(json.loads(text))

    def rules(self) -> list[str]:
        """List the firewall's rules that name our bridges or addresses, without their counters."""
        saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
        bridges = [bridge_name(self.name, shard) for shard in range(SHARDS)]
        return [line for line in saved.stdout.splitlines() if any(b[:11] in line for b in bridges)]

    def names(self) -> dict[str, str]:
        """Map each container to its name."""
        return {item["Id"]: item["Names"][0].lstrip("/") for item in self._listed()}

    def tags(self, what: str) -> list[str]:
        """List the tags that one of our images has: one, or none where it was taken away."""
        found = self.api.images(filters={"label": f"workshop.name={self.name}"})
        tags = [tag for item in found for tag in item["RepoTags"] or ()]
        return [tag for tag in tags if tag.startswith(f"{self.name}/{what}:")]

    def throw_switch(self, seat: str) -> None:
        """Lead a seat's route to where nobody is."""
        green = self.home / "edge/green"
        green.mkdir(exist_ok=True)
        (green / seat).touch()

    def inventory(self) -> list[str]:
        """Name everything of ours that is anywhere on this machine; images are looked at apart."""
        bridges = [bridge_name(self.name, shard)[:11] for shard in range(SHARDS)]
        links = [path.name for path in Path("/sys/class/net").iterdir()]
        networks = self.api.networks(filters={"label": f"workshop.name={self.name}"})
        return [
            *(f"container {item['Names']}" for item in self._listed()),
            *(f"network {item['Name']}" for item in networks),
            *(f"link {link}" for link in links if any(link.startswith(b) for b in bridges)),
            *(f"rule {rule}" for rule in self.rules()),
            *(f"file {path}" for path in [self.home] if path.exists()),
            *(f"process {line}" for line in _processes(str(self.directory))),
        ]

    def images(self) -> list[str]:
        """List the images that carry our name, those without a tag among them."""
        found = self.api.images(filters={"label": f"workshop.name={self.name}"})
        tags = [tag for item in found for tag in item["RepoTags"] or ("without a tag",)]
        # Layers that the next class starts from carry our label too.
        return [tag for tag in tags if not tag.startswith(layers.NAME)]

    def _listed(self) -> list[Any]:
        return list(self.api.containers(all=True, filters={"label": f"workshop.name={self.name}"}))


@contextlib.contextmanager
def room(
    directory: Path, name: str, people: Sequence[str], deploys: str = "false"
) -> Iterator[Room]:
    """Make a class whose images stand ready; at the end nothing of it may be left."""
    made = Room(directory, f"{name}-{os.getpid()}", people, deploys)
    assert (left := made.inventory()) == [], left
    engine = DockerEngine()
    try:
        _patiently(lambda: layers.base(engine))
        seen = survey(made.work())
        light = {
            item.image for item in seen.desired.containers if item.role in {Role.SEAT, Role.EDGE}
        }
        for spec in seen.desired.images:
            if spec.tag in light:
                engine.build(spec, seen.desired.owner.labels(spec.role))
        _patiently(lambda: layers.keep(made.name))
        yield made
    finally:
        drive([made.teardown(keep_images=False)])
        engine.close()
        left = [*made.inventory(), *made.images()]
        made.api.close()
    assert left == [], left


def _patiently(act: Callable[[], object]) -> None:
    """Try again where an image of somebody else went while all were listed."""
    for _ in range(5):
        with contextlib.suppress(docker.errors.NotFound):
            act()
            return
    act()


def drive(lanes: Iterable[Turns]) -> None:
    """Let several classes take turns until all are through."""
    waiting = list(lanes)
    while waiting:
        for lane in list(waiting):
            try:
                next(lane)
            except StopIteration:
                waiting.remove(lane)
            except BaseException:
                for other in waiting:
                    other.close()
                raise


def without_doors(desired: Desired) -> Desired:
    """Leave seats and edge, and nothing else of the deploy loop."""
    light = tuple(i for i in desired.containers if i.role in {Role.SEAT, Role.EDGE})
    return replace(desired, containers=light, deploys=None, intake=None)


async def _whoami(port: int, name: str) -> tuple[str, str, str]:
    """Ask who answers: the name, the version, and what came instead of them."""
    try:
        answer = await fetch("127.0.0.1", port, f"/{name}/whoami", "localhost")
        said = answer.json() if answer.status == 200 else None
    except (OSError, EOFError, TimeoutError, ValueError) as exc:
        return "", "", f"{type(exc).__name__} {exc}"
    if not isinstance(said, dict):
        return "", "", f"{answer.status} {answer.body[:80]!r}"
    return str(said.get("participant", "")), str(said.get("version", "")), ""


def _processes(directory: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if directory in line and path.name != str(os.getpid()):
                yield f"{path.name} {line}"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=str)
    return value
