"""Pushed images on a Docker engine: fetched, looked at, made ours, dropped."""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import TYPE_CHECKING, Any

from docker.errors import ImageNotFound
from docker.errors import NotFound as DockerNotFound

from workshop.deploys.images.policy import ImageFacts
from workshop.deploys.images.store import NoSuchPlatform, PullRefused, RegistryAway
from workshop.disk import is_full
from workshop.engines.connection import (
    BUILD_SECONDS,
    CALL_SECONDS,
    connect,
    forget_image,
    mapped,
)
from workshop.errors import EngineError, NotFound
from workshop.labels import CONFIG_HASH, ROLE, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workshop.deploys.images.policy import Platform

OWN = "workshop."
"""What the platform's own labels begin with."""
# The engine says most of what goes wrong with a pull in words alone; checked against 20.10.
_KINDS: tuple[tuple[type[EngineError], re.Pattern[str]], ...] = (
    (NoSuchPlatform, re.compile("no matching manifest|does not match the specified platform")),
    (PullRefused, re.compile("unauthorized|denied|authentication required|no basic auth")),
    (NotFound, re.compile("manifest unknown|not found|unknown blob")),
    (
        RegistryAway,
        re.compile(
            "dial tcp|connection re|EOF|timeout|i/o|deadline exceeded|50[0-9] |server misbehaving"
            "|Service Unavailable|canceled"
        ),
    ),
)


class DockerStore:
    """An :class:`~workshop.deploys.images.store.ImageStore` on a Docker daemon of this machine."""

    def __init__(self, *, base_url: str | None = None) -> None:
        self._api = connect(base_url, CALL_SECONDS)
        self._slow = connect(base_url, BUILD_SECONDS, self._api)

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
        self._slow.close()

    def platform(self) -> Platform:
        """Say what this engine runs."""
        with mapped():
            raw = self._api.version()
        return raw["Os"], raw["Arch"]

    def pull(self, reference: str, token: str) -> None:
        """Fetch ``NAME@DIGEST`` with a token made for that alone."""
        with _named(reference), mapped():
            credentials: dict[str, Any] = {"registrytoken": token}
            lines = self._slow.pull(reference, auth_config=credentials, stream=True, decode=True)
            # To the end even after an error, so that the connection goes back.
            errors = [str(line["error"]) for line in lines if "error" in line]
            if errors:
                raise EngineError(errors[0])

    def image(self, reference: str) -> ImageFacts | None:
        """Look at an image; ``None`` where there is none."""
        inspect: Any = self._api.inspect_image  # its stub has no types
        with mapped():
            try:
                return _facts(inspect(reference))
            except ImageNotFound:
                return None

    def adopt(self, reference: str, tag: str, labels: Mapping[str, str]) -> str:
        """Commit a container that was never started.

        A build FROM the image would give the same, but it takes twice as long and runs the image's
        ONBUILD triggers: somebody else's commands, with nothing around them.
        """
        facts = self.image(reference)
        if facts is None:
            raise NotFound(f"no image {reference}")
        blank = dict.fromkeys((key for key in facts.labels if key.startswith(OWN)), "")
        # What the container says on the way must not stay in the image, which takes its labels.
        marks = {**blank, CONFIG_HASH: "", **labels}
        before = self.image(tag)
        repository, _, version = tag.rpartition(":")
        # As what builds leave on the way: a server that is killed here finds it the next time.
        passing = {**marks, ROLE: Role.BUILD.value, CONFIG_HASH: Role.BUILD.value}
        with mapped(), self._container(facts, tag, passing) as container:
            made = self._slow.commit(
                container,
                repository,
                version,
                conf={"Labels": marks, "Healthcheck": {"Test": ["NONE"]}},
            )
        if before is not None and before.id != made["Id"]:
            # It has lost its name; where a container still runs from it, the engine keeps it.
            with contextlib.suppress(EngineError):
                self.untag(before.id)
        return str(made["Id"])

    @contextlib.contextmanager
    def _container(self, facts: ImageFacts, tag: str, labels: Mapping[str, str]) -> Iterator[str]:
        """Create a container and remove it; what a crash left of an earlier one goes first."""
        name = f"workshop-adopt-{hashlib.sha256(tag.encode()).hexdigest()[:16]}"
        with contextlib.suppress(DockerNotFound):
            self._api.remove_container(name, v=True, force=True)
        # In memory, or the engine would copy what the image has there into new volumes.
        places = dict.fromkeys(facts.volumes, "size=4k")
        host = self._api.create_host_config(network_mode="none", tmpfs=places)
        created = self._api.create_container(
            facts.id, name=name, labels=dict(labels), host_config=host
        )
        try:
            yield str(created["Id"])
        finally:
            self._api.remove_container(created["Id"], v=True, force=True)

    def untag(self, reference: str) -> None:
        """Drop one name of an image; the image goes with its last one."""
        forget_image(self._api, reference)


@contextlib.contextmanager
def _named(reference: str) -> Iterator[None]:
    """Tell apart by its words what went wrong with a pull."""
    try:
        yield
    except EngineError as exc:
        # A repository may be called anything, `ada/denied` for instance.
        name = reference.partition("@")[0]
        said = exc.message.replace(name, "").replace(name.partition("/")[2], "")
        kind = next((kind for kind, words in _KINDS if words.search(said)), EngineError)
        if is_full(said):
            # The file that found no room may be called anything as well.
            kind = EngineError
        raise kind(f"cannot pull {reference}: {exc.message}") from exc


def _facts(raw: Mapping[str, Any]) -> ImageFacts:
    config = raw.get("Config") or {}
    return ImageFacts(
        id=raw["Id"],
        architecture=raw.get("Architecture") or "",
        os=raw.get("Os") or "",
        variant=raw.get("Variant") or "",
        size=raw.get("Size") or 0,
        layers=len((raw.get("RootFS") or {}).get("Layers") or ()),
        user=config.get("User") or "",
        volumes=tuple(sorted(config.get("Volumes") or ())),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        ports=tuple(sorted(config.get("ExposedPorts") or ())),
        labels=dict(config.get("Labels") or {}),
        env=tuple(item.partition("=")[0] for item in config.get("Env") or ()),
        working_dir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
    )
