"""How much of bare nginx the edge keeps: `python bench/edge.py --rounds 9 --routes 300`.

The arms share one upstream. `ours` is the rendered edge with its limits raised, every seat at its
blue address; `green` is the same with every seat switched to its green one; `bare` is one
location with the same log, keepalive, forwarded headers and limits, but no guard and no other
route; `again` is `bare` a second time: nothing smaller than its distance from 1 means anything;
`open` is `bare` without limits, so that their price is seen too. The load generator (wrk) and the
upstream share one core, the arm under test has the other. Requests per CPU-second of the nginx
worker are steadier than requests per second, and are what a larger machine would divide by.

Within a round all load generators exist at once and are woken in turn for a tenth of a second, by
SIGCONT and SIGSTOP: whatever else the machine does meets every arm alike, and no arm meets another.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from tests.ports import free_port  # noqa: E402 - the source tree is not installed here

from workshop.proxy.render import render  # noqa: E402
from workshop.proxy.routes import Edge, Limits, Route  # noqa: E402

UNBOUNDED = Limits(requests_per_second=1_000_000, burst=1_000_000, connections=30_000)
LIMITS = "limit_req zone=requests burst=1000000 nodelay; limit_conn connections 30000;"
OUR_ARMS = ("ours", "green")
BARE_ARMS = ("bare", "again", "open")
SLICE, WARM_UP = 0.1, 0.05
LOAD_CORE, EDGE_CORE = "0", "1"

UPSTREAM = """
worker_processes 1; pid {scratch}/nginx.pid; error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    server {{ listen {port}; location / {{ return 200 "ok"; }} }}
}}
"""

BARE = """
worker_processes 1; pid {scratch}/nginx.pid; error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    {log_format}
    access_log {scratch}/access.log edge_plain buffer=64k flush=1s;
    keepalive_requests 10000;
    server_tokens off;
    limit_req_zone $seat zone=requests:1m rate=1000000r/s;
    limit_conn_zone $seat zone=connections:1m;
    upstream one {{ server 127.0.0.1:{upstream}; keepalive 32; }}
    server {{
        listen {port}; server_name localhost;
        set $seat seat;
        {limits}
        location / {{
            proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto http;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Prefix /seat;
            proxy_set_header Connection "";
            proxy_pass http://one;
        }}
    }}
}}
"""


@dataclass
class Arm:
    """One nginx under test and what it reached, round by round."""

    name: str
    port: int
    worker: int
    rates: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)


def start(stack: contextlib.ExitStack, configuration: Path, core: str) -> int:
    """Run nginx on one core until the stack ends; return the id of its worker."""
    user = "" if os.geteuid() else "user root;"
    command = [
        "taskset",
        "-c",
        core,
        "nginx",
        "-c",
        str(configuration),
        "-g",
        f"daemon off; {user}",
    ]
    process = stack.enter_context(subprocess.Popen(command))
    stack.callback(process.terminate)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 10
    while not (found := children.read_text("ascii").split()):
        assert process.poll() is None, "nginx did not start"
        assert time.monotonic() < until, "nginx has no worker"
        time.sleep(0.05)
    return int(found[0])


def names(count: int) -> list[str]:
    """Make names as different from one another as people's are, the same every time."""
    chance = random.Random(count)
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = "".join(
            chance.choice("bdfgklmnrstv") + chance.choice("aeiou") for _ in range(3)
        )
        found[f"{syllables}-{chance.choice('abcdefghij')}"] = None
    return list(found)


def edge_of(count: int, upstream: int, port: int, scratch: Path) -> Edge:
    """Describe a class of `count` seats, every one behind an address of its own."""
    routes = tuple(
        Route(
            name,
            f"127.1.{n // 250}.{n % 250 + 1}",
            upstream,
            green=f"127.2.{n // 250}.{n % 250 + 1}",
        )
        for n, name in enumerate(names(count))
    )
    return Edge(
        title="Bench", url="http://localhost", listen=port, routes=routes, limits=UNBOUNDED,
        workers=1, directory=str(scratch), scratch=str(scratch), access_log=f"{scratch}/access.log",
        switches=f"{scratch}/green",
    )  # fmt: skip


def start_ours(
    stack: contextlib.ExitStack, name: str, count: int, upstream: int, scratch: Path
) -> Arm:
    """Render and run the edge as it is shipped, with every seat at its blue or green address."""
    port = free_port()
    edge = edge_of(count, upstream, port, scratch)
    for path, text in render(edge, ROOT / "nginx_templates").items():
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_text(text, "utf-8")
    (scratch / "green").mkdir()
    for route in edge.routes if name == "green" else ():
        (scratch / "green" / route.name).touch()
    return Arm(name, port, start(stack, scratch / "nginx.conf", EDGE_CORE))


