"""Secrets for seats: set, listed, removed, and handed over. No value is ever shown again."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop import state
from workshop.errors import InputError
from workshop.events import Outcome
from workshop.lock import apply_lock
from workshop.plan import Kind
from workshop.vault import keyfile, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.apply import Report
    from workshop.desired import Desired
    from workshop.vault.store import Store
    from workshop.workspace import Workspace

SHOWN = 8
"""Characters of a fingerprint: enough to see that a value changed."""


@dataclass(frozen=True)
class Listed:
    """One secret, without its value."""

    name: str
    participant: str
    """Whose it is; empty for everybody's."""
    set_at: float
    """Seconds since 1970."""
    fingerprint: str
    """Follows from value and key; equal for equal values of the same name and participant."""
    in_roster: bool
    """Whether somebody is there to be handed it."""


def put(work: Workspace, name: str, value: bytes, participant: str = "") -> Listed:
    """Keep one secret: ``workshop secrets set``. Seats get it with the next provision.

    Raises:
        InputError: the name, the value or the key is wrong.

    """
    if participant:
        work.roster.participant(participant)
    with _alone(work):
        kept = _load(work)
        key = keyfile.find(work.settings)
        if key is None and not kept.entries:
            key = keyfile.make()
        if key is None:
            raise InputError(
                f"the key {kept.key_id} of the secrets that are there is gone",
                hint="bring it back (docs/secrets.md says where it lives), or start anew: "
                "`workshop secrets rm --all`",
            )
        after = kept.put(name, participant, value, key, time.time())
        store.save(work.state_directory, after)
        return next(
            item
            for item in _list(after, work)
            if (item.name, item.participant) == (name, participant)
        )


def listed(work: Workspace) -> list[Listed]:
    """Say which secrets there are: ``workshop secrets list``."""
    return _list(_load(work), work)


def remove(work: Workspace, name: str, participant: str = "") -> None:
    """Forget one secret: ``workshop secrets rm``.

    Raises:
        InputError: there is none.

    """
    with _alone(work):
        store.save(work.state_directory, _load(work).without(name, participant))


def remove_all(work: Workspace) -> bool:
    """Forget every secret, whatever state the store is in; whether there was one."""
    path = work.state_directory / store.FILE
    if not path.exists():
        return False
    with _alone(work):
        path.unlink(missing_ok=True)
    return True


def hand_over(work: Workspace, desired: Desired) -> None:
    """Write the files of seats' secrets where they are not yet, before a seat starts with them.

    Raises:
        InputError: a value cannot be opened, or its file not written; nothing was touched.

    """
    files = work.secret_files()
    missing = [seat for seat in desired.seats if seat.secrets and not files.has(seat.secrets)]
    if not missing:
        return
    kept, key = _load(work), keyfile.find(work.settings)
    for seat in missing:
        entries = kept.for_seat(seat.key).values()
        files.write(seat.secrets, {item.name: kept.value(item, key) for item in entries})


def take_back(work: Workspace, desired: Desired, report: Report) -> None:
    """Remove what seats that were replaced or removed had before."""
    files = work.secret_files()
    now = {seat.key: seat.secrets for seat in desired.seats}
    for step in report.plan.steps:
        if step.kind is Kind.SEAT and report.outcomes.get(step.number) is Outcome.DONE:
            files.keep(step.name, now.get(step.name, ""))


def _load(work: Workspace) -> Store:
    return store.load(work.state_directory, work.roster.name)


def _list(kept: Store, work: Workspace) -> list[Listed]:
    people = {"", *(person.name for person in work.roster.participants)}
    return [
        Listed(item.name, item.scope, item.set_at, item.fingerprint[:SHOWN], item.scope in people)
        for item in kept.entries
    ]


@contextmanager
def _alone(work: Workspace) -> Iterator[None]:
    _ = work.roster
    with apply_lock(state.open_directory(work.roster_path) / "lock"):
        yield
