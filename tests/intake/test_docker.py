"""The real docker and the real registry before the real intake: what people type and read."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploys import registry_lab
from tests.intake.lab import EVENTS_CANARY, Lab, key_of
from tests.waiting import until
from workshop.deploys import registry as registries
from workshop.intake.config import CERTIFICATE
from workshop.intake.orders import What

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The first test may have to make the base image.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def room(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, str]]:
    """Run an intake and a registry that believes it, on a loopback address of their own."""
    directory = tmp_path_factory.mktemp("room")
    ip = f"127.{random.randint(200, 250)}.{8 * random.randint(0, 31)}.1"
    lab = Lab(directory, host=ip).start()
    address = f"{ip}:5000"
    config = directory / "registry"
    config.mkdir()
    shutil.copy(directory / "config" / CERTIFICATE, config)
    said = registries.Registry(address, lab.address, lab.url, EVENTS_CANARY)
    (config / registries.FILE).write_text(registries.config(said), "utf-8")
    storage = directory / "storage"
    storage.chmod(0o777)
    tag = registry_lab._image()
    with registry_lab._api() as api:
        host = api.create_host_config(
            network_mode="host",
            binds=[f"{config}:{registries.MOUNT}:ro", f"{storage}:{registries.DATA}:rw"],
        )
        made = api.create_container(
            tag, command=list(registries.COMMAND), user=registries.USER, host_config=host
        )
        try:
            api.start(made)
            until(lambda: answers(lab, address))
            yield lab, address
            job = api.exec_create(made, ["sh", "-c", f"rm -rf {registries.DATA}/*"])
            api.exec_start(job)
        finally:
            api.remove_container(made, force=True, v=True)
            lab.stop()


def answers(lab: Lab, address: str) -> bool:
    """Whether the registry is there."""
    return lab.curl("-f", f"http://{address}{registries.HEALTH}").returncode == 0


def docker(home: Path, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run docker as somebody who has only this home."""
    return subprocess.run(
        ["docker", "--config", str(home), *words],
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )


def login(home: Path, address: str, name: str, key: str) -> subprocess.CompletedProcess[str]:
    """Log in."""
    return docker(home, "login", "-u", name, "--password-stdin", address, said=key)


def test_docker_pushes_its_own_and_reads_why_not_the_others(
    room: tuple[Lab, str], tmp_path: Path
) -> None:
    """Hers becomes an order by digest; each refusal is printed in the intake's own words."""
    lab, address = room
    with registry_lab.images() as (api, prefix):
        registry_lab.busybox(api, f"{prefix}/base:1")
        for repository in ("ada/app", "bob/app", "app"):
            api.tag(f"{prefix}/base:1", f"{address}/{repository}", "1")
        wrong = login(tmp_path, address, "ada", key_of("bob"))
        right = login(tmp_path, address, "ada", key_of("ada"))
        own = docker(tmp_path, "push", f"{address}/ada/app:1")
        (order,) = until(lab.orders)
        foreign = docker(tmp_path, "push", f"{address}/bob/app:1")
        nobody = docker(tmp_path, "push", f"{address}/app:1")
        pulled = docker(tmp_path, "pull", f"{address}/bob/app:1")
        lab.limit(repository_bytes=1000)
        full = docker(tmp_path, "push", f"{address}/ada/app:1")

    assert (right.returncode, own.returncode) == (0, 0), right.stderr + own.stderr
    assert (order.what, order.seat, order.repository) == (What.PUSH, "ada", "ada/app")
    assert order.digest in own.stdout
    refused = (wrong, foreign, nobody, pulled, full)
    assert all(one.returncode for one in refused)
    assert "the key of bob, and the name given is 'ada'" in wrong.stderr
    assert f"belongs to bob, and you are ada. Push to {lab.address}/ada/app" in foreign.stderr
    assert "has no owner in its name" in nobody.stderr
    assert "belongs to bob" in pulled.stderr
    assert "1 kB are yours" in full.stderr
