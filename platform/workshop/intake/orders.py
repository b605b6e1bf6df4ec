"""The narrow interface between those who ask for a deploy and the one process that makes it.

Two directories, and nothing else, lie between the intake and the holder of the engine's socket:

    inbox/ID.json, inbox/ID.tar     an order and its source; the intake writes, the server takes
    progress/ID.json                what has become of an order; the server writes, others read

The instructor's command uses a third, ``orders/``, of the same form, which no other process can
write. Whoever writes an order writes the source first, and both under a name that begins with a
dot before they are renamed, so that a reader sees whole files or none. An order is only a wish: the
server believes no field of it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from workshop.serving import ID, ids_in, replace_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)+")
_LONGEST = 256
_LONGEST_ORDER = 64 * 1024
INSTRUCTOR = "instructor"
"""The actor of orders that no participant made."""


class What(StrEnum):
    """What is to be deployed."""

    PUSH = "push"
    """An image that was pushed to the registry: ``repository`` and ``digest``."""
    SOURCE = "source"
    """A directory, packed as ``ID.tar``: plain files in an uncompressed tar archive."""
    IMAGE = "image"
    """An image of the instructor's choice: ``image``. In ``orders/`` only."""
    VERSION = "version"
    """A version that was live before: ``version``; empty for the one before the last."""


@dataclass(frozen=True)
class Order:
    """Somebody's wish that a seat runs something else."""

    id: str
    seat: str
    what: What
    actor: str
    """The participant's name, or :data:`INSTRUCTOR`."""
    received: float
    """Seconds since 1970."""
    repository: str = ""
    digest: str = ""
    image: str = ""
    version: str = ""


class Stage(StrEnum):
    """How far an order has come; the last four are ends."""

    WAITING = "waiting"
    FETCHING = "fetching"
    BUILDING = "building"
    STARTING = "starting"
    PROVING = "proving"
    """It is live; its links are being looked at."""
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """A newer order for the same seat came before this one was done."""
    REFUSED = "refused"
    """It was not even tried: an unknown seat, a limit."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self in {Stage.LIVE, Stage.FAILED, Stage.SUPERSEDED, Stage.REFUSED}


@dataclass(frozen=True)
class Finding:
    """Why a deploy failed, in words for somebody who has never used Docker before today."""

    cause: str
    """A stable word, such as ``listens-on-localhost``."""
    message: str
    evidence: tuple[str, ...] = ()
    """What was seen: lines of a log, an address, a limit."""
    next: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class Escape:
    """One address in an app that leaves its prefix."""

    kind: str
    """link, redirect, cookie, asset or fetch."""
    where: str
    """The page or file it stands in, with a line where there is one."""
    value: str
    better: str = ""
    """What it should read instead."""


@dataclass(frozen=True)
class Proof:
    """What the platform saw when it visited an app through its prefix."""

    pages: int = 0
    escapes: tuple[Escape, ...] = ()
    first_event: float | None = None
    """Seconds to the first event of a stream through the edge; ``None`` where there is none."""
    problem: str = ""
    """Why the visit could not be made, where it could not."""


@dataclass(frozen=True)
class Progress:
    """What has become of an order."""

    id: str
    seat: str
    what: What
    actor: str
    received: float
    stage: Stage = Stage.WAITING
    ahead: int = 0
    """Orders that come first, while waiting."""
    lines: tuple[str, ...] = ()
    """The last lines of the build."""
    number: int = 0
    """Counts the seat's deploys from 1, once it has begun."""
    version: str = ""
    digest: str = ""
    ended: float | None = None
    """Seconds since 1970."""
    finding: Finding | None = None
    proof: Proof | None = None


def new_id(now: float | None = None) -> str:
    """Make an id that sorts by time: milliseconds, then the rest of the clock and 12 random bits.

    Args:
        now: seconds since 1970; ``None`` asks the clock.

    """
    clock = time.time_ns() if now is None else int(now * 1_000_000_000)
    milliseconds, rest = divmod(clock, 1_000_000)
    return f"{milliseconds:013d}-{rest << 12 | secrets.randbits(12):08x}"


