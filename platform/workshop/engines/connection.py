"""The way to a Docker engine: one client, and its exceptions turned into ours."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

import docker
import requests
from docker.errors import APIError, DockerException
from docker.errors import NotFound as DockerNotFound

from workshop.errors import Conflict, EngineError, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL_SECONDS = 30
"""Longest silence of one API call; a hung engine must end in an error, not in a wait."""
BUILD_SECONDS = 600
"""Longest silence of a build or pull: installing packages can be quiet for minutes."""
MAX_CONNECTIONS = 16
_CONFLICT = 409


_one_removal = threading.Lock()


def forget_image(client: docker.APIClient, reference: str) -> None:
    """Drop one name of an image, which goes with its last one; none is no fault.

    One at a time: an engine that removes names of one image, or of its parent, at once answers
    "unrecognized image ID" and may leave an image without any name, which nobody finds any more
    (seen with 20.10).
    """
    with _one_removal, contextlib.suppress(NotFound), mapped():
        client.remove_image(reference)


def connect(base_url: str | None, seconds: int) -> docker.APIClient:
    """Open a client of the engine's API; ``seconds`` is the longest silence of one call."""
    with mapped():
        if base_url is not None:
            return docker.APIClient(
                base_url=base_url, timeout=seconds, num_pools=MAX_CONNECTIONS, version="auto"
            )
        client = docker.from_env(timeout=seconds, max_pool_size=MAX_CONNECTIONS, version="auto")
        return client.api


@contextlib.contextmanager
def mapped() -> Iterator[None]:
    """Turn the SDK's exceptions into ours, most specific first."""
    try:
        yield
    except DockerNotFound as exc:
        raise NotFound(_sentence(exc)) from exc
    except APIError as exc:
        kind = Conflict if exc.status_code == _CONFLICT else EngineError
        raise kind(_sentence(exc)) from exc
    except requests.exceptions.ReadTimeout as exc:
        raise EngineUnreachable(
            f"the Docker engine did not answer within {CALL_SECONDS} s",
            hint="look at its log: journalctl -u docker",
        ) from exc
    except (DockerException, requests.exceptions.ConnectionError) as exc:
        raise _unreachable(exc) from exc


def _sentence(exc: APIError) -> str:
    return str(exc.explanation or exc).strip()


def _unreachable(exc: Exception) -> EngineUnreachable:
    text = str(exc)
    endpoint = os.environ.get("DOCKER_HOST", "its usual socket")
    if "Permission denied" in text:
        return EngineUnreachable(
            "this user may not talk to the Docker engine",
            hint="sudo usermod -aG docker $USER, then log in again",
        )
    if "FileNotFoundError" in text or "No such file" in text or "Connection refused" in text:
        return EngineUnreachable(
            f"no Docker engine answers at {endpoint}",
            hint="start it (sudo systemctl start docker) or run scripts/ensure-engine",
        )
    return EngineUnreachable(f"the Docker engine broke off: {text[:200]}", hint="`workshop doctor`")
