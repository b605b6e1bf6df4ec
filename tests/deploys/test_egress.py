"""The way of builds to package sources: what leads there, what does not, and a real install."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import layers
from tests.deploys.test_build import CMD, TOP, pack
from workshop import context, labels, resources
from workshop.deploys.builds.build import BuildJob, Built, build
from workshop.deploys.failure import DeployFailed
from workshop.engines.steps import DockerSteps
from workshop.labels import Role
from workshop.limits import MIB
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

USER = "10007:10007"
LISTEN = "127.86.251.1:3128"
ALLOWED = "packages.example.org"
INSIDE = "inside.example.org"
"""A name the instructor allowed that leads into the server's own network."""


@dataclass
class Way:
    """Egress and relay as `provision` starts them, and a base image to build on."""

    api: Any
    name: str
    base: str
    directory: Path

    @property
    def relay(self) -> str:
        """Name of the container whose network steps share."""
        return f"{self.name}-relay"

    def ask(self, request: str) -> str:
        """Send one request from the relay's own network; returns the first line of the answer."""
        program = (
            "import socket,sys\n"
            "s = socket.create_connection(('127.0.0.1', 3128), 20)\n"
            "s.sendall(sys.argv[1].encode() + b'\\r\\n\\r\\n')\n"
            "print(s.makefile().readline().strip())"
        )
        job = self.api.exec_create(self.relay, ["python3", "-c", program, request])["Id"]
        return str(self.api.exec_start(job).decode().strip())

    def build(self, files: dict[str, str] | Path, number: int = 1) -> tuple[Built, list[str]]:
        """Build a source behind the relay."""
        path = self.directory / f"source-{number}.tar"
        said: list[str] = []
        job = BuildJob(
            source=files if not isinstance(files, dict) else pack(path, files),
            tag=f"{self.name}/app:{number}",
            labels={labels.NAME: self.name},
            marks={labels.NAME: self.name, labels.ROLE: "build"},
            base=self.base,
            relay=self.relay,
        )
        with contextlib.closing(DockerSteps()) as steps:
            return build(job, steps, said.append, lambda: False), said


