"""Section 5 of the CIS Docker Benchmark 1.6, Container Runtime Configuration, by its ids.

As docker-bench-security reads them, except where a comment says otherwise. Left out are those that
need a look inside (5.7, 5.9, 5.23, 5.24), that are a matter of taste (5.15, 5.19, 5.25, 5.28: W.13
and W.14 say ours) or of swarms (5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop import labels
from workshop.audit.facts import Rule, Subject, is_within, published
from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr")
_SOCKETS = ("docker.sock", "containerd.sock")
_PRIVILEGED = 1024
_USUAL_SHARES = 1024


def _apparmor(it: Subject) -> Iterator[str]:
    profile = it.raw.get("AppArmorProfile") or ""
    if "apparmor=unconfined" in it.security or profile == "unconfined":
        yield "unconfined"
    elif it.runs_with("apparmor") and not profile:
        yield "no profile"


def _selinux(it: Subject) -> Iterator[str]:
    if "label=disable" in it.security:
        yield "label=disable"
    elif it.runs_with("selinux") and not it.raw.get("ProcessLabel"):
        yield "no label"


def _capabilities(it: Subject) -> Iterator[str]:
    if "ALL" not in (it.host.get("CapDrop") or ()):
        yield "not all are dropped"
    yield from (name.removeprefix("CAP_") for name in it.host.get("CapAdd") or ())


def _privileged(it: Subject) -> Iterator[str]:
    if it.host.get("Privileged"):
        yield "privileged"


def _sensitive(it: Subject) -> Iterator[str]:
    home = it.marks.get(labels.DIRECTORY, "-")
    for mount in it.mounts:
        source = str(mount["Source"]).rstrip("/") or "/"
        own = is_within(source, home) and source != home
        if source == "/" or (any(is_within(source, place) for place in _SENSITIVE) and not own):
            yield source


def _privileged_ports(it: Subject) -> Iterator[str]:
    yield from (port for _, port in published(it) if port and int(port) < _PRIVILEGED)


def _host_network(it: Subject) -> Iterator[str]:
    mode = it.host.get("NetworkMode") or ""
    if mode == "host" or mode.startswith("container:"):
        yield mode


def _memory(it: Subject) -> Iterator[str]:
    if not it.host.get("Memory"):
        yield "no limit"


def _cpu(it: Subject) -> Iterator[str]:
    shares = it.host.get("CpuShares") or 0
    if not shares:
        yield "no shares"
    elif it.role is Role.SEAT and shares > _USUAL_SHARES:
        yield f"{shares} shares"
    if it.role is Role.SEAT and not (it.host.get("CpuQuota") and it.host.get("CpuPeriod")):
        yield "no limit"


def _root(it: Subject) -> Iterator[str]:
    if not it.host.get("ReadonlyRootfs"):
        yield "writable"


def _any_interface(it: Subject) -> Iterator[str]:
    for address, port in published(it):
        if address in {"", "0.0.0.0", "::"}:  # noqa: S104 - looked for, not listened on
            yield f"port {port or 'of any number'} on every interface"


def _processes(it: Subject) -> Iterator[str]:
    if it.host.get("PidMode"):
        yield it.host["PidMode"]


def _ipc(it: Subject) -> Iterator[str]:
    mode = it.host.get("IpcMode") or "private"
    if mode not in {"private", "none"}:
        yield mode


def _devices(it: Subject) -> Iterator[str]:
    for item in it.host.get("Devices") or ():
        yield item["PathOnHost"]
    for item in it.host.get("DeviceRequests") or ():
        yield f"a device of {item.get('Driver') or 'any driver'}"
    yield from it.host.get("DeviceCgroupRules") or ()


def _propagation(it: Subject) -> Iterator[str]:
    for mount in it.mounts:
        if mount.get("Propagation") in {"shared", "rshared"}:
            yield f"{mount['Destination']} is {mount['Propagation']}"


def _uts(it: Subject) -> Iterator[str]:
    if it.host.get("UTSMode"):
        yield it.host["UTSMode"]


def _unconfined(it: Subject) -> Iterator[str]:
    if it.seccomp == "unconfined":
        yield "unconfined"
    if any("seccomp" in option for option in it.facts.security) or not it.facts.security:
        return
    yield "the engine has no seccomp"


def _new_privileges(it: Subject) -> Iterator[str]:
    if not {"no-new-privileges", "no-new-privileges=true"} & set(it.security):
        yield "may be gained"


def _health(it: Subject) -> Iterator[str]:
    test = (it.config.get("Healthcheck") or {}).get("Test")
    if test != ["NONE"]:
        yield "the image's own, if it has one" if test is None else " ".join(test)


def _pids(it: Subject) -> Iterator[str]:
    if (it.host.get("PidsLimit") or 0) <= 0:
        yield "no limit"


def _default_bridge(it: Subject) -> Iterator[str]:
    networks = it.raw["NetworkSettings"].get("Networks") or {}
    if it.host.get("NetworkMode") in {"default", "bridge", ""} or "bridge" in networks:
        yield "on the default bridge"


def _users(it: Subject) -> Iterator[str]:
    if it.host.get("UsernsMode"):
        yield it.host["UsernsMode"]


def _engine_socket(it: Subject) -> Iterator[str]:
    for mount in it.mounts:
        if str(mount["Source"]).endswith(_SOCKETS):
            yield mount["Destination"]


RULES = (
    Rule("5.2", "AppArmor profile, where there is AppArmor", "the engine's profile", _apparmor),
    Rule("5.3", "SELinux label, where there is SELinux", "a label", _selinux),
    Rule("5.4", "kernel capabilities", "none", _capabilities),
    Rule("5.5", "privileged containers", "not privileged", _privileged),
    Rule("5.6", "sensitive directories of the server", "none mounted", _sensitive),
    Rule("5.8", "privileged ports", "none mapped", _privileged_ports),
    Rule("5.10", "network namespace", "its own", _host_network),
    Rule("5.11", "memory", "a limit", _memory),
    Rule("5.12", "processor", "shares, and a limit for seats", _cpu),
    Rule("5.13", "root file system", "read-only", _root),
    Rule("5.14", "incoming traffic", "no port on every interface", _any_interface),
    Rule("5.16", "process namespace", "its own", _processes),
    Rule("5.17", "IPC namespace", "its own", _ipc),
    Rule("5.18", "devices", "none", _devices),
    Rule("5.20", "mount propagation", "private", _propagation),
    Rule("5.21", "UTS namespace", "its own", _uts),
    Rule("5.22", "seccomp", "a profile", _unconfined),
    Rule("5.26", "new privileges", "none may be gained", _new_privileges),
    # The benchmark wants a check inside; ours comes from outside, over HTTP, and costs no process.
    Rule("5.27", "health", "no check of the image's runs", _health),
    Rule("5.29", "processes", "a limit", _pids),
    Rule("5.30", "default bridge", "a network of the workshop", _default_bridge),
    Rule("5.31", "user namespace", "never the server's by name", _users),
    Rule("5.32", "engine's socket", "not mounted", _engine_socket),
)
