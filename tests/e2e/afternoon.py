"""An afternoon in short, with a canary in each place where the class keeps something secret.

Provision, secrets, chat, a deploy, one that fails, wrong keys, broken files, every command that
shows something, teardown. Meanwhile all processes are looked at twenty times a second; before
teardown everything is searched that a class has on a server.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import io
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.canaries import Hunt, Watch, said, seats, tags
from tests.e2e.room import ROOT, Class, provisioned
from workshop import state
from workshop.llm import keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workshop.engines.docker import DockerEngine

ROSTER = """\
workshop:
  name: {{name}}
  url: http://localhost:{{port}}
  deploys: {{{{drain_seconds: 1, per_minute: 600}}}}
  build_secrets: {{{{token: secrets/build.token}}}}
  llm:
    embedded: false
    upstreams:
      - name: main
        url: http://127.0.0.1:{upstream}/v1
        key_file: secrets/provider.key
        models: {{{{class-model: }}}}
participants: [{{{{name: ada, env_file: secrets/ada.env}}}}, bob]
"""
APP = """\
import hashlib, json, os, pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def mark(text):
    return hashlib.sha256(text).hexdigest()

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        files = sorted(pathlib.Path("/run/secrets").glob("*"))
        said = {
            "participant": os.environ["WORKSHOP_PARTICIPANT"],
            "version": os.environ["WORKSHOP_VERSION"],
            "setting": mark(os.environ.get("ADA_SETTING", "").encode()),
            "secrets": {path.name: mark(path.read_bytes()) for path in files},
            "modes": sorted({oct(path.stat().st_mode & 0o777) for path in files}),
        }
        try:
            pathlib.Path("/run/secrets/NEW").write_text("x")
            said["written"] = True
        except OSError as exc:
            said["written"] = exc.strerror
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

BREAK
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), App).serve_forever()
"""
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /srv
COPY app.py .
CMD ["python3", "app.py"]
"""
MOUNTING = """\
RUN --mount=type=secret,id=token test "$(wc -c < /run/secrets/token)" -gt 20
"""


def app(*, broken: bool = False, secret: bool = False) -> dict[str, str]:
    """Write the small app every seat of this class runs."""
    line = "raise RuntimeError('the database is not there')" if broken else ""
    recipe = DOCKERFILE.replace("CMD", MOUNTING + "CMD") if secret else DOCKERFILE
    return {"Dockerfile": recipe, "app.py": APP.replace("BREAK", line)}


