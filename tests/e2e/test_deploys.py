"""The deploy loop on the real engine, edge, registry and browser: all three doors, and what goes wrong.

The class of this file is provisioned once. Apps that are uploaded here need no package: they are a
Dockerfile and a few lines of Python, so that a build takes a second.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.room import ROOT, Class, initialise, provisioned
from tests.template_files.files import copy_app, environment, steps
from workshop import sources
from workshop.intake import orders
from workshop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

DOCKER = "/usr/bin/docker"
PEOPLE = ("ada", "bob", "carl", "grace")
ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  llm: false
  deploys: {{drain_seconds: 5, per_minute: 600}}
participants: [ada, bob, carl, grace]
"""
PATIENCE = 60.0

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /srv
COPY . .
CMD ["python3", "app.py"]
"""
APP = """\
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, PORT, PAGE = {host!r}, {port}, {page!r}

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/whoami":
            who = {{"participant": os.environ["WORKSHOP_PARTICIPANT"],
                    "version": os.environ["WORKSHOP_VERSION"], "uid": os.getuid()}}
            return self.answer(json.dumps(who), "application/json")
        self.answer(PAGE if path == "/" else "fine", "text/html")

    def answer(self, text, kind):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

{before}
ThreadingHTTPServer((HOST, PORT), App).serve_forever()
"""


def app(
    page: str = "hello",
    host: str = "0.0.0.0",
    port: str = 'int(os.environ["PORT"])',
    before: str = "",
) -> dict[str, str]:
    """Write a small app; what makes it special is given."""
    text = APP.format(host=host, port=port, page=page, before=before)
    return {"Dockerfile": DOCKERFILE, "app.py": text}


def packed(files: Mapping[str, str]) -> bytes:
    """Pack files the way a desktop does."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return memory.getvalue()


class Deploying(Class):
    """A class whose participants deploy."""

    def __init__(self, directory: Path, name: str, port: int) -> None:
        super().__init__(directory, name, port)
        shown = self.json("keys", "show", "--all")
        self.keys = {item["name"]: item["key"] for item in shown}

    @property
    def host(self) -> str:
        """What stands in front of a repository's name."""
        return f"localhost:{self.port}"

    def upload(self, name: str, files: Mapping[str, str] | bytes, key: str = "") -> dict[str, Any]:
        """Send a source and read the last word on it."""
        body = files if isinstance(files, bytes) else packed(files)
        status, text = self.ask("POST", f"/deploy/{name}", body, key or self.keys[name])
        assert status in {200, 202}, (status, text)
        return dict(json.loads(text.strip().splitlines()[-1]))

    def result(self, name: str, key: str = "") -> dict[str, Any]:
        """Wait for the newest deploy of a seat, as one does after a push."""
        path = f"/deploy/{name}?follow=1"
        status, text = self.ask("GET", path, b"", key or self.keys[name])
        assert status == 200, (status, text)
        return dict(json.loads(text.strip().splitlines()[-1]))

    def ask(self, method: str, path: str, body: bytes, key: str) -> tuple[int, str]:
        """Make one request with a key."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/x-ndjson"}
        with contextlib.closing(connection):
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")

    def version(self, name: str) -> str:
        """Ask which version answers."""
        return str(json.loads(self.get(f"/{name}/whoami")[2])["version"])

    def docker(self, *arguments: str, status: int | None = 0) -> str:
        """Run the real client."""
        done = subprocess.run(
            [DOCKER, "--config", str(self.directory / "docker"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert status is None or done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def login(self, name: str) -> None:
        """Log in with the key as the password."""
        config = self.directory / "docker"
        config.mkdir(exist_ok=True)
        word = base64.b64encode(f"{name}:{self.keys[name]}".encode()).decode()
        (config / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": word}}}))

    def build(self, name: str, files: Mapping[str, str], tag: str) -> str:
        """Build an image on this machine, as a participant's laptop does."""
        directory = self.directory / "laptop" / name
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (directory / path).write_text(text)
        base = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "workshop-base")
        self.docker(
            "build", "-q", "--build-arg", f"BASE_IMAGE={base.split()[0]}", "-t", tag, str(directory)
        )
        return tag


