"""Back to nothing: remove everything of one workshop, look again, and write the receipt."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop import apply as applying
from workshop import host, state
from workshop.apply import Tools
from workshop.desired import Desired
from workshop.errors import InputError
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
from workshop.subnets import bridge_name
from workshop.workspace import refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    with apply_lock(directory / "lock"):
        observed = work.engine.observe(name)
        owner = Owner(name, "", str(work.roster_path.parent.resolve()))
        refuse_foreign(observed, name, work.roster_path)
        made = make_teardown(Desired(owner), observed, keep_images=keep_images)
        places = work.directories
        publisher = Publisher(places.edge, work.probe, 0, "")
        keys = GatewayPublisher(places.gateway, places.usage, Secrets(), work.probe)
        files = work.deploy_files()
        tools = Tools(work.engine, work.probe, publisher, keys, files, work.settings, work.emit)
        report = applying.apply(made, Desired(owner), tools)
        used = _used(work)
        left = _left(work, name, observed, keep_images=keep_images)
        if not left:
            shutil.rmtree(directory)
    done = Counter(
        step.kind.value
        for step in made.steps
        if step.action is Action.REMOVE and report.outcomes.get(step.number) is Outcome.DONE
    )
    if directory.exists():
        left.append(f"state directory {directory}")
    else:
        done["state directory"] = 1
    return Receipt(
        workshop=name,
        removed=dict(done),
        left=tuple(left),
        kept=_kept(work, name, keep_images=keep_images),
        unchecked=() if host.firewall_rules() is not None else ("firewall rules (needs root)",),
        used=used,
        seconds=time.monotonic() - begun,
    )


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
    found += host.traces_of_bridges(bridges)
    return [item for item in found if not (keep_images and item.startswith("image "))]


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