class Provider(http.server.BaseHTTPRequestHandler):
    """A provider that answers, and shows the key it was sent in every error, as some do."""

    keys: set[str] = set()  # noqa: RUF012 - one for the life of the test

    def do_POST(self) -> None:
        """Answer a chat."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        key = self.headers.get("Authorization", "")
        type(self).keys.add(key)
        status, answer = 200, dict[str, Any](
            id="1", object="chat.completion", created=1, model="class-model",
            choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
            usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        )  # fmt: skip
        if "complain" in text:
            status, answer = 400, {"error": {"message": f"this key is odd: {key}", "code": key}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


FIND_PTH = """\
import pathlib
found = [path for top in ("/opt", "/usr", "/srv") for path in pathlib.Path(top).rglob("*.pth")]
print(*found, "looked" if pathlib.Path("/opt/venv/lib").is_dir() else "looked elsewhere")
"""
"""Files that Python runs at every start: where a compromised package would stay."""


class Afternoon:
    """The class, and what is known of it at the end."""

    def __init__(self, room: Class, hunt: Hunt, planted: dict[str, str]) -> None:
        self.room, self.hunt, self.planted = room, hunt, planted
        self._run = room.run
        room.run = self.run  # type: ignore[method-assign]
        self.facts: dict[str, Any] = {}

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command, and search what it says."""
        done = self._run(*arguments, status=status)
        self.hunt.look(f"output {' '.join(arguments[:2])}", (done.stdout + done.stderr).encode())
        return done

    def fed(self, value: str, *arguments: str, status: int = 0) -> None:
        """Run a command that reads a value."""
        done = subprocess.run(
            [sys.executable, "-m", "workshop", *arguments],
            cwd=self.room.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
            input=value + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.hunt.look(f"output {' '.join(arguments[:2])}", (done.stdout + done.stderr).encode())
        assert done.returncode == status, (arguments, done.stderr)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        """Make one request, and search the answer."""
        connection = http.client.HTTPConnection("localhost", self.room.port, timeout=90)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            self.hunt.look(f"answer {path}", (str(answer.getheaders()) + text).encode())
            return answer.status, text
        finally:
            connection.close()

    # -- what happens --------------------------------------------------------------------------

    def secrets(self) -> None:
        """Hand a secret to everybody and one to Ada."""
        before = seats(self.room.name)
        self.fed(self.planted["workshop secret"], "secrets", "set", "CLASS_TOKEN")
        self.fed(self.planted["seat secret"], "secrets", "set", "SEAT_TOKEN", "--for", "ada")
        self.fed(self.planted["seat secret"], "secrets", "set", "bad-name", status=2)
        self.room.run("provision")
        after = seats(self.room.name)
        self.facts["replaced"] = {name for name in after if before[name] != after[name]}
        self.facts["listed"] = self.room.json("secrets", "list")
        self.room.run("secrets", "list")

    def chat(self) -> None:
        """Good questions, one the provider complains of, and keys that are none."""
        good, wrong = self.planted["virtual key"], self.planted["wrong key"]
        path = "/llm/v1/chat/completions"

        def question(text: str) -> bytes:
            said = {"model": "class-model", "messages": [{"role": "user", "content": text}]}
            return json.dumps(said).encode()

        self.facts["chat"] = [
            self.ask("POST", path, question("hello"), Authorization=f"Bearer {good}")[0],
            self.ask("POST", path, question("complain"), Authorization=f"Bearer {good}")[0],
            self.ask("POST", path, question("hello"), Authorization=f"Bearer {wrong}")[0],
            self.ask("POST", f"{path}?api_key={wrong}", question("hello"))[0],
            self.ask("POST", f"{path}?api_key={good}", question("hello"))[0],
        ]

    def deploy(self) -> None:
        """Deploy by upload and by the instructor's command, fail once, try wrong passwords."""
        good, wrong = self.planted["virtual key"], self.planted["wrong key"]
        ends = []
        for files, key in ((app(), good), (app(broken=True), good), (app(), wrong)):
            headers = {"Authorization": f"Bearer {key}", "Accept": "application/x-ndjson"}
            ends.append(self.ask("POST", "/deploy/ada", packed(files), **headers))
        source = self.room.directory / "with-secret"
        source.mkdir()
        for name, text in app(secret=True).items():
            (source / name).write_text(text)
        built = self.room.json("deploy", "ada", "--source", "with-secret")
        for password in (good, wrong):
            basic = base64.b64encode(f"ada:{password}".encode()).decode()
            self.ask(
                "GET",
                f"/v2/token?service=x&account=ada&password={wrong}",
                Authorization=f"Basic {basic}",
            )
            self.ask("GET", "/v2/", Authorization=f"Basic {basic}")
        lasts = [json.loads(text.strip().splitlines()[-1]) for _, text in ends[:2]]
        self.facts["deploys"] = [last["stage"] for last in lasts]
        self.facts["refused"] = ends[2][0]
        self.facts["built"] = [item["stage"] for item in built["deploys"]]

    def mistakes(self) -> None:
        """Break what can be broken; the message names places, not values."""
        file = self.room.directory / "secrets" / "ada.env"
        good = file.read_text()
        file.write_text(
            f"ADA_SETTING='{self.planted['env value']}\nPATH={self.planted['env value']}\n"
        )
        for command in ("plan", "provision", "status", "doctor"):
            self.room.run(command, status=2)
        file.write_text(good)
        self.room.run("provision", "--nonsense", status=2)
        key = Path(os.environ["XDG_CONFIG_HOME"], "workshop", "secrets.key")
        whole = key.read_text()
        key.write_text(whole[5:])
        self.fed(self.planted["seat secret"], "secrets", "set", "OTHER", status=2)
        key.write_text(whole)

    def shown(self) -> None:
        """Ask every command that shows something."""
        self.facts["ada"] = json.loads(self.room.get("/ada/")[2])
        self.facts["bob"] = json.loads(self.room.get("/bob/")[2])
        for command in ("status", "plan", "usage", "deploys"):
            self.room.run(command)
            self.room.run(command, "--json")
        self.room.run("deploys", "ada")
        done = subprocess.run(
            [sys.executable, "-m", "workshop", "doctor"], cwd=self.room.directory, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "platform")}, capture_output=True,
        )  # fmt: skip
        self.hunt.look("output doctor", done.stdout + done.stderr)
        self.room.run("keys", "show", "ada")
        self.facts["pth"] = [
            said("docker", "exec", f"{self.room.name}-{part}", "python3", "-c", FIND_PTH).decode()
            for part in ("gateway", "intake", "serve", "board")
        ]
        for part in ("ada", "edge", "gateway", "intake", "serve", "registry", "egress", "board"):
            self.room.run("logs", part)

    def search(self, *, everything: bool) -> None:
        """Search everything the class has on this server."""
        hunt, room = self.hunt, self.room
        hunt.engine(room.name)
        written = re.compile(r"/(app|seat-ada|build-step):")
        own = [tag for tag in tags(room.name) if everything or written.search(tag)]
        hunt.images(own)
        hunt.tree("state", room.directory / state.DIRECTORY)
        for part in ("secrets", "participant_template", "with-secret", "participants.yaml"):
            hunt.tree("directory", room.directory, part)
        hunt.tree("memory", Path(os.environ["WORKSHOP_RUNTIME_DIRECTORY"]))
        hunt.tree("config", Path(os.environ["XDG_CONFIG_HOME"]))
        hunt.tree("temporary", Path(os.environ["TMPDIR"]))


