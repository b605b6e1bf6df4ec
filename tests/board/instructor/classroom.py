"""A class of 32, or of many, in which some seats are broken: what the pages are looked at with."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.board.lab import Lab, person, seat
from workshop.board import config, shown, wishes
from workshop.board.shown import Deploy, State, Totals
from workshop.board.view import View

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = (
    "ada=Ada Lovelace|grace=Grace Hopper|alan=Alan Turing|edsger=Edsger Dijkstra|barbara=Barbara Liskov|"
    "donald=Donald Knuth|katherine=Katherine Johnson|linus=Linus Torvalds|margaret=Margaret Hamilton|"
    "dennis=Dennis Ritchie|radia=Radia Perlman|ken=Ken Thompson|hedy=Hedy Lamarr|tim=Tim Berners-Lee|"
    "frances=Frances Allen|john=John McCarthy|shafi=Shafi Goldwasser|vint=Vint Cerf|jean=Jean Bartik|"
    "guido=Guido van Rossum|evelyn=Evelyn Boyd|bjarne=Bjarne Stroustrup|adele=Adele Goldberg|niklaus=Niklaus Wirth|"
    "sophie=Sophie Wilson|leslie=Leslie Lamport|anita=Anita Borg|łukasz=Łukasz Świątek|joan=Joan Clarke"
)
LISTENS = (
    "The app listens on 127.0.0.1, so nobody outside its container reaches it.",
    (
        "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
        "port 8000: open on 127.0.0.1, closed on 10.86.8.14",
    ),
    "Start it with `--host 0.0.0.0`, then push again.",
)


def deploy(number: int, ago: float, stage: str = "live", **changes: Any) -> Deploy:
    """Describe a deploy that ended ``ago`` seconds before now."""
    now = time.time()
    found = Deploy(
        id=f"{int(now)}{number:03d}-00000000",
        number=number,
        what="push",
        actor="ada",
        stage=stage,
        received=now - ago - 9,
        ended=None if stage in {"building", "starting"} else now - ago,
        version=f"{number}-9b1d{number:03x}",
    )
    return replace(found, **changes)


def view(*seats: Any, hands: dict[str, float] | None = None, **changes: Any) -> View:
    """Look at these seats; those whose names begin with ``spare`` are nobody's."""
    people = tuple(person(one.name, spare=one.name.startswith("spare")) for one in seats)
    told = config.Config("class", "Class", "http://localhost:1", ("http://localhost:2",), people)
    seen = shown.Shown("class", 1.0, 1.0, seats, **changes)
    return View(told, seen, hands or {})


def people(many: int = 0) -> tuple[config.Seat, ...]:
    """List the class of 32, three of them spare, or one of ``many``."""
    named = []
    for item in PEOPLE.split("|"):
        name, _, display = item.partition("=")
        name = name.replace("ł", "l")
        named.append(person(name, display_name=display, url=f"https://class.example.org/{name}/"))
    spare = [person(f"spare-{n}", display_name=f"spare-{n}", spare=True) for n in (1, 2, 3)]
    more = [person(f"seat-{n:03d}", display_name=f"seat-{n:03d}") for n in range(1, many)]
    return tuple([*named, *spare, *more][: many or None])


def seats(listed: tuple[config.Seat, ...]) -> tuple[shown.Seat, ...]:
    """Describe everybody, as the control process saw them."""
    dice, now = random.Random(6), time.time()
    found = {}
    for one in listed:
        count = 0 if one.spare else dice.choice((0, 1, 1, 2, 3, 5))
        found[one.name] = seat(
            one.name,
            since=now - dice.randrange(60, 7000),
            version=f"{count}-9b1d{count:03x}" if count else "template",
            requests=0 if one.spare else dice.choice((0, 0, 4, 12, 37, 120)),
            memory=dice.randrange(30, 140) << 20,
            cpu=dice.choice((0.0, 0.01, 0.04, 0.2)),
            tokens=0 if one.spare else dice.randrange(0, 90_000),
            deploys=tuple(
                deploy(n, 400 * (count - n) + 130, actor=one.name, live=n == count, kept=n != count)
                for n in range(count, 0, -1)
            ),
            totals=Totals(
                requests=dice.randrange(20, 4000), errors=3, deploys=count, failed_deploys=1
            ),
        )
    if "edsger" in found:
        found |= _broken(found, now)
    return tuple(found.values())


def _broken(found: dict[str, shown.Seat], now: float) -> dict[str, shown.Seat]:
    message, evidence, better = LISTENS
    failed = {
        "cause": "listens-on-localhost",
        "message": message,
        "evidence": evidence,
        "next": better,
    }
    gone = replace(found["dennis"], memory=0, cpu=0.0, requests=0)
    return {
        "edsger": replace(
            found["edsger"],
            state=State.CRASHING,
            detail="ends with exit code 1 again and again",
            since=now - 190,
            restarts=14,
            requests=6,
            errors=6,
        ),
        "linus": replace(
            found["linus"],
            state=State.CRASHING,
            detail="killed: used more than its 256 MB",
            since=now - 42,
            restarts=3,
            memory=251 << 20,
        ),
        "dennis": replace(
            gone, state=State.STOPPED, detail="ended with exit code 0", since=now - 700
        ),
        "hedy": replace(
            found["hedy"],
            state=State.SILENT,
            detail="its last 4 visitors got no answer",
            since=now - 75,
            requests=9,
            errors=4,
            cpu=0.49,
        ),
        "tim": replace(
            gone,
            name="tim",
            state=State.HELD,
            detail="stopped by you; `workshop start tim`",
            deploys=(),
        ),
        "grace": replace(
            found["grace"],
            deploys=(
                deploy(4, 140, "failed", actor="grace", **failed),
                deploy(3, 900, actor="grace", live=True, escapes=2),
                deploy(2, 2200, actor="grace", kept=True),
                deploy(1, 3000, "superseded", actor="grace"),
            ),
        ),
        "shafi": replace(found["shafi"], tokens=199_300, paused=True),
        "jean": replace(
            found["jean"],
            deploys=(
                deploy(2, 0, "building", actor="jean", version=""),
                deploy(1, 900, actor="jean", live=True),
            ),
        ),
        "anita": replace(
            found["anita"],
            deploys=(
                deploy(
                    1,
                    30,
                    "refused",
                    actor="anita",
                    message="The image is built for arm64; this server runs amd64.",
                    next="Build with `--platform linux/amd64`.",
                ),
            ),
        ),
    }


def classroom(directory: Path, many: int = 0, **options: Any) -> Lab:
    """Run a board for the class."""
    listed = people(many)
    lab = Lab(
        directory,
        config=config.Config(
            "summer",
            "Summer school: build a chat app",
            "https://class.example.org",
            (),
            listed,
            base_url="https://class.example.org/llm/v1",
            model="gpt-oss",
            currency="EUR",
        ),
        options=options,
    )
    now = time.time()
    lab.shown = shown.Shown(
        "summer",
        now,
        now - 4000,
        seats(listed),
        parts=(("edge", "running"), ("gateway", "running")),
    )
    lab.kept.mkdir(parents=True)
    lab.shown_in.mkdir()
    wishes.save_hands(lab.kept, {"margaret": now - 260, "linus": now - 40})
    lab.announce("Lunch at 12:30. Push before you go, and you see it live when you are back.")
    return lab.start()
