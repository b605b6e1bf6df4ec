"""Values and secrets at length: 20,000 variables through the engine, and every image searched.

The canaries are those of `tests/e2e/test_canaries.py`; here all of the class's images are saved and
their layers read, where the test reads those alone that hold what people wrote.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.torture.figure import Figure

from tests import nasty
from workshop.environment import quote
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.roster import Participant, parse
from workshop.rosterfile import block_entry
from workshop.specs import NO_NETWORK, ContainerSpec, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.docker import DockerEngine

VALUES = 20_000
AT_ONCE = 200
OWNER = Owner("torturevalues", "run1", "/nowhere")


def measure() -> Iterator[Figure]:
    """Give the figures of this part."""
    from workshop.engines.docker import DockerEngine  # noqa: PLC0415 - --list needs no engine

    engine = DockerEngine()
    try:
        yield _values(engine)
        yield from _canaries(engine)
    finally:
        engine.close()


def _values(engine: DockerEngine) -> Figure:
    """Send values through a roster and a file into containers, and read them back there."""
    from tests import layers  # noqa: PLC0415 - as above

    image, wrong = layers.base(engine), 0
    known = list(nasty.values(seed=2026, count=VALUES))
    with tempfile.TemporaryDirectory(prefix="torture-values-") as name:
        directory = Path(name)
        (directory / "participant_template").mkdir()
        (directory / "participant_template" / "Dockerfile").write_text("FROM scratch\n")
        for start in range(0, VALUES, AT_ONCE):
            part = known[start : start + AT_ONCE]
            wanted = {f"A{number}": value for number, value in enumerate(part)}
            found = _through_the_engine(engine, image, _read_back(directory, wanted))
            wrong += sum(found.get(key) != value for key, value in wanted.items())
            print(f"values: {start + len(part):,} through the engine, {wrong} changed", flush=True)
    return Figure(
        f"env values round trip, of {VALUES:,}", "0 changed", f"{wrong} changed", not wrong
    )


def _read_back(directory: Path, wanted: dict[str, str]) -> dict[str, str]:
    """Write half of the values into a roster, half into a file, and read both as provision does."""
    inline = {name: wanted[name] for name in list(wanted)[::2]}
    lines = [f"{name}={quote(value)}\n" for name, value in wanted.items() if name not in inline]
    file = directory / "seat.env"
    file.write_text("".join(lines), "utf-8")
    file.chmod(0o600)
    entry = "\n".join(block_entry(Participant("ada", env=inline), ""))
    text = f"workshop: {{name: class, llm: false}}\nparticipants:\n{entry}\n  env_file: seat.env\n"
    return parse(text, directory / "participants.yaml").participants[0].env


def _through_the_engine(engine: DockerEngine, image: str, env: dict[str, str]) -> dict[str, str]:
    spec = ContainerSpec(
        role=Role.SEAT,
        key="ada",
        name=f"{OWNER.workshop}-ada",
        image=image,
        version="1",
        limits=Limits(memory=64 * MIB, cpus=1, pids=32),
        network=NO_NETWORK,
        command=("sleep", "600"),
    )
    container = engine.create(replace(spec, env=env), OWNER)
    try:
        engine.start(container)
        _, text = engine.run(container, ["cat", "/proc/1/environ"])
    finally:
        engine.remove(container)
    return dict(pair.split("=", 1) for pair in text.split("\0")[:-1])


def _canaries(engine: DockerEngine) -> Iterator[Figure]:
    """Live through the afternoon of the tests, and search every image of the class."""
    from tests.e2e.afternoon import live_through  # noqa: PLC0415 - as above
    from tests.e2e.test_canaries import ALLOWED  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as room, tempfile.TemporaryDirectory() as outside:
        lived = live_through(engine, Path(room), Path(outside), ALLOWED, everything=True)
    leaks = [
        f"{name}: {place}"
        for name, places in lived.hunt.seen.items()
        for place in places
        if not any(re.fullmatch(allowed, place) for allowed in ALLOWED[name])
    ]
    for leak in leaks:
        print(f"canaries: LEAK {leak}", flush=True)
    searched = (
        f"{len(lived.hunt.searched)} kinds of places, {lived.hunt.samples} looks at all processes"
    )
    name = f"canaries of {len(ALLOWED)} kinds outside their place ({searched})"
    yield Figure(name, "0", str(len(leaks)), not leaks)
    missed = [name for name, places in ALLOWED.items() if places and name not in lived.hunt.seen]
    yield Figure("canaries the search did not find at all", "0", str(len(missed)), not missed)
