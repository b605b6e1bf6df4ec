"""A small world around a private engine: an internet with two hosts, metadata, a resolver.

::

    seats -- bridge -- the server's namespace -- veth -- the internet's namespace
                       192.168.77.1                      192.168.77.2
                       ports 22, 9999                    203.0.113.10 (approved), 203.0.113.20,
                                                         169.254.169.254, fd00:ec2::254,
                                                         a resolver at 10.99.0.53

No probe leaves the machine: the addresses of metadata and mail are in the second namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.engines.private import ROOT, PrivateEngine, private_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

APPROVED, OTHER = "203.0.113.10", "203.0.113.20"
METADATA, METADATA_6 = "169.254.169.254", "fd00:ec2::254"
RESOLVER = "10.99.0.53"
LAN, UPLINK = "192.168.77.1", "192.168.77.2"
NAMES = {
    "approved.example.org": APPROVED,
    "other.example.org": OTHER,
    "inside.example.org": METADATA,
}
SERVER_PORTS = (22, 9999)
WORLD_PORTS = (25, 80, 443)

SERVICE = """
import json, socket, struct, sys, threading
ports, names, log = json.loads(sys.argv[1])
def serve(s):
    while True:
        c, _ = s.accept()
        try:
            c.settimeout(3); c.recv(4096)
            c.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 7\\r\\n\\r\\nREACHED")
        except OSError: pass
        finally: c.close()
def resolve(s):
    while True:
        asked, who = s.recvfrom(2048)
        place, labels = 12, []
        while asked[place]:
            labels.append(asked[place + 1 : place + 1 + asked[place]].decode()); place += 1 + asked[place]
        question, name = asked[12 : place + 5], ".".join(labels).lower()
        with open(log, "a") as file: file.write(name + "\\n")
        kind, known = struct.unpack("!H", question[-4:-2])[0], names.get(name)
        answer = b""
        if known and kind == 1:
            answer = b"\\xc0\\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(known)
        flags = 0x8180 if known else 0x8183
        s.sendto(asked[:2] + struct.pack("!HHHHH", flags, 1, int(bool(answer)), 0, 0) + question + answer, who)
for port in ports:
    for family in (socket.AF_INET, socket.AF_INET6):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind(("", port)); s.listen(50)
        threading.Thread(target=serve, args=(s,), daemon=True).start()
workers = []
for address in [sys.argv[2], sys.argv[3]] if names else []:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, 53))
    threading.Thread(target=resolve, args=(s,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


@dataclass
class Town:
    """The private engine, the internet beside it, and the way to run commands on the server."""

    engine: PrivateEngine
    directory: Path
    roster: Path = field(init=False)

    @property
    def internet(self) -> str:
        """Name of the second namespace."""
        return f"{self.engine.name}i"

    @property
    def asked(self) -> list[str]:
        """Names the world's resolvers were asked for."""
        path = self.directory / "asked"
        return path.read_text("ascii").splitlines() if path.exists() else []

    def run(self, *command: str) -> str:
        """Run a command on the server, as root and with the town's resolver."""
        done = subprocess.run(
            [*self._enter(), *command],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        self.status = done.returncode
        return done.stdout + done.stderr

    def workshop(self, *words: str) -> str:
        """Run a ``workshop`` command on the server."""
        return self.run(sys.executable, "-m", "workshop", *words, "--roster", str(self.roster))

    def document(self, *words: str) -> Any:
        """Run a command with ``--json`` and read what it prints."""
        return json.loads(self.workshop(*words, "--json"))

    def inside(self, container: str, program: str, *arguments: str) -> str:
        """Run a Python program in a seat; what it prints."""
        with contextlib.closing(self.engine.client()) as api:
            job = api.exec_create(container, ["python3", "-c", program, *arguments])["Id"]
            return str(api.exec_start(job).decode())

    def _enter(self) -> list[str]:
        """Enter the namespace, and a mount namespace with the town's ``resolv.conf``."""
        bind = f'mount --bind {self.directory}/resolv.conf /etc/resolv.conf && exec "$0" "$@"'
        enter = ["nsenter", f"--net={self.engine.namespace}", "unshare", "--mount"]
        return [*enter, "sh", "-c", bind]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": self.engine.endpoint,
            "PYTHONPATH": str(ROOT / "platform"),
            "NO_COLOR": "1",
        }

    # -- making it ----------------------------------------------------------------------------

    def build(self) -> None:
        """Lay the cable, give the addresses, and let the engine ask the town's resolver."""
        server, world = self.engine.name, self.internet
        (self.directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\n", "ascii")
        _ip("netns", "add", world)
        _ip("-n", server, "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        _ip("-n", server, "link", "set", "up1", "netns", world)
        for name, link, address in ((server, "up0", LAN), (world, "up1", UPLINK)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        _ip("-n", world, "link", "set", "lo", "up")
        for address in (APPROVED, OTHER, METADATA, RESOLVER):
            _ip("-n", world, "address", "add", f"{address}/32", "dev", "lo")
        _ip("-n", world, "address", "add", f"{METADATA_6}/128", "dev", "lo")
        _ip("-n", server, "route", "add", "default", "via", UPLINK)
        self.engine.stop()
        (self.engine.directory / "daemon.json").write_text(json.dumps({"dns": [RESOLVER]}), "ascii")
        self.engine.start()

    @contextlib.contextmanager
    def services(self) -> Iterator[None]:
        """Answer on every address of both namespaces, on the ports that matter."""
        log = str(self.directory / "asked")
        world: Sequence[object] = (WORLD_PORTS, NAMES, log)
        with (
            _serving(f"/run/netns/{self.internet}", world),
            _serving(str(self.engine.namespace), (SERVER_PORTS, {}, log)),
        ):
            yield


@contextlib.contextmanager
def town(directory: Path) -> Iterator[Town]:
    """Build the town; remove every trace of it."""
    with private_engine() as engine:
        made = Town(engine, directory)
        try:
            made.build()
            with made.services():
                yield made
        finally:
            subprocess.run(["ip", "netns", "delete", made.internet], check=False)


@contextlib.contextmanager
def _serving(namespace: str, told: Sequence[object]) -> Iterator[None]:
    command = ["nsenter", f"--net={namespace}", sys.executable, "-c", SERVICE]
    arguments = [json.dumps(told), RESOLVER, OTHER]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
