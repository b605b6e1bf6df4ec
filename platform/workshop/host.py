"""Facts about the machine this command runs on: ports, routes, bridges, firewall, kernel."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LISTEN = "0A"
_ENGINE_SOCKET = "/var/run/docker.sock"


def engine_socket() -> str:
    """Give the path of the engine's socket on this machine."""
    endpoint = os.environ.get("DOCKER_HOST", "")
    return endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else _ENGINE_SOCKET


def group_of(path: str) -> str:
    """Give the number of the group a file belongs to; 0 where there is no such file."""
    try:
        return str(os.stat(path).st_gid)  # noqa: PTH116 - a socket's path from the environment
    except OSError:
        return "0"


def owner_of(path: Path) -> str:
    """Give the owner of a directory as ``uid:gid``; this user where there is none yet."""
    try:
        found = path.stat()
    except OSError:
        return f"{os.geteuid()}:{os.getegid()}"
    return f"{found.st_uid}:{found.st_gid}"


def port_is_free(port: int) -> bool:
    """Try to listen on ``port`` on all addresses, as the edge will."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def loopback_is_free(port: int) -> bool:
    """Whether nobody listens on ``port`` on all addresses, a loopback of one's own included."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.86.255.254", port))
        except OSError:
            return False
    return True


def port_needs_root(port: int) -> bool:
    """Whether this user may not listen on ``port``."""
    return os.geteuid() != 0 and port_is_privileged(port)


def port_is_privileged(port: int) -> bool:
    """Whether the kernel lets only root listen on ``port``."""
    return port < int(sysctl("net.ipv4.ip_unprivileged_port_start") or 1024)


def port_holder(port: int) -> str:
    """Name the process that listens on ``port``, as far as this user may see it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(entry.readlink()) in inodes for entry in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8").strip()
                return f"{name} (process {process.name})"
    return "another program"


def routes() -> Iterator[str]:
    """Yield the IPv4 networks this machine has routes to, except the default one."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            target, mask = (int(fields[index], 16) for index in (1, 7))
            if mask:
                address = socket.inet_ntoa(struct.pack("<I", target))
                length = (mask).bit_count()
                yield str(ipaddress.IPv4Network(f"{address}/{length}", strict=False))


def traces_of_bridges(bridges: Sequence[str]) -> list[str]:
    """Name what the kernel holds of ``bridges``: interfaces, and firewall rules if visible."""
    found = [f"interface {name}" for name in bridges if Path("/sys/class/net", name).exists()]
    rules = firewall_rules()
    if rules is not None:
        found += [
            f"firewall rule {rule}" for rule in rules if any(name in rule for name in bridges)
        ]
    return found


def firewall_rules() -> list[str] | None:
    """List this machine's IPv4 firewall rules; ``None`` when this user may not see them."""
    tool = shutil.which("iptables-save", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None or os.geteuid() != 0:
        return None
    done = subprocess.run([tool], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else None


def sysctl(name: str) -> str | None:
    """Read a kernel setting; ``None`` where the kernel has no such."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text("ascii").strip()
    except OSError:
        return None


def cpu_flags() -> frozenset[str]:
    """List what the processor can do, in Linux' words; empty where the kernel does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def free_bytes(path: str) -> int | None:
    """Count the free bytes of the file system ``path`` lies on; ``None`` when it is not here."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def resolves(name: str) -> list[str]:
    """Look up the IPv4 addresses of ``name``; empty when nobody knows it."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(item[4][0]) for item in found})
