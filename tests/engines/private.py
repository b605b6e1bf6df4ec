"""A Docker engine of one's own, in a network namespace of its own: made to be killed.

It shares nothing with the machine's engine: not its containers, bridges, firewall rules or ports.
Commands reach it through ``nsenter --net``; ``ip netns exec`` would remount ``/sys`` and hide the
control groups. Nothing is ended by name: only processes found inside the namespace or the control
group of this very engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import docker
import pytest

from tests import layers
from workshop import starting
from workshop.health import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds an engine may take to start, stop or vanish; unloaded it takes one."""
_HOME = Path("/var/tmp")
_PREFIX = "wst"
_PAUSE = 0.05
_NEW_NETWORK = 0x40000000
_TOOLS = ("dockerd", "docker", "nsenter", "ip", "mount", "umount", "losetup", "mkfs.ext4")
_SYSCTLS = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")


def lacking() -> str:
    """Say what keeps this machine from running a private engine; empty when nothing does."""
    if os.geteuid() != 0:
        return "a private engine needs root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"a private engine needs {', '.join(missing)}" if missing else ""


def require(request: pytest.FixtureRequest) -> None:
    """Skip with the reason where no private engine can run, or fail under --require-docker."""
    if reason := lacking():
        if request.config.getoption("--require-docker"):
            pytest.fail(f"--require-docker: {reason}")
        pytest.skip(reason)


@dataclass(frozen=True)
class Disk:
    """A file system of an engine's own, which may be filled: ext4 in a file, or one in memory."""

    size: int
    """Bytes; only what is written takes room."""
    files: int
    """How many there may ever be."""


@contextlib.contextmanager
def private_engine(
    *, default_bridge: bool = False, disk: Disk | None = None
) -> Iterator[PrivateEngine]:
    """Run an engine for the length of the block, then remove every trace of it."""
    clear_abandoned()
    name = f"{_PREFIX}{os.getpid()}x{uuid.uuid4().hex[:4]}"
    # A socket's path has at most 107 characters, which pytest's directories use up.
    engine = PrivateEngine(name, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_HOME)))
    engine.default_bridge = default_bridge
    engine.disk = disk
    try:
        engine.prepare()
        engine.start()
        yield engine
    finally:
        engine.clear()


def clear_abandoned() -> None:
    """Remove the engines of test runs that were killed before they could do it themselves."""
    for directory in _HOME.glob(f"{_PREFIX}*x*-*"):
        name = directory.name.partition("-")[0]
        owner = name.removeprefix(_PREFIX).partition("x")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            PrivateEngine(name, directory).clear()


