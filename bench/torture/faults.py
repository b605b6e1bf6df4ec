"""Faults of the surroundings, many and at random: the engine's answers, its life, a long afternoon.

Each part is bounded by a count and by a time; what was not reached in time is said, not assumed.
``TORTURE_SEED`` repeats an earlier run's draws.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.torture import redeploys  # noqa: E402 - the source tree is not installed here
from bench.torture.figure import Figure  # noqa: E402
from tests.engines.private import lacking, private_engine, write_class  # noqa: E402
from tests.faults.fault_proxy import (  # noqa: E402
    BROKEN,
    BUSY_NETWORK,
    IN_PROGRESS,
    CutAnswer,
    CutRequest,
    Drop,
    FaultProxy,
    Reply,
    Rule,
    Slow,
    Stall,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.private import PrivateEngine
    from tests.faults.fault_proxy import Fault

PORT = 18478
SMALL = tuple(f"p{number:02}" for number in range(5))
WHOLE = tuple(f"p{number:02}" for number in range(30))
FAULTS = 1000
KILLS = 50
ROUNDS = 60
PART_SECONDS = float(os.environ.get("TORTURE_SECONDS", "1200"))
"""Longest time for one of the parts below."""
MORE_RUNS = 2
DOWN = ("teardown", "--yes", "--keep-images")
WORDS = (("provision",), ("restart", "--all"), ("reset", "--all", "--yes"), DOWN)


@dataclass
class Tally:
    """What happened so far."""

    done: int = 0
    runs: int = 0
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    tracebacks: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.stuck or self.wrong or self.left or self.tracebacks)

    def __str__(self) -> str:
        bad = [*self.stuck, *self.wrong, *self.left][:3]
        counts = (
            f"{len(self.stuck)} not converged, {len(self.wrong)} wrong seats, "
            f"{len(self.left)} left over, {self.tracebacks} tracebacks"
        )
        return "; ".join([counts, *bad])


@dataclass
class Room:
    """A class on a private engine, reached through the proxy."""

    engine: PrivateEngine
    proxy: FaultProxy
    roster: Path
    names: tuple[str, ...]
    tally: Tally = field(default_factory=Tally)

    def run(self, *words: str) -> tuple[int, str]:
        """Run one command through the proxy."""
        self.tally.runs += 1
        command = self.engine.begin(self.roster, *words, endpoint=self.proxy.endpoint)
        with command:
            output, _ = command.communicate(timeout=600)
        self.tally.tracebacks += "Traceback" in output
        return command.returncode, output

    def mend(self, why: str) -> None:
        """Run provision again until it succeeds, at most twice; then everybody must be right."""
        output = ""
        for _ in range(MORE_RUNS):
            code, output = self.run("provision")
            if code == 0:
                break
        else:
            self.tally.stuck.append(f"{why}: {output[-300:]}")
        said = self.engine.who_answers(PORT, self.names)
        self.tally.wrong += [
            f"{why}: /{name}/ answers as {answer!r}"
            for name, answer in said.items()
            if answer != name
        ]

    def clear(self, why: str) -> None:
        """Tear down without faults, and look whether the engine is empty."""
        self.proxy.befall()
        _, output = self.run("teardown", "--yes", "--keep-images")
        if "leftovers: 0" not in output:
            self.tally.left.append(f"{why}: {output[-300:]}")
        with contextlib.closing(self.engine.client()) as client:
            self.tally.left += [item["Names"][0] for item in client.containers(all=True)]


@contextlib.contextmanager
def room(names: tuple[str, ...], **parts: str) -> Iterator[Room]:
    """Make a class of ``names`` on an engine of its own, behind a proxy; ``parts`` of a roster."""
    seed = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(2**32)))
    print(f"faults: TORTURE_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory, private_engine() as engine:
        roster = write_class(Path(directory, "class"), PORT, names, **parts)
        engine.take_images(roster)
        own = Path(engine.endpoint.removeprefix("unix://"))
        with FaultProxy(own, engine.directory / "proxy", seed) as proxy:
            yield Room(engine, proxy, roster, names)


def drawn(chance: random.Random) -> Rule:
    """Draw a fault and whom it befalls."""
    faults: tuple[Fault, ...] = (
        Drop(),
        CutAnswer(chance.randrange(600)),
        CutRequest(chance.randrange(2000)),
        BROKEN,
        Reply(500, "done, and then it broke", done=True),
        IN_PROGRESS,
        BUSY_NETWORK,
        Reply(409, "Conflict. The container name /x is already in use by container abc"),
        Slow(chance.uniform(0.05, 1.0)),
    )
    return Rule(chance.choice(faults), times=1, skip=chance.randrange(12), chance=0.7)


def api_faults(seats: Room, chance: random.Random) -> Tally:
    """Let commands run into faults, several each; then see that the next ones mend it."""
    until = time.monotonic() + PART_SECONDS
    tally = seats.tally
    while tally.done < FAULTS and time.monotonic() < until:
        words = chance.choice(WORDS)
        # Now and then one more persistent than the product is patient.
        rules = [drawn(chance) for _ in range(chance.randrange(4, 30))]
        if chance.random() < 0.1:
            rules.append(Rule(BROKEN, times=10, chance=0.5))
        seats.proxy.befall(*rules)
        seats.run(*words)
        tally.done += len(seats.proxy.befallen)
        why = f"{' '.join(words)} after {seats.proxy.befallen[-3:]}"
        seats.proxy.befall()
        seats.mend(why)
        if chance.random() < 0.2:
            seats.clear(why)
    seats.clear("the end")
    return tally


def stalls(seats: Room) -> tuple[float, int]:
    """Measure the longest a command takes that meets an engine which has stopped answering."""
    longest, wrong = 0.0, 0
    for words in (("status",), ("provision",), DOWN):
        seats.proxy.befall(Rule(Stall(), skip=1, times=None))
        begun = time.monotonic()
        code, _ = seats.run(*words)
        longest = max(longest, time.monotonic() - begun)
        wrong += code != 3
        seats.proxy.befall()
    return longest, wrong


def engine_kills(seats: Room, chance: random.Random) -> Tally:
    """Kill the engine at random moments of a command; start it again, and mend."""
    until = time.monotonic() + PART_SECONDS
    seats.tally = tally = Tally()
    seats.mend("before any kill")
    while tally.done < KILLS and time.monotonic() < until:
        words = chance.choice(WORDS)
        with seats.engine.begin(seats.roster, *words) as command:
            time.sleep(chance.uniform(0.1, 8.0))
            seats.engine.kill()
            output, _ = command.communicate(timeout=600)
        tally.tracebacks += "Traceback" in output
        seats.engine.start()
        tally.done += 1
        seats.mend(f"killed in {' '.join(words)}")
    seats.clear("after the kills")
    return tally


def slow_engine() -> tuple[float, int, int]:
    """Provision thirty seats where every call takes two seconds longer."""
    with room(WHOLE) as seats:
        seats.proxy.befall(Rule(Slow(2.0), times=None))
        begun = time.monotonic()
        code, output = seats.run("provision")
        seconds = time.monotonic() - begun
        told = sum(name in output for name in WHOLE)
        seats.clear("slow")
        return seconds, code, told


def grown(seats: Room) -> dict[str, int]:
    """Count what could grow with every command: in the engine, the kernel and the state."""
    main = seats.engine.process
    assert main is not None
    home = seats.roster.parent / ".workshop"
    inside = seats.engine.directory
    links = seats.engine._output("ip", "-o", "link").splitlines()
    return {
        "engine's descriptors": len(os.listdir(f"/proc/{main.pid}/fd")),  # noqa: PTH208 - no Path
        "engine's threads": len(os.listdir(f"/proc/{main.pid}/task")),  # noqa: PTH208 - no Path
        "firewall rules": seats.engine._output("iptables-save").count("\n-A"),
        "links": len(links),
        "layers": sum(1 for _ in (inside / "data/overlay2").iterdir()),
        "container directories": sum(1 for _ in (inside / "data/containers").iterdir()),
        "images": _images(seats),
        "state files": sum(path.is_file() for path in home.rglob("*")),
        "nginx processes": _inside_edge(seats),
        "processes": len(seats.engine._processes()),
    }


def _images(seats: Room) -> int:
    with contextlib.closing(seats.engine.client()) as client:
        return len(client.images(all=True))


def _inside_edge(seats: Room) -> int:
    with contextlib.closing(seats.engine.client()) as client:
        edge = client.containers(filters={"label": "workshop.role=edge"})[0]["Id"]
        return len(client.top(edge)["Processes"])


def long_run(seats: Room) -> tuple[int, dict[str, tuple[int, int]]]:
    """Reset, add, remove and provision, over and over; compare the counts of two like moments."""
    until = time.monotonic() + PART_SECONDS
    seats.tally = Tally()
    seats.mend("before the long run")
    cycle = (
        ("reset", SMALL[0], "--yes"),
        ("add", "latecomer"),
        ("provision",),
        ("remove", "latecomer", "--yes"),
        ("restart", SMALL[1]),
    )
    rounds = 0
    for words in (*cycle, *cycle):
        seats.run(*words)
    before = grown(seats)
    while rounds < ROUNDS and time.monotonic() < until:
        for words in cycle:
            code, output = seats.run(*words)
            if code:
                seats.tally.stuck.append(f"{' '.join(words)}: {output[-300:]}")
        rounds += 1
    after = grown(seats)
    seats.clear("after the long run")
    return rounds, more(before, after)


def more(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Tell what has grown; whoever serves keeps a few spare threads and connections."""
    spare = {"engine's descriptors": 15, "engine's threads": 10, **redeploys.SPARE}
    return {
        key: (before[key], after[key])
        for key in before
        if after[key] > before[key] + spare.get(key, 0)
    }