@pytest.fixture(scope="module")
def room(
    docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deploying]:
    """Provision a class of four that deploys."""
    directory = tmp_path_factory.mktemp("deploys")
    with provisioned(docker_engine, directory, "dep", ROSTER, initialise) as started:
        yield Deploying(started.directory, started.name, started.port)


def test_login_with_the_key_is_accepted_and_with_another_refused(room: Deploying) -> None:
    """The participant's one key is the registry's password."""
    words = ("login", room.host, "-u", "ada", "-p")

    assert "Login Succeeded" in room.docker(*words, room.keys["ada"])
    refused = room.docker(*words, "wk-wrong", status=1)
    assert "key" in refused
    room.docker("logout", room.host)


def test_doctor_finds_every_wall_standing(room: Deploying) -> None:
    """Registry, intake, serve, board, egress and relays are audited as seats are."""
    found = [check for check in room.json("doctor") if check["name"] == "hardening"]

    assert [check["verdict"] for check in found] == ["ok"], found


def test_push_goes_live_by_itself(room: Deploying) -> None:
    """Docker push, and the page has changed."""
    before = room.version("ada")
    room.login("ada")
    tag = room.build("ada", app("pushed by Ada"), f"{room.host}/ada/app")
    room.docker("push", tag)
    found = room.result("ada")

    assert (found["stage"], found["what"]) == ("live", "push"), found
    assert found["digest"].startswith("sha256:")
    assert room.version("ada") == found["version"] != before
    assert "pushed by Ada" in room.get("/ada/")[2]
    room.docker("rmi", tag)


def test_two_pushes_in_a_second_deploy_the_last_one_once(room: Deploying) -> None:
    """The first one gives way, whether it waits or is under way."""
    room.login("ada")
    tags = [
        room.build("ada", app(f"push number {number}"), f"{room.host}/ada/app:{number}")
        for number in (1, 2)
    ]
    before = len(room.json("deploys", "ada"))
    for tag in tags:
        room.docker("push", tag)
    ended = room.result("ada")
    if ended["stage"] == "superseded":
        # The registry announced the second push a moment after its client had ended.
        ended = room.result("ada")
    assert ended["stage"] == "live"
    found = room.json("deploys", "ada")[before:]

    assert [item["stage"] for item in found] == ["superseded", "live"]
    assert "push number 2" in room.get("/ada/")[2]
    room.docker("rmi", *tags)


def test_push_to_somebody_elses_repository_is_denied_in_words(room: Deploying) -> None:
    """Ada reads whose repository it is and what to push to instead; Bob's seat is untouched."""
    before = room.version("bob")
    room.login("ada")
    for repository in ("bob/app", "app", "ada"):
        tag = room.build("ada", app("mine"), f"{room.host}/{repository}")
        said = room.docker("push", tag, status=1)
        assert "denied" in said.lower(), said
        assert f"{room.host}/ada/app" in said
        room.docker("rmi", tag)
    assert "denied" in room.docker("pull", f"{room.host}/bob/app", status=1).lower()
    assert room.version("bob") == before


def test_upload_builds_and_goes_live(room: Deploying) -> None:
    """A zip with a Dockerfile, in one request."""
    found = room.upload("bob", app("uploaded by Bob"))

    assert (found["stage"], found["what"]) == ("live", "source"), found
    assert "uploaded by Bob" in room.get("/bob/")[2]
    who = json.loads(room.get("/bob/whoami")[2])
    assert (who["participant"], who["version"], who["uid"]) == ("bob", found["version"], 10001)