def start_bare(stack: contextlib.ExitStack, name: str, upstream: int, scratch: Path) -> Arm:
    """Run one location with our log line."""
    shipped = (scratch.parent / "ours" / "nginx.conf").read_text("utf-8")
    found = re.search(r"log_format edge_plain .*?;\n", shipped, re.DOTALL)
    assert found
    port = free_port()
    limits = "" if name == "open" else LIMITS
    text = BARE.format(
        scratch=scratch, log_format=found[0], upstream=upstream, port=port, limits=limits
    )
    (scratch / "nginx.conf").write_text(text, "utf-8")
    return Arm(name, port, start(stack, scratch / "nginx.conf", EDGE_CORE))


def cpu_seconds(pid: int) -> float:
    """Time a process has had a core, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9


def launch(arm: Arm, target: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    """Make the load generator of one arm, asleep."""
    url = f"http://127.0.0.1:{arm.port}{target}"
    wrk = ["wrk", "-t1", f"-c{options.connections}", "-d1h", url]
    process = subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, *wrk], stdout=subprocess.PIPE, text=True
    )
    time.sleep(WARM_UP)
    process.send_signal(signal.SIGSTOP)
    return process


def finish(process: subprocess.Popen[str]) -> int:
    """End a sleeping load generator; return how many requests it completed."""
    process.send_signal(signal.SIGCONT)
    said = ""
    while not said:  # a stopped wrk may take the signal in a thread which does not end it
        time.sleep(WARM_UP)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = process.communicate(timeout=1)[0]
    requests = re.search(r"(\d+) requests in", said)
    assert requests, said
    assert "Non-2xx" not in said, said
    return int(requests[1])


def one_round(arms: list[Arm], target: str, options: argparse.Namespace) -> None:
    """Load every arm for the same time, slice by slice, in an order that changes each time."""
    before = {arm.name: cpu_seconds(arm.worker) for arm in arms}
    runs = {arm.name: launch(arm, target, options) for arm in arms}
    slices = round(options.seconds / SLICE)
    for _ in range(slices):
        for arm in random.sample(arms, len(arms)):
            runs[arm.name].send_signal(signal.SIGCONT)
            time.sleep(SLICE)
            runs[arm.name].send_signal(signal.SIGSTOP)
    for arm in arms:
        requests = finish(runs[arm.name])
        arm.rates.append(requests / (slices * SLICE + 2 * WARM_UP))
        arm.per_cpu.append(requests / (cpu_seconds(arm.worker) - before[arm.name]))


def ratio(ours: list[float], base: list[float]) -> tuple[float, float, float]:
    """Median of the paired ratios, with the quartiles."""
    paired = sorted(a / b for a, b in zip(ours, base, strict=True))
    low, _, high = statistics.quantiles(paired, n=4)
    return statistics.median(paired), low, high


def report(arms: list[Arm], options: argparse.Namespace) -> None:
    """Print the table and the line to quote."""
    bare = next(arm for arm in arms if arm.name == "bare")
    print(
        f"{'arm':8}{'req/s':>10}{'ratio':>8}{'quartiles':>16}{'req/CPU-s':>12}{'ratio':>8}{'quartiles':>16}"
    )
    lines = {}
    for arm in arms:
        rps, cpu = ratio(arm.rates, bare.rates), ratio(arm.per_cpu, bare.per_cpu)
        lines[arm.name] = (rps[0], cpu[0])
        print(
            f"{arm.name:8}{statistics.median(arm.rates):10.0f}{rps[0]:8.3f}{rps[1]:8.3f}{rps[2]:8.3f}"
            f"{statistics.median(arm.per_cpu):12.0f}{cpu[0]:8.3f}{cpu[1]:8.3f}{cpu[2]:8.3f}"
        )
    print(
        f"edge: {options.routes} routes, {options.rounds} rounds: {lines['ours'][1]:.3f} of bare nginx "
        f"per CPU-second, {lines['ours'][0]:.3f} per second; with every seat switched to green "
        f"{lines['green'][1]:.3f}, {lines['green'][0]:.3f} (bare against itself "
        f"{lines['again'][1]:.3f}, {lines['again'][0]:.3f}; bare without limits {lines['open'][1]:.3f})"
    )


def main() -> None:
    """Start the arms, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--routes", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=2, help="load on each arm per round")
    parser.add_argument("--connections", type=int, default=64, help="per arm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        scratch = {name: Path(directory, name) for name in ("upstream", *OUR_ARMS, *BARE_ARMS)}
        for path in scratch.values():
            path.mkdir()
        upstream = free_port()
        text = UPSTREAM.format(scratch=scratch["upstream"], port=upstream)
        (scratch["upstream"] / "nginx.conf").write_text(text, "utf-8")
        start(stack, scratch["upstream"] / "nginx.conf", LOAD_CORE)
        arms = [
            start_ours(stack, name, options.routes, upstream, scratch[name]) for name in OUR_ARMS
        ]
        arms += [start_bare(stack, name, upstream, scratch[name]) for name in BARE_ARMS]
        target = f"/{names(options.routes)[options.routes // 2]}/items/42?full=1"
        for _ in range(options.rounds):
            one_round(arms, target, options)
        report(arms, options)


if __name__ == "__main__":
    main()