def packed(files: dict[str, str]) -> bytes:
    """Pack a source."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return memory.getvalue()


def live_through(
    engine: DockerEngine, directory: Path, outside: Path, names: Iterable[str], *, everything: bool
) -> Afternoon:
    """Live through the whole afternoon, teardown included.

    Args:
        engine: the real one.
        directory: an empty one, for the roster.
        outside: another, for what is the operator's own.
        names: of the canaries to plant.
        everything: whether every image is searched, or those alone that hold what people wrote.

    """
    raw = base64.b64encode(secrets.token_bytes(32)).decode()
    planted = {
        name: f"CANARY-{name.replace(' ', '-')}-{secrets.token_hex(8)}" for name in names
    } | {"store key": raw, "wrong key": f"wk-{secrets.token_urlsafe(32)}"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def fill(room: Path) -> None:
        """Plant what lies beside the roster."""
        template = room / "participant_template"
        template.mkdir()
        for name, text in app().items():
            (template / name).write_text(text)
        (room / "secrets").mkdir()
        for name, text in (
            ("provider.key", planted["provider key"]),
            ("ada.env", f"ADA_SETTING={planted['env value']}"),
            ("build.token", planted["build secret"]),
        ):
            (room / "secrets" / name).write_text(text + "\n")
            (room / "secrets" / name).chmod(0o600)
        (outside / "config" / "workshop").mkdir(parents=True)
        (outside / "temporary").mkdir()
        key = outside / "config" / "workshop" / "secrets.key"
        key.write_text(raw + "\n")
        key.chmod(0o600)

    with (
        tempfile.TemporaryDirectory(prefix="canaries-", dir="/dev/shm") as memory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("WORKSHOP_RUNTIME_DIRECTORY", memory)
        patch.setenv("XDG_CONFIG_HOME", str(outside / "config"))
        patch.setenv("TMPDIR", str(outside / "temporary"))
        roster = ROSTER.format(upstream=server.server_address[1])
        with provisioned(engine, directory, "e2e-canary", roster, fill) as room:
            known = state.load(directory / state.DIRECTORY)
            assert known is not None
            planted["virtual key"] = keys.derive(known.secret, "ada", 0)
            lived = Afternoon(room, Hunt(planted), planted)
            with Watch(lived.hunt):
                lived.secrets()
                lived.chat()
                lived.deploy()
                lived.shown()
                lived.mistakes()
                lived.search(everything=everything)
                room.run("teardown", "--yes")
        lived.facts["left in memory"] = list(Path(memory).rglob("*"))
        lived.facts["left in temporary"] = list((outside / "temporary").iterdir())
    server.shutdown()
    server.server_close()
    return lived
