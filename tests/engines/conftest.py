"""A small image, a network and an owner of one's own, on whichever engine the test asks for."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engines.scene import network_of
from workshop.labels import Role
from workshop.specs import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.engines.base import Engine
    from workshop.specs import NetworkSpec


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack a root file system of one static program."""
    directory = tmp_path_factory.mktemp("rootfs")
    if not shutil.which("busybox", path="/bin:/usr/bin"):
        pytest.fail("busybox is missing; scripts/ensure-test-tools installs it")
    binary = directory / "bin"
    binary.mkdir()
    shutil.copy(shutil.which("busybox", path="/bin:/usr/bin") or "", binary / "busybox")
    for name in ("sh", "sleep", "echo", "cat", "id", "mount", "touch", "httpd", "true"):
        (binary / name).symlink_to("busybox")
    archive = directory / "rootfs.tar"
    subprocess.run(["tar", "-C", str(directory), "-cf", str(archive), "bin"], check=True)
    return archive


@pytest.fixture
def owner(unique_name: str) -> Owner:
    """Make an owner nobody else has."""
    return Owner(unique_name, "run1", "/somewhere")


@pytest.fixture
def base(engine: Engine, owner: Owner, rootfs: Path) -> Iterator[str]:
    """Load a small image and clean everything of this owner afterwards."""
    tag = f"{owner.workshop}/base:1"
    engine.load_rootfs(rootfs, tag, owner.labels(Role.APP), {"PATH": "/bin"})
    yield tag
    for item in engine.observe(owner.workshop).containers:
        engine.remove(item.id)
    for network in engine.observe(owner.workshop).networks:
        engine.remove_network(network.id)
    for image in engine.observe(owner.workshop).images:
        if image.workshop == owner.workshop:
            engine.remove_image(image.tag)
    assert engine.leftovers(owner.workshop) == []


@pytest.fixture
def network(engine: Engine, owner: Owner) -> NetworkSpec:
    """Create the network of one shard."""
    spec = network_of(owner)
    engine.create_network(spec, owner)
    return spec
