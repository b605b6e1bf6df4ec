"""The store: one file beside the roster, values sealed, everything else in plain words.

Names, scopes and dates can be read without the key, so that `plan` and `secrets list` need none.
A value's fingerprint is keyed: it tells that a value changed, and nothing about it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from workshop.errors import InputError
from workshop.state import write_atomically
from workshop.vault.cipher import WrongSeal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workshop.vault.cipher import Key

SCHEMA = 1
FILE = "secrets.json"
MAX_NAME = 100
MAX_VALUE = 64 * 1024
MAX_COUNT = 100
"""Secrets that one scope may have: a seat sees at most twice as many."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True)
class Entry:
    """One secret."""

    name: str
    scope: str
    """The participant whose it is; empty for everybody's."""
    set_at: float
    """Seconds since 1970."""
    fingerprint: str
    sealed: str


@dataclass(frozen=True)
class Store:
    """All secrets of one workshop."""

    workshop: str
    key_id: str = ""
    """Of the key that sealed them."""
    entries: tuple[Entry, ...] = ()

    def find(self, name: str, scope: str) -> Entry | None:
        """Find one secret."""
        return next((e for e in self.entries if (e.name, e.scope) == (name, scope)), None)

    def for_seat(self, participant: str) -> dict[str, Entry]:
        """List what a seat is handed, by name: everybody's, unless it has one of its own."""
        common = {item.name: item for item in self.entries if not item.scope}
        own = {item.name: item for item in self.entries if item.scope == participant}
        return dict(sorted({**common, **own}.items()))

    def put(self, name: str, scope: str, value: bytes, key: Key, now: float) -> Store:
        """Seal one more value, in place of what the name held.

        Raises:
            InputError: the name or the value cannot be, or the rest is sealed with another key.

        """
        _check(name, value)
        if self.entries and self.key_id != key.id:
            raise InputError(_other_key(self, key), hint=_NO_KEY_HINT)
        others = tuple(item for item in self.entries if (item.name, item.scope) != (name, scope))
        if sum(item.scope == scope for item in others) >= MAX_COUNT:
            raise InputError(
                f"{MAX_COUNT} secrets are there already", hint="`workshop secrets rm` removes one"
            )
        about = self._about(name, scope)
        entry = Entry(name, scope, now, key.fingerprint(value, about), key.seal(value, about))
        return replace(self, key_id=key.id, entries=_sorted((*others, entry)))

    def without(self, name: str, scope: str) -> Store:
        """Forget one secret.

        Raises:
            InputError: there is none.

        """
        found = self.find(name, scope)
        if found is None:
            whose = f"{scope} has" if scope else "everybody has"
            raise InputError(
                f"no secret {name[:MAX_NAME]} that {whose}",
                hint="`workshop secrets list` shows which there are; --for names a participant",
            )
        return replace(self, entries=tuple(item for item in self.entries if item is not found))

    def value(self, entry: Entry, key: Key | None) -> bytes:
        """Open one secret.

        Raises:
            InputError: the key is missing or another one, or the entry was altered.

        """
        if key is None or key.id != self.key_id:
            raise InputError(_other_key(self, key), hint=_NO_KEY_HINT)
        try:
            return key.open(entry.sealed, self._about(entry.name, entry.scope))
        except WrongSeal:
            scope = f" --for {entry.scope}" if entry.scope else ""
            raise InputError(
                f"the secret {entry.name} in {FILE} was altered or moved; it is not used",
                hint=f"set it again: workshop secrets set {entry.name}{scope}",
            ) from None

    def _about(self, name: str, scope: str) -> str:
        return json.dumps(["workshop secret", SCHEMA, self.workshop, scope, name])


_NO_KEY_HINT = (
    "bring the key back (docs/secrets.md says where it lives), or start anew: "
    "`workshop secrets rm --all`, then set each again"
)


def _other_key(store: Store, key: Key | None) -> str:
    seen = "no key is here" if key is None else f"the one here is {key.id}"
    return f"the secrets are sealed with the key {store.key_id}, and {seen}"


def load(directory: Path, workshop: str) -> Store:
    """Read the store in the state directory; an empty one where there is none.

    Raises:
        InputError: it is garbled, of a newer version, or another workshop's.

    """
    path = directory / FILE
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw["schema"] > SCHEMA:
            raise InputError(f"{path} was written by a newer workshop", hint="upgrade this one")
        entries = tuple(Entry(**item) for item in raw["entries"])
        store = Store(str(raw["workshop"]), str(raw["key_id"]), entries)
        _check_shape(entries)
    except FileNotFoundError:
        return Store(workshop)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InputError(
            f"{path} cannot be read ({type(exc).__name__}); nothing was touched",
            hint="bring it back from a backup, or start anew: `workshop secrets rm --all`",
        ) from None
    if store.workshop != workshop:
        raise InputError(
            f"{path} holds the secrets of the workshop {store.workshop[:40]!r}, not {workshop!r}",
            hint="give the workshop its name back, or start anew: `workshop secrets rm --all`",
        )
    return store


def save(directory: Path, store: Store) -> None:
    """Write the store whole, for its owner alone."""
    text = json.dumps({"schema": SCHEMA, **asdict(store)}, indent=1)
    write_atomically(directory / FILE, text + "\n")


def _check(name: str, value: bytes) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InputError(
            f"{name[:40]!a} cannot name a secret",
            hint=f"capitals, digits and _, a letter first, at most {MAX_NAME}: API_TOKEN",
        )
    if len(value) > MAX_VALUE:
        raise InputError(
            f"the value of {name} has {len(value)} bytes; at most {MAX_VALUE}",
            hint="a file of that size belongs into the image, or into a store of its own",
        )


def _check_shape(entries: Sequence[Entry]) -> None:
    for item in entries:
        texts = (item.name, item.scope, item.fingerprint, item.sealed)
        # A name becomes that of a file.
        if not all(isinstance(text, str) for text in texts) or not _NAME.fullmatch(item.name):
            raise ValueError(FILE)
        float(item.set_at)


def _sorted(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda item: (item.name, item.scope)))
