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
_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
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
    """Whether nobody listens on ``port``, on any address; the edge will, on all of them."""
    return _may_bind("", port)


def loopback_is_free(port: int) -> bool:
    """Whether nobody listens on ``port`` on all addresses, a loopback of one's own included."""
    return _may_bind("127.86.255.254", port)


def _may_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:
        # Who is bound like this and does not listen is not in the way of others who look.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
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


def traces_of_bridges(bridges: Sequence[str], prefix: str) -> list[str]:
    """Name what the kernel holds of ``bridges``: interfaces, and firewall rules if visible.

    ``prefix`` begins the names of the bridges, and of chains that are theirs.
    """
    found = [f"interface {name}" for name in bridges if Path("/sys/class/net", name).exists()]
    rules = firewall_rules()
    if rules is not None:
        found += [f"firewall rule {rule}" for rule in rules if prefix in rule]
    return found


def firewall_rules() -> list[str] | None:
    """List this machine's firewall rules; ``None`` when this user may not see them.

    Those of the kernel's older table are listed only where it is in use: looking would make it.
    """
    saved = _saved("iptables-save", all_tables=True) if os.geteuid() == 0 else None
    if saved is None:
        return None
    more = [_saved("ip6tables-save") if has_ipv6() else None]
    with contextlib.suppress(OSError):
        if Path("/proc/net/ip_tables_names").read_text("ascii"):
            more.append(_saved("iptables-legacy-save", all_tables=True))
    return [line for text in (saved, *more) if text for line in text.splitlines()]


def filter_rules() -> tuple[str, str | None] | None:
    """Print the table that filters, of IPv4 and of IPv6 where there is any, as the tools save it.

    Of the kernel's two tables of rules it is the one the engine keeps its own in. ``None`` when
    this user may not see them or the tools are not here.
    """
    if os.geteuid() != 0:
        return None
    for kind in ("", "-nft", "-legacy"):
        saved = _saved(f"iptables{kind}-save")
        if saved is not None and ":DOCKER-USER " in saved:
            return saved, _saved(f"ip6tables{kind}-save") if has_ipv6() else None
    saved = _saved("iptables-save")
    return None if saved is None else (saved, _saved("ip6tables-save") if has_ipv6() else None)


def has_engine_rules(bridges: Sequence[str]) -> bool:
    """Whether the engine's own rules for ``bridges`` are there, or cannot be seen."""
    saved = filter_rules()
    return saved is None or all(f"-A FORWARD -o {name} " in saved[0] for name in bridges)


def _saved(name: str, *, all_tables: bool = False) -> str | None:
    tool = shutil.which(name, path=_SYSTEM_PATH)
    if tool is None:
        return None
    table = () if all_tables else ("-t", "filter")
    done = subprocess.run([tool, *table], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def nameservers() -> tuple[str, ...]:
    """List the IPv4 nameservers of this machine that are not on its own loopback.

    Where only its own is named, those that this one asks: an engine gives containers the same.
    """
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        found = []
        with contextlib.suppress(OSError):
            for line in Path(path).read_text("utf-8", "replace").splitlines():
                word, _, rest = line.partition(" ")
                with contextlib.suppress(ValueError):
                    address = ipaddress.IPv4Address(rest.strip())
                    if word == "nameserver" and not address.is_loopback:
                        found.append(str(address))
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def sysctl(name: str) -> str | None:
    """Read a kernel setting; ``None`` where the kernel has no such."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text("ascii").strip()
    except OSError:
        return None


def has_ipv6() -> bool:
    """Whether the kernel knows IPv6 at all; where it does not, there is nothing to switch off."""
    return sysctl("net.ipv6.conf.all.disable_ipv6") is not None


def cpu_flags() -> frozenset[str]:
    """List what the processor can do, in Linux' words; empty where the kernel does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def resolves(name: str) -> list[str]:
    """Look up the IPv4 addresses of ``name``; empty when nobody knows it."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(item[4][0]) for item in found})


def is_in_memory(path: Path) -> bool:
    """Whether a directory, or the nearest one above it that exists, is in no disk's file system."""
    while not path.exists():
        path = path.parent
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0] in {"tmpfs", "ramfs"}
    return False
