"""A real registry in a container, and beside it what gives tokens and hears announcements."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import queue
import random
import shutil
import tarfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import docker
from docker.errors import ImageNotFound, NotFound

from tests import layers
from workshop import resources
from workshop.deploys import registry
from workshop.engines.docker import DockerEngine
from workshop.intake import config as intake
from workshop.intake.tokens import SERVICE, Access, Signer, make_pair
from workshop.labels import NAME, ROLE, Role
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECRET = "open-sesame"  # noqa: S105 - of this lab
KEY = "adas-key"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Answer:
    """What the registry said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def codes(self) -> list[str]:
        """The codes of its errors."""
        return [item["code"] for item in json.loads(self.body)["errors"]]


@dataclass
class Registry:
    """A registry at work."""

    address: str
    directory: Path
    container: str
    signer: Signer
    announced: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    deaf: threading.Event = field(default_factory=threading.Event)
    """While set, announcements are answered with 503."""

    def token(self, *access: tuple[str, str], subject: str = "ada", **options: Any) -> str:
        """Sign what ``subject`` may: pairs of a repository and actions with commas."""
        rights = [Access("repository", name, tuple(what.split(","))) for name, what in access]
        return self.signer.token(subject, SERVICE, rights, **options)

    def ask(
        self,
        method: str,
        path: str,
        token: str | None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask the registry for something."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def blob(self, repository: str, content: bytes, token: str) -> str:
        """Push one blob, as docker does it."""
        place = self.ask("POST", f"/v2/{repository}/blobs/uploads/", token).headers["Location"]
        digest = digest_of(content)
        done = self.ask("PUT", f"{place}&digest={digest}", token, content)
        assert done.status == 201, done
        return digest

    def manifest(
        self, repository: str, content: object, token: str, tag: str = "", kind: str = MANIFEST
    ) -> str:
        """Push a manifest, under ``tag`` or under its digest alone."""
        text = json.dumps(content).encode()
        digest = digest_of(text)
        path = f"/v2/{repository}/manifests/{tag or digest}"
        done = self.ask("PUT", path, token, text, {"Content-Type": kind})
        assert done.status == 201, done
        return digest

    def image(
        self,
        repository: str,
        packed: Sequence[bytes],
        *,
        tag: str = "1",
        plain: Sequence[bytes] | None = None,
        changes: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> str:
        """Push an image made by hand; ``config`` is what a Dockerfile would set.

        Args:
            repository: where.
            packed: its layers; what each unpacks to is worked out unless ``plain`` says it.
            tag: under which name.
            plain: the layers unpacked.
            changes: what is different in the configuration's outer part.
            config: what is different in its inner part.

        """
        token = self.token((repository, "pull,push"))
        unpacked = plain or [gzip.decompress(layer) for layer in packed]
        text = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/app"], **config},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in unpacked]},
                **(changes or {}),
            }
        ).encode()
        pushed = {layer: self.blob(repository, layer, token) for layer in dict.fromkeys(packed)}
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _part(CONFIG, text, self.blob(repository, text, token)),
            "layers": [_part(LAYER, layer, pushed[layer]) for layer in packed],
        }
        return self.manifest(repository, content, token, tag)

    def next_push(self) -> dict[str, Any]:
        """Wait for the next announcement."""
        return self.announced.get(timeout=20)

    def forget_announcements(self) -> None:
        """Push a marker and read on until it is announced, so that what comes next is new."""
        marker = self.image("marker/app", [layer_of({"m": uuid.uuid4().bytes})])
        while self.next_push()["target"]["digest"] != marker:
            pass

    def stop(self) -> None:
        """Take the registry away."""
        with _api() as api:
            api.stop(self.container, timeout=5)

    def start(self) -> None:
        """Bring it back."""
        with _api() as api:
            api.start(self.container)
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if self.ask("GET", registry.HEALTH, None).status == 200:
                    return
            if time.monotonic() > deadline:
                with _api() as api:
                    raise AssertionError(api.logs(self.container).decode())
            time.sleep(0.02)


def digest_of(content: bytes) -> str:
    """Name bytes by their content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer_of(files: Mapping[str, bytes], mode: int = 0o755) -> bytes:
    """Pack files as a layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def _part(kind: str, content: bytes, digest: str) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(content), "digest": digest}


