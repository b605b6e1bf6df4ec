"""The state directory: what labels cannot hold, kept beside the roster in ``.workshop/``.

It holds the run id, the network, the slots, and the secret that participants' keys are made from.
Losing it is not losing the workshop: the first three are rebuilt from the labels of what runs, and
a new secret means new keys, which the next provision hands out. It is written before any object
that depends on it is created, so an interrupted apply finds its own choices again.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import json
import os
import secrets
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

from workshop.disk import refusal
from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from workshop.observed import Observed

SCHEMA = 2
DIRECTORY = ".workshop"
UNPROVEN = "unproven"
BROKEN = ".json.broken"
PROVISIONED = "provisioned"
SLOTS_PER_SHARD = 250
"""Seats on one bridge. The kernel allows 1,023 ports, and an ARP broadcast to more than 1,000 is
dropped (https://github.com/moby/moby/issues/44973)."""
SHARDS = 2
_POOL = ipaddress.IPv4Network("10.86.0.0/16")
_PREFIX = 21
_SECRET_BYTES = 32


@dataclass(frozen=True)
class KeyState:
    """What was decided about one participant's key."""

    serial: int = 0
    """How many keys this participant had before the one that holds."""
    revoked: bool = False
    paused: bool = False


@dataclass(frozen=True)
class State:
    """The choices made once for a run: one life of a workshop, from provision to teardown."""

    workshop: str
    run: str
    network: str
    slots: Mapping[str, int] = field(default_factory=dict)
    secret: str = ""
    """256 bits in hexadecimal; every participant's key follows from it. Kept here and nowhere else,
    together with the serials: were they lost apart, a rotated key would be good again."""
    keys: Mapping[str, KeyState] = field(default_factory=dict)
    paused: bool = False
    """Whether nobody may use the class's models for now."""

    def key(self, participant: str) -> KeyState:
        """Say what holds for one participant's key."""
        return self.keys.get(participant, KeyState())


_KNOWN = frozenset({"schema", *(item.name for item in fields(State))})


def open_directory(roster: Path) -> Path:
    """Make the state directory beside ``roster``, readable by its owner alone.

    Raises:
        InputError: it cannot be created or written.

    """
    path = roster.parent / DIRECTORY
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        _try_writing(path)
    except OSError as exc:
        raise refusal(path, exc) from exc
    return path


def _try_writing(path: Path) -> None:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def load(directory: Path) -> State | None:
    """Read the state back; ``None`` when there is none or it is not readable as ours.

    A garbled file is set aside as ``state.json.broken``, never silently overwritten.

    Raises:
        InputError: it was written by a newer version.

    """
    path = directory / "state.json"
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw["schema"] > SCHEMA:
            raise InputError(
                f"{path} was written by a newer workshop (schema {raw['schema']})",
                hint="upgrade this installation, or tear down with the newer one",
            )
        _require_as_written(raw)
        slots = {str(name): int(slot) for name, slot in raw["slots"].items()}
        ipaddress.IPv4Network(raw["network"])
        keys = {str(name): KeyState(**held) for name, held in raw.get("keys", {}).items()}
        secret = bytes.fromhex(raw.get("secret", "")).hex()
        return State(
            str(raw["workshop"]),
            str(raw["run"]),
            str(raw["network"]),
            slots,
            secret,
            keys,
            bool(raw.get("paused", False)),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        path.replace(path.with_suffix(BROKEN))
        return None


def save(directory: Path, state: State) -> None:
    """Write ``state`` so that a crash leaves either the old or the new file, whole."""
    raw = {"schema": SCHEMA, **asdict(state)}
    text = json.dumps({**raw, "check": _check(raw)}, indent=1, sort_keys=True)
    write_atomically(directory / "state.json", text + "\n")


def _require_as_written(raw: dict[str, object]) -> None:
    # An earlier version wrote no sum.
    if raw.pop("check", None) not in {None, _check(raw)} or not set(raw) <= _KNOWN:
        raise ValueError("it is not as it was written")


def _check(raw: Mapping[str, object]) -> str:
    """Sum up a state: one flipped bit could otherwise move a seat or change everybody's keys."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]


def refuse_other(known: State | None, workshop: str, path: Path) -> None:
    """Stop where the state directory is another workshop's: it alone knows what that one has.

    Raises:
        InputError: the roster names another workshop than the state.

    """
    if known is not None and known.workshop != workshop:
        raise InputError(
            f"{path} belongs to the workshop {known.workshop!r}, the roster says {workshop!r}",
            hint=f"set workshop.name to {known.workshop} and tear down first; "
            f"if nothing of it is left anywhere, remove {path}",
        )


def is_unproven(directory: Path) -> bool:
    """Whether the last apply ended before every seat had answered under its own name."""
    return (directory / UNPROVEN).exists()


def set_unproven(directory: Path, *, unproven: bool) -> None:
    """Remember, across a crash, that what runs has yet to be proved right."""
    path = directory / UNPROVEN
    if unproven:
        path.touch(mode=0o600)
    else:
        path.unlink(missing_ok=True)


def provisioned(directory: Path) -> str:
    """Give the digest of what the last provision was asked for; empty before the first one."""
    try:
        return (directory / PROVISIONED).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def set_provisioned(directory: Path, digest: str) -> None:
    """Remember what the instructor asked for, so that a repair does that and nothing newer."""
    if provisioned(directory) != digest:
        write_atomically(directory / PROVISIONED, digest + "\n")


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``path`` with ``text``: temporary file, flush to disk, rename, flush the directory.

    Raises:
        InputError: the disk is full or the directory cannot be written; the old file is intact.

    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb"
        ) as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)
    except OSError as exc:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        exc.filename = str(path)
        raise refusal(path, exc) from exc


def settle(
    known: State | None,
    observed: Observed,
    workshop: str,
    names: Iterable[str],
    network: str | None,
) -> State:
    """Decide run, network, slots and secret: what was chosen before stays, newcomers get free ones.

    Args:
        known: the state file's content, if there is one for this workshop.
        observed: labels win over a lost state file, never over a present one.
        workshop: the workshop's name.
        names: participants in the order of the roster.
        network: the roster's own choice, if it makes one.

    Raises:
        InputError: no free network or slot is left.

    """
    base = (
        known if known is not None and known.workshop == workshop else _rebuilt(observed, workshop)
    )
    run = base.run or secrets.token_hex(4)
    chosen = base.network if observed.networks or not network else network
    taken = observed.taken_subnets
    if network and not observed.networks:
        _refuse_overlap(network, taken)
    if not chosen or (not observed.networks and not network and _overlaps(chosen, taken)):
        # Nothing stands on it yet, and somebody else was quicker.
        chosen = _free_network(workshop, taken)
    return replace(
        base,
        run=run,
        network=chosen,
        slots=_assign(base.slots, names),
        secret=base.secret or secrets.token_hex(_SECRET_BYTES),
    )


def _rebuilt(observed: Observed, workshop: str) -> State:
    """Read the choices back from what runs; empty when nothing runs."""
    runs = [item.run for item in observed.containers] + [net.run for net in observed.networks]
    slots = {item.key: item.slot for item in observed.containers if item.slot is not None}
    network = ""
    if observed.networks:
        first = min(ipaddress.IPv4Network(item.subnet) for item in observed.networks)
        network = str(first.supernet(new_prefix=_PREFIX))
    return State(workshop, runs[0] if runs else "", network, slots)


def _free_network(workshop: str, taken: Iterable[str]) -> str:
    """Pick a /21 nobody uses, starting at a place of the workshop's own.

    Docker's default pools end after about 30 networks and are shared with everything else on the
    machine, so the choice is made here and passed explicitly.
    """
    used = tuple(taken)
    pools = [str(pool) for pool in _POOL.subnets(new_prefix=_PREFIX)]
    start = zlib.crc32(workshop.encode()) % len(pools)
    for pool in pools[start:] + pools[:start]:
        if not _overlaps(pool, used):
            return pool
    raise InputError(
        f"every /{_PREFIX} of {_POOL} overlaps a network in use",
        hint="set workshop.network to a free private /21, such as network: 10.200.0.0/21",
    )


def _refuse_overlap(network: str, taken: Iterable[str]) -> None:
    """Stop where the roster's own choice would take addresses away from somebody else."""
    other = next((subnet for subnet in taken if _overlaps(network, (subnet,))), None)
    if other is not None:
        raise InputError(
            f"workshop.network: {network} overlaps {other}, which this server uses already",
            hint="choose another private /21, or leave workshop.network out",
        )


def _overlaps(network: str, taken: Iterable[str]) -> bool:
    own = ipaddress.IPv4Network(network)
    return any(own.overlaps(ipaddress.IPv4Network(subnet)) for subnet in taken)


def _assign(slots: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """Give every newcomer the lowest slot never used in this run.

    A slot is not handed on when its participant leaves: an open connection, a cached page or a
    late restart must not reach somebody else's seat.
    """
    result = dict(slots)
    free = iter(sorted(set(range(SLOTS_PER_SHARD * SHARDS)) - set(result.values())))
    for name in names:
        if name in result:
            continue
        slot = next(free, None)
        if slot is None:
            raise InputError(
                f"all {SLOTS_PER_SHARD * SHARDS} slots of this run are used",
                hint="`workshop teardown` and `workshop provision` start a new run",
            )
        result[name] = slot
    return result