@dataclass
class PrivateEngine:
    """An engine that may be killed, and the way into its namespace."""

    name: str
    """Of the network namespace and the control group."""
    directory: Path
    """Images, containers, sockets and the log."""
    default_bridge: bool = False
    """Whether it has the bridge that engines have unless told otherwise."""
    disk: Disk | None = None
    """Where given, what the engine keeps everything on."""
    process: subprocess.Popen[bytes] | None = None
    _inside: ThreadPoolExecutor | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Where the engine's API answers."""
        return f"unix://{self.directory / 'sock'}"

    @property
    def root(self) -> Path:
        """The engine's own directory: images, containers, networks."""
        return self.directory / "data"

    @property
    def _image(self) -> Path:
        return self.directory / "disk"

    @property
    def namespace(self) -> Path:
        """The network namespace's file."""
        return Path("/run/netns", self.name)

    # -- the engine itself --------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the namespace, with the kernel settings the isolation of seats rests on."""
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        self._inside = ThreadPoolExecutor(1, self.name, initializer=self._enter)
        for setting in _SYSCTLS:
            self.inside(lambda path: path.write_text("1", "ascii"), Path("/proc/sys", setting))
        (self.directory / "daemon.json").write_text("{}", "ascii")
        if self.disk is not None:
            self._mount(self.disk)

    def _mount(self, disk: Disk) -> None:
        self.root.mkdir(exist_ok=True)
        if not _has_loops():
            # In memory, which is bounded alike and takes layers as well.
            options = f"size={disk.size},nr_inodes={disk.files}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "disk", self.root], check=True)
        else:
            self._mount_file(disk)
        assert self.root.is_mount(), "nothing may be filled that is not a mount of our own"

    def _mount_file(self, disk: Disk) -> None:
        if not self._image.exists():
            with self._image.open("wb") as file:
                file.truncate(disk.size)
            # Nothing is kept back for root, who is who runs the engine.
            options = ["-q", "-F", "-m", "0", "-N", str(disk.files)]
            subprocess.run(["mkfs.ext4", *options, self._image], check=True)
        subprocess.run(["mount", "-o", "loop", self._image, self.root], check=True)

    def start(self) -> None:
        """Start the engine and return once it answers."""
        options = {
            "config-file": self.directory / "daemon.json",
            "data-root": self.root,
            "exec-root": self.directory / "exec",
            "pidfile": self.directory / "pid",
            "host": self.endpoint,
            "cgroup-parent": f"/{self.name}",
            "exec-opt": "native.cgroupdriver=cgroupfs",
        }
        if not self.default_bridge:
            options["bridge"] = "none"
        # A killed engine leaves these behind; its containerd died with it, but the engine waits
        # for it in vain while the machine's first process has not reaped it yet.
        for stale in ("pid", "exec/containerd/containerd.pid"):
            (self.directory / stale).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._enter_with(), "dockerd", *(f"--{key}={options[key]}" for key in options)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        _until(self._answers, f"the engine does not answer; its log is {self.log}")

    def kill(self) -> None:
        """Kill the engine where it stands, as a crash or the kernel would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Ask the engine to end, as a reboot or an upgrade does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(PATIENCE)

    @property
    def log(self) -> Path:
        """What the engine writes."""
        return self.directory / "log"

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            tail = self.log.read_text("utf-8", "replace").splitlines()[-5:]
            raise RuntimeError("the private engine does not start:\n" + "\n".join(tail))
        # The SDK leaves a socket open when nobody listens yet.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(str(self.directory / "sock"))
            knock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in knock.recv(64)
        return False

    def client(self) -> docker.APIClient:
        """Open the engine's own API; the caller closes it."""
        return docker.APIClient(base_url=self.endpoint, version="auto", timeout=PATIENCE)

    def containers(self) -> dict[str, tuple[str, str]]:
        """Map the name of every container to its state and address."""
        with contextlib.closing(self.client()) as client:
            return {
                item["Names"][0].lstrip("/"): _facts(item) for item in client.containers(all=True)
            }

    # -- a workshop on it ---------------------------------------------------------------------

    def take_images(self, roster: Path) -> list[str]:
        """Build what ``roster`` needs on the machine's engine and copy it in; returns the tags.

        A private engine has no way out of its namespace, so it cannot build.
        """
        loading = ["docker", "--host", self.endpoint, "load", "--quiet"]
        with (
            layers.built(roster) as tags,
            subprocess.Popen(["docker", "save", *tags], stdout=subprocess.PIPE) as saving,
        ):
            subprocess.run(loading, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
        return tags

    def begin(
        self, roster: Path, *words: str, endpoint: str = "", ahead: Iterable[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a ``workshop`` command inside the namespace; its output is collected.

        It reaches the engine at another ``endpoint`` where one is given; what is ``ahead`` of the
        command starts it, such as ``faketime +1d``.
        """
        environment = {
            **os.environ,
            "DOCKER_HOST": endpoint or self.endpoint,
            "PYTHONPATH": str(ROOT / "platform"),
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-m", "workshop", *words, "--roster", str(roster)]
        return subprocess.Popen(
            [*self._enter_with(), *ahead, *command],
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def workshop(self, roster: Path, *words: str) -> tuple[int, str]:
        """Run a ``workshop`` command inside the namespace; its exit code and all it wrote."""
        with self.begin(roster, *words) as command:
            output, _ = command.communicate(timeout=4 * PATIENCE)
        return command.returncode, output

    def who_answers(self, port: int, names: Iterable[str]) -> dict[str, str]:
        """Ask each seat through the edge who it is; empty where nobody says."""
        asked = list(names)

        async def ask_all() -> list[str]:
            return await asyncio.gather(*(_whoami(port, name) for name in asked))

        return dict(zip(asked, self.inside(lambda _: asyncio.run(ask_all()), None), strict=True))

    def bridges(self) -> list[str]:
        """Name what the namespace holds beside loopback: bridges, and rules that name them."""
        links = self._output("ip", "-o", "link").splitlines()
        rules = self._output("iptables-save").splitlines()
        return [line for line in (*links[1:], *rules) if "wsp" in line]

    def _output(self, *command: str) -> str:
        done = subprocess.run(
            [*self._enter_with(), *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    # -- the namespace ------------------------------------------------------------------------

    def inside(self, function: Callable[[T], object], argument: T) -> object:
        """Call ``function`` on a thread that lives inside the namespace."""
        assert self._inside is not None
        return self._inside.submit(function, argument).result()

    def _enter(self) -> None:
        with self.namespace.open("rb") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")

    def _enter_with(self) -> list[str]:
        return ["nsenter", f"--net={self.namespace}"]

    # -- the end ------------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove every trace, whatever state the engine is in.

        Raises:
            RuntimeError: something is left, and what.

        """
        self.power_off()
        shutil.rmtree(self.directory, ignore_errors=True)
        if left := self.traces():
            raise RuntimeError(f"left of a private engine: {'; '.join(left)}")

    def power_off(self) -> None:
        """Take away all that a machine loses with its power: processes, network, firewall, /run.

        What is on disk stays; after :meth:`prepare`, :meth:`start` is the engine's first start.
        """
        if self._inside is not None:
            self._inside.shutdown()
        shim_sockets = [_socket_of(path) for path in self.directory.glob("exec/**/address")]
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        _until(self._killed_all, "processes of the private engine do not end")
        for mount in reversed(_mounts_below(self.directory)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        _until(lambda: not self._loops(), "the loop device of the private engine stays")
        if self.namespace.exists():
            subprocess.run(["ip", "netns", "delete", self.name], check=True)
        _until(self._ungrouped, "control groups of the private engine stay")
        for path in (*shim_sockets, self.directory / "sock", self.directory / "pid"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.directory / "exec", ignore_errors=True)

    def _ungrouped(self) -> bool:
        """Remove the control groups, as far as that goes now; whether none is left."""
        for group in _control_groups(self.name):
            # One is busy while its last process goes; another test run may be clearing it as well.
            with contextlib.suppress(OSError):
                for path in sorted(group.glob("**/"), key=lambda path: -len(path.parts)):
                    path.rmdir()
        return not _control_groups(self.name)

    def traces(self) -> list[str]:
        """Name everything of this engine that is on the machine."""
        places = [self.namespace, self.directory, *_control_groups(self.name)]
        return [
            *(f"process {pid}" for pid in self._processes()),
            *(f"mount {path}" for path in _mounts_below(self.directory)),
            *(f"loop device {line}" for line in self._loops()),
            *(str(path) for path in places if path.exists()),
        ]

    def _loops(self) -> list[str]:
        """List the loop devices on the file of the engine's disk; they go with the last mount."""
        if not self._image.exists():
            return []
        done = subprocess.run(
            ["losetup", "--associated", self._image], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    def _killed_all(self) -> bool:
        found = self._processes()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    def _processes(self) -> list[int]:
        """Find what lives in the namespace or the control group: engine, shims, edge and seats."""
        inode = self.namespace.stat().st_ino if self.namespace.exists() else -1
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "stat").read_text("utf-8").rpartition(") ")[2].startswith("Z"):
                    continue
                grouped = f":/{self.name}/" in (path / "cgroup").read_text("utf-8")
                if grouped or (path / "ns/net").stat().st_ino == inode:
                    found.append(int(path.name))
        return [pid for pid in found if pid != os.getpid()]


def write_class(
    directory: Path, port: int, names: Iterable[str], *, llm: str = "false", deploys: str = "false"
) -> Path:
    """Start a workshop of ``names`` around the shipped template; returns its roster."""
    starting.init(directory, name=None, people=None)
    roster = directory / "participants.yaml"
    lines = [
        "workshop:",
        f"  name: torture-{uuid.uuid4().hex[:6]}",
        f"  url: http://localhost:{port}",
        "  limits: {memory: 128m, cpus: 2, pids: 64}",
        f"  llm: {llm}",
        f"  deploys: {deploys}",
        "participants:",
        *(f"  - {name}" for name in names),
    ]
    roster.write_text("\n".join(lines) + "\n", "utf-8")
    return roster


async def _whoami(port: int, name: str) -> str:
    try:
        answer = await fetch("127.0.0.1", port, f"/{name}/whoami", "localhost")
    except (OSError, EOFError, TimeoutError, ValueError):
        return ""
    said = answer.json() if answer.status == 200 else None
    return str(said.get("participant", "")) if isinstance(said, dict) else ""


def _has_loops() -> bool:
    """Whether this machine can mount a file; a machine inside another may have no device for it."""
    done = subprocess.run(["losetup", "--find"], capture_output=True, check=False)
    return done.returncode == 0 and Path(done.stdout.decode().strip()).is_block_device()


def _facts(item: dict[str, object]) -> tuple[str, str]:
    networks = item["NetworkSettings"]["Networks"].values()
    return str(item["State"]), next((net["IPAddress"] for net in networks), "")


def _until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(_PAUSE)


def _socket_of(address: Path) -> Path:
    """Read where a shim listens; it keeps its socket outside the engine's own directory."""
    return Path(address.read_text("ascii").removeprefix("unix://"))


def _mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    places = [line.split()[4] for line in lines]
    return [place for place in places if place.startswith(f"{directory}/")]


def _control_groups(name: str) -> list[Path]:
    root = Path("/sys/fs/cgroup")
    return [path for path in (root / name, *root.glob(f"*/{name}")) if path.is_dir()]