@pytest.fixture(scope="module")
def way(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Build the image, start both parts, and remove everything."""
    import docker

    name, directory = f"t{uuid.uuid4().hex[:10]}", tmp_path_factory.mktemp("egress")
    with (
        images(docker_engine, name) as (base, tag),
        contextlib.closing(docker.APIClient(version="auto", timeout=120)) as api,
    ):
        way = Way(api, name, base, directory)
        try:
            start_parts(way, tag, LISTEN, {INSIDE: "10.0.0.1"})
            wait_for_proxy(way)
            yield way
        finally:
            for item in api.containers(all=True, filters={"label": f"{labels.NAME}={name}"}):
                api.remove_container(item["Id"], force=True, v=True)


@contextlib.contextmanager
def images(engine: Any, name: str) -> Iterator[tuple[str, str]]:
    """Make the base image and the one of both parts; remove what was not there before."""
    base, tag = layers.base(engine), f"{name}/egress:1"
    marks = {labels.NAME: name, labels.ROLE: "egress"}
    place = resources.package() / "images" / "egress"
    try:
        engine.build(ImageSpec(tag, Role.APP, place, base=base), marks)
        yield base, tag
    finally:
        for image in engine.observe(name).images:
            if image.workshop == name:
                engine.remove_image(image.tag)


def start_parts(way: Way, tag: str, listen: str, names: dict[str, str]) -> None:
    """Start egress and relay behind the flags of every part; ``names`` resolve in egress."""
    api, name, directory = way.api, way.name, way.directory
    for part in ("socket", "config"):
        (directory / part).mkdir()
    os.chown(directory / "socket", 10007, 10007)
    allowed = "".join(f"{host}\n" for host in (ALLOWED, INSIDE, ".below.example.org"))
    (directory / "config/hosts").write_text(allowed + "a.below.example.org\n", "ascii")
    mount = {str(directory / "config"): {"bind": "/egress-config", "mode": "ro"}}
    sockets = {str(directory / "socket"): {"bind": "/egress", "mode": "rw"}}
    for part, command, network, binds, extra in (
        ("egress", ["egress", listen], "host", {**mount, **sockets}, names),
        ("relay", ["relay"], "none", sockets, None),
    ):
        walls = api.create_host_config(
            init=True,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=256 * MIB if part == "egress" else 64 * MIB,
            pids_limit=256,
            tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=32m,nr_inodes=2000"},
            binds=binds,
            network_mode=network,
            extra_hosts=extra,
        )
        created = api.create_container(
            tag, command=command, name=f"{name}-{part}", user=USER, host_config=walls
        )
        api.start(created["Id"])


def wait_for_proxy(way: Way) -> None:
    """Return once the proxy answers through the relay."""
    deadline = time.monotonic() + 30
    while not way.ask("GET http://nowhere.example.org/ HTTP/1.0").startswith("HTTP/1.1 403"):
        logs = way.api.logs(f"{way.name}-egress", tail=10).decode()
        assert time.monotonic() < deadline, logs
        time.sleep(0.1)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://nowhere.example.org/ HTTP/1.0",
        "CONNECT nowhere.example.org:443 HTTP/1.0",
        "GET http://169.254.169.254/latest/ HTTP/1.0",
        "CONNECT 169.254.169.254:443 HTTP/1.0",
        "GET http://127.0.0.1/ HTTP/1.0",
        "GET http://[::1]/ HTTP/1.0",
        "GET http://[::ffff:169.254.169.254]/ HTTP/1.0",
        "GET http://2852039166/ HTTP/1.0",
        "GET http://0xa9fea9fe/ HTTP/1.0",
        "GET http://localhost/ HTTP/1.0",
        f"GET http://{ALLOWED}:22/ HTTP/1.0",
        f"CONNECT {ALLOWED}:80 HTTP/1.0",
        f"CONNECT {ALLOWED}:22 HTTP/1.0",
        f"GET http://{INSIDE}/ HTTP/1.0",
        f"CONNECT {INSIDE}:443 HTTP/1.0",
        f"GET ftp://{ALLOWED}/ HTTP/1.0",
        f"GET http://x{ALLOWED}/ HTTP/1.0",
        f"GET http://{ALLOWED}.evil.example.org/ HTTP/1.0",
        "GET http://egress:3128/squid-internal-mgr/info HTTP/1.0",
        "GET cache_object://127.0.0.1/info HTTP/1.0",
        "GET /squid-internal-mgr/info HTTP/1.0",
    ],
)
def test_request_elsewhere_is_denied(way: Way, request_line: str) -> None:
    """Only allowed names, on two ports, and only where they lead out of the server's networks."""
    assert way.ask(request_line).split()[1] in {"400", "403"}, way.ask(request_line)


@pytest.mark.parametrize("host", [ALLOWED, "a.below.example.org", "below.example.org"])
def test_allowed_name_is_looked_up(way: Way, host: str) -> None:
    """These do not exist, so the proxy, which was willing, says that it cannot reach them."""
    assert way.ask(f"GET http://{host}/ HTTP/1.0").split()[1] in {"502", "503", "504"}


def test_package_is_installed_from_a_step(way: Way) -> None:
    """Pip finds its index through relay and egress, TLS end to end; nothing of it stays behind."""
    built, said = way.build(
        {
            "Dockerfile": f"{TOP}RUN python3 -m venv /v && /v/bin/pip install --no-cache-dir --disable-pip-version-check iniconfig && /v/bin/python -c 'import iniconfig; print(iniconfig.__name__)'{CMD}"
        }
    )
    saved = subprocess.run(["docker", "save", built.tag], capture_output=True, check=True).stdout

    assert said[-1] == "iniconfig"
    assert b"127.0.0.1:3128" not in saved


def test_debian_package_is_installed_from_a_step(way: Way) -> None:
    """So does apt, as root without most of root's powers."""
    _, said = way.build(
        {
            "Dockerfile": f"{TOP}RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends hello && hello{CMD}"
        }
    )

    assert said[-1] == "Hello, world!"


@pytest.mark.parametrize(
    ("command", "cause", "message"),
    [
        ("python3 -m venv /v && /v/bin/pip install no-such-package-7c1f94", "build-step", "There is no package no-such-package-7c1f94."),
        ("python3 -c 'import urllib.request; urllib.request.urlopen(\"https://nowhere.example.org/\")'", "build-network", "may not reach"),
        ("python3 -c 'import socket; socket.create_connection((\"nowhere.example.org\", 443))'", "build-network", "may not reach"),
        ("apt-get install -y no-such-package", "build-step", "There is no Debian package no-such-package."),
    ],
)  # fmt: skip
def test_failed_fetch_is_explained(way: Way, command: str, cause: str, message: str) -> None:
    """What pip, apt and Python say in such a case is recognised."""
    with pytest.raises(DeployFailed) as failed:
        way.build({"Dockerfile": f"{TOP}RUN {command}{CMD}"})

    assert failed.value.finding.cause == cause
    assert message in failed.value.finding.message


def test_parts_are_small_at_rest(way: Way) -> None:
    """Both together take less than one seat."""
    sizes = {}
    for part in ("egress", "relay"):
        raw = way.api.stats(f"{way.name}-{part}", stream=False, one_shot=True)["memory_stats"]
        sizes[part] = raw["usage"] - raw["stats"].get("total_inactive_file", 0)

    assert sizes["egress"] < 48 * MIB
    assert sizes["relay"] < 8 * MIB


def test_egress_ends_when_either_of_its_processes_does(way: Way) -> None:
    """A half of it would look alive and lead nowhere; the engine starts it anew."""
    container = f"{way.name}-egress"
    for program in ("socat", "squid"):
        kill = f"import os,glob\n[os.kill(int(p.split('/')[2]), 9) for p in glob.glob('/proc/[0-9]*/comm') if open(p).read().strip() == '{program}']"
        way.api.exec_start(way.api.exec_create(container, ["python3", "-c", kill])["Id"])
        assert way.api.wait(container, timeout=20)["StatusCode"] != 0
        way.api.start(container)
        wait_for_proxy(way)


@pytest.mark.slow
def test_template_is_built_and_a_changed_line_redoes_little(way: Way) -> None:
    """Cold with all its packages; then one line of the app costs a copy and a compilation."""
    template = resources.participant_template()
    files = {
        name: (template / name).read_bytes().decode("utf-8", "surrogateescape")
        for name in context.files(template)
        if (template / name).is_file()
    }
    files = {name: text.encode("utf-8", "replace").decode() for name, text in files.items()}
    cold, _ = way.build(files, 1)
    warm, _ = way.build(files, 2)
    changed, said = way.build({**files, "app/main.py": files["app/main.py"] + "\n# changed\n"}, 3)

    assert (cold.cached, warm.cached, changed.cached) == (0, 2, 1)
    assert said == [
        said[0],
        "COPY prompts prompts",
        "COPY documents documents",
        "COPY app app",
        "RUN python -m compileall -q app",
    ]
    assert warm.seconds < changed.seconds < cold.seconds
    assert answers(way, changed.tag)


def answers(way: Way, tag: str) -> bool:
    """Start the image as a seat would be, and see whether it listens."""
    walls = way.api.create_host_config(
        network_mode="host", read_only=True, tmpfs={"/tmp": "size=32m"}
    )
    port = "18497"
    created = way.api.create_container(tag, environment={"PORT": port}, host_config=walls)["Id"]
    way.api.start(created)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", int(port)), 1),
            ):
                return True
            time.sleep(0.1)
        return False
    finally:
        way.api.remove_container(created, force=True)
