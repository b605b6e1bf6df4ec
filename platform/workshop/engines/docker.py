"""The Docker engine, spoken to over its API with the ``docker`` SDK.

The low-level client is used on purpose: one verb is one request, where the high-level one
inspects every object it returns. Labels are read here and nowhere else.
"""

from __future__ import annotations

import contextlib
import posixpath
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from docker.errors import APIError
from docker.errors import NotFound as DockerNotFound
from docker.types import IPAMConfig, IPAMPool, Mount

from workshop import host, labels
from workshop.audit import Facts
from workshop.engines import (
    addresses,
    alterations,
    builder,
    execution,
    seccomp,
    streams,
    terminal,
    walls,
)
from workshop.engines.base import STOP_SECONDS, EngineInfo
from workshop.engines.connection import (
    BUILD_SECONDS,
    CALL_SECONDS,
    MAX_CONNECTIONS,
    again,
    connect,
    forget_image,
    mapped,
)
from workshop.errors import BuildFailed, Conflict, EngineError, EngineUnreachable
from workshop.labels import Role
from workshop.limits import MIB
from workshop.observed import (
    Observed,
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    State,
    Uptime,
)
from workshop.specs import NO_NETWORK, SECRETS_PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from workshop.engines.base import Event, Stream
    from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec, Owner

_SMALL_BYTES = 16 * MIB


