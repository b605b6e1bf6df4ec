"""What the registry itself says of a pushed image, before anything is fetched.

The registry checks that names and contents belong together; this module checks it again, because
what it reads decides what the engine is asked to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workshop.deploys.failure import DeployFailed
from workshop.deploys.images.policy import ImageFacts, runs_on, wrong_architecture
from workshop.deploys.images.store import PullRefused, RegistryAway
from workshop.errors import EngineError, NotFound
from workshop.intake.orders import DIGEST, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workshop.deploys.images.policy import Platform

_SECONDS = 10
"""Longest silence of the registry."""
_LONGEST = 4 * 1024 * 1024
"""Bytes of a manifest or a configuration; the registry takes no longer manifest."""
_CHUNK = 256 * 1024
_MOST_ENTRIES = 1000
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_UNKNOWN = "unknown"
"""Architecture of an index's entries that describe a build and are no images."""


@dataclass(frozen=True)
class Layer:
    """One layer as it lies in the registry."""

    digest: str
    packed: int


@dataclass(frozen=True)
class Remote:
    """An image as it lies in the registry."""

    facts: ImageFacts
    layers: tuple[Layer, ...]

    @property
    def packed(self) -> int:
        """Bytes of all layers."""
        return sum(layer.packed for layer in self.layers)


