"""What the benchmark does not ask for and a class of strangers needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.audit.facts import (
    NO_IPV6,
    SAFE_API,
    NetworkRule,
    Raw,
    Rule,
    Subject,
    is_within,
    published,
)
from workshop.labels import Role
from workshop.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

_TMP = "/tmp"  # noqa: S108 - inside a container
_TMP_OPTIONS = frozenset({"rw", "noexec", "nosuid", "nodev", "size=32m", "nr_inodes=2000"})
_SMALL = 16 * MIB
_OWN_PLACE = "/run/secrets"
_LONGEST_LOG = 20
_MOST_FILES = 2
_STOP_SECONDS = 3
_SEAT_FILES = 1024
_PART_FILES = 8192
_SEAT_OOM = 500
_MASKED = frozenset({"/proc/kcore", "/proc/keys", "/sys/firmware"})


def _user(it: Subject) -> Iterator[str]:
    user = it.config.get("User") or ""
    number = user.partition(":")[0]
    if it.role is Role.SEAT and user != "10001:10001":
        yield user or "root"
    elif number in {"", "0", "root"}:
        yield "root"


def _tmpfs(it: Subject) -> Iterator[str]:
    held = dict(it.host.get("Tmpfs") or {})
    lacking = _TMP_OPTIONS - set(held.pop(_TMP, "").split(","))
    if lacking:
        yield f"{_TMP} lacks {', '.join(sorted(lacking))}"
    yield from (f"{place} is another" for place in held)
    for mount in it.host.get("Mounts") or ():
        if mount["Type"] == "tmpfs":
            size = (mount.get("TmpfsOptions") or {}).get("SizeBytes") or 0
            if not 0 < size <= _SMALL:
                yield f"{mount['Target']} is not bounded"


def _volumes(it: Subject) -> Iterator[str]:
    for mount in it.raw.get("Mounts") or ():
        if mount["Type"] == "volume":
            yield f"a volume at {mount['Destination']}"
    for mount in it.mounts if it.role is Role.SEAT else ():
        if mount.get("RW") or not is_within(str(mount["Destination"]), _OWN_PLACE):
            yield f"{mount['Source']} at {mount['Destination']}"


def _shared_memory(it: Subject) -> Iterator[str]:
    if it.host.get("ShmSize") != _SMALL:
        yield f"{it.host.get('ShmSize')} bytes"


def _stop(it: Subject) -> Iterator[str]:
    if it.config.get("StopTimeout") != _STOP_SECONDS:
        yield f"{it.config.get('StopTimeout')} s"
    if it.config.get("StopSignal") not in {"SIGTERM", "SIGQUIT"}:
        yield f"{it.config.get('StopSignal')}"


def _log(it: Subject) -> Iterator[str]:
    log = it.host.get("LogConfig") or {}
    options = log.get("Config") or {}
    size, files = str(options.get("max-size", "")), str(options.get("max-file", ""))
    if log.get("Type") != "json-file":
        yield f"driver {log.get('Type')}"
    if not size.endswith(("k", "m")) or (
        size.endswith("m") and not 0 < int(size[:-1]) <= _LONGEST_LOG
    ):
        yield f"max-size {size or 'missing'}"
    if not files.isdecimal() or not 0 < int(files) <= _MOST_FILES:
        yield f"max-file {files or 'missing'}"


def _ports(it: Subject) -> Iterator[str]:
    yield from (f"{address}:{port}" for address, port in published(it))
    if it.host.get("PublishAllPorts"):
        yield "all it exposes"


def _ipv6(it: Subject) -> Iterator[str]:
    mode = it.host.get("NetworkMode") or ""
    if mode == "host" or mode.startswith("container:") or not it.facts.has_ipv6:
        return
    set_to = it.host.get("Sysctls") or {}
    yield from (f"{name} is not 1" for name in NO_IPV6 if set_to.get(name) != "1")


def _names(it: Subject) -> Iterator[str]:
    if it.role is Role.SEAT and it.key in it.dark:
        servers = it.host.get("Dns") or ()
        if not servers:
            yield "the server's own"
        yield from (item for item in servers if not item.startswith(("192.0.2.", "127.")))


def _swap(it: Subject) -> Iterator[str]:
    if it.host.get("MemorySwap") != it.host.get("Memory"):
        yield f"{it.host.get('MemorySwap')} bytes with swap"
    if it.host.get("OomKillDisable"):
        yield "never killed"


def _oom(it: Subject) -> Iterator[str]:
    score = it.host.get("OomScoreAdj") or 0
    wanted = _SEAT_OOM if it.role is Role.SEAT else 0
    if (score < wanted) if it.role is Role.SEAT else (score > 0):
        yield str(score)


def _init(it: Subject) -> Iterator[str]:
    if not it.host.get("Init"):
        yield "none"


def _files(it: Subject) -> Iterator[str]:
    limits = {item["Name"]: item["Hard"] for item in it.host.get("Ulimits") or ()}
    hard = limits.get("nofile")
    if hard is None or not 0 < hard <= (_SEAT_FILES if it.role is Role.SEAT else _PART_FILES):
        yield "the engine's own" if hard is None else str(hard)


def _restart(it: Subject) -> Iterator[str]:
    policy = (it.host.get("RestartPolicy") or {}).get("Name") or "no"
    if policy != "unless-stopped":
        yield policy


def _io_uring(it: Subject) -> Iterator[str]:
    allowed = it.facts.api < SAFE_API if not it.seccomp else '"io_uring_' in it.seccomp
    if allowed:
        yield "allowed"


def _address(it: Subject) -> Iterator[str]:
    if it.role is not Role.SEAT:
        return
    networks = (it.raw["NetworkSettings"].get("Networks") or {}).values()
    if not any((network.get("IPAMConfig") or {}).get("IPv4Address") for network in networks):
        yield "the engine's choice"


def _masked(it: Subject) -> Iterator[str]:
    masked = it.host.get("MaskedPaths")
    if masked is not None:
        yield from sorted(_MASKED - set(masked))
    if it.host.get("ReadonlyPaths") == []:
        yield "/proc/sys"


def _borrowed(it: Subject) -> Iterator[str]:
    for name in ("VolumesFrom", "Links", "GroupAdd", "ExtraHosts"):
        yield from (f"{name} {item}" for item in it.host.get(name) or ())
    for name in ("CgroupParent", "Isolation"):
        if it.host.get(name):
            yield f"{name} {it.host[name]}"
    yield from (name for name in it.host.get("Sysctls") or {} if name not in NO_IPV6)


def _icc(raw: Raw) -> str:
    found = (raw.get("Options") or {}).get("com.docker.network.bridge.enable_icc")
    return "" if found == "false" else f"enable_icc {found or 'true'}"


def _network_ipv6(raw: Raw) -> str:
    return "on" if raw.get("EnableIPv6") else ""


def _bridge_name(raw: Raw) -> str:
    name = (raw.get("Options") or {}).get("com.docker.network.bridge.name") or ""
    return "" if name.startswith("wsp") else name or "the engine's choice"


RULES = (
    Rule("W.1", "user", "10001:10001 in a seat, nowhere root", _user),
    Rule("W.2", "file systems in memory", "small, no programs, no devices", _tmpfs),
    Rule("W.3", "disk", "no volume, and nothing of the server but secrets", _volumes),
    Rule("W.4", "shared memory", "16 MiB", _shared_memory),
    Rule("W.5", "end", "SIGTERM, and 3 s", _stop),
    Rule("W.6", "log", "json-file, bounded", _log),
    Rule("W.7", "published ports", "none", _ports),
    Rule("W.8", "IPv6", "off", _ipv6),
    Rule("W.9", "name servers", "a black hole, where a seat is not open", _names),
    Rule("W.10", "swap", "none", _swap),
    Rule("W.11", "out-of-memory score", "500 for seats, 0 for the platform", _oom),
    Rule("W.12", "first process", "one that reaps", _init),
    Rule("W.13", "open files", "at most 1024 in a seat, 8192 elsewhere", _files),
    Rule("W.14", "restarts", "unless-stopped", _restart),
    Rule("W.15", "io_uring", "refused", _io_uring),
    Rule("W.16", "address", "the slot's", _address),
    Rule("W.17", "kernel's own files", "masked", _masked),
    Rule("W.18", "what is shared with others", "nothing", _borrowed),
)
NETWORK_RULES = (
    NetworkRule("W.19", "neighbours", "enable_icc false", _icc),
    NetworkRule("W.20", "IPv6", "off", _network_ipv6),
    NetworkRule("W.21", "bridge", "a name that the firewall's rules match", _bridge_name),
)
