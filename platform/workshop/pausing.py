"""Questions to the class's models held back for a while: of some, or of the whole class.

What is decided stands in ``state.json``, and the gateway is told at once by a change of its file
alone. The file becomes exactly what the next ``provision`` would write, so nothing is left for that
to do. No engine is asked, which is why the command and the board both get an answer within a second
whatever else goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from workshop import state
from workshop.errors import WorkshopError
from workshop.gateway import config as gateway
from workshop.llm.publish import await_loaded, loaded
from workshop.parts.models import GATEWAY_PORT
from workshop.state import write_atomically
from workshop.subnets import bridge_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workshop.health import Probe
    from workshop.state import State


def pause(home: Path, workshop: str, names: Sequence[str] | None, *, paused: bool) -> State:
    """Let ``names`` ask no more questions for now, or again. To be called under the class's lock.

    Args:
        home: the state directory.
        workshop: whose it has to be.
        names: participants; ``None`` means the class as a whole, where what holds for single
            participants stays as it is.
        paused: whether they are to wait.

    Raises:
        WorkshopError: nothing has been provisioned yet.
        InputError: the disk is full.

    """
    known = state.load(home) if home.is_dir() else None
    if known is None or known.workshop != workshop:
        raise WorkshopError("nothing runs yet", hint="`workshop provision` comes first")
    after = _changed(known, names, paused=paused)
    if after != known:
        state.save(home, after)
    _tell(home / "gateway" / gateway.FILE, after)
    return after


def confirm(home: Path, known: State, probe: Probe) -> bool:
    """Wait until the gateway has taken the change over; whether one answers at all.

    Where none does, it reads its file when it starts.

    Raises:
        PublishFailed: it answers, and does not take the change over.

    """
    try:
        told = gateway.load((home / "gateway" / gateway.FILE).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    address = bridge_address(known.network, 0)
    if asyncio.run(loaded(probe, address, GATEWAY_PORT)) is None:
        return False
    asyncio.run(await_loaded(probe, address, GATEWAY_PORT, told.fingerprint, "gateway"))
    return True


def _changed(known: State, names: Sequence[str] | None, *, paused: bool) -> State:
    if names is None:
        return replace(known, paused=paused)
    keys = {name: replace(known.key(name), paused=paused) for name in names}
    return replace(known, keys={**known.keys, **keys})


def _tell(path: Path, known: State) -> None:
    """Change who is paused in the gateway's file, and nothing else of it.

    One that is missing or not readable is left to ``provision``, which writes it whole.
    """
    try:
        told = gateway.load(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return
    seats = tuple(replace(seat, paused=known.key(seat.name).paused) for seat in told.seats)
    after = replace(told, paused=known.paused, seats=seats)
    if after != told:
        write_atomically(path, gateway.dump(after), 0o644)