def redeployed() -> tuple[int, dict[str, tuple[int, int]], Tally]:
    """Deploy to every seat, over and over, with the whole deploy loop and the gateway at work."""
    with room(SMALL, llm=redeploys.MODELS, deploys=redeploys.OPTIONS) as seats:
        seats.mend("before the redeploys")
        scene = redeploys.Scene(seats.engine, seats.roster, PORT, seats.names)
        until = time.monotonic() + PART_SECONDS
        scene.round()
        scene.round()
        before = grown(seats) | scene.counts()
        while scene.done < redeploys.REDEPLOYS and time.monotonic() < until:
            scene.round()
        after = grown(seats) | scene.counts()
        seats.tally.stuck += scene.failed
        seats.mend("after the redeploys")
        seats.clear("after the redeploys")
        return scene.done, more(before, after), seats.tally


def _redeploys() -> Figure:
    done, growth, tally = redeployed()
    return Figure(
        "growth over redeploys, with a question to the gateway each",
        f"nothing in {redeploys.REDEPLOYS}",
        f"{done} redeploys: {growth or 'nothing'}; {tally}",
        not growth and done >= redeploys.REDEPLOYS and tally.ok,
    )


def measure() -> Iterator[Figure]:
    """Run all parts, one after another; each figure comes as soon as it is known."""
    if reason := lacking():
        yield Figure("faults of the surroundings", "measured", reason, ok=False)
        return
    with room(SMALL) as seats:
        chance = random.Random(seats.proxy.seed)
        found = api_faults(seats, chance)
        yield Figure(
            "random faults of the engine's API that converge within two further runs",
            f"{FAULTS}, 0 left over",
            f"{found.done} in {found.runs} commands: {found}",
            found.ok and found.done >= FAULTS,
        )
        longest, wrong = stalls(seats)
        yield Figure(
            "longest command on an engine that has stopped answering",
            "45 s, exit 3",
            f"{longest:.0f} s, {wrong} with another exit code",
            longest < 45 and not wrong,
        )
        found = engine_kills(seats, chance)
        yield Figure(
            "engine killed (-9) at random moments, converged",
            f"{KILLS}, 0 wrong seats",
            f"{found.done}: {found}",
            found.ok and found.done >= KILLS,
        )
        rounds, growth = long_run(seats)
        yield Figure(
            "growth over rounds of reset, add, provision, remove, restart",
            f"nothing in {ROUNDS} rounds",
            f"{rounds} rounds: {growth or 'nothing'}; {seats.tally}",
            not growth and rounds >= ROUNDS and seats.tally.ok,
        )
    yield _redeploys()
    seconds, code, told = slow_engine()
    yield Figure(
        "30 seats where every call to the engine takes 2 s longer",
        "120 s, everybody told",
        f"{seconds:.0f} s, exit {code}, {told} told",
        seconds < 120 and code == 0 and told == len(WHOLE),
    )