@contextlib.contextmanager
def _api() -> Iterator[Any]:
    client = docker.APIClient(version="auto", timeout=120)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Registry]:
    """Run a registry from the product's own image and configuration."""
    ip = f"127.{random.randint(200, 250)}.{8 * random.randint(0, 31)}.1"
    config, data = directory / "registry", directory / "data"
    signer = _configure(config, data, ip)
    tag = _image()
    deaf = threading.Event()
    with _api() as api, _neighbour(ip, signer, deaf) as announced:
        host = api.create_host_config(
            network_mode="host",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            tmpfs={"/tmp": "size=8m"},
            binds=[f"{config}:{registry.MOUNT}:ro", f"{data}:{registry.DATA}:rw"],
        )
        made = api.create_container(
            tag, command=list(registry.COMMAND), user=registry.USER, host_config=host
        )
        try:
            api.start(made)
            found = Registry(f"{ip}:5000", directory, made["Id"], signer, announced, deaf)
            found.wait()
            yield found
            # Its files belong to another user than the one who runs the tests.
            api.start(made)
            job = api.exec_create(made, ["sh", "-c", f"rm -rf {registry.DATA}/*"])
            api.exec_start(job)
        finally:
            api.remove_container(made, force=True, v=True)


def _configure(config: Path, data: Path, ip: str) -> Signer:
    config.mkdir()
    data.mkdir()
    data.chmod(0o777)
    key, certificate = make_pair()
    (config / intake.SIGNING_KEY).write_text(key, "utf-8")
    (config / intake.CERTIFICATE).write_text(certificate, "utf-8")
    said = registry.Registry(
        listen=f"{ip}:5000", intake=f"{ip}:8012", url=f"http://{ip}:8012", secret=SECRET
    )
    (config / registry.FILE).write_text(registry.config(said), "utf-8")
    return Signer.load(config)


def _image() -> str:
    """Build the product's image once for the session; `layers.forget` removes it."""
    tag = f"{layers.NAME}/registry:lab"
    engine = DockerEngine()
    marks = {NAME: layers.NAME, ROLE: Role.APP.value}
    with _api() as api:
        try:
            api.inspect_image(tag)
        except ImageNotFound:
            context = resources.images() / "registry"
            engine.build(ImageSpec(tag, Role.APP, context, base=layers.base(engine)), marks)
    engine.close()
    return tag


@contextlib.contextmanager
def _neighbour(
    ip: str, signer: Signer, deaf: threading.Event
) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Give tokens to whoever has Ada's key, as the intake would, and collect announcements."""
    announced: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if deaf.is_set():
                self._answer(503, b"")
                return
            right = self.headers["Authorization"] == f"Bearer {SECRET}"
            for event in json.loads(body)["events"]:
                announced.put(event if right else {"refused": self.headers["Authorization"]})
            self._answer(200, b"")

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            if given != "Basic " + base64.b64encode(f"ada:{KEY}".encode()).decode():
                self._answer(401, b"{}")
                return
            asked = parse_qs(urlsplit(self.path).query).get("scope", [])
            scopes = [scope.split(":") for scope in asked]
            rights = [
                Access(kind, name, tuple(what.split(",")))
                for kind, name, what in scopes
                if name.startswith("ada/")
            ]
            token = signer.token("ada", SERVICE, rights)
            self._answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((ip, 8012), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield announced
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def images() -> Iterator[Any]:
    """Make images on the engine by hand; what carries a name with the prefix goes at the end.

    Yields the client and the prefix.
    """
    prefix = f"lab{uuid.uuid4().hex[:10]}"
    with _api() as api:
        yield api, prefix
        for item in api.images():
            for name in (*(item["RepoTags"] or ()), *(item["RepoDigests"] or ())):
                if name.startswith((prefix, "127.")) and "<none>" not in name:
                    with contextlib.suppress(ImageNotFound, NotFound):
                        api.remove_image(name, force=True)


def busybox(api: Any, tag: str) -> None:
    """Make a small image of one static program."""
    program = shutil.which("busybox", path="/bin:/usr/bin")
    assert program, "busybox is missing; scripts/ensure-test-tools installs it"
    packed = gzip.decompress(layer_of({"bin/busybox": Path(program).read_bytes()}))
    repository, _, version = tag.rpartition(":")
    changes = ['ENV PATH="/bin"', 'CMD ["/bin/busybox","sleep","60"]']
    api.import_image_from_data(packed, repository=repository, tag=version, changes=changes)


def build(api: Any, tag: str, recipe: str) -> str:
    """Build a Dockerfile that needs no files, and return the image's id."""
    lines = list(
        api.build(fileobj=io.BytesIO(recipe.encode()), tag=tag, rm=True, forcerm=True, decode=True)
    )
    assert not [line for line in lines if "error" in line], lines
    return str(api.inspect_image(tag)["Id"])


def push(api: Any, found: Registry, tag: str, repository: str, version: str = "1") -> str:
    """Push an image through the engine, and return its digest."""
    name = f"{found.address}/{repository}"
    api.tag(tag, name, version)
    credentials = {"registrytoken": found.token((repository, "pull,push"))}
    lines = list(api.push(name, version, auth_config=credentials, stream=True, decode=True))
    assert not [line for line in lines if "error" in line], lines
    digest = next(line["aux"]["Digest"] for line in lines if "Digest" in line.get("aux", ()))
    api.remove_image(f"{name}:{version}")
    return str(digest)
