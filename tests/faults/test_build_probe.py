"""What a build can reach: package sources, and neither metadata, nor the server, nor neighbours.

Everything stands in a namespace of its own: a private engine, a fake metadata service at the
address clouds use, services on the server's addresses, a neighbour on a bridge. The same program
runs outside a build first, and there it reaches them all.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.deploys.test_build import CMD, TOP, pack
from tests.deploys.test_egress import ALLOWED, INSIDE, Way, images, start_parts, wait_for_proxy
from tests.engines.private import PrivateEngine, private_engine, require

from workshop import labels
from workshop.deploys.builds.build import BuildJob, build
from workshop.engines.steps import DockerSteps

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

METADATA = "169.254.169.254"
METADATA_6 = "fd00:ec2::254"
PACKAGES = "198.51.100.7"
"""Where the allowed name leads: an address of the outer world, as far as the namespace knows."""
SERVER = "10.77.0.1"
BRIDGE = "10.231.9.1"
NEIGHBOUR = "10.231.9.2"
LISTEN = "127.86.252.1:3128"
PORTS = (80, 443, 8011)

SERVICE = """
import socket, sys, threading
def serve(family, port):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(("", port)); s.listen(50)
    while True:
        c, _ = s.accept()
        try:
            c.settimeout(3)
            text = "REACHED " + c.getsockname()[0]
            c.recv(4096)
            c.sendall(("HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(text), text)).encode())
        except OSError: pass
        finally: c.close()
for port in map(int, sys.argv[1:]):
    for family in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=serve, args=(family, port)).start()
"""

PROBE = """
import json, socket, sys
def talk(host, port, *texts):
    try:
        s = socket.create_connection((host, port), 4); s.settimeout(4); said = b""
        for text in texts:
            s.sendall(text.encode())
            while chunk := s.recv(4096):
                said += chunk
                if b"\\r\\n\\r\\n" in said and text.startswith("CONNECT"): break
            if b"REACHED" in said: return True
            if text.startswith("CONNECT") and b" 200 " not in said.split(b"\\r\\n")[0]: return False
        return b"REACHED" in said
    except OSError:
        return False
reached = []
for host in json.loads(sys.argv[1]):
    shown = "[%s]" % host if ":" in host else host
    for port in (80, 443, 8011):
        if talk(host, port, "GET / HTTP/1.0\\r\\n\\r\\n"): reached.append("direct %s %d" % (host, port))
        if len(sys.argv) > 2:
            if talk("127.0.0.1", 3128, "GET http://%s:%d/ HTTP/1.0\\r\\n\\r\\n" % (shown, port)):
                reached.append("GET %s %d" % (host, port))
            if talk("127.0.0.1", 3128, "CONNECT %s:%d HTTP/1.0\\r\\n\\r\\n" % (shown, port), "GET / HTTP/1.0\\r\\n\\r\\n"):
                reached.append("CONNECT %s %d" % (host, port))
print("result " + json.dumps(reached))
"""

TARGETS = (METADATA, METADATA_6, SERVER, BRIDGE, NEIGHBOUR)
SPELLINGS = (
    *("2852039166", "0xa9fea9fe", "169.254.43518", f"::ffff:{METADATA}", f"{METADATA}."),
    *("localhost", "127.0.0.1", "127.86.252.1", "::1", "0.0.0.0", "metadata.google.internal"),
    *(INSIDE, "a.below.example.org", "x.below.example.org"),
)


@dataclass
class Town:
    """A private engine with everything a build must not reach."""

    engine: PrivateEngine
    way: Way

    def container(self, network: str, hosts: tuple[str, ...]) -> list[str]:
        """Run the probe in an ordinary container: what can be reached without a wall."""
        api = self.way.api
        created = api.create_container(
            self.way.base,
            command=["python3", "-c", PROBE, json.dumps(hosts)],
            host_config=api.create_host_config(network_mode=network),
        )["Id"]
        api.start(created)
        api.wait(created, timeout=100)
        text = api.logs(created).decode()
        api.remove_container(created, v=True)
        return result(text.splitlines())


def result(lines: list[str]) -> list[str]:
    """Read what a probe reached."""
    (line,) = [line for line in lines if line.startswith("result ")]
    found: list[str] = json.loads(line.removeprefix("result "))
    return found


@pytest.fixture(scope="module")
def town(
    request: pytest.FixtureRequest, docker_engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """Build it all in a namespace of its own."""
    require(request)
    name, directory = f"t{uuid.uuid4().hex[:10]}", tmp_path_factory.mktemp("probe")
    with (
        images(docker_engine, name) as (base, tag),
        private_engine() as engine,
        contextlib.closing(engine.client()) as api,
    ):
        copy_in(engine, base, tag)
        way = Way(api, name, base, directory)
        with services(engine):
            start_neighbour(api, base)
            names = {ALLOWED: PACKAGES, INSIDE: METADATA, "a.below.example.org": NEIGHBOUR}
            start_parts(way, tag, LISTEN, {**names, "x.below.example.org": METADATA_6})
            wait_for_proxy(way)
            yield Town(engine, way)


def copy_in(engine: PrivateEngine, *tags: str) -> None:
    """Give the private engine images of the machine's own."""
    with subprocess.Popen(["docker", "save", *tags], stdout=subprocess.PIPE) as saving:
        loading = ["docker", "--host", engine.endpoint, "load", "--quiet"]
        subprocess.run(loading, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)


@contextlib.contextmanager
def services(engine: PrivateEngine) -> Iterator[None]:
    """Answer on every address of the namespace, on the ports that matter."""
    for address in (f"{METADATA}/32", f"{PACKAGES}/32", f"{SERVER}/32", f"{METADATA_6}/128"):
        command = ["ip", "-n", engine.name, "address", "add", address, "dev", "lo"]
        subprocess.run(command, check=True)
    ports = map(str, PORTS)
    enter = ["nsenter", f"--net={engine.namespace}", "python3", "-c", SERVICE, *ports]
    with subprocess.Popen(enter) as serving:
        try:
            yield
        finally:
            serving.kill()


def start_neighbour(api: Any, base: str) -> None:
    """Start somebody else's app on a bridge."""
    from docker.types import IPAMConfig, IPAMPool

    pool = IPAMPool(subnet="10.231.9.0/24", gateway=BRIDGE)
    api.create_network("neighbours", ipam=IPAMConfig(pool_configs=[pool]))
    endpoint = api.create_endpoint_config(ipv4_address=NEIGHBOUR)
    created = api.create_container(
        base,
        command=["python3", "-c", SERVICE, *map(str, PORTS)],
        host_config=api.create_host_config(network_mode="neighbours"),
        networking_config=api.create_networking_config({"neighbours": endpoint}),
    )
    api.start(created["Id"])


def attempt(town: Town, hosts: tuple[str, ...]) -> list[str]:
    """Run the probe as a step of a build."""
    way = town.way
    said: list[str] = []
    job = BuildJob(
        source=pack(
            way.directory / "source.tar",
            {
                "Dockerfile": f"{TOP}COPY probe.py /\nRUN python3 /probe.py '{json.dumps(hosts)}' proxy{CMD}",
                "probe.py": PROBE + f"\n# {time.time()}\n",
            },
        ),
        tag=f"{way.name}/app:1",
        labels={labels.NAME: way.name},
        marks={labels.NAME: way.name},
        base=way.base,
        relay=way.relay,
    )
    with contextlib.closing(DockerSteps(base_url=town.engine.endpoint)) as steps:
        build(job, steps, said.append, lambda: False)
    return result(said)


def test_everything_answers_outside_a_build(town: Town) -> None:
    """The probe can fail: on the host and on a bridge it reaches what it is after."""
    on_host = town.container("host", TARGETS)
    on_bridge = town.container("neighbours", (METADATA, SERVER, BRIDGE, NEIGHBOUR))

    assert on_host == [f"direct {host} {port}" for host in TARGETS for port in PORTS]
    assert on_bridge == [
        f"direct {host} {port}" for host in (METADATA, SERVER, BRIDGE, NEIGHBOUR) for port in PORTS
    ]


def test_build_reaches_none_of_it(town: Town) -> None:
    """Neither directly nor through the proxy, by number, name or any spelling of either."""
    assert attempt(town, (*TARGETS, *SPELLINGS)) == []


def test_build_reaches_what_is_allowed(town: Town) -> None:
    """The same probe finds the package source, through the proxy and by its name alone."""
    assert attempt(town, (ALLOWED, PACKAGES)) == [
        f"GET {ALLOWED} 80",
        f"GET {ALLOWED} 443",
        f"CONNECT {ALLOWED} 443",
    ]