def test_upload_without_a_dockerfile_gets_the_templates(room: Deploying) -> None:
    """The template itself with one line changed, from a tar.gz, as `git archive` makes it."""
    template = room.directory / "participant_template"
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for path in sorted(template.rglob("*")):
            if path.is_file() and path.name != "Dockerfile" and "__pycache__" not in path.parts:
                name = f"my-app/{path.relative_to(template)}"
                info, data = tarfile.TarInfo(name), path.read_bytes()
                if path.name == "settings.py":
                    data = data.replace(b'greeting: str = "Hello"', b'greeting: str = "Salut"')
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    found = room.upload("carl", memory.getvalue())

    assert found["stage"] == "live", found
    assert "Salut" in room.get("/carl/")[2]
    assert found["proof"]["escapes"] == []
    assert found["proof"]["first_event"] < 5


@pytest.mark.parametrize(
    ("cause", "files"),
    [
        ("listens-on-localhost", app(host="127.0.0.1")),
        ("listens-on-another-port", app(port="5000")),
        ("import-error", app(before="import flask_that_nobody_has")),
        ("exits-at-once", app(before="raise RuntimeError('the database is not there')")),
        ("needs-writable-root", app(before="open('/srv/notes.txt', 'w')")),
        ("out-of-memory", app(before="hog = bytearray(900_000_000)")),
        ("no-such-file", {**app(), "Dockerfile": DOCKERFILE.replace('"app.py"', '"main.py"')}),
        ("missing-requirements", {"app.py": "print()"}),
        (
            "build-step",
            {**app(), "Dockerfile": DOCKERFILE + "RUN python3 -c 'raise SystemExit(3)'\n"},
        ),
    ],
)
def test_broken_app_is_explained_while_the_old_one_answers(
    room: Deploying, cause: str, files: dict[str, str]
) -> None:
    """Each failure has its own cause, evidence and next step; nothing moves."""
    before = room.version("grace")
    found = room.upload("grace", files)

    assert found["stage"] == "failed", found
    assert found["finding"]["cause"] == cause, found["finding"]
    assert found["finding"]["next"]
    assert room.version("grace") == before


def test_instructor_sees_the_failure_in_status(room: Deploying) -> None:
    """The seat is live, and its line says what went wrong last."""
    room.upload("grace", app(host="127.0.0.1"))
    seat = next(item for item in room.json("status")["seats"] if item["name"] == "grace")

    assert seat["state"] == "live"
    assert "listens-on-localhost" in json.dumps(seat)


def test_new_participant_changes_the_greeting_by_the_workflow_of_the_template(
    room: Deploying,
) -> None:
    """Edit, build, log in, push, wait: the steps that GitHub runs, with the real registry."""
    project = copy_app(room.directory / "project")
    settings = project / "app" / "settings.py"
    changed = settings.read_text().replace('greeting: str = "Hello"', 'greeting: str = "Bonjour"')
    assert changed != settings.read_text()
    settings.write_text(changed)
    variables = environment(
        WORKSHOP_HOST=room.host,
        WORKSHOP_NAME="grace",
        WORKSHOP_KEY=room.keys["grace"],
        WORKSHOP_SCHEME="http",
    )
    tag = f"{room.host}/grace/app:c0ffee"
    base = sources.base_tag(Settings())
    # What the template's Dockerfile starts from cannot be pulled here.
    room.docker("tag", base, "python:3.12-slim")
    try:
        for shell in steps()[1:]:
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", shell],
                cwd=project,
                env={
                    **os.environ,
                    **variables,
                    "GITHUB_SHA": "c0ffee",
                    "PATH": f"/usr/bin:{os.environ['PATH']}",
                    "DOCKER_CONFIG": str(room.directory / "github"),
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=240,
            )
            assert done.returncode == 0, f"{shell}\n{done.stdout}\n{done.stderr}"
    finally:
        room.docker("rmi", "python:3.12-slim")
        room.docker("rmi", tag, status=None)

    assert "Live" in done.stdout
    assert "Bonjour" in room.get("/grace/")[2]


def test_links_that_leave_the_prefix_are_listed(room: Deploying) -> None:
    """The app goes live all the same."""
    page = '<a href="/about">about</a><img src="/logo.png"><script>fetch("/chat")</script>'
    found = room.upload("grace", app(page))

    assert found["stage"] == "live"
    escapes = {(item["kind"], item["value"]) for item in found["proof"]["escapes"]}
    assert {("link", "/about"), ("asset", "/logo.png"), ("fetch", "/chat")} <= escapes


