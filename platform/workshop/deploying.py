"""The instructor's side of deploys: orders are handed over, followed, and looked up afterwards.

Nothing is built or started here. An order is a file that the server of deploys takes; what becomes
of it is another file that is read until it says that all is over. Whoever stops reading stops
nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop import packing, state
from workshop.deploys import current
from workshop.deploys.config import LOG, ORDERS, PROGRESS, SERVER
from workshop.errors import InputError, WorkshopError
from workshop.intake import orders
from workshop.intake.orders import INSTRUCTOR, Order, Progress, What

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from workshop.workspace import Workspace

TEMPLATE = "template"
"""As a version: what the roster says."""
LOST_SECONDS = 10.0
"""A server that was silent for so long is not at work."""
ALL = 1_000_000
_GIVEN_UP_SECONDS = 30.0
"""The engine starts a server that ended again, so silence in the middle may pass."""
_PAUSE = 0.05
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


@dataclass(frozen=True)
class DeployMoved:
    """Something became of an order."""

    progress: Progress


# -- handing over -----------------------------------------------------------------------------


def submit_source(
    work: Workspace, names: Sequence[str], directory: Path, dockerfile: str = packing.DOCKERFILE
) -> list[Order]:
    """Order that ``names`` run what ``directory`` holds: ``workshop deploy --source``.

    It is packed once. The orders share that one file, so thirty seats cost the disk of one.

    Raises:
        InputError: a name, the directory or its Dockerfile is wrong.
        WorkshopError: no deploys are possible now, or the disk is full.

    """
    people = _may_deploy(work, names)
    if not directory.is_dir():
        raise InputError(
            f"{directory} is no directory",
            hint="give --source the directory that holds the Dockerfile",
        )
    if not (directory / dockerfile).is_file():
        raise InputError(
            f"{directory} has no {dockerfile}",
            hint="write one, or name another with --dockerfile; "
            "the class's own stands in participant_template/",
        )
    home = _orders(work.state_directory)
    packed = home / f".{orders.new_id()}.source"
    try:
        packing.pack(directory, dockerfile, packed)
        made = [_order(place, name, What.SOURCE) for place, name in enumerate(people)]
        return _hand_over(home, made, packed)
    finally:
        packed.unlink(missing_ok=True)


def submit_image(work: Workspace, names: Sequence[str], reference: str) -> list[Order]:
    """Order that ``names`` run the image ``reference``: ``workshop deploy --image``.

    Raises:
        InputError: a name or the reference is wrong.
        WorkshopError: no deploys are possible now, or the disk is full.

    """
    if not _REFERENCE.fullmatch(reference):
        raise InputError(
            f"{reference[:80]!r} cannot be an image",
            hint="write it as docker does: registry.example.org/team/app:1",
        )
    people = _may_deploy(work, names)
    made = [_order(place, name, What.IMAGE, image=reference) for place, name in enumerate(people)]
    return _hand_over(_orders(work.state_directory), made)


def submit_rollback(work: Workspace, names: Sequence[str], version: str = "") -> list[Order]:
    """Order that ``names`` go back: ``workshop rollback``.

    Args:
        work: where.
        names: participants.
        version: a version, a deploy's number, or :data:`TEMPLATE`; empty for the one before.

    Raises:
        InputError: a name is wrong, or there is no such version to go back to.
        WorkshopError: no deploys are possible now, or the disk is full.

    """
    people = _may_deploy(work, names)
    return roll_back(work.state_directory, people, version)


def roll_back(
    home: Path, people: Sequence[str], version: str = "", actor: str = INSTRUCTOR
) -> list[Order]:
    """Order that seats go back, for a command and for the board alike.

    Args:
        home: the state directory.
        people: participants who have a seat.
        version: a version, a deploy's number, or :data:`TEMPLATE`; empty for the one before.
        actor: who wants it.

    Raises:
        InputError: there is no such version to go back to.
        WorkshopError: the disk is full.

    """
    there = current.load(home / "deploys")
    log = home / "deploys" / "shown" / LOG
    made = [
        replace(
            _order(
                place, name, What.VERSION, version=_version(log, name, there.get(name), version)
            ),
            actor=actor,
        )
        for place, name in enumerate(people)
    ]
    return _hand_over(_orders(home), made)


def deployed(work: Workspace) -> list[str]:
    """Name the participants who run something that was deployed, in the order of the roster."""
    there = deployments(work)
    return [
        person.name
        for person in work.roster.participants
        if (found := there.get(person.name)) is not None and found.live is not None
    ]


def _may_deploy(work: Workspace, names: Sequence[str]) -> list[str]:
    """Refuse what cannot be before anything is written."""
    people = list(dict.fromkeys(work.roster.participant(name).name for name in names))
    if work.roster.deploys is None:
        raise InputError(
            "nobody can deploy in this class: the roster says `deploys: false`",
            hint="take workshop.deploys out of the roster, then `workshop provision`",
        )
    home = work.state_directory
    known = state.load(home) if home.is_dir() else None
    if known is None:
        raise WorkshopError("nothing runs yet", hint="`workshop provision` comes first")
    seatless = [name for name in people if name not in known.slots]
    if seatless:
        raise WorkshopError(
            f"{', '.join(seatless)}: no seat yet", hint="`workshop provision` creates it"
        )
    if server(work) != "live":
        raise WorkshopError(
            "the server of deploys is not at work", hint="`workshop provision` starts it"
        )
    return people


def _version(log: Path, name: str, seat: current.SeatDeploys | None, wanted: str) -> str:
    if wanted == TEMPLATE:
        return wanted
    known = [item for item in (seat.live, *seat.kept) if item is not None] if seat else []
    if not known:
        raise InputError(
            f"{name} runs what the roster says, and has no version to go back to",
            hint=f"`workshop deploys {name}` lists what was deployed",
        )
    if not wanted:
        return ""
    # A rollback has a number of its own in the log, which stands for the version it brought back.
    numbers = {str(item.number): item.version for item in orders.history(log, name) if item.version}
    meant = {**numbers, **{str(item.number): item.version for item in known}}.get(wanted, wanted)
    if meant in {item.version for item in known}:
        return meant
    kept = ", ".join(f"{item.number} ({item.version})" for item in known)
    raise InputError(
        f"{name} has no version {wanted[:40]!r} any more",
        hint=f"there are {kept} and {TEMPLATE}; workshop.deploys.keep says how many are kept",
    )


def _order(place: int, name: str, what: What, *, image: str = "", version: str = "") -> Order:
    """Make one order of several; its place keeps their ids, which sort by time, in order."""
    now = time.time()
    key = orders.new_id(now + place / 1000)
    return Order(key, name, what, INSTRUCTOR, now, image=image, version=version)


def _hand_over(home: Path, made: list[Order], packed: Path | None = None) -> list[Order]:
    done = 0
    try:
        for order in made:
            orders.place(home, order, _share(packed, order) if packed else None)
            done += 1
    except OSError as exc:
        raise WorkshopError(
            f"{done} of {len(made)} orders could be written: {exc.strerror or exc}",
            hint="make room on the disk of the roster, then deploy again",
        ) from exc
    return made


def _share(packed: Path, order: Order) -> Path:
    """Give the order a name of its own for the one archive."""
    own = packed.with_name(f".{order.id}.tar")
    try:
        own.hardlink_to(packed)
    except OSError:
        # Some file systems have no links; a full one fails at the copy as well.
        shutil.copyfile(packed, own)
    return own


def _orders(home: Path) -> Path:
    place = home / "deploys" / ORDERS
    place.mkdir(parents=True, exist_ok=True)
    return place


# -- following --------------------------------------------------------------------------------


def follow(
    work: Workspace,
    made: Sequence[Order],
    emit: Callable[[DeployMoved], None],
    seconds: float,
    pause: Callable[[], None] = lambda: time.sleep(_PAUSE),
) -> list[Progress]:
    """Watch orders until each is over, or ``seconds`` have passed.

    Returns:
        The last word on each order, in their order.

    Raises:
        WorkshopError: the server stopped in the middle; the orders wait for the next one.

    """
    progress = work.directories.shown / PROGRESS
    known = {order.id: begun(order) for order in made}
    for item in known.values():
        emit(DeployMoved(item))
    until = time.monotonic() + seconds
    while True:
        open_ids = [key for key, item in known.items() if not item.stage.over]
        for key in open_ids:
            found = orders.read_progress(progress, key)
            if found is not None and found != known[key]:
                known[key] = found
                emit(DeployMoved(found))
        left = [item for item in known.values() if not item.stage.over]
        if not left or time.monotonic() > until:
            return list(known.values())
        silent = _silence(work)
        if silent is None or silent > _GIVEN_UP_SECONDS:
            raise WorkshopError(
                f"the server of deploys has stopped; {len(left)} orders wait for it",
                hint="`workshop provision` starts it again, and it takes them up",
            )
        pause()


def begun(order: Order) -> Progress:
    """Say what is known of an order nobody has taken up yet."""
    return Progress(order.id, order.seat, order.what, order.actor, order.received)


# -- looking ----------------------------------------------------------------------------------


def history(work: Workspace, name: str | None = None, last: int = ALL) -> list[Progress]:
    """Read what was deployed, oldest first: ``workshop deploys``.

    Raises:
        InputError: nobody is called ``name``, nor ever was.

    """
    found = orders.history(work.directories.shown / LOG, name, last)
    if name is not None and not found:
        work.roster.participant(name)
    return found


def live_ids(work: Workspace, found: Sequence[Progress]) -> frozenset[str]:
    """Tell which of ``found`` brought what is live now."""
    there = deployments(work)
    # Of each seat the last one that went live; a seat without a record runs what the roster says.
    latest = {item.seat: item.id for item in found if item.stage is orders.Stage.LIVE}
    return frozenset(key for seat, key in latest.items() if seat in there)


def under_way(work: Workspace) -> list[Progress]:
    """List every order that is not over, oldest first, the server's and those it has not seen."""
    places = work.directories
    progress = places.shown / PROGRESS
    found: dict[str, Progress] = {}
    for place in (places.deploys / ORDERS, places.inbox):
        for key in orders.waiting(place):
            order = orders.read_order(place, key)
            if order is not None:
                found[key] = begun(order)
    for key in orders.waiting(progress):
        item = orders.read_progress(progress, key)
        if item is not None:
            found[key] = item
    return [item for _, item in sorted(found.items()) if not item.stage.over]


def deployments(work: Workspace) -> current.Current:
    """Read what is deployed right now."""
    return current.load(work.directories.deploys)


def server(work: Workspace) -> str:
    """Say whether the server of deploys is ``live``, ``not answering`` or ``missing``."""
    silent = _silence(work)
    if silent is None:
        return "missing"
    return "live" if silent < LOST_SECONDS else "not answering"


def _silence(work: Workspace) -> float | None:
    """Seconds since the server last said that it is there; ``None`` when it never did."""
    try:
        beat = json.loads((work.directories.deploys / SERVER).read_text("utf-8"))["beat"]
        return time.time() - float(beat)
    except (OSError, ValueError, KeyError, TypeError):
        return None
