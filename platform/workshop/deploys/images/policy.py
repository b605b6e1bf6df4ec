"""Which images may go live: decided from what an image says of itself, before it runs.

What an image asks for in ``USER``, ``HEALTHCHECK`` or ``EXPOSE`` is not looked at here: whoever
creates the container says otherwise. Here are the things nobody could override.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.deploys.failure import DeployFailed
from workshop.intake.orders import Finding
from workshop.limits import show_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workshop.deploys.options import DeployOptions

Platform = tuple[str, str]
"""Operating system and architecture, in Go's words: ``("linux", "amd64")``."""

MOST_VOLUMES = 4
PLACEHOLDER = "IMAGE"
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64"}
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc"),
    *("/run", "/sbin", "/sys", "/usr", "/var/run"),
)
_ALREADY_IN_MEMORY = "/tmp"  # noqa: S108 - of a container
_LONGEST_PATH = 200
_SHOWN_PATH = 80


@dataclass(frozen=True)
class ImageFacts:
    """What an image says of itself."""

    id: str
    architecture: str
    os: str
    variant: str = ""
    size: int = 0
    """Bytes of all layers, unpacked; 0 where nobody knows yet."""
    layers: int = 0
    user: str = ""
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    """Names alone: values may be secret."""
    working_dir: str = ""
    stop_signal: str = ""

    @property
    def platform(self) -> str:
        """Say what it was built for, as ``docker build --platform`` would."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant))) or "nothing named"

    @property
    def command(self) -> tuple[str, ...]:
        """What it runs; the engine reads an entrypoint of one empty word as none."""
        entrypoint = () if self.entrypoint == ("",) else self.entrypoint
        return (*entrypoint, *self.cmd)


@dataclass(frozen=True)
class Accepted:
    """An image that may go live."""

    volumes: tuple[str, ...] = ()
    """Directories it declares; each needs a small file system in memory, or the engine makes a
    volume that outlives the container."""


def check(
    facts: ImageFacts, platform: Platform, options: DeployOptions, name: str = PLACEHOLDER
) -> Accepted:
    """Say what an image needs, or why it may not go live.

    Args:
        facts: what the image says of itself.
        platform: what this server runs.
        options: the class's limits.
        name: what the participant calls the image, for the commands in messages.

    Raises:
        DeployFailed: with the cause and the next step.

    """
    if not runs_on(platform, facts.os, facts.architecture):
        raise wrong_architecture([facts.platform], platform, name)
    check_size(facts.size, options)
    check_layers(facts.layers, options)
    if not facts.command or not facts.command[0]:
        raise DeployFailed(
            Finding(
                "no-command",
                "The image does not say what to run: it has neither CMD nor ENTRYPOINT.",
                next="Add a last line to the Dockerfile, such as"
                ' CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"],'
                " then build and push again.",
            )
        )
    return Accepted(_volumes(facts))


def runs_on(platform: Platform, os: str, architecture: str) -> bool:
    """Say whether an image for ``os`` and ``architecture`` runs on ``platform``."""
    return platform == (os, _ALIASES.get(architecture, architecture))


def wrong_architecture(
    found: Iterable[str], platform: Platform, name: str = PLACEHOLDER
) -> DeployFailed:
    """Name what an image was built for, what the server runs, and the command that mends it."""
    wanted = "/".join(platform)
    seen = " and ".join(dict.fromkeys(found)) or "nothing named"
    return DeployFailed(
        Finding(
            "wrong-architecture",
            f"The image was built for {seen}; this server runs {wanted}.",
            (f"image: {seen}", f"server: {wanted}"),
            f"Build it for the server and push it again:"
            f" docker build --platform {wanted} -t {name} . && docker push {name}",
        )
    )


def check_size(size: int, options: DeployOptions) -> None:
    """Refuse an image of more than the class's limit.

    Raises:
        DeployFailed: it is too large.

    """
    if size > options.image_bytes:
        raise too_large(f"{show_memory(size)}", options)


def too_large(found: str, options: DeployOptions) -> DeployFailed:
    """Say that an image is too large; ``found`` is how large it is, or at least is."""
    limit = show_memory(options.image_bytes)
    return DeployFailed(
        Finding(
            "image-too-large",
            f"The image is too large: {found} unpacked, and at most {limit} may be deployed.",
            (f"size: {found}", f"limit: {limit}"),
            "Look for what fills it with `docker history IMAGE`; leave data, models and build tools"
            " out, for instance with a .dockerignore file or a -slim base image.",
        )
    )


def check_layers(layers: int, options: DeployOptions) -> None:
    """Refuse an image of more layers than the class's limit.

    Raises:
        DeployFailed: it has too many.

    """
    if layers > options.layers:
        raise DeployFailed(
            Finding(
                "too-many-layers",
                f"The image has {layers} layers, and at most {options.layers} may be deployed.",
                (f"layers: {layers}", f"limit: {options.layers}"),
                "Each RUN, COPY and ADD of the Dockerfile makes one: join them, for instance"
                " RUN one && two && three.",
            )
        )


def _volumes(facts: ImageFacts) -> tuple[str, ...]:
    paths = tuple(dict.fromkeys(map(_cleaned, facts.volumes)))
    for path in paths:
        reason = _fault(path, facts)
        if reason:
            raise _volume(path, reason)
    kept = tuple(path for path in sorted(paths) if path != _ALREADY_IN_MEMORY)
    if len(kept) > MOST_VOLUMES:
        shown = ", ".join(path[:_SHOWN_PATH] for path in kept[: MOST_VOLUMES + 1])
        raise _volume(shown, f"at most {MOST_VOLUMES} are possible, and the image has {len(kept)}")
    return kept


def _fault(path: str, facts: ImageFacts) -> str:
    """Say why nothing may be put in the place of ``path``; empty where it may."""
    if not path.startswith("/") or not path.isprintable() or len(path) > _LONGEST_PATH:
        return "it is no usable path: expected one such as /data"
    if path == "/":
        return "it would hide the whole image"
    if any(_within(path, system) for system in _SYSTEM):
        return "it belongs to the system"
    hidden = [place for place in (facts.working_dir, *facts.command) if _within(place, path)]
    if hidden:
        return f"it would hide {hidden[0][:_SHOWN_PATH]}, which the app needs to start"
    return ""


def _cleaned(path: str) -> str:
    """Write a path as the engine does; POSIX alone keeps two slashes at the beginning."""
    return posixpath.normpath("/" + path.lstrip("/") if path.startswith("/") else path)


def _within(path: str, directory: str) -> bool:
    if not path.startswith("/"):
        return False
    return f"{_cleaned(path)}/".startswith(f"{directory}/")


def _volume(path: str, reason: str) -> DeployFailed:
    shown = path[:_SHOWN_PATH] if path.isprintable() else ascii(path)[:_SHOWN_PATH]
    return DeployFailed(
        Finding(
            "volume",
            f"The image declares VOLUME {shown}, and that cannot be had here: {reason}."
            " A volume is an empty directory in memory here; nothing in it is kept.",
            (f"VOLUME {shown}",),
            "Take that VOLUME line out of the Dockerfile (or choose a base image without it), build"
            " and push again. What must be written can go to /tmp.",
        )
    )
