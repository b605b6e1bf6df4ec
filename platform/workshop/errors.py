"""Every failure the platform names, and the exit code each one ends a command with.

    WorkshopError             1   something failed; the message says what and what to do next
    ├── InputError            2   the roster, a flag or a file is wrong; nothing was touched
    ├── EngineUnreachable     3   no engine answers, or it may not be used
    │   └── EngineSilent          one call got no answer in time; others may
    ├── Locked               75   another apply is under way (EX_TEMPFAIL of sysexits.h)
    ├── EngineError           1   the engine refused or broke off one call
    │   ├── NotFound              the object is gone
    │   ├── Conflict              the object is being changed by somebody else
    │   └── BuildFailed           an image could not be built or fetched
    ├── NotReady              1   a container runs but does not answer as it should
    ├── PublishFailed         1   the edge kept its old configuration
    └── CertificateRefused    1   an authority issued nothing; the certificate before it stays

Foreign exceptions are turned into these at the seam where they arise (``engines/``), never above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BuildFailed",
    "CertificateRefused",
    "Conflict",
    "EngineError",
    "EngineSilent",
    "EngineUnreachable",
    "Fault",
    "InputError",
    "Locked",
    "NotFound",
    "NotReady",
    "PublishFailed",
    "WorkshopError",
]


class WorkshopError(Exception):
    """A failure with a sentence for the operator and, where there is one, the next step."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, order=True)
class Fault:
    """One mistake in an input file: where it stands, what is wrong and what was expected."""

    file: str
    line: int
    column: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return (
            f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"
        )


class InputError(WorkshopError):
    """What the operator wrote is wrong; ``faults`` lists all of it at once."""

    exit_code = 2
    code = "input"

    def __init__(self, message: str, *, hint: str = "", faults: Iterable[Fault] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> InputError:
        """Gather ``faults`` into one error, in the order of the file."""
        found = tuple(sorted(faults))
        count = "1 fault" if len(found) == 1 else f"{len(found)} faults"
        return cls(f"{count} in the input; nothing was touched", faults=found)


class EngineUnreachable(WorkshopError):
    """No container engine answers, or this user may not talk to it."""

    exit_code = 3
    code = "engine-unreachable"


class EngineSilent(EngineUnreachable):
    """The engine took a call and did not answer in time; it hangs, or has too much to do."""


class Locked(WorkshopError):
    """Another apply holds this workshop's lock."""

    exit_code = 75
    code = "locked"


class EngineError(WorkshopError):
    """One call to the engine was refused or broke off."""

    code = "engine"


class NotFound(EngineError):
    """The engine knows no such object."""

    code = "not-found"


class Conflict(EngineError):
    """The object exists already, or somebody else is changing it."""

    code = "conflict"


class BuildFailed(EngineError):
    """An image could not be built, bootstrapped or pulled."""

    code = "build-failed"


class NotReady(WorkshopError):
    """A container was started but does not answer as the contract asks."""

    code = "not-ready"


class CertificateRefused(WorkshopError):
    """An authority issued no certificate; whatever the edge showed, it still shows."""

    code = "certificate"


class PublishFailed(WorkshopError):
    """The new edge configuration did not go live; the old one still serves."""

    code = "publish-failed"
