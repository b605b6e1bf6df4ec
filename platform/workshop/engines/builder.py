"""Building images: the engine's own builder, or BuildKit where the Dockerfile asks for it.

The engine's own builder is the first choice because it needs no `docker` client, and the next build
finds its steps; BuildKit's cache carries no label, so it is removed after each build.
See ``docs/adr/0003-which-builder.md``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Any

from docker.errors import APIError

from workshop import context as contexts
from workshop.engines.connection import BROKEN_OFF, again
from workshop.errors import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import docker

    from workshop.specs import ImageSpec

SHOWN_LINES = 15
"""Lines of a failed build that are repeated in the error."""
_BUILDKIT_ONLY = re.compile(
    r"(?im)^\s*(RUN\s+--(mount|network|security)|COPY\s+--(link|chmod)|.*<<-?[A-Z'\"])"
)
_FIRST_CLI_WITHOUT_BUILTIN = 23


def build(api: docker.APIClient, spec: ImageSpec, labels: Mapping[str, str]) -> None:
    """Build ``spec.context`` into ``spec.tag``.

    Raises:
        BuildFailed: with the last lines the build wrote.

    """
    context = spec.context
    if context is None:
        raise BuildFailed(f"{spec.tag} has no source to build from")
    dockerfile = (context / spec.dockerfile).read_text("utf-8", "replace")
    if _BUILDKIT_ONLY.search(dockerfile):
        with _leaving_no_cache(api):
            _with_buildkit(spec, context, labels)
        return
    try:
        # A second build of the same source finds the first one's steps and ends in the same image.
        again(lambda: _with_engine(api, spec, context, labels), lambda: None)
    except BROKEN_OFF:
        raise
    except (APIError, OSError) as exc:
        raise BuildFailed(f"cannot build {context.name}: {exc}") from exc


def _with_engine(
    api: docker.APIClient, spec: ImageSpec, context: Path, labels: Mapping[str, str]
) -> None:
    with contexts.archive(context, spec.dockerfile) as packed:
        lines = api.build(
            fileobj=packed,
            custom_context=True,
            dockerfile=spec.dockerfile,
            tag=spec.tag,
            buildargs={"BASE_IMAGE": spec.base} if spec.base else {},
            labels=dict(labels),
            rm=True,
            forcerm=True,
            decode=True,
        )
        _follow(spec, lines)


def _follow(spec: ImageSpec, lines: Iterable[Mapping[str, str]]) -> None:
    tail: deque[str] = deque(maxlen=SHOWN_LINES)
    for line in lines:
        tail.extend(line.get("stream", "").splitlines())
        if "error" in line:
            raise _failure(spec, [*tail, line["error"]])


def _with_buildkit(spec: ImageSpec, context: Path, labels: Mapping[str, str]) -> None:
    command, environment = _buildkit_command(spec)
    command += ["--progress=plain", "--tag", spec.tag]
    if spec.base:
        command += ["--build-arg", f"BASE_IMAGE={spec.base}"]
    for key, value in labels.items():
        command += ["--label", f"{key}={value}"]
    for key, path in spec.secrets:
        command += ["--secret", f"id={key},src={path}"]
    command += ["--file", spec.dockerfile, "-"]
    with contexts.archive(context, spec.dockerfile, compressed=True) as packed:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=packed,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise _failure(spec, text.splitlines()[-SHOWN_LINES:])


@contextlib.contextmanager
def _leaving_no_cache(api: docker.APIClient) -> Iterator[None]:
    """Remove what BuildKit keeps for the next build.

    Its records carry no label, so teardown could not tell them from somebody else's.
    """
    before = _cache_records(api)
    try:
        yield
    finally:
        with contextlib.suppress(APIError):
            _forget(api, before)


def _forget(api: docker.APIClient, before: frozenset[str]) -> None:
    """Prune the records that were not there ``before``; what others stand on goes after them."""
    left = _cache_records(api) - before
    while left:
        for record in left:
            one: Any = {"id": [record]}
            api.prune_builds(filters=one, all=True)
        still = _cache_records(api) - before
        if still == left:
            return
        left = still


def _cache_records(api: docker.APIClient) -> frozenset[str]:
    return frozenset(item["ID"] for item in api.df().get("BuildCache") or ())


def _buildkit_command(spec: ImageSpec) -> tuple[list[str], dict[str, str]]:
    """Find a client that can do BuildKit; one without buildx would fall back silently."""
    for client in filter(None, (shutil.which("docker"), shutil.which("docker", path="/usr/bin"))):
        plugin = subprocess.run([client, "buildx", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return [client, "buildx", "build", "--load"], {}
        version = subprocess.run(
            [client, "version", "--format", "{{json .Client.Version}}"],
            capture_output=True,
            text=True,
            check=False,
        )
        major = re.match(r'"?(\d+)', version.stdout)
        if major and int(major[1]) < _FIRST_CLI_WITHOUT_BUILTIN:
            return [client, "build"], {"DOCKER_BUILDKIT": "1"}
    name = spec.context.name if spec.context else spec.tag
    raise BuildFailed(
        f"the Dockerfile of {name} needs BuildKit, and no docker client here can do it",
        hint="install docker-buildx, or take --mount, --link and <<EOF out of the Dockerfile",
    )


def _failure(spec: ImageSpec, lines: Sequence[str]) -> BuildFailed:
    name = spec.context.name if spec.context else spec.tag
    shown = "\n".join(f"    {_plain(line)}" for line in lines if line.strip())
    return BuildFailed(
        f"the build of {name} on {spec.base or 'its own base'} failed:\n{shown}",
        hint="mend the Dockerfile or requirements; seats that run keep running",
    )


def _plain(line: str) -> str:
    """Drop colour codes, and quote what else could move a terminal's cursor."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)
    return text if text.isprintable() else json.dumps(text)