class DockerEngine:
    """An :class:`~workshop.engines.base.Engine` on a Docker daemon of this machine."""

    has_kernel = True

    def __init__(self, *, base_url: str | None = None) -> None:
        self._api = connect(base_url, CALL_SECONDS)
        self._slow = connect(base_url, BUILD_SECONDS, self._api)

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
        self._slow.close()

    # -- looking ------------------------------------------------------------------------------

    def info(self) -> EngineInfo:
        with mapped():
            raw = self._api.info()
        return EngineInfo(
            kind="docker",
            version=raw["ServerVersion"],
            endpoint=self._api.base_url.replace(
                "http+docker://localhost", "unix:///var/run/docker.sock"
            ),
            cpus=raw["NCPU"],
            memory=raw["MemTotal"],
            root=raw["DockerRootDir"],
            warnings=tuple(raw.get("Warnings") or ()),
        )

    def observe(self, workshop: str, references: Sequence[str] = ()) -> Observed:
        # Side by side: listing images costs the engine as much as all the rest together.
        with mapped(), ThreadPoolExecutor(2) as pool:
            listed = pool.submit(self._api.images)
            networks_listed = pool.submit(self._api.networks)
            containers = self._list(workshop)
            networks, images = networks_listed.result(), listed.result()
        mine = [item for item in networks if (item["Labels"] or {}).get(labels.NAME) == workshop]
        others = [item for item in networks if item not in mine]
        return Observed(
            containers=tuple(map(_container, containers)),
            networks=tuple(map(_network, mine)),
            images=tuple(_images(images, frozenset(references))),
            taken_subnets=tuple(subnet for item in others for subnet in _subnets(item)),
            volumes=tuple(
                mount["Name"]
                for item in containers
                for mount in item.get("Mounts", ())
                if mount.get("Type") == "volume"
            ),
        )

    def containers(self, workshop: str) -> Sequence[ObservedContainer]:
        with mapped():
            return tuple(map(_container, self._list(workshop)))

    def _list(self, workshop: str) -> list[Mapping[str, Any]]:
        """List containers, newest first.

        One that somebody ran by hand from an image of ours inherits the image's labels.
        """
        found = self._api.containers(all=True, filters=_of(workshop))
        own = [item for item in found if item["Labels"].get(labels.CONFIG_HASH)]
        return sorted(own, key=lambda item: -item["Created"])

    def events(self, workshop: str) -> Stream[Event]:
        about = {**_of(workshop), "type": ["container"], "event": list(streams.ACTIONS)}
        with mapped():
            source: Any = self._api.events(filters=about)
        return streams.DockerStream(source, streams.events)

    def remove_nameless(self, workshop: str) -> None:
        for image in self._nameless(workshop):
            # One may be below another, or a container may have been made of it just now.
            with contextlib.suppress(Conflict):
                forget_image(self._api, image)

    def _nameless(self, workshop: str) -> list[str]:
        """Find images without a name that no container uses; who uses one now is a stranger."""
        with mapped():
            used = {item["ImageID"] for item in self._api.containers(all=True)}
            there = self._api.images(filters={"dangling": True, **_of(workshop)})
        return [item["Id"] for item in there if item["Id"] not in used]

    def leftovers(self, workshop: str, volumes: Sequence[str] = ()) -> list[str]:
        seen = self.observe(workshop)
        with mapped():
            existing = {item["Name"] for item in self._api.volumes()["Volumes"] or ()}
        return [
            *(f"container {item.name}" for item in seen.containers),
            *(f"network {item.name}" for item in seen.networks),
            *(f"image {item.tag}" for item in seen.images if item.workshop == workshop),
            *(f"image {image} (without a name)" for image in self._nameless(workshop)),
            *(f"volume {name}" for name in volumes if name in existing),
        ]

    def uptime(self, container_id: str) -> Uptime:
        with mapped():
            raw = self._api.inspect_container(container_id)
        state = raw["State"]
        since = datetime.fromisoformat(state["StartedAt" if state["Running"] else "FinishedAt"])
        seconds = (datetime.now(UTC) - since).total_seconds()
        return Uptime(
            seconds=seconds if state["Running"] else 0.0,
            restarts=raw["RestartCount"],
            # The engine says "never" by the year 1.
            since=max(since.timestamp(), 0.0),
            out_of_memory=state["OOMKilled"],
        )

    def facts(self, workshop: str) -> Facts:
        with mapped(), ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            listed = self._api.containers(all=True, filters=_of(workshop))
            networks = self._api.networks(filters=_of(workshop))
            said = self._api.version()
            return Facts(
                containers=tuple(filter(None, pool.map(self._inspect, listed))),
                networks=tuple(networks),
                security=tuple(self._api.info().get("SecurityOptions") or ()),
                api=seccomp.version(said["ApiVersion"]),
                components={item["Name"]: item["Version"] for item in said["Components"]},
                has_ipv6=host.has_ipv6(),
            )

    def altered(self, workshop: str, specs: Sequence[ContainerSpec]) -> Mapping[str, str]:
        with mapped(), ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            listed = self._api.containers(all=True, filters=_of(workshop))
            inspected = list(filter(None, pool.map(self._inspect, listed)))
        return alterations.altered(specs, inspected, self._api.api_version)

    def _inspect(self, listed: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._api.inspect_container(listed["Id"])
        except DockerNotFound:
            return None  # a step of a build that has just ended
        return found

    def logs(self, container_id: str, *, tail: int, follow: bool = False) -> Iterator[str]:
        with mapped():
            stream = self._slow.logs(container_id, tail=tail, stream=True, follow=follow)
            buffer = b""
            for chunk in stream:
                *lines, buffer = (buffer + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
            if buffer:
                yield buffer.decode("utf-8", "replace")

    def follow(self, container_id: str, since: float) -> Stream[tuple[str, str]]:
        with mapped():
            source: Any = self._slow.logs(
                container_id, stream=True, follow=True, stderr=False, timestamps=True, since=since
            )
        return streams.DockerStream(source, streams.stamped)

    # -- images -------------------------------------------------------------------------------

    def fetch(self, reference: str) -> None:
        try:
            with mapped():
                for line in self._slow.pull(reference, stream=True, decode=True):
                    if "error" in line:
                        raise BuildFailed(f"cannot pull {reference}: {line['error']}")
        except (EngineError, EngineUnreachable) as exc:
            raise BuildFailed(
                f"cannot pull {reference}: {exc.message}",
                hint="check the name, `docker login` and the network",
            ) from exc

    def build(self, spec: ImageSpec, labels: Mapping[str, str]) -> None:
        with mapped():
            builder.build(self._slow, spec, labels)

    def load_rootfs(
        self, archive: Path, tag: str, labels: Mapping[str, str], env: Mapping[str, str]
    ) -> None:
        repository, _, version = tag.rpartition(":")
        changes = [f'LABEL "{key}"="{value}"' for key, value in labels.items()]
        changes += [f'ENV "{key}"="{value}"' for key, value in env.items()]
        with mapped():
            again(
                lambda: self._slow.import_image_from_file(
                    str(archive), repository=repository, tag=version, changes=changes
                ),
                lambda: tag if self._api.images(tag) else None,
            )

    def remove_image(self, tag: str) -> None:
        forget_image(self._api, tag)

    # -- networks -----------------------------------------------------------------------------

    def create_network(self, spec: NetworkSpec, owner: Owner) -> None:
        marks = {**owner.labels(Role.NETWORK), labels.CONFIG_HASH: spec.config_hash}
        pool = IPAMPool(subnet=spec.subnet, iprange=spec.ip_range, gateway=spec.gateway)
        with mapped():
            again(
                lambda: self._api.create_network(
                    spec.name,
                    driver="bridge",
                    ipam=IPAMConfig(pool_configs=[pool]),
                    options={
                        "com.docker.network.bridge.name": spec.bridge,
                        "com.docker.network.bridge.enable_icc": "false",
                    },
                    labels=marks,
                    check_duplicate=True,
                ),
                lambda: self._made_network(spec.name, marks),
            )

    def _made_network(self, name: str, marks: Mapping[str, str]) -> object:
        alike = self._api.networks(names=[name], filters={"label": _pairs(marks)})
        return next((item for item in alike if item["Name"] == name), None)

    def remove_network(self, network_id: str) -> None:
        try:
            with mapped(), contextlib.suppress(DockerNotFound):
                self._api.remove_network(network_id)
        except EngineError as exc:
            if "active endpoints" in exc.message and not self._members(network_id):
                # Docker 20.10 can lose count when many leave at once; it counts anew at its start.
                exc.hint = "nobody is on it: restart the engine, then run the same command again"
            raise

    def _members(self, network_id: str) -> Mapping[str, Any]:
        with mapped():
            return self._api.inspect_network(network_id)["Containers"] or {}

    # -- containers ---------------------------------------------------------------------------

    def create(self, spec: ContainerSpec, owner: Owner) -> str:
        marks = _marks(spec, owner)
        with mapped():
            created: Mapping[str, Any] = again(
                lambda: self._api.create_container(
                    spec.image,
                    command=list(spec.command) or None,
                    name=spec.name,
                    hostname=spec.key,
                    environment=dict(spec.env),
                    labels=marks,
                    host_config=self._host_config(spec),
                    networking_config=self._networking(spec),
                    **walls.process(spec),
                ),
                lambda: self._made_container(spec.name, marks),
            )
        return str(created["Id"])

    def _made_container(self, name: str, marks: Mapping[str, str]) -> Mapping[str, Any] | None:
        """Find what a call that broke off has made: it bears all the marks and never started."""
        alike: Any = {"label": _pairs(marks), "status": "created"}
        listed = self._api.containers(all=True, filters=alike)
        return next((item for item in listed if f"/{name}" in item["Names"]), None)

    def _host_config(self, spec: ContainerSpec) -> Any:  # noqa: ANN401 - the SDK's own dictionary
        return self._api.create_host_config(
            binds=_binds(spec),
            mounts=_mounts(replace(spec, volumes=self._volumes(spec))) or None,
            group_add=list(spec.groups) or None,
            network_mode=spec.network or "host",
            **walls.flags(spec, self._api.api_version),
        )

    def _volumes(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Find what the image wants kept; of each the engine would make a volume nobody bounds."""
        found: Any = self._api.inspect_image(spec.image)  # type: ignore[no-untyped-call]
        config = found.get("Config") or {}
        declared = map(posixpath.normpath, config.get("Volumes") or ())
        given = {walls.TMP, *(place for _, place in (*spec.mounts, *spec.data))}
        return tuple(sorted({*spec.volumes, *declared} - given))

    def _networking(self, spec: ContainerSpec) -> Any:  # noqa: ANN401 - the SDK's own dictionary
        if spec.network in {None, NO_NETWORK}:
            return None
        endpoint = self._api.create_endpoint_config(ipv4_address=spec.address)
        endpoints: Any = {spec.network: endpoint}
        return self._api.create_networking_config(endpoints)

    def start(self, container_id: str) -> None:
        with mapped():
            try:
                self._api.start(container_id)
            except APIError as exc:
                if addresses.TAKEN in str(exc.explanation):
                    raise addresses.taken(self._api, container_id) from exc
                if "paused" not in str(exc.explanation):
                    raise
                self._api.unpause(container_id)

    def restart(self, container_id: str) -> None:
        with mapped():
            self._api.restart(container_id, timeout=STOP_SECONDS)

    def stop(self, container_id: str) -> None:
        with mapped():
            self._api.stop(container_id, timeout=STOP_SECONDS)

    def once(self, spec: ContainerSpec, owner: Owner) -> tuple[int, str]:
        # Two commands may look at the same time.
        named = replace(spec, name=f"{spec.name}.{uuid.uuid4().hex[:8]}")
        container = self.create(named, owner)
        try:
            self.start(container)
            with mapped():
                status = int(self._api.wait(container)["StatusCode"])
                output = self._api.logs(container, stderr=status != 0)
        finally:
            with mapped(), contextlib.suppress(DockerNotFound):
                self._api.remove_container(container, v=True, force=True)
        return status, output.decode("utf-8", "replace")

    def remove(self, container_id: str) -> None:
        with mapped(), contextlib.suppress(DockerNotFound):
            self._api.stop(container_id, timeout=STOP_SECONDS)
            self._api.remove_container(container_id, v=True, force=True)

    def run(self, container_id: str, command: Sequence[str]) -> tuple[int, str]:
        with mapped():
            return execution.run(self._api, container_id, command)

    def attach(self, container_id: str, command: Sequence[str]) -> int:
        with mapped():
            return terminal.attach(self._slow, container_id, command)


def _pairs(marks: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in marks.items()]


def _of(workshop: str) -> dict[str, list[str]]:
    return {"label": [f"{labels.NAME}={workshop}"]}


def _binds(spec: ContainerSpec) -> dict[str, Mapping[str, str]]:
    modes = (("ro", spec.mounts), ("rw", spec.data))
    return {
        source: {"bind": place, "mode": mode} for mode, mounts in modes for source, place in mounts
    }


def _mounts(spec: ContainerSpec) -> list[Mount]:
    """Mount what is in memory.

    The files of secrets are no bind of the older kind, whose missing source the engine would make:
    after a reboot a seat shall wait for its secrets, not start without them.
    """
    found = [_small(path) for path in spec.volumes if path != SECRETS_PLACE or not spec.secrets]
    if spec.secrets:
        found.append(Mount(SECRETS_PLACE, spec.secrets, type="bind", read_only=True))
    return found


def _small(path: str) -> Mount:
    """Keep a directory in memory that an image declares as a volume; nobody else would bound it."""
    return Mount(path, None, type="tmpfs", tmpfs_size=_SMALL_BYTES, tmpfs_mode=0o1777)


def _marks(spec: ContainerSpec, owner: Owner) -> dict[str, str]:
    marks = {
        **owner.labels(spec.role),
        labels.PARTICIPANT: spec.key,
        labels.CONFIG_HASH: spec.config_hash,
        labels.VERSION: spec.version,
        # Always set, so that no label of an image counts.
        labels.DEPLOY: spec.deploy,
    }
    if spec.slot is not None:
        marks[labels.SLOT] = str(spec.slot)
    return marks


def _container(raw: Mapping[str, Any]) -> ObservedContainer:
    marks = raw["Labels"] or {}
    networks = raw.get("NetworkSettings", {}).get("Networks") or {}
    address = next((item["IPAddress"] for item in networks.values() if item.get("IPAddress")), None)
    return ObservedContainer(
        id=raw["Id"],
        name=raw["Names"][0].lstrip("/") if raw["Names"] else raw["Id"][:12],
        role=labels.role_of(marks),
        key=marks.get(labels.PARTICIPANT, ""),
        run=marks.get(labels.RUN, ""),
        directory=marks.get(labels.DIRECTORY, ""),
        slot=labels.slot_of(marks),
        address=address,
        config_hash=marks.get(labels.CONFIG_HASH, ""),
        version=marks.get(labels.VERSION, ""),
        deploy=marks.get(labels.DEPLOY, ""),
        state=State(raw["State"]),
        status=raw["Status"],
    )


def _network(raw: Mapping[str, Any]) -> ObservedNetwork:
    marks = raw["Labels"]
    return ObservedNetwork(
        id=raw["Id"],
        name=raw["Name"],
        run=marks.get(labels.RUN, ""),
        directory=marks.get(labels.DIRECTORY, ""),
        config_hash=marks.get(labels.CONFIG_HASH, ""),
        subnet=next(iter(_subnets(raw)), ""),
    )


def _subnets(raw: Mapping[str, Any]) -> Iterator[str]:
    for pool in (raw.get("IPAM") or {}).get("Config") or ():
        if pool.get("Subnet") and ":" not in pool["Subnet"]:
            yield pool["Subnet"]


def _images(
    raw: Sequence[Mapping[str, Any]], references: frozenset[str]
) -> Iterator[ObservedImage]:
    for item in raw:
        marks = item.get("Labels") or {}
        for tag in item.get("RepoTags") or ():
            if labels.is_own_image(tag, marks):
                role = labels.role_of(marks) or Role.APP
                yield ObservedImage(item["Id"], tag, role, marks.get(labels.NAME, ""))
            elif tag in references:
                yield ObservedImage(item["Id"], tag, Role.APP, "-")
