"""What a command begins to remove, noted before it does, so that the next one can finish it.

An engine goes on with what a command asked of it that has died since: a container that was told to
stop runs for some seconds more. Whoever looks meanwhile finds it in order.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from workshop.errors import EngineError
from workshop.events import StepStarted
from workshop.labels import Role
from workshop.plan import Action, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.engines.base import Engine
    from workshop.events import Emit, Event
    from workshop.observed import Observed, ObservedContainer

FILE = "removing"
_REMOVING = frozenset({Action.REMOVE, Action.REPLACE})


@contextmanager
def noted(directory: Path, emit: Emit) -> Iterator[Emit]:
    """Pass events on, and note every removal as it begins; the notes go once all have ended."""
    path = directory / FILE

    def listen(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step.action in _REMOVING:
            # The firewall's rules have no id, but a container that removes them.
            _note(path, event.step.old or (Kind.WALL.value,))
        emit(event)

    yield listen
    path.unlink(missing_ok=True)


def without(observed: Observed, directory: Path) -> Observed:
    """Leave out what an interrupted command had begun to remove."""
    begun = _begun(directory)
    if not begun:
        return observed
    return replace(
        observed,
        containers=tuple(item for item in observed.containers if not _goes(item, begun, directory)),
        networks=tuple(item for item in observed.networks if item.id not in begun),
        images=tuple(item for item in observed.images if item.tag not in begun),
    )


def finish(directory: Path, engine: Engine, workshop: str) -> int:
    """Remove what an interrupted command had begun to remove; how much was still there.

    What the engine will not remove is left to the plan.
    """
    begun = _begun(directory)
    if not begun:
        # It may have died before its first word.
        (directory / FILE).unlink(missing_ok=True)
        return 0
    seen = engine.observe(workshop)

    def remove(container: ObservedContainer) -> None:
        with suppress(EngineError):
            engine.remove(container.id)

    going = [item for item in seen.containers if _goes(item, begun, directory)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(remove, going))
    networks = [item.id for item in seen.networks if item.id in begun]
    for network in networks:
        with suppress(EngineError):
            engine.remove_network(network)
    images = {item.tag for item in seen.images if item.tag in begun and item.workshop == workshop}
    for tag in images:
        with suppress(EngineError):
            engine.remove_image(tag)
    (directory / FILE).unlink(missing_ok=True)
    return len(going) + len(networks) + len(images)


def _goes(item: ObservedContainer, begun: frozenset[str], directory: Path) -> bool:
    """Whether a container is one that was to go, or one that still removes the firewall's rules."""
    ours = item.directory == str(directory.parent)
    return item.id in begun or (item.role is Role.WALL and ours)


def _begun(directory: Path) -> frozenset[str]:
    try:
        return frozenset((directory / FILE).read_text("utf-8", "replace").splitlines())
    except OSError:
        return frozenset()


def _note(path: Path, names: tuple[str, ...]) -> None:
    # A full disk must not keep anybody from making room.
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in names)
