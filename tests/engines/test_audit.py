"""The audit against the real engine: each flag is taken away once, and must be missed.

Nothing is started: what the engine says of a container that was only created is what it was told.
All mutants are made at once, looked at once, and removed.
"""

from __future__ import annotations

import copy
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import TruthfulProbe
from tests.engines.scene import network_of, place, seat
from workshop.audit import RULES, Finding, audit, own
from workshop.engines.docker import DockerEngine
from workshop.engines.memory import MemoryEngine
from workshop.labels import Role
from workshop.specs import NO_NETWORK, ContainerSpec, Owner
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

SAYS_WHAT_IT_IS = {
    *("Image", "Cmd", "Env", "Labels", "Hostname", "AttachStderr", "AttachStdout"),
    "HostConfig.SecurityOpt",  # its two words are taken away one by one below
}
REMOVED = {
    "User": "W.1",
    "StopSignal": "W.5",
    "StopTimeout": "W.5",
    "Healthcheck": "5.27",
    "NetworkingConfig": "W.16",
    "HostConfig.CapDrop": "5.4",
    "HostConfig.CpuPeriod": "5.12",
    "HostConfig.CpuQuota": "5.12",
    "HostConfig.CpuShares": "5.12",
    "HostConfig.Init": "W.12",
    "HostConfig.LogConfig": "W.6",
    "HostConfig.Memory": "5.11",
    "HostConfig.MemorySwap": "W.10",
    "HostConfig.NetworkMode": "5.30",
    "HostConfig.OomScoreAdj": "W.11",
    "HostConfig.PidsLimit": "5.29",
    "HostConfig.ReadonlyRootfs": "5.13",
    "HostConfig.RestartPolicy": "W.14",
    "HostConfig.ShmSize": "W.4",
    "HostConfig.Sysctls": "W.8",
    "HostConfig.Tmpfs": "W.2",
    "HostConfig.Ulimits": "W.13",
}
"""Everything a seat is told beside what it is, and the rule that misses it."""
SMALL_TMP = {"/tmp": "rw,noexec,nosuid,nodev,size=32m,nr_inodes=2000"}
SMALLER = [{"Type": "tmpfs", "Target": "/data", "TmpfsOptions": {"SizeBytes": 1 << 30}}]
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "apparmor-unconfined": ("5.2", {"SecurityOpt+": ["apparmor=unconfined"]}),
    "selinux-disabled": ("5.3", {"SecurityOpt+": ["label=disable"]}),
    "one-capability": ("5.4", {"CapAdd": ["NET_RAW"]}),
    "some-capabilities-kept": ("5.4", {"CapDrop": ["NET_RAW"]}),
    "privileged": ("5.5", {"Privileged": True}),
    "etc": ("5.6", {"Binds": ["/etc:/run/secrets/x:ro"]}),
    "root": ("5.6", {"Binds": ["/:/run/secrets/x:ro"]}),
    "privileged-port": ("5.8", {"PortBindings": {"8000/tcp": [{"HostPort": "80"}]}}),
    "host-network": ("5.10", {"NetworkMode": "host", "Sysctls": {}}),
    "processor-of-a-part": ("5.12", {"CpuShares": 8192}),
    "any-interface": ("5.14", {"PortBindings": {"8000/tcp": [{"HostPort": "18080"}]}}),
    "host-processes": ("5.16", {"PidMode": "host"}),
    "host-ipc": ("5.17", {"IpcMode": "host"}),
    "shared-ipc": ("5.17", {"IpcMode": "shareable"}),
    "device": (
        "5.18",
        {
            "Devices": [
                {
                    "PathOnHost": "/dev/kmsg",
                    "PathInContainer": "/dev/kmsg",
                    "CgroupPermissions": "r",
                }
            ]
        },
    ),
    "any-device": ("5.18", {"DeviceCgroupRules": ["c 1:11 r"]}),
    "shared-propagation": ("5.20", {"Binds": ["/mnt:/run/secrets/x:ro,rshared"]}),
    "host-name": ("5.21", {"UTSMode": "host"}),
    "seccomp-unconfined": (
        "5.22",
        {"SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"]},
    ),
    "new-privileges": ("5.26", {"SecurityOpt-": "no-new-privileges"}),
    "no-pids-limit": ("5.29", {"PidsLimit": -1}),
    "default-bridge": ("5.30", {"NetworkMode": "bridge"}),
    "host-users": ("5.31", {"UsernsMode": "host"}),
    "engine-socket": ("5.32", {"Binds": ["/var/run/docker.sock:/run/secrets/x:ro"]}),
    "tmp-with-programs": ("W.2", {"Tmpfs": {"/tmp": SMALL_TMP["/tmp"].replace("noexec,", "")}}),
    "tmp-with-setuid": ("W.2", {"Tmpfs": {"/tmp": SMALL_TMP["/tmp"].replace("nosuid,", "")}}),
    "tmp-with-devices": ("W.2", {"Tmpfs": {"/tmp": SMALL_TMP["/tmp"].replace("nodev,", "")}}),
    "tmp-of-any-size": ("W.2", {"Tmpfs": {"/tmp": SMALL_TMP["/tmp"].replace("size=32m,", "")}}),
    "tmp-of-many-files": (
        "W.2",
        {"Tmpfs": {"/tmp": SMALL_TMP["/tmp"].replace(",nr_inodes=2000", "")}},
    ),
    "another-tmpfs": ("W.2", {"Tmpfs": {**SMALL_TMP, "/var/tmp": ""}}),
    "large-volume-in-memory": ("W.2", {"Mounts": SMALLER}),
    "named-volume": ("W.3", {"Mounts": [{"Type": "volume", "Target": "/data"}]}),
    "directory-of-the-server": ("W.3", {"Binds": ["/srv:/srv:ro"]}),
    "writable-secrets": ("W.3", {"Binds": ["/srv:/run/secrets:rw"]}),
    "large-shared-memory": ("W.4", {"ShmSize": 1 << 30}),
    "log-to-journal": ("W.6", {"LogConfig": {"Type": "journald", "Config": {}}}),
    "long-log": (
        "W.6",
        {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1g", "max-file": "2"}}},
    ),
    "many-logs": (
        "W.6",
        {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "99"}}},
    ),
    "loopback-port": (
        "W.7",
        {"PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}},
    ),
    "all-ports": ("W.7", {"PublishAllPorts": True}),
    "half-ipv6": ("W.8", {"Sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}}),
    "servers-names": ("W.9", {"Dns": []}),
    "public-names": ("W.9", {"Dns": ["192.0.2.1", "9.9.9.9"]}),
    "swap": ("W.10", {"MemorySwap": -1}),
    "never-killed": ("W.10", {"OomKillDisable": True}),
    "killed-last": ("W.11", {"OomScoreAdj": -500}),
    "many-open-files": ("W.13", {"Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1 << 20}]}),
    "always-again": ("W.14", {"RestartPolicy": {"Name": "always"}}),
    "io-uring": ("W.15", {"SecurityOpt-": "seccomp"}),
    "kernel-files": ("W.17", {"MaskedPaths": []}),
    "kernel-settings": ("W.17", {"ReadonlyPaths": []}),
    "roots-group": ("W.18", {"GroupAdd": ["0"]}),
    "others-control-group": ("W.18", {"CgroupParent": "/elsewhere"}),
    "others-names": ("W.18", {"ExtraHosts": ["a:192.0.2.1"]}),
    "another-setting": (
        "W.18",
        {
            "Sysctls": {
                "net.ipv6.conf.all.disable_ipv6": "1",
                "net.ipv6.conf.default.disable_ipv6": "1",
                "net.ipv4.ip_forward": "1",
            }
        },
    ),
}
"""What may not be said instead, and the rule that sees it."""
WHOLE = {
    "root-by-number": ("W.1", {"User": "0:0"}),
    "another-user": ("W.1", {"User": "10002:10002"}),
    "long-goodbye": ("W.5", {"StopTimeout": 600}),
    "another-goodbye": ("W.5", {"StopSignal": "SIGUSR1"}),
    "own-health-check": ("5.27", {"Healthcheck": {"Test": ["CMD", "true"]}}),
    "anonymous-volume": ("W.3", {"Volumes": {"/data": {}}}),
}  # fmt: skip


class Hall:
    """A workshop of one's own, with a small image and a network, where containers are only made."""

    def __init__(self, engine: DockerEngine, owner: Owner, image: str) -> None:
        self.engine = engine
        self.owner = owner
        self.image = image
        self.network = network_of(owner)
        self.told: dict[str, Any] = {}

    def seat(self, name: str = "ada") -> ContainerSpec:
        """Specify Ada's seat, in a container of another name."""
        spec = seat(self.owner, self.image)
        return replace(spec, name=f"{self.owner.workshop}-{name}")

    def make(self, spec: ContainerSpec, change: Callable[[dict[str, Any]], object]) -> None:
        """Create a container, with one thing changed of what the engine is told."""
        engine = DockerEngine()
        send = engine._api.create_container_from_config

        def changed(config: Any, *rest: Any) -> Any:
            self.told = copy.deepcopy(dict(config))
            config = copy.deepcopy(dict(config))
            change(config)
            return send(config, *rest)

        engine._api.create_container_from_config = changed  # type: ignore[method-assign]
        try:
            engine.create(spec, self.owner)
        finally:
            engine.close()

    def findings(self) -> dict[str, list[Finding]]:
        """Audit all there is; Ada may not ask for names."""
        found: dict[str, list[Finding]] = {}
        for finding in audit(self.engine.facts(self.owner.workshop), dark=frozenset({"ada"})):
            found.setdefault(finding.container, []).append(finding)
        return found

    def clear(self) -> None:
        """Remove every container; none was ever started."""
        api = self.engine._api
        made = [item.id for item in self.engine.observe(self.owner.workshop).containers]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda it: api.remove_container(it, v=True, force=True), made))


def dark(config: dict[str, Any]) -> None:
    """Give a seat the name servers of one that is not open."""
    config["HostConfig"]["Dns"] = ["192.0.2.1"]


def without(path: str) -> Callable[[dict[str, Any]], object]:
    """Take one thing away of what the engine is told."""

    def change(config: dict[str, Any]) -> None:
        dark(config)
        *above, last = path.split(".")
        del (config[above[0]] if above else config)[last]
        if path == "HostConfig.NetworkMode":
            del config["NetworkingConfig"]
        if path == "HostConfig.Memory":
            del config["HostConfig"]["MemorySwap"]

    return change


def with_(values: dict[str, Any], *, whole: bool = False) -> Callable[[dict[str, Any]], object]:
    """Say something else to the engine."""

    def change(config: dict[str, Any]) -> None:
        dark(config)
        target = config if whole else config["HostConfig"]
        for name, value in values.items():
            options = config["HostConfig"]["SecurityOpt"]
            if name == "SecurityOpt+":
                options += value
            elif name == "SecurityOpt-":
                config["HostConfig"]["SecurityOpt"] = [
                    it for it in options if not it.startswith(value)
                ]
            else:
                target[name] = value
        if "NetworkMode" in values:
            del config["NetworkingConfig"]
        if "UTSMode" in values:
            del config["Hostname"]

    return change


@pytest.fixture(scope="module")
def hall(docker_engine: Any, rootfs: Path) -> Iterator[Hall]:
    """Make a network and a small image, and clean everything afterwards."""
    import uuid

    engine: DockerEngine = docker_engine
    owner = Owner(f"t{uuid.uuid4().hex[:10]}", "run1", "/somewhere")
    tag = f"{owner.workshop}/base:1"
    engine.load_rootfs(rootfs, tag, owner.labels(Role.APP), {"PATH": "/bin"})
    hall = Hall(engine, owner, tag)
    try:
        engine.create_network(hall.network, owner)
        yield hall
    finally:
        hall.clear()
        for network in engine.observe(owner.workshop).networks:
            engine.remove_network(network.id)
        engine.remove_image(tag)
    assert engine.leftovers(owner.workshop) == []


MUTANTS = {
    **{f"no-{path}": (rule, without(path)) for path, rule in REMOVED.items()},
    **{name: (rule, with_(values)) for name, (rule, values) in CHANGED.items()},
    **{name: (rule, with_(values, whole=True)) for name, (rule, values) in WHOLE.items()},
}


@pytest.fixture(scope="module")
def noticed(hall: Hall) -> dict[str, set[str]]:
    """Make all mutants, let the audit look once, and remove them."""
    before = hall.findings()
    assert before == {}
    with ThreadPoolExecutor(6) as pool:
        making = {
            name: pool.submit(hall.make, hall.seat(f"m{number}"), change)
            for number, (name, (_, change)) in enumerate(MUTANTS.items())
        }
    assert {name: error for name, made in making.items() if (error := made.exception())} == {}
    found = hall.findings()
    hall.clear()
    names = {name: f"{hall.owner.workshop}-m{number}" for number, name in enumerate(MUTANTS)}
    return {name: {it.id for it in found.get(made, [])} for name, made in names.items()}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_flag_changed_is_noticed_by_its_rule(noticed: dict[str, set[str]], mutant: str) -> None:
    """Every single flag, taken away or turned, is a finding with the right id."""
    assert MUTANTS[mutant][0] in noticed[mutant]


def test_every_flag_has_its_mutant(hall: Hall) -> None:
    """A flag that somebody adds must be added here, or its loss might go unnoticed."""
    hall.make(hall.seat(), dark)
    assert hall.findings() == {}
    hall.clear()
    held = hall.told.pop("HostConfig")
    told = {name for name, value in hall.told.items() if value}
    told |= {f"HostConfig.{name}" for name, value in held.items() if value}

    assert told - SAYS_WHAT_IT_IS == set(REMOVED)


def test_every_rule_has_its_mutant() -> None:
    """No rule is there that nothing has ever offended."""
    rules = {rule for rule, _ in MUTANTS.values()}

    assert rules == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    ("flag", "value", "rule"),
    [
        ("enable_icc", "true", "W.19"),
        ("EnableIPv6", True, "W.20"),
        ("name", "br-own", "W.21"),
    ],
)
def test_network_changed_is_noticed(hall: Hall, flag: str, value: Any, rule: str) -> None:
    """Neighbours, IPv6 and the name that firewall rules go by belong to the network."""
    facts = hall.engine.facts(hall.owner.workshop)
    (network,) = (copy.deepcopy(dict(raw)) for raw in facts.networks)
    target = network if flag in network else network["Options"]
    key = flag if flag in network else f"com.docker.network.bridge.{flag}"
    assert key in target
    target[key] = value

    assert [it.id for it in audit(replace(facts, networks=(network,)))] == [rule]
    assert len(own.NETWORK_RULES) == 3


CLASS = """
workshop:
  name: class
  url: http://localhost:18999
  llm: {record: false}
participants: [ada, bob]
"""


@pytest.fixture
def everything(directory: Path) -> list[ContainerSpec]:
    """Specify a whole class with models and deploys."""
    path = directory / "participants.yaml"
    path.write_text(CLASS, "utf-8")
    memory = MemoryEngine()
    work = Workspace(path, lambda: memory, TruthfulProbe(memory, "class"))
    return list(survey(work).desired.containers)


def test_whole_class_is_made_without_a_finding(hall: Hall, everything: list[ContainerSpec]) -> None:
    """Edge, gateway, embedded model, registry, intake, egress, relays, serve, board and seats."""
    roles = {spec.role for spec in everything}
    assert {Role.EDGE, Role.GATEWAY, Role.EMBEDDED, Role.REGISTRY, Role.SERVE, Role.RELAY} < roles
    assert Role.BOARD in roles
    try:
        for number, spec in enumerate(everything):
            name, command = f"{hall.owner.workshop}-{number}", spec.command or ("sleep", "1")
            made = replace(spec, image=hall.image, name=name, command=command)
            if spec.network not in {None, NO_NETWORK}:
                address = place(20 + number)
                made = replace(made, network=hall.network.name, address=address)
            hall.engine.create(made, hall.owner)
        found = hall.engine.facts(hall.owner.workshop)
    finally:
        hall.clear()

    assert len(found.containers) == len(everything)
    assert audit(found) == []


def test_volumes_of_an_image_become_small_and_in_memory(hall: Hall, tmp_path: Path) -> None:
    """VOLUME, STOPSIGNAL, HEALTHCHECK and USER of an image make no difference to the audit."""
    recipe = (
        f"FROM {hall.image}\nUSER 0\nVOLUME /data /data/deep/\nSTOPSIGNAL SIGCONT\n"
        "ENV LD_PRELOAD=/evil.so\nHEALTHCHECK CMD true\nEXPOSE 80\n"
    )
    (tmp_path / "Dockerfile").write_text(recipe)
    tag = f"{hall.owner.workshop}/hostile:1"
    subprocess.run(
        ["docker", "build", "-q", "-t", tag, str(tmp_path)], check=True, capture_output=True,
        env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        hall.engine.create(replace(hall.seat(), image=tag), hall.owner)
        found = hall.engine.facts(hall.owner.workshop)
        hall.clear()
    finally:
        hall.engine.remove_image(tag)
    (raw,) = found.containers

    assert audit(found) == []
    assert raw["Config"]["StopSignal"] == "SIGTERM"
    assert sorted(it["Target"] for it in raw["HostConfig"]["Mounts"]) == ["/data", "/data/deep"]
