"""The bare engine: its API without a library, its command, and a seat without a workshop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workshop import context
from workshop.engines.docker import DockerEngine
from workshop.health import fetch
from workshop.specs import PORT
from workshop.subnets import seat_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.workspace import Survey

DOCKER = "/usr/bin/docker"
PATIENCE = 180.0
"""Seconds for anything."""
_SOCKET = "/var/run/docker.sock"
_LOOK = 0.005


class RawEngine(http.client.HTTPConnection):
    """An HTTP connection to the engine's socket, and nothing else."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(_SOCKET)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """Make one call and return the answer."""
        if not isinstance(body, bytes | None):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        self.request(method, path, body, headers)
        answer = self.getresponse()
        raw = answer.read()
        assert answer.status < 300, (path, answer.status, raw[-400:])
        return raw


def engine(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make one call on a connection of its own; a stream of documents comes back as a list."""
    with contextlib.closing(RawEngine("engine")) as connection:
        raw = connection.call(method, path, body, **headers)
    found = [json.loads(line) for line in raw.splitlines() if line]
    assert not [item for item in found if isinstance(item, dict) and "error" in item], found[-3:]
    return found


def docker(*words: str, host: str = "", **more: Any) -> str:
    """Run the docker command."""
    at = ["--host", host] if host else []
    done = subprocess.run(
        [DOCKER, *at, *words],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **more,
    )
    assert done.returncode == 0, (words, done.stdout[-2000:])
    return str(done.stdout)


@contextlib.contextmanager
def held(container: str) -> Iterator[None]:
    """Hold a container still."""
    docker("pause", container)
    try:
        yield
    finally:
        docker("unpause", container)


class Bare:
    """A container with a seat's flags and no workshop around it."""

    def __init__(self, seen: Survey) -> None:
        spec = seen.desired.seats[0]
        # The green address of a slot nobody has.
        self.address = seat_address(seen.choices.network, 249, green=True)
        self._spec = replace(spec, name="bench-deploy-bare", address=self.address)
        self._docker = DockerEngine()

    def start(self, image: str) -> float:
        """Create, start and wait for /healthz; returns the seconds, and removes it again."""
        spec, api = replace(self._spec, image=image), self._docker
        config = api._api.create_container_config(
            image,
            None,
            hostname=spec.key,
            user=spec.user,
            environment=dict(spec.env),
            healthcheck={"test": ["NONE"]},
            stop_timeout=3,
            host_config=api._host_config(spec),
            networking_config=api._networking(spec),
        )
        begun = time.monotonic()
        (made,) = engine("POST", f"/containers/create?name={spec.name}", config)
        try:
            engine("POST", f"/containers/{made['Id']}/start")
            asyncio.run(self._answering())
            return time.monotonic() - begun
        finally:
            engine("DELETE", f"/containers/{made['Id']}?force=1&v=1")

    async def _answering(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
                if (await fetch(self.address, PORT, "/healthz")).status == 200:
                    return
            await asyncio.sleep(_LOOK)
        raise AssertionError("the bare container does not answer")


def pull(image: str, user: str, key: str) -> float:
    """Pull by digest as the engine does it; something must really have been fetched."""
    said = {"username": user, "password": key, "serveraddress": image.partition("/")[0]}
    auth = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    name, _, digest = image.partition("@")
    query = urllib.parse.urlencode({"fromImage": name, "tag": digest})
    begun = time.monotonic()
    lines = engine("POST", f"/images/create?{query}", **{"X-Registry-Auth": auth})
    seconds = time.monotonic() - begun
    fetched = [line for line in lines if line.get("status") == "Pull complete"]
    assert fetched, f"the engine had {image} already: {lines}"
    return seconds


def build(source: Path, tag: str, base: str) -> float:
    """Build as the classic builder does, with its cache."""
    query = urllib.parse.urlencode(
        {"t": tag, "rm": 1, "buildargs": json.dumps({"BASE_IMAGE": base})}
    )
    begun = time.monotonic()
    with contextlib.closing(context.archive(source, "Dockerfile")) as packed:
        engine("POST", f"/build?{query}", packed.read(), **{"Content-Type": "application/x-tar"})
    return time.monotonic() - begun
