"""What a program can do inside a seat, tried by one: the kernel's answers, not the engine's words.

The seat is an ordinary one on the platform's base image. A script in it tries everything a program
that wants out would try, and prints what the kernel said.
"""

from __future__ import annotations

import json
import subprocess
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tests import layers
from tests.engines.scene import seat
from workshop.limits import MIB, Limits

if TYPE_CHECKING:
    from workshop.engines.docker import DockerEngine
    from workshop.specs import NetworkSpec, Owner

pytestmark = pytest.mark.engine

REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "ESRCH"}
PROBE = textwrap.dedent(
    """
    import ctypes, errno, json, os, socket, sys, threading, time, urllib.request
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    libc = ctypes.CDLL(None, use_errno=True)
    numbers = {"x86_64": dict(ptrace=101, bpf=321, keyctl=250, add_key=248, io_uring_setup=425,
                              mount=165, unshare=272, setns=308, perf_event_open=298, userfaultfd=323,
                              init_module=175, reboot=169, kexec_load=246, open_by_handle_at=304,
                              process_vm_readv=310, clock_settime=227, pivot_root=155, iopl=172),
               "aarch64": dict(ptrace=117, bpf=280, keyctl=219, add_key=217, io_uring_setup=425,
                               mount=40, unshare=97, setns=268, perf_event_open=241, userfaultfd=282,
                               init_module=105, reboot=142, kexec_load=104, open_by_handle_at=265,
                               process_vm_readv=270, clock_settime=112, pivot_root=41, iopl=-1)}
    number = numbers[os.uname().machine]
    said = {}

    def call(name, *arguments):
        ctypes.set_errno(0)
        wide = [item if isinstance(item, bytes) else ctypes.c_long(item) for item in arguments]
        result = libc.syscall(ctypes.c_long(number[name]), *wide)
        return result, errno.errorcode.get(ctypes.get_errno(), "")

    def tried(label, name, *arguments):
        result, error = call(name, *arguments)
        said[label] = "done" if result >= 0 else error

    def attempt(label, action):
        try:
            action()
            said[label] = "done"
        except OSError as exc:
            said[label] = errno.errorcode.get(exc.errno, str(exc))

    def write(path):
        def action():
            with open(path, "ab") as file:
                file.write(b"x")
                file.flush()
        return action

    room = ctypes.create_string_buffer(256)
    at = ctypes.addressof(room)
    NEW_USER, NEW_NETWORK, NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000
    tried("mount", "mount", b"none", b"/tmp", b"tmpfs", 0, 0)
    tried("unshare-user", "unshare", NEW_USER)
    tried("unshare-network", "unshare", NEW_NETWORK)
    tried("unshare-mounts", "unshare", NEW_MOUNTS)
    tried("setns", "setns", 0, 0)
    tried("pivot_root", "pivot_root", b"/tmp", b"/tmp")
    tried("keyctl", "keyctl", 0, -3, 1)
    tried("add_key", "add_key", b"user", b"a", at, 1, -3)
    tried("io_uring_setup", "io_uring_setup", 4, at)
    tried("bpf", "bpf", 0, at, 72)
    tried("perf_event_open", "perf_event_open", at, 0, -1, -1, 0)
    tried("userfaultfd", "userfaultfd", 0)
    tried("init_module", "init_module", at, 8, b"")
    tried("kexec_load", "kexec_load", 0, 0, 0, 0)
    tried("reboot", "reboot", 0xfee1dead, 672274793, 0, 0)
    tried("open_by_handle_at", "open_by_handle_at", -100, at, 0)
    tried("clock_settime", "clock_settime", 0, at)
    # The first process is the seat's own, and nobody stands above it.
    tried("ptrace-outside", "ptrace", 16, 0, 0, 0)
    tried("read-memory-outside", "process_vm_readv", 0, at, 1, at, 1, 0)
    if number["iopl"] > 0:
        tried("iopl", "iopl", 3)
    attempt("raw-socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    attempt("packet-socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
    attempt("setuid", lambda: os.setuid(0))
    attempt("chroot", lambda: os.chroot("/tmp"))
    attempt("mknod", lambda: os.mknod("/tmp/device", 0o20600, os.makedev(1, 1)))
    for path in ("/here", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/usr/here", "/var/here",
                 "/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
                 "/proc/sys/net/ipv6/conf/all/disable_ipv6", "/sys/kernel/uevent_helper",
                 "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/dev/here", "/run/here"):
        attempt("write " + path, write(path))
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware/x"):
        try:
            said["read " + path] = "done" if open(path, "rb").read(1) else "ENOENT"
        except OSError as exc:
            said["read " + path] = errno.errorcode[exc.errno]

    def fill(directory, limit):
        count = 0
        try:
            with open(directory + "/large", "wb") as file:
                while count < limit:
                    count += file.write(bytes(1 << 20))
                    file.flush()
        except OSError as exc:
            return count >> 20, errno.errorcode[exc.errno]
        finally:
            os.unlink(directory + "/large")
        return count >> 20, ""

    def crowd(directory, limit):
        made = []
        try:
            for n in range(limit):
                os.close(os.open(f"{directory}/{n}", os.O_CREAT | os.O_WRONLY))
                made.append(n)
        except OSError as exc:
            return len(made), errno.errorcode[exc.errno]
        finally:
            for n in made:
                os.unlink(f"{directory}/{n}")
        return len(made), ""

    status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
    facts = {name: status[name].strip() for name in
             ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh", "NoNewPrivs", "Seccomp", "Uid", "Gid")}
    facts["oom"] = open("/proc/self/oom_score_adj").read().strip()
    facts["tmp"], facts["tmp-files"] = fill("/tmp", 64 << 20), crowd("/tmp", 5000)
    facts["shm"] = fill("/dev/shm", 64 << 20)
    open("/tmp/program", "w").write("#!/bin/sh\\n")
    os.chmod("/tmp/program", 0o755)
    attempt("program in /tmp", lambda: os.execv("/tmp/program", ["program"]))
    facts["processes"] = sorted({os.stat(f"/proc/{it}").st_uid for it in os.listdir("/proc")
                                 if it.isdecimal()})
    facts["parent of the first"] = open("/proc/1/stat").read().split()[3]
    facts["ipv6"] = [line.split()[3] for line in open("/proc/net/if_inet6")] \\
        if os.path.exists("/proc/net/if_inet6") else []

    class App(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"served")
        def log_message(self, *_):
            pass

    class OnAny(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    # A program that listens on `::`, as Node's do, must still be reached over IPv4.
    server = OnAny(("::", 8000), App)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    facts["on ::"] = urllib.request.urlopen("http://127.0.0.1:8000/").read().decode()
    server.shutdown()
    print(json.dumps({"said": said, "facts": facts}))
    """
)


