"""Where broken apps are run: real containers behind a seat's real flags, on a network of their own."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from tests import layers
from tests.deploys.broken.apps import PYTHON
from workshop.engines.remains import DockerRemains
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.specs import ContainerSpec, ImageSpec, NetworkSpec, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploys.broken.apps import App
    from workshop.engines.docker import DockerEngine

SUBNET, GATEWAY, IP_RANGE = "10.231.48.0/22", "10.231.48.1", "10.231.50.0/23"
SECRET = "wk-ada-1-correcthorsebattery"  # noqa: S105 - nobody's
_PACKED = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nWORKDIR /srv\nCOPY . .\n"


@dataclass
class Stage:
    """An engine, a network and a base image with Python."""

    engine: DockerEngine
    owner: Owner
    network: str
    base: str
    remains: DockerRemains
    marks: dict[str, str]
    _taken: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def build(self, app: App) -> str:
        """Pack an app into an image."""
        tag = f"{self.owner.workshop}/{app.name}:1"
        with tempfile.TemporaryDirectory() as directory:
            for name, content in app.files.items():
                data = content.encode() if isinstance(content, str) else content
                Path(directory, name).write_bytes(data)
                Path(directory, name).chmod(0o755)
            Path(directory, "Dockerfile").write_text(_PACKED, "utf-8")
            spec = ImageSpec(tag, Role.APP, Path(directory), base=self.base)
            self.engine.build(spec, self.owner.labels(Role.APP))
        return tag

    def specify(self, name: str, image: str, **changes: Any) -> ContainerSpec:
        """Specify a seat that runs ``image``."""
        with self._lock:
            self._taken += 1
            address = f"10.231.48.{self._taken}"
        fields: dict[str, Any] = {
            "role": Role.SEAT,
            "key": "ada",
            "name": f"{self.owner.workshop}-{name}",
            "image": image,
            "version": "v7",
            "limits": Limits(memory=64 * MIB, cpus=0.5, pids=32),
            "env": {
                "PORT": "8000",
                "WORKSHOP_PARTICIPANT": "ada",
                "WORKSHOP_VERSION": "v7",
                "OPENAI_API_KEY": SECRET,
            },
            "slot": 0,
            "network": self.network,
            "address": address,
            "command": PYTHON,
        }
        return ContainerSpec(**{**fields, **changes})

    def create(self, spec: ContainerSpec, sysctls: dict[str, str] | None = None) -> str:
        """Create a seat's container; kernel settings are what an older engine would have had."""
        if not sysctls:
            return self.engine.create(spec, self.owner)
        host_config = self.engine._host_config(spec)
        host_config["Sysctls"] = sysctls
        created = self.engine._api.create_container(
            spec.image,
            command=list(spec.command),
            name=spec.name,
            user=spec.user,
            environment=dict(spec.env),
            labels={**self.owner.labels(Role.SEAT), "workshop.config-hash": "test"},
            host_config=host_config,
            networking_config=self.engine._networking(spec),
        )
        return str(created["Id"])

    @contextlib.contextmanager
    def running(self, spec: ContainerSpec, sysctls: dict[str, str] | None = None) -> Iterator[str]:
        """Run a container for the length of the block."""
        container = self.create(spec, sysctls)
        try:
            self.engine.start(container)
            yield container
        finally:
            self.remove(container)

    def remove(self, container: str) -> None:
        """Remove a container without waiting for it to end politely."""
        with contextlib.suppress(docker.errors.NotFound):
            self.engine._api.remove_container(container, v=True, force=True)


@contextlib.contextmanager
def stage(engine: DockerEngine, name: str) -> Iterator[Stage]:
    """Set the stage, and leave nothing of it."""
    owner = Owner(name, "run1", "/somewhere")
    network = NetworkSpec(f"{name}-open-0", f"wsp{name[1:9]}", SUBNET, GATEWAY, IP_RANGE)
    base = layers.base(engine)
    marks = {**owner.labels(Role.SEAT), "workshop.helper": name}
    remains = DockerRemains(base, marks)
    engine.create_network(network, owner)
    try:
        yield Stage(engine, owner, network.name, base, remains, marks)
    finally:
        remains.close()
        _clear(engine, owner)


def _clear(engine: DockerEngine, owner: Owner) -> None:
    seen = engine.observe(owner.workshop)
    for container in seen.containers:
        engine._api.remove_container(container.id, v=True, force=True)
    for network in seen.networks:
        engine.remove_network(network.id)
    for image in seen.images:
        if image.workshop == owner.workshop:
            engine.remove_image(image.tag)
    assert engine.leftovers(owner.workshop) == []