def test_streams_of_others_are_not_cut_and_no_request_fails(room: Deploying) -> None:
    """Bob deploys three times while everybody else streams and asks."""
    failures: list[str] = []
    over = threading.Event()

    def asking(name: str) -> None:
        while not over.is_set():
            status, _, _ = room.get(f"/{name}/whoami")
            if status != 200:
                failures.append(f"{name}: {status}")
            time.sleep(0.02)

    threads = [threading.Thread(target=asking, args=(name,)) for name in PEOPLE]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            assert room.upload("bob", app(f"number {number}"))["stage"] == "live"
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert failures == []


def test_deploy_of_the_instructor_reaches_many_seats(room: Deploying) -> None:
    """One source, everybody."""
    source = room.directory / "starter"
    source.mkdir()
    for name, text in app("a new beginning").items():
        (source / name).write_text(text)
    document = room.json("deploy", "--all", "--source", str(source))

    assert document["ok"], document
    assert all("a new beginning" in room.get(f"/{name}/")[2] for name in PEOPLE)


def test_storm_of_one_participant_does_not_hold_up_another(room: Deploying) -> None:
    """Ada uploads without a pause; Bob's own deploy takes at most ten seconds longer."""
    begun = time.monotonic()
    room.upload("bob", app("in peace"))
    alone = time.monotonic() - begun
    over = threading.Event()

    def storming() -> None:
        body = packed(app("storm"))
        while not over.is_set():
            room.ask("POST", "/deploy/ada?wait=no", body, room.keys["ada"])

    storm = threading.Thread(target=storming)
    storm.start()
    try:
        begun = time.monotonic()
        found = room.upload("bob", app("in a storm"))
        stormy = time.monotonic() - begun
    finally:
        over.set()
        storm.join()

    assert found["stage"] == "live", found
    assert stormy - alone < 10, (alone, stormy)
    assert room.result("ada")["stage"] in {"live", "superseded"}


def test_rollback_brings_the_version_before_back(room: Deploying) -> None:
    """Without a build, within seconds, and it is written down."""
    first = room.upload("ada", app("one"))
    room.upload("ada", app("two"))
    begun = time.monotonic()
    room.run("rollback", "ada")
    seconds = time.monotonic() - begun

    assert "one" in room.get("/ada/")[2]
    assert room.version("ada") == first["version"]
    assert seconds < 15
    log = room.json("deploys", "ada")
    assert [item["what"] for item in log][-3:] == ["source", "source", "version"]
    assert log[-1]["actor"] == "instructor"


def test_provision_keeps_what_was_deployed(room: Deploying) -> None:
    """The second command of the day must not undo the first hour's work."""
    version = room.upload("carl", app("kept"))["version"]
    document = room.json("provision")

    assert document["ok"]
    assert document["changed"] is False
    assert room.version("carl") == version


def test_killed_server_takes_up_its_orders(room: Deploying) -> None:
    """Whoever uploads while the server is away waits, and goes live."""
    server = room.containers()["serve"]
    room.docker("kill", server)
    found: list[dict[str, Any]] = []
    uploading = threading.Thread(target=lambda: found.append(room.upload("bob", app("patient"))))
    uploading.start()
    room.docker("start", server)
    uploading.join(PATIENCE)

    assert found[0]["stage"] == "live", found
    assert "patient" in room.get("/bob/")[2]