# -- writing ----------------------------------------------------------------------------------


def place(directory: Path, order: Order, source: Path | None = None) -> None:
    """Hand an order over; ``source`` is a finished archive in the same directory, and is moved.

    Raises:
        OSError: the disk is full, or the directory cannot be written; nothing of it is left then.

    """
    placed = directory / f"{order.id}.tar"
    if source is not None:
        source.replace(placed)
    try:
        replace_whole(directory / f"{order.id}.json", json.dumps(asdict(order)) + "\n")
    except OSError:
        # Without its order nobody would ever look for it.
        placed.unlink(missing_ok=True)
        raise


def tell(directory: Path, progress: Progress) -> None:
    """Write what has become of an order.

    Raises:
        OSError: the disk is full, or the directory cannot be written.

    """
    replace_whole(directory / f"{progress.id}.json", json.dumps(asdict(progress)) + "\n")


# -- reading ----------------------------------------------------------------------------------


def waiting(directory: Path) -> list[str]:
    """List the ids of the orders that lie in ``directory``, oldest first."""
    return ids_in(directory)


def read_order(directory: Path, order_id: str) -> Order | None:
    """Read one order; ``None`` when it is gone or not one."""
    try:
        with (directory / f"{order_id}.json").open("rb") as file:
            raw = json.loads(file.read(_LONGEST_ORDER))
        order = Order(**{**raw, "what": What(raw["what"])})
        return order if order.id == order_id and _is_sound(order) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_progress(directory: Path, order_id: str) -> Progress | None:
    """Read what has become of one order; ``None`` when nothing is known."""
    try:
        text = (directory / f"{order_id}.json").read_text("utf-8")
        return progress_of(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def history(log: Path, seat: str | None = None, last: int = 1000) -> list[Progress]:
    """Read the log of deploys, oldest first: each line is the last word on one order.

    Args:
        log: the file; one that does not exist is empty.
        seat: whose; ``None`` for everybody's.
        last: how many at most, from the end.

    """
    found = [item for item in _lines(log) if seat is None or item.seat == seat]
    return found[-last:]


def _lines(log: Path) -> Iterator[Progress]:
    try:
        text = log.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        # A crash may have cut one short; what stands before and after it is still good.
        try:
            yield progress_of(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue


def progress_of(raw: Mapping[str, Any]) -> Progress:
    """Build a :class:`Progress` from what ``asdict`` made of one.

    Raises:
        ValueError, KeyError, TypeError: it is none.

    """
    finding, proof = raw.get("finding"), raw.get("proof")
    return Progress(
        **{
            **raw,
            "what": What(raw["what"]),
            "stage": Stage(raw["stage"]),
            "lines": tuple(raw.get("lines", ())),
            "finding": _finding(finding) if finding else None,
            "proof": _proof(proof) if proof else None,
        }
    )


def _finding(raw: Mapping[str, Any]) -> Finding:
    return Finding(**{**raw, "evidence": tuple(raw["evidence"])})


def _proof(raw: Mapping[str, Any]) -> Proof:
    return Proof(**{**raw, "escapes": tuple(Escape(**item) for item in raw["escapes"])})


def _is_sound(order: Order) -> bool:
    """Whether every field has its form; what is not used must be empty."""
    texts = (order.id, order.seat, order.actor, order.repository, order.digest, order.image)
    if any(not isinstance(text, str) or len(text) > _LONGEST for text in (*texts, order.version)):
        return False
    forms = {
        What.PUSH: bool(REPOSITORY.fullmatch(order.repository) and DIGEST.fullmatch(order.digest)),
        What.SOURCE: True,
        What.IMAGE: bool(order.image),
        What.VERSION: True,
    }
    return (
        bool(ID.fullmatch(order.id))
        and bool(NAME.fullmatch(order.seat))
        and isinstance(order.received, int | float)
        and forms[order.what]
    )
