"""A class that was watched: the files that the command and ``serve`` leave, without either."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from workshop import state
from workshop.board import config, shown, wishes
from workshop.board.shown import Deploy, Seat, Shown, State, Totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ROSTER = (
    "workshop: {name: class, url: 'http://localhost:18998', llm: false}\nparticipants: [ada, bob]\n"
)
TOKEN = "7" * 64
NETWORK = "10.86.8.0/21"


def mixed(now: float | None = None) -> tuple[Seat, ...]:
    """Describe a class in which something of everything happened."""
    now = now or time.time()
    counted = Totals(
        requests=120,
        errors=4,
        seconds=14.5,
        buckets=(60, 90, 100, 110, 115, 118, 119, 120, 120),
        bytes=5_000_000,
        cpu_seconds=31.25,
        deploys=3,
        failed_deploys=1,
        input_tokens=900,
        output_tokens=300,
        llm_requests=7,
    )
    room = {"memory": 36 << 20, "memory_limit": 256 << 20, "cpu": 0.02, "cpu_limit": 0.5}
    live = Deploy("1", 3, "push", "ada", "live", now - 400, now - 390, version="v3", live=True)
    failed = Deploy(
        "2", 2, "source", "dan", "failed", now - 60, now - 50, cause="port", message="no"
    )
    building = Deploy("3", 1, "source", "eve", "building", now - 5)
    return (
        Seat("ada", State.LIVE, since=now - 60, version="v3", deploys=(live,), totals=counted,
             requests=12, tokens=1200, tokens_limit=200_000, **room),
        Seat("bob", State.CRASHING, "ends with exit code 1 again and again", restarts=7, **room),
        Seat("cleo", State.LIVE, tokens=95_000, tokens_limit=100_000, **room),
        Seat("dan", State.LIVE, deploys=(failed,), **room),
        Seat("eve", State.LIVE, deploys=(building,), requests=40, errors=9, **room),
        Seat("finn", State.HELD, "stopped by you; `workshop start finn`"),
        Seat("grace", State.SILENT, "the latest visitors got no answer", requests=3, errors=3, **room),
        Seat("heidi", State.LIVE, memory=250 << 20, memory_limit=256 << 20, paused=True),
    )  # fmt: skip


def watched(
    directory: Path,
    seats: Sequence[Seat] | None = None,
    *,
    hands: Mapping[str, float] | None = None,
    beat: float = 0.0,
    roster: str = ROSTER,
    **more: Any,
) -> Path:
    """Write all of it into ``directory``; return the state directory.

    Args:
        directory: where the roster stands.
        seats: what was seen of the class; :func:`mixed` where that is ``None``.
        hands: who raised a hand.
        beat: how many seconds ago ``serve`` gave its sign of life.
        roster: the roster's text.
        more: other fields of what was seen.

    """
    (directory / "participants.yaml").write_text(roster, "utf-8")
    home = state.open_directory(directory / "participants.yaml")
    state.save(home, state.State("class", "run1", NETWORK, {}, "ab" * 32))
    place = home / "board"
    for name in ("told", "shown", "kept"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (home / "deploys").mkdir(exist_ok=True)
    now = time.time()
    people = mixed(now) if seats is None else tuple(seats)
    told = config.Config(
        "class",
        "Summer class",
        "http://localhost:18998",
        ("http://127.86.8.1:8013",),
        tuple(
            config.Seat(
                seat.name, seat.name.title(), f"http://localhost:18998/{seat.name}/", "", ""
            )
            for seat in people
        ),
    )
    (place / "told" / config.FILE).write_text(config.dump(told), "utf-8")
    facts = {"parts": (("edge", "running"), ("serve", "running")), **more}
    seen = Shown("class", now - beat, now - 3600, people, **facts)
    (place / "shown" / shown.FILE).write_text(shown.dump(seen), "utf-8")
    wishes.save_hands(place / "kept", hands or {})
    (home / "deploys" / "serve.json").write_text(json.dumps({"beat": now - beat}), "utf-8")
    (home / config.METRICS_TOKEN).write_text(f"{TOKEN}\n", "ascii")
    return home
