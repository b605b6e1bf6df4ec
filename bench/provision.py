"""Provisioning against the bare engine: the same containers, as fast as the engine alone can.

    python bench/provision.py [--seats 32] [--rounds 5] [--scale 10,30,100] [--unchanged 100]

*Floor*: a short client of raw API calls over the engine's socket at its best concurrency: one
network, then create and start of every seat with the same image and flags, then connect-retry
until each seat's own /healthz answers. No edge, no checks, no bookkeeping.
*Ours*: the whole ``workshop provision`` command as a person runs it, from a built image to every
seat answering under its own name through the edge.

Both arms run in alternating rounds and everything is removed in between. What counts is the
ratio within a round; absolute seconds belong to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from tests.ports import free_port  # noqa: E402 - the source tree is not installed here

from workshop import operations  # noqa: E402
from workshop.engines.docker import DockerEngine, _marks  # noqa: E402
from workshop.health import fetch  # noqa: E402
from workshop.plan import make_plan  # noqa: E402
from workshop.workspace import Workspace, survey  # noqa: E402

SOCKET = "/var/run/docker.sock"
FLOOR_WORKERS = (4, 6, 8)
PAUSE = 0.005


class RawEngine(http.client.HTTPConnection):
    """An HTTP connection to the engine's socket, and nothing else."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one call and return the decoded answer."""
        payload = json.dumps(body) if body is not None else None
        self.request(method, path, payload, {"Content-Type": "application/json"})
        answer = self.getresponse()
        raw = answer.read()
        assert answer.status < 300, (path, answer.status, raw)
        return json.loads(raw) if raw else None


def bodies(work: Workspace) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    """Spell out the calls of one provision: the network, the containers, their addresses."""
    seen = survey(work)
    engine = work.engine
    assert isinstance(engine, DockerEngine)
    net = seen.desired.networks[0]
    network = {
        "Name": net.name,
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": net.subnet, "IPRange": net.ip_range}]},
        "Options": {
            "com.docker.network.bridge.name": net.bridge,
            "com.docker.network.bridge.enable_icc": "false",
        },
    }
    containers = []
    for spec in seen.desired.seats:
        config = engine._api.create_container_config(
            spec.image,
            list(spec.command) or None,
            hostname=spec.key,
            user=spec.user,
            environment=dict(spec.env),
            labels=_marks(spec, seen.desired.owner),
            healthcheck={"test": ["NONE"]},
            stop_timeout=3,
            host_config=engine._host_config(spec),
            networking_config=engine._networking(spec),
        )
        containers.append({**config, "name": spec.name})
    return network, containers, [spec.address or "" for spec in seen.desired.seats]


def floor(work: Workspace, workers: int) -> float:
    """Time the bare engine, and remove what it made."""
    network, containers, addresses = bodies(work)
    pool = ThreadPoolExecutor(workers)
    begun = time.monotonic()
    made = RawEngine("engine").call("POST", "/networks/create", network)["Id"]

    def one(body: dict[str, Any]) -> str:
        connection = RawEngine("engine")
        name = body["name"]
        created = connection.call("POST", f"/containers/create?name={name}", body)["Id"]
        connection.call("POST", f"/containers/{created}/start")
        connection.close()
        return str(created)

    ids = list(pool.map(one, containers))
    asyncio.run(answering(addresses))
    seconds = time.monotonic() - begun

    def gone(container: str) -> None:
        RawEngine("engine").call("DELETE", f"/containers/{container}?force=1&v=1")

    list(pool.map(gone, ids))
    RawEngine("engine").call("DELETE", f"/networks/{made}")
    return seconds


async def answering(addresses: list[str]) -> None:
    """Wait until every seat's own /healthz says 200."""

    async def one(address: str) -> None:
        while True:
            try:
                if (await fetch(address, 8000, "/healthz")).status == 200:
                    return
            except (OSError, EOFError, TimeoutError, ValueError):
                pass
            await asyncio.sleep(PAUSE)

    await asyncio.gather(*map(one, addresses))


