"""Generated and hostile input in the numbers that were promised: rosters, framings, targets, APIs.

Every corpus is seeded, so what fails can be repeated; two processes share the work.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "proxy")]

import framing  # noqa: E402 - found by the path above
import lab as edges  # noqa: E402
import pytest  # noqa: E402
import test_routing  # noqa: E402
from bench.torture.figure import Figure  # noqa: E402
from tests.fuzz import rosters  # noqa: E402
from tests.fuzz.apis import ask, ask_raw  # noqa: E402
from tests.fuzz.services import RAW, SERVICES  # noqa: E402

from workshop.proxy.routes import EDGE_PATHS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 2
ROSTERS = {"grown": 20_000, "mutated": 30_000, "raw": 50_000}
SLUG_SETS = 500
FRAMINGS = 10_000
TARGETS = 50_000
SLUGS = ("alice", "carl", "carlos")
API_CASES = 10_000
ARCHIVES = 20_000
SEED = 5


def measure() -> Iterator[Figure]:
    """Yield one figure for each corpus."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        yield from _rosters(pool)
        yield from _apis(pool)
    yield _framings()
    yield from _targets()
    yield _slug_sets()
    yield _archives()


# -- rosters --------------------------------------------------------------------------------------


def _rosters(pool: Any) -> Iterator[Figure]:
    for corpus, count in ROSTERS.items():
        share = count // PROCESSES
        parts = pool.starmap(hunt, [(corpus, n * share, share) for n in range(PROCESSES)])
        accepted, faults = sum(part[0] for part in parts), [f for part in parts for f in part[1]]
        _show(faults)
        measured = f"{count:,}, {accepted:,} of them accepted; {len(faults)} break the law"
        yield Figure(
            f"rosters, {corpus}",
            "no traceback, no hang, no deed, the exact tree",
            measured,
            not faults,
        )


def hunt(corpus: str, start: int, count: int) -> tuple[int, list[str]]:
    """Hold a share of a corpus to the law."""
    accepted, faults = 0, []
    with tempfile.TemporaryDirectory() as directory, rosters.hurried():
        place = rosters.Place(Path(directory)).prepare()
        for number in range(start, start + count):
            content = rosters.CORPORA[corpus](random.Random(f"{SEED} {corpus} {number}"))
            try:
                accepted += rosters.judge(content, place)
            except Exception as exc:  # noqa: BLE001 - any exception at all is the finding
                faults.append(
                    f"{corpus} {number}: {type(exc).__name__}: {exc!s:.300}: {content[:300]!r}"
                )
    return accepted, faults


# -- the edge -------------------------------------------------------------------------------------


@contextmanager
def _edge() -> Iterator[edges.Lab]:
    with tempfile.TemporaryDirectory() as name, edges.apps() as ports:
        place = Path(name)
        with edges.running(edges.edge_for(ports, place), place) as lab:
            yield lab


def _framings() -> Figure:
    with _edge() as lab:
        framing.tally(lab)
        outcomes = framing.send_all(lab.port, list(framing.cases(SEED, FRAMINGS)))
        seen = framing.tally(lab)
    faults = framing.faults(outcomes, seen)
    _show(faults)
    measured = f"{FRAMINGS:,} sent, {len(seen):,} requests seen and answered, {len(faults)} desyncs or crossings"
    return Figure("raw framings", "0 desyncs, 0 crossings", measured, not faults)


def _targets() -> Iterator[Figure]:
    with _edge() as lab:
        for number, slug in enumerate(SLUGS):
            targets = test_routing.random_targets(SEED + number, TARGETS, (slug,))
            replies = edges.Crowd(lab.port).ask(targets)
            pairs = zip(targets, replies, strict=True)
            faults = [f"{t!r}: {f}" for t, r in pairs if (f := test_routing.crossing(t, r))]
            _show(faults)
            served = sum(reply.status == 200 for reply in replies)
            measured = f"{TARGETS:,} sent, {served:,} served, {len(faults)} crossed or changed"
            yield Figure(f"raw targets of {slug}", "0 crossings", measured, not faults)


def _slug_sets() -> Figure:
    """Random sets of names that are prefixes of one another, each in front of a real nginx."""
    parts = ("a", "al", "ali", "alice", "carl", "carlos", "default", "include", "x1")
    names = {f"{a}-{b}" for a in parts for b in parts[:4]} | {*parts[1:]} - EDGE_PATHS
    chance, asked, faults = random.Random(SEED), 0, []
    with tempfile.TemporaryDirectory() as directory, edges.apps(sorted(names)) as ports:
        for number in range(SLUG_SETS):
            place = Path(directory) / str(number)
            place.mkdir()
            chosen = {
                name: ports[name] for name in chance.sample(sorted(names), chance.randrange(1, 20))
            }
            with edges.running(edges.edge_for(chosen, place), place) as lab:
                targets = [f"/{name}/x".encode() for name in sorted(names)]
                for name, reply in zip(
                    sorted(names), edges.Crowd(lab.port).ask(targets), strict=True
                ):
                    asked += 1
                    right = (
                        reply.body == f"{name} /x".encode()
                        if name in chosen
                        else reply.status == 404
                    )
                    faults += (
                        []
                        if right
                        else [f"set {number}: {name}: {reply.status} {reply.body[:60]!r}"]
                    )
    _show(faults)
    measured = f"{SLUG_SETS} sets, {asked:,} requests, {len(faults)} wrong seats"
    return Figure("sets of names with shared beginnings", "0 wrong seats", measured, not faults)


# -- services -------------------------------------------------------------------------------------


def _apis(pool: Any) -> Iterator[Figure]:
    share = API_CASES // len(SERVICES)
    for name, (statuses, faults) in zip(
        SERVICES, pool.starmap(ask_one, [(n, share) for n in SERVICES]), strict=True
    ):
        _show(faults)
        wrong = sum(count for status, count in statuses.items() if status >= 500)
        measured = f"{sum(statuses.values()):,} cases, {wrong} with 5xx, {len(faults)} faults"
        yield Figure(f"API of the {name}", "0 5xx, 0 schema violations", measured, not faults)


def ask_one(name: str, count: int) -> tuple[dict[int, int], list[str]]:
    """Ask one service, three quarters by its schema and a quarter with broken bodies."""
    statuses: dict[int, int] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as directory, SERVICES[name](Path(directory)) as api:
        tallies = [ask(api, count * 3 // 4, SEED)]
        tallies += [
            ask_raw(api, path, body, count // 4 // len(RAW[name]), SEED) for path, body in RAW[name]
        ]
    for tally in tallies:
        faults += tally.faults
        for status, number in tally.statuses.items():
            statuses[status] = statuses.get(status, 0) + number
    return statuses, faults


def _archives() -> Figure:
    """Mutated archives: the test of the intake has the law, so it is run as it is."""
    wanted = "0 writes outside, every limit held"
    test = ROOT / "tests" / "intake" / "test_archive.py"
    with redirect_stderr(sys.stdout):
        ended = pytest.main(
            [
                str(test),
                "-q",
                "-k",
                "twenty_thousand",
                "-p",
                "no:cacheprovider",
                "--rootdir",
                str(ROOT),
            ]
        )
    return Figure(
        "mutated archives", wanted, f"{ARCHIVES:,} tried, pytest said {int(ended)}", ended == 0
    )


def _show(faults: list[str]) -> None:
    for fault in faults[:20]:
        print(f"   {fault[:900]}", flush=True)


if __name__ == "__main__":
    for figure in measure():
        print(figure, flush=True)