@pytest.fixture(scope="module")
def base_image(docker_engine: DockerEngine) -> str:
    """Have the platform's base image: it has Python."""
    return layers.base(docker_engine)


@pytest.fixture
def probed(
    docker_engine: DockerEngine, owner: Owner, base: str, network: NetworkSpec, base_image: str
) -> dict[str, Any]:
    """Run the probe as a seat and read what it found."""
    spec = seat(
        owner,
        base_image,
        limits=Limits(memory=128 * MIB, cpus=1, pids=64),
        command=("python3", "-c", PROBE),
    )
    container = docker_engine.create(spec, owner)
    docker_engine._api.update_container(container, restart_policy={"Name": "no"})
    docker_engine.start(container)
    status = docker_engine._api.wait(container)["StatusCode"]
    said = "\n".join(docker_engine.logs(container, tail=100))
    assert status == 0, said
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


@pytest.fixture
def engine(docker_engine: DockerEngine) -> DockerEngine:
    """Hand out the real engine to the fixtures that make images and networks."""
    return docker_engine


def test_kernel_refuses_every_way_out(probed: dict[str, Any]) -> None:
    """No privilege, no namespace, no raw socket, no io_uring, nothing to write but memory."""
    facts = probed["facts"]
    allowed = {what: error for what, error in probed["said"].items() if error not in REFUSED}

    assert allowed == {}
    assert len(probed["said"]) >= 40
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"):
        assert facts[name] == "0" * 16, name
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert facts["Uid"].split() == facts["Gid"].split() == ["10001"] * 4
    assert facts["oom"] == "500"
    assert facts["tmp"] == [32, "ENOSPC"]
    assert facts["tmp-files"][0] < 2000
    assert facts["tmp-files"][1] == "ENOSPC"
    assert facts["shm"] == [16, "ENOSPC"]
    assert facts["ipv6"] == []
    assert facts["processes"] == [10001]
    assert facts["parent of the first"] == "0"
    assert facts["on ::"] == "served"


def test_host_gave_the_process_what_the_engine_was_told(
    docker_engine: DockerEngine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Seen from the server: it is in a control group of its own, with no more than usual shares."""
    container = docker_engine.create(seat(owner, base), owner)
    docker_engine.start(container)
    raw = docker_engine._api.inspect_container(container)
    groups = subprocess.run(
        ["cat", f"/proc/{raw['State']['Pid']}/cgroup"], capture_output=True, text=True, check=True
    ).stdout

    assert container in groups
    assert raw["HostConfig"]["CpuShares"] == 1024