def command(directory: Path, *arguments: str) -> float:
    """Time one whole command."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "workshop", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begun


def classroom(directory: Path, seats: int) -> Workspace:
    """Write a roster of ``seats`` people into ``directory``."""
    port = free_port()
    people = "".join(f"  - p{number}\n" for number in range(seats))
    path = directory / "participants.yaml"
    path.write_text(
        f"workshop:\n  name: bench\n  url: http://localhost:{port}\n  llm: false\n  deploys: false\n"
        f"participants:\n{people}",
        "utf-8",
    )
    return Workspace(path)


def measured(directory: Path, seats: int) -> float:
    """Time one provision of ``seats`` from built images, and clean up."""
    classroom(directory, seats)
    seconds = command(directory, "provision")
    command(directory, "teardown", "--yes", "--keep-images")
    return seconds


def against_the_floor(directory: Path, seats: int, rounds: int) -> None:
    """Alternate both arms and print the ratio."""
    best = min(FLOOR_WORKERS, key=lambda workers: floor(classroom(directory, seats), workers))
    print(f"{seats} seats; floor at its best concurrency of {FLOOR_WORKERS}: {best} workers")
    ratios = []
    for number in range(rounds):
        if number % 2:
            ours, bare = measured(directory, seats), floor(classroom(directory, seats), best)
        else:
            bare, ours = floor(classroom(directory, seats), best), measured(directory, seats)
        ratios.append(ours / bare)
        print(
            f"  round {number + 1}: floor {bare:.2f} s, ours {ours:.2f} s, ratio {ratios[-1]:.3f}"
        )
    print(
        f"provision of {seats}, ours / floor: median {statistics.median(ratios):.3f}"
        f" (min {min(ratios):.3f}, max {max(ratios):.3f})"
    )


def scaling(directory: Path, sizes: list[int]) -> None:
    """Fit log T = a + b log N over several sizes, and print the cost of one more seat."""
    times = [statistics.median(measured(directory, size) for _ in range(3)) for size in sizes]
    for size, seconds in zip(sizes, times, strict=True):
        print(f"  {size} seats: {seconds:.2f} s, {1000 * seconds / size:.0f} ms a seat")
    xs, ys = [math.log(size) for size in sizes], [math.log(seconds) for seconds in times]
    print(f"scaling exponent {statistics.linear_regression(xs, ys).slope:.3f} (1 is linear)")


def unchanged(directory: Path, seats: int) -> None:
    """Compare a provision that has nothing to do with one raw list call, and count its mutations."""
    work = classroom(directory, seats)
    command(directory, "provision")
    filters = json.dumps({"label": ["workshop.name=bench"]})
    engine = RawEngine("engine")
    ratios, whole = [], []
    for _ in range(9):
        begun = time.monotonic()
        listed = engine.call("GET", f"/containers/json?all=1&filters={filters.replace(' ', '')}")
        raw = time.monotonic() - begun
        assert len(listed) == seats + 1
        fresh = Workspace(work.roster_path, lambda: work.engine)
        _ = fresh.roster, fresh.settings, fresh.engine
        begun = time.monotonic()
        report = operations.provision(fresh)
        ratios.append((time.monotonic() - begun) / raw)
        assert report.plan.is_empty, str(report.plan)
        whole.append(command(directory, "provision"))
    seen = survey(Workspace(work.roster_path, lambda: work.engine))
    assert make_plan(seen.desired, seen.observed).is_empty
    print(
        f"unchanged provision of {seats}: {statistics.median(ratios):.2f} list calls,"
        f" the whole command {statistics.median(whole):.2f} s, 0 mutations"
    )
    command(directory, "teardown", "--yes", "--keep-images")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seats", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", default="10,30,100", help="sizes, or empty for none")
    parser.add_argument("--unchanged", type=int, default=100, help="seats, or 0 for none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workshop-bench-") as name:
        directory = Path(name)
        command(directory, "init", ".")
        try:
            measured(directory, 2)  # builds the images
            against_the_floor(directory, options.seats, options.rounds)
            if options.unchanged:
                unchanged(directory, options.unchanged)
            if options.scale:
                scaling(directory, [int(size) for size in options.scale.split(",")])
        finally:
            command(directory, "teardown", "--yes")


if __name__ == "__main__":
    main()
