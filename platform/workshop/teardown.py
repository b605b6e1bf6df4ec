"""Back to nothing: remove everything of one workshop, look again, and write the receipt."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop import apply as applying
from workshop import host, removals, service, state
from workshop.apply import Publishers, Tools
from workshop.desired import Desired
from workshop.disk import writing
from workshop.errors import InputError, WorkshopError
from workshop.events import Outcome
from workshop.gateway import config as gateway
from workshop.gateway import ledger
from workshop.labels import Role
from workshop.llm.publish import GatewayPublisher
from workshop.llm.secrets import Secrets
from workshop.lock import apply_lock
from workshop.plan import Action, make_teardown
from workshop.proxy.publish import Publisher
from workshop.specs import Owner
from workshop.subnets import bridge_name, bridge_prefix
from workshop.vault import keyfile, store
from workshop.vault.delivery import Delivery
from workshop.wall import firewall
from workshop.workspace import refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workshop.observed import Observed
    from workshop.workspace import Workspace


@dataclass(frozen=True)
class Receipt:
    """What teardown removed, by kind, and what is left; anything left is a failure."""

    workshop: str
    removed: Mapping[str, int]
    left: tuple[str, ...]
    kept: tuple[str, ...]
    unchecked: tuple[str, ...]
    used: str
    """What the class used of its models in all; empty where it asked nothing."""
    seconds: float


def teardown(work: Workspace, *, keep_images: bool = False) -> Receipt:
    """Remove every object of this workshop, then look again: ``workshop teardown``."""
    begun = time.monotonic()
    name = _workshop_name(work)
    directory = state.open_directory(work.roster_path)
    with apply_lock(directory / "lock"), writing(directory):
        state.refuse_other(state.load(directory), name, directory)
        observed = work.engine.observe(name)
        owner = Owner(name, "", str(work.roster_path.parent.resolve()))
        prefix = bridge_prefix(name)
        observed = replace(observed, wall=firewall.look(work.engine, owner, observed, prefix))
        refuse_foreign(observed, name, work.roster_path)
        units, stuck = _without_units(name, work.roster_path)
        made = make_teardown(Desired(owner), observed, keep_images=keep_images)
        places = work.directories
        publisher = Publisher(places.edge, work.probe, 0, "")
        keys = GatewayPublisher(places.gateway, places.usage, Secrets(), work.probe)
        files = work.deploy_files()
        with removals.noted(directory, work.emit) as emit:
            publishers = Publishers(publisher, keys, files)
            tools = Tools(work.engine, work.probe, publishers, work.settings, emit)
            report = applying.apply(made, Desired(owner), tools)
            if not keep_images:
                work.engine.remove_nameless(name)
        if observed.wall and not firewall.image_of(observed, name):
            firewall.remove_by_hand(prefix)
        used = _used(work)
        sealed = (directory / store.FILE).exists()
        left = _left(work, name, observed, keep_images=keep_images)
        if not left:
            _forget(directory)
            left += _left_in_memory(Delivery(places.memory / name))
    done = Counter(
        step.kind.value
        for step in made.steps
        if step.action is Action.REMOVE and report.outcomes.get(step.number) is Outcome.DONE
    )
    if units:
        done["boot unit"] = units
    if directory.exists():
        left.append(f"state directory {directory}")
    else:
        done["state directory"] = 1
    return Receipt(
        workshop=name,
        removed=dict(done),
        left=tuple(left),
        kept=(
            *_kept(work, name, keep_images=keep_images),
            *(_kept_key() if sealed else ()),
            *stuck,
        ),
        unchecked=() if host.firewall_rules() is not None else ("firewall rules (needs root)",),
        used=used,
        seconds=time.monotonic() - begun,
    )


def _without_units(name: str, roster: Path) -> tuple[int, tuple[str, ...]]:
    """Take away what would bring the workshop back at the next boot, before anything else goes.

    Where this user may not, the units stay and do nothing: they ask for a state that is gone.
    """
    try:
        return len(service.remove(name, roster).removed), ()
    except WorkshopError as exc:
        return 0, (f"boot units, which do nothing now ({exc.message}; {exc.hint})",)


def _forget(directory: Path) -> None:
    """Remove the state directory, out of the way first.

    Whoever waits for its lock makes a new one as soon as the old is gone; that one must stand in a
    directory of its own, which nobody is removing.
    """
    aside = directory.with_name(f"{directory.name}.gone")
    shutil.rmtree(aside, ignore_errors=True)
    directory.rename(aside)
    shutil.rmtree(aside)


def _workshop_name(work: Workspace) -> str:
    """Know what to tear down even when the roster was broken in the meantime."""
    try:
        return work.roster.name
    except InputError:
        known = state.load(work.state_directory) if work.state_directory.is_dir() else None
        if known is None:
            raise
        return known.workshop


def _used(work: Workspace) -> str:
    """Read the last sum before the books go; the gateway has ended and written the rest."""
    try:
        everybody = ledger.totals(work.directories.usage / ledger.FILE)
        told = (work.directories.gateway / gateway.FILE).read_text("utf-8")
        # Not by its own reader: another version may have written it.
        currency = str(json.loads(told)["currency"])
    except (ledger.LedgerError, OSError, ValueError, KeyError, TypeError):
        return ""
    requests = sum(item.requests for item in everybody)
    tokens = sum(item.input_tokens + item.output_tokens for item in everybody)
    money = sum(item.money for item in everybody) / gateway.NANO
    return f"{requests:,} requests, {tokens:,} tokens, {money:,.2f} {currency}" if requests else ""


def _left(work: Workspace, name: str, before: Observed, *, keep_images: bool) -> list[str]:
    """Take a fresh inventory of the engine, the kernel and the firewall."""
    found = work.engine.leftovers(name, before.volumes)
    bridges = [bridge_name(name, shard) for shard in range(state.SHARDS)]
    if work.engine.has_kernel:
        found += host.traces_of_bridges(bridges, bridge_prefix(name))
    return [item for item in found if not (keep_images and item.startswith("image "))]


def _left_in_memory(files: Delivery) -> list[str]:
    """Remove what seats saw of their secrets."""
    return [] if files.remove() else [f"secrets in {files.home}"]


def _kept_key() -> tuple[str, ...]:
    """Name the key of the store that is gone: it is the operator's, for other workshops as well."""
    path = keyfile.path()
    return (f"key of secrets {path} (yours, for the next workshop)",) if path.exists() else ()


def _kept(work: Workspace, name: str, *, keep_images: bool) -> tuple[str, ...]:
    """Name what stays on purpose: a shared or pulled base image, and images asked to be kept."""
    images = work.engine.observe(name, [work.settings.base_image]).images
    reasons = {
        Role.BASE: "other workshops use it" if not keep_images else "--keep-images",
    }
    kept = []
    for image in images:
        if image.tag == work.settings.base_image:
            kept.append(f"image {image.tag} (not made here)")
        elif image.workshop in {"", name}:
            kept.append(f"image {image.tag} ({reasons.get(image.role, '--keep-images')})")
    return tuple(kept)
