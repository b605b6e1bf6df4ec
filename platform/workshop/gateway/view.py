"""The configuration as the request chain looks at it: ready for one lookup per question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.gateway.config import FILE, SECRETS, Config, Model, Seat, Task, Upstream, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Candidate = tuple[Upstream, Model]
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What :func:`read_view` raises for a file that is missing or garbled."""


@dataclass(frozen=True)
class View:
    """One configuration and what follows from it. Replaced whole, never changed."""

    config: Config
    fingerprint: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Providers' keys by upstream; the only secrets here, and never shown."""
    seats: Mapping[str, Seat] = field(default_factory=dict)
    """By the hash of the key."""
    models: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)
    """By the name the class uses: who answers for it, first choice first."""
    spare: tuple[Candidate, ...] = ()
    """Who may answer any chat while everybody else is silent."""
    missing: tuple[str, ...] = ()
    """Upstreams whose key could not be read."""


def derive(config: Config, keys: Mapping[str, str]) -> View:
    """Prepare every lookup."""
    models: dict[str, tuple[Candidate, ...]] = {}
    for upstream in config.upstreams:
        for name, model in upstream.models.items():
            models[name] = (*models.get(name, ()), (upstream, model))
    return View(
        config=config,
        fingerprint=config.fingerprint,
        keys=keys,
        seats={seat.key_hash: seat for seat in config.seats if seat.key_hash},
        models=models,
        spare=tuple(filter(None, map(_spare, config.upstreams))),
        missing=tuple(u.name for u in config.upstreams if u.secret and not keys.get(u.name)),
    )


def read_view(directory: Path) -> View:
    """Read the file and the providers' keys beside it.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: there is no such file, or it is
            garbled (:data:`UNREADABLE`).

    """
    config = load((directory / FILE).read_text("utf-8"))
    keys = {u.name: _secret(directory / SECRETS / u.secret) for u in config.upstreams if u.secret}
    return derive(config, keys)


def task_of(view: View, model: str) -> Task:
    """Tell what a known model is for."""
    return view.models[model][0][1].task


def _spare(upstream: Upstream) -> Candidate | None:
    if not upstream.toy:
        return None
    chats = (model for model in upstream.models.values() if model.task is Task.CHAT)
    return next(((upstream, model) for model in chats), None)


def _secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""