def test_command_and_server_killed_in_the_middle_of_a_deploy_lose_nothing(room: Deploying) -> None:
    """Who waited is gone, and so is the server while a version starts; one provision ends it."""
    slow = app("second wind", before="import time; time.sleep(2)")
    tag = room.build("grace", slow, f"{room.name}-instructor:1")
    before, server = room.version("grace"), room.containers()["serve"]
    standing = room.docker("ps", "--all", "--quiet", "--no-trunc").split()
    with subprocess.Popen(
        [sys.executable, "-m", "workshop", "deploy", "grace", "--image", tag],
        cwd=room.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        shown = room.directory / ".workshop/deploys/shown/progress"
        while not any(_starts(shown, key) for key in orders.waiting(shown)):
            assert command.poll() is None
            time.sleep(0.01)
        command.kill()
    room.docker("kill", server)
    assert room.version("grace") == before

    assert room.json("provision")["ok"]
    box = room.directory / ".workshop/deploys/orders"
    deadline = time.monotonic() + PATIENCE
    while orders.waiting(box):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert "second wind" in room.get("/grace/")[2]
    assert room.json("deploys", "grace", "--last", "1")[0]["stage"] == "live"
    after = room.containers()
    assert {after[name] for name in ("ada", "bob", "carl", "edge")} <= set(standing)
    room.docker("rmi", tag)


def _starts(shown: Path, key: str) -> bool:
    found = orders.read_progress(shown, key)
    return found is not None and (found.seat, found.stage) == ("grace", orders.Stage.STARTING)


def test_registry_that_is_down_leaves_the_old_version_and_is_tried_again(room: Deploying) -> None:
    """The push is in; the registry comes back; it goes live."""
    room.login("carl")
    tag = room.build("carl", app("after the pause"), f"{room.host}/carl/app")
    server, registry = room.containers()["serve"], room.containers()["registry"]
    room.docker("pause", server)
    room.docker("push", tag)
    room.docker("stop", registry)
    before = room.version("carl")
    room.docker("unpause", server)
    time.sleep(2)
    assert room.version("carl") == before
    room.docker("start", registry)

    assert room.result("carl")["stage"] == "live"
    assert "after the pause" in room.get("/carl/")[2]
    room.docker("rmi", tag)


def test_tricks_of_an_image_do_not_count(room: Deploying) -> None:
    """Root, a volume, a health check and our own labels: overridden, and nothing is left."""
    recipe = DOCKERFILE + (
        "USER 0\nVOLUME /data\nHEALTHCHECK --interval=1s CMD false\n"
        "LABEL workshop.role=edge workshop.name=other workshop.participant=bob\n"
    )
    volumes = room.docker("volume", "ls", "-q")
    room.login("ada")
    tag = room.build("ada", {**app("tricky"), "Dockerfile": recipe}, f"{room.host}/ada/app")
    room.docker("push", tag)
    assert room.result("ada")["stage"] == "live"

    assert json.loads(room.get("/ada/whoami")[2])["uid"] == 10001
    facts = json.loads(room.docker("inspect", room.containers()["ada"]))[0]
    assert facts["State"].get("Health") is None
    assert facts["Config"]["Labels"]["workshop.role"] == "seat"
    assert room.docker("volume", "ls", "-q") == volumes
    assert room.whoami("bob") == "bob"
    room.docker("rmi", tag)


def test_nobody_without_a_key_gets_in(room: Deploying) -> None:
    """No key, somebody else's key, a made-up one."""
    for key in ("wk-made-up", room.keys["bob"]):
        status, said = room.ask("POST", "/deploy/ada", packed(app()), key)
        assert status in {401, 403}, said
    assert room.get("/v2/_catalog")[0] == 401


def test_server_of_deploys_listens_nowhere(room: Deploying) -> None:
    """Who holds the engine's socket has no port; who faces participants has no socket."""
    holders, listeners = [], []
    for name, container in room.containers().items():
        facts = json.loads(room.docker("inspect", container))[0]
        if any("docker.sock" in mount["Source"] for mount in facts["Mounts"]):
            holders.append(name)
            listeners += _listening(facts["State"]["Pid"])

    assert holders == ["serve"]
    assert listeners == []


def _listening(pid: int) -> list[str]:
    """List the sockets that one container's processes listen on, from their file descriptors."""
    from pathlib import Path

    group = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0].rpartition(":")[2]
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if group in (process / "cgroup").read_text():
                inodes |= {str(entry.readlink()) for entry in (process / "fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.append(fields[1])
    return found
