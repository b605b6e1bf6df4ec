"""What was seen of a version that does not become ready: everything the doctor's words are made of.

The engine's side implements :class:`Remains`. What it returns is kept raw; whatever is shown to
anybody passes :func:`shown` first, which hides secrets and makes every character visible.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workshop.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workshop.specs import ContainerSpec

LOG_LINES = 300
"""Lines of a log that are looked at: a chained traceback of a web framework has some 200."""
LONGEST_LINE = 200
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_SECRET = re.compile(r"\b((?:wk|sk)-)[A-Za-z0-9_-]{6,}")
_SHORTEST_SECRET = 4
_MASK = "****"
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Listening:
    """Where something inside a container waits for connections."""

    address: str
    port: int

    def __str__(self) -> str:
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


@dataclass(frozen=True)
class ContainerState:
    """What the engine says about one container."""

    running: bool
    exit_code: int | None = None
    """Of the last end that was seen; ``None`` while it runs."""
    out_of_memory: bool = False
    error: str = ""
    """The engine's own words about a start that failed."""
    restarts: int = 0
    pid: int = 0
    command: tuple[str, ...] = ()
    directory: str = "/"
    """Where the command starts."""

    @property
    def ended(self) -> bool:
        """Whether it has ended at least once since it was started."""
        return not self.running or self.restarts > 0


class Remains(Protocol):
    """What can be learned about a container from outside, without trusting what is in it."""

    def state(self, container_id: str) -> ContainerState:
        """Say whether it runs, and how it ended if it does not."""
        ...

    def log(self, container_id: str, tail: int) -> list[str]:
        """Return the last ``tail`` lines it wrote."""
        ...

    def listening(self, container_id: str) -> list[Listening]:
        """Find what listens in it."""
        ...

    def files(self, container_id: str, directory: str) -> list[str]:
        """List the files below ``directory``, relative to it, libraries left out."""
        ...

    def text(self, container_id: str, path: str) -> str | None:
        """Read the beginning of a file; ``None`` when there is none."""
        ...


@dataclass(frozen=True)
class Said:
    """One answer of an app that was not the right one."""

    path: str
    status: int
    line: str = ""
    """The first line of the body."""


@dataclass(frozen=True)
class Evidence:
    """Everything the words are made from."""

    participant: str
    version: str
    port: int
    memory: int
    """Its limit, in bytes."""
    state: ContainerState | None = None
    log: tuple[str, ...] = ()
    """The last run's lines."""
    listening: tuple[Listening, ...] | None = None
    """``None`` where nobody looked."""
    answer: Said | None = None
    silence: str = ""
    """Why the last question had no answer."""
    identity: str = ""
    """How the app proved to be the wrong one."""
    refusal: str = ""
    """The engine's own words when it refused to start the container."""
    waited: float = 0.0
    """Seconds."""
    files: tuple[str, ...] = ()
    """The participant's own, relative to the directory the command starts in."""
    requirements: str | None = None
    """The text of requirements.txt, where it lies beside them."""
    secrets: tuple[str, ...] = ()
    """Values that must not be shown."""


def about(spec: ContainerSpec) -> Evidence:
    """Begin with what is known before anything runs."""
    return Evidence(
        participant=spec.key,
        version=spec.env.get("WORKSHOP_VERSION", spec.version),
        port=spec.port,
        memory=spec.limits.memory,
        secrets=secrets_in(spec.env),
    )


def secrets_in(env: Mapping[str, str]) -> tuple[str, ...]:
    """Pick the values whose names say that they are secret, longest first."""
    found = {
        value
        for name, value in env.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    }
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


# -- collecting -------------------------------------------------------------------------------


def read_log(remains: Remains, container_id: str) -> tuple[str, ...]:
    """Read what the last run of a container wrote; empty where the engine cannot say."""
    with contextlib.suppress(EngineError, EngineUnreachable):
        return last_run(remains.log(container_id, LOG_LINES))
    return ()


def read_files(
    remains: Remains, container_id: str, directory: str
) -> tuple[tuple[str, ...], str | None]:
    """List the participant's files and read requirements.txt; nothing where that fails."""
    with contextlib.suppress(EngineError, EngineUnreachable):
        files = tuple(remains.files(container_id, directory))
        requirements = remains.text(container_id, f"{directory.rstrip('/')}/requirements.txt")
        return files, requirements
    return (), None


def last_run(lines: Sequence[str]) -> tuple[str, ...]:
    """Cut a log of a container that starts over and over down to its last run.

    Whoever fails the same way each time writes the same lines each time.
    """
    for length in range(1, len(lines) // 2 + 1):
        if lines[-length:] == lines[-2 * length : -length]:
            return tuple(lines[-length:])
    return tuple(lines)


# -- showing ----------------------------------------------------------------------------------


def shown(line: str, secrets: Iterable[str] = (), *, longest: int = LONGEST_LINE) -> str:
    """Make a foreign line fit to be shown: secrets masked, characters visible, length bounded."""
    text = _COLOUR.sub("", line).replace("\t", "    ").rstrip()
    for secret in secrets:
        text = text.replace(secret, _MASK)
    text = _SECRET.sub(rf"\1{_MASK}", text[: 4 * longest])
    text = "".join(char if char.isprintable() else _quoted(char) for char in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _quoted(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