@dataclass(frozen=True)
class Repository:
    """One repository of one registry, and a token to read it with."""

    registry: str
    """Address and port."""
    name: str
    token: str

    def look(self, digest: str, platform: Platform, name: str) -> Remote:
        """Read manifest and configuration of an image.

        Args:
            digest: of a manifest, or of an index of several.
            platform: which of an index to choose.
            name: what the participant calls the image, for the commands in messages.

        Raises:
            DeployFailed: it is no image, or none for ``platform``.
            NotFound: there is nothing of that digest.
            RegistryAway: the registry does not answer.

        """
        manifest = self._json("manifests", digest)
        if _kind(manifest) in _INDEXES:
            manifest = self._json("manifests", _choose(manifest, platform, name))
        if _kind(manifest) not in _MANIFESTS:
            raise not_an_image(f"its manifest says {_shown(_kind(manifest))}")
        config = _mapping(manifest.get("config"))
        if config.get("mediaType") not in _CONFIGS:
            raise not_an_image(f"its configuration says {_shown(config.get('mediaType'))}")
        layers = tuple(map(_layer, _list(manifest.get("layers"))))
        digest = _digest(config.get("digest"))
        return Remote(_facts(digest, self._json("blobs", digest), len(layers)), layers)

    @contextlib.contextmanager
    def blob(self, digest: str) -> Iterator[Blob]:
        """Open one blob to read.

        Raises:
            NotFound, RegistryAway: as above, also while it is read.

        """
        with self._open("blobs", digest) as answer:
            yield Blob(answer, digest)

    def _json(self, kind: str, digest: str) -> Mapping[str, Any]:
        with self._open(kind, digest) as answer:
            text = answer.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise not_an_image("what describes it is longer than 4 MiB")
        if "sha256:" + hashlib.sha256(text).hexdigest() != digest:
            raise RegistryAway(f"the registry's answer is not {digest}")
        try:
            return _mapping(json.loads(text))
        except (ValueError, RecursionError) as exc:
            raise not_an_image("what describes it is no JSON") from exc

    @contextlib.contextmanager
    def _open(self, kind: str, digest: str) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.registry, timeout=_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": ", ".join((*_INDEXES, *_MANIFESTS)) if kind == "manifests" else "*/*",
        }
        try:
            connection.request("GET", f"/v2/{self.name}/{kind}/{digest}", headers=headers)
            answer = connection.getresponse()
            _refuse(answer.status, f"{self.name}@{digest}")
            yield answer
        except (OSError, http.client.HTTPException) as exc:
            raise RegistryAway(f"the registry at {self.registry} is away: {exc}") from exc
        finally:
            connection.close()


class Blob:
    """One blob on its way; a connection that is cut looks like its end until :meth:`finish`."""

    def __init__(self, answer: http.client.HTTPResponse, digest: str) -> None:
        self._answer = answer
        self._digest = digest
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Give up to so many bytes; none at the end."""
        found = self._answer.read(size)
        self._hash.update(found)
        return found

    def finish(self) -> None:
        """Read what is left, and see that it was the whole blob.

        Raises:
            RegistryAway: it was not.

        """
        while self.read(_CHUNK):
            pass
        if "sha256:" + self._hash.hexdigest() != self._digest:
            raise RegistryAway(f"the registry broke off in {self._digest}")


def not_an_image(seen: str) -> DeployFailed:
    """Say that what was pushed cannot be run."""
    return DeployFailed(
        Finding(
            "not-an-image",
            f"What was pushed is not an image that can run: {seen}.",
            (seen,),
            "Push what `docker build` made: docker build -t IMAGE . && docker push IMAGE",
        )
    )


def _refuse(status: int, what: str) -> None:
    if status == http.HTTPStatus.OK:
        return
    if status == http.HTTPStatus.NOT_FOUND:
        raise NotFound(f"the registry has no {what}")
    if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
        raise PullRefused(f"the registry refuses {what} with {status}")
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RegistryAway(f"the registry answers {status}")
    raise EngineError(f"the registry answers {status} for {what}")


def _choose(index: Mapping[str, Any], platform: Platform, name: str) -> str:
    """Find this server's manifest in an index."""
    entries = [_mapping(item) for item in _list(index.get("manifests"))[:_MOST_ENTRIES]]
    images = [entry for entry in entries if _named(entry).architecture != _UNKNOWN]
    if not images:
        raise not_an_image("its index names no image")
    fitting = [
        entry for entry in images if runs_on(platform, _named(entry).os, _named(entry).architecture)
    ]
    if not fitting:
        raise wrong_architecture((_named(entry).platform for entry in images), platform, name)
    return _digest(fitting[0].get("digest"))


def _named(entry: Mapping[str, Any]) -> ImageFacts:
    raw = _mapping(entry.get("platform"))
    return ImageFacts("", _text(raw, "architecture"), _text(raw, "os"), _text(raw, "variant"))


def _facts(digest: str, raw: Mapping[str, Any], layers: int) -> ImageFacts:
    rootfs, config = _mapping(raw.get("rootfs")), _mapping(raw.get("config"))
    if len(_list(rootfs.get("diff_ids"))) != layers:
        raise not_an_image("its configuration and its manifest do not have the same layers")
    return ImageFacts(
        id=digest,
        architecture=_text(raw, "architecture"),
        os=_text(raw, "os"),
        variant=_text(raw, "variant"),
        layers=layers,
        user=_text(config, "User"),
        volumes=tuple(sorted(map(str, _mapping(config.get("Volumes"))))),
        entrypoint=_words(config, "Entrypoint"),
        cmd=_words(config, "Cmd"),
        ports=tuple(sorted(map(str, _mapping(config.get("ExposedPorts"))))),
        labels={str(key): str(value) for key, value in _mapping(config.get("Labels")).items()},
        env=tuple(item.partition("=")[0] for item in _words(config, "Env")),
        working_dir=_text(config, "WorkingDir"),
        stop_signal=_text(config, "StopSignal"),
    )


def _layer(raw: object) -> Layer:
    found = _mapping(raw)
    kind, size = found.get("mediaType"), found.get("size")
    if kind not in _LAYERS:
        raise not_an_image(f"one of its layers is {_shown(kind)}; expected tar or tar+gzip")
    if not isinstance(size, int) or size < 0:
        raise not_an_image("one of its layers has no size")
    return Layer(_digest(found.get("digest")), size)


# What was pushed may be anything: each of these takes whatever JSON can hold.


def _kind(manifest: Mapping[str, Any]) -> str:
    """Say what a manifest is; OCI lets it go without saying."""
    said = manifest.get("mediaType")
    if said is None and isinstance(manifest.get("manifests"), list):
        return _INDEXES[0]
    if said is None and isinstance(manifest.get("config"), dict):
        return _MANIFESTS[0]
    return said if isinstance(said, str) else ""


def _digest(raw: object) -> str:
    if not isinstance(raw, str) or not DIGEST.fullmatch(raw):
        raise not_an_image("a digest in it is not one of SHA-256")
    return raw


def _mapping(raw: object) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise not_an_image("what describes it has another form than an image's")
    return raw


def _list(raw: object) -> list[Any]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise not_an_image("what describes it has another form than an image's")
    return raw


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _words(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(item for item in _list(raw.get(key)) if isinstance(item, str))


def _shown(raw: object) -> str:
    return ascii(raw)[:100] if raw else "nothing"
