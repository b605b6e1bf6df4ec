"""What the gateway costs and keeps: `python bench/gateway.py [--litellm PYTHON]`.

The upstream is a fake of our own, a process beside: it streams 20 pieces and counts what it sent.

1. Added time to first byte, one client: direct, through the gateway and, if given a Python with
   `litellm[proxy]`, through LiteLLM, in turn within one run, in an order that changes each time.
2. 300 keys, 100 streams at once: errors, tokens against the upstream's own count, memory.
3. 100 rounds of 100 parallel requests at the edge of a budget: the largest overrun.
4. One seat in a loop of 8 while 29 others ask now and then: the others' wait, with and without.

A figure is compared only with figures of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from tests.ports import free_port  # noqa: E402 - the source tree is not installed here

from workshop.gateway import ledger  # noqa: E402
from workshop.gateway.config import (  # noqa: E402
    FILE,
    PREFIX,
    Budget,
    Config,
    Model,
    Pace,
    Seat,
    Upstream,
    dump,
)

PACE = Pace(requests_per_minute=1_000_000, tokens_per_minute=1_000_000_000, concurrency=200)
ANSWER = 7 + 20
"""Tokens that one answer of the upstream costs."""


@dataclass
class Arm:
    """One way to the upstream, and how long its first byte took each time."""

    name: str
    url: str
    headers: dict[str, str]
    model: str
    seconds: list[float] = field(default_factory=list)


def key(name: str) -> str:
    """Make a participant's key."""
    return f"wk-{name}"


def seat(name: str, budget: Budget | None = None, pace: Pace = PACE) -> Seat:
    """Describe a participant."""
    key_hash = hashlib.sha256(key(name).encode()).hexdigest()
    return Seat(name, f"{name}-1", key_hash, budget=budget or Budget(), pace=pace)


def run(
    stack: contextlib.ExitStack, command: list[str], **environment: str
) -> subprocess.Popen[bytes]:
    """Run a process until the stack ends."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), **environment}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )

    def stop() -> None:
        process.terminate()
        process.wait(10)

    stack.callback(stop)
    return process


def wait_for(url: str, seconds: float = 90) -> None:
    """Wait until something answers."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(url, trust_env=False, timeout=2).status_code < 500:
                return
        assert time.monotonic() < until, f"nothing answers at {url}"
        time.sleep(0.1)


@dataclass
class Scene:
    """The upstream, the gateway and its files."""

    stack: contextlib.ExitStack
    directory: Path
    upstream: str
    gateway: str
    process: subprocess.Popen[bytes]
    config: Config

    @classmethod
    def open(cls, stack: contextlib.ExitStack, directory: Path) -> Scene:
        """Start both."""
        up, down = free_port(), free_port()
        run(stack, [sys.executable, str(ROOT / "tests/gateway/fake.py"), str(up)])
        url = f"http://127.0.0.1:{up}"
        main = Upstream(
            "fake",
            f"{url}/v1",
            {"small": Model("up", input_price=100, output_price=200)},
            concurrency=200,
        )
        config = Config(
            "bench", seats=tuple(seat(f"seat{n}") for n in range(300)), upstreams=(main,)
        )
        (directory / "data").mkdir()
        (directory / "config").mkdir()
        (directory / "config" / FILE).write_text(dump(config), "utf-8")
        command = ["-m", "workshop.gateway", "--config", str(directory / "config")]
        command += ["--data", str(directory / "data"), "--listen", f"127.0.0.1:{down}"]
        process = run(stack, [sys.executable, *command])
        wait_for(f"{url}/count")
        wait_for(f"http://127.0.0.1:{down}/healthz")
        return cls(stack, directory, url, f"http://127.0.0.1:{down}", process, config)

    def configure(self, **changes: Any) -> None:
        """Replace the configuration and wait until it holds."""
        self.config = replace(self.config, **changes)
        new = self.directory / "config" / ".new"
        new.write_text(dump(self.config), "utf-8")
        new.rename(self.directory / "config" / FILE)
        until = time.monotonic() + 5
        while (
            httpx2.get(f"{self.gateway}/healthz", trust_env=False).json()["config"]
            != self.config.fingerprint
        ):
            assert time.monotonic() < until, "the configuration was not taken over"
            time.sleep(0.05)

    def counted(self) -> dict[str, int]:
        """Ask the upstream what it counted."""
        found: dict[str, int] = httpx2.get(f"{self.upstream}/count", trust_env=False).json()
        return found

    def arm(self, name: str = "seat0") -> Arm:
        """Describe the way through the gateway."""
        return Arm(
            "gateway", self.gateway + PREFIX, {"authorization": f"Bearer {key(name)}"}, "small"
        )

    def memory(self) -> float:
        """Tell how many MB the gateway holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


def body(model: str, *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """Write a request."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a seat?"},
    ]
    return {"model": model, "messages": messages, "stream": stream, **fields}


async def first_byte(client: httpx2.AsyncClient, arm: Arm) -> float:
    """Stream one answer; return the seconds until its first byte."""
    began = time.perf_counter()
    request = client.build_request(
        "POST", f"{arm.url}/chat/completions", json=body(arm.model), headers=arm.headers
    )
    answer = await client.send(request, stream=True)
    assert answer.status_code == 200, (arm.name, await answer.aread())
    chunks = answer.aiter_raw()
    await anext(chunks)
    seconds = time.perf_counter() - began
    async for _ in chunks:
        pass
    return seconds


def start_litellm(scene: Scene, python: str) -> Arm:
    """Run LiteLLM's proxy for the same upstream."""
    port = free_port()
    config = scene.directory / "litellm.yaml"
    params = {"model": "openai/up", "api_base": f"{scene.upstream}/v1", "api_key": "none"}
    config.write_text(
        json.dumps({"model_list": [{"model_name": "small", "litellm_params": params}]}), "utf-8"
    )
    command = [
        str(Path(python).parent / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    master = f"sk-{secrets.token_hex(32)}"
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": master,
        "PYTHONPATH": "",
    }
    run(scene.stack, [python, *command], **environment)
    wait_for(f"http://127.0.0.1:{port}/health/liveliness")
    return Arm(
        "litellm", f"http://127.0.0.1:{port}/v1", {"authorization": f"Bearer {master}"}, "small"
    )


async def measure_first_byte(scene: Scene, pairs: int, litellm: str | None) -> None:
    """Print what each way adds to the first byte."""
    arms = [Arm("direct", f"{scene.upstream}/v1", {}, "up"), scene.arm()]
    if litellm:
        arms.append(await asyncio.to_thread(start_litellm, scene, litellm))
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        for number in range(pairs + 20):
            for arm in random.sample(arms, len(arms)):
                seconds = await first_byte(client, arm)
                if number >= 20:
                    arm.seconds.append(seconds)
    direct, *others = arms
    for arm in others:
        added = sorted(1000 * (a - b) for a, b in zip(arm.seconds, direct.seconds, strict=True))
        low, middle, high = statistics.quantiles(added, n=4)
        print(
            f"first byte: {arm.name} adds {middle:.2f} ms at the median (quartiles {low:.2f} to {high:.2f}; "
            f"direct {1000 * statistics.median(direct.seconds):.2f} ms) in {pairs} alternations"
        )


async def measure_streams(scene: Scene, rounds: int) -> None:
    """Print errors, tokens and memory under 100 streams at once by 300 keys."""
    before = scene.counted()
    started = time.monotonic()
    errors = 0
    lock = asyncio.Semaphore(100)
    async with httpx2.AsyncClient(
        trust_env=False, timeout=60, limits=httpx2.Limits(max_connections=100)
    ) as client:

        async def one(number: int) -> None:
            nonlocal errors
            async with lock:
                try:
                    await first_byte(client, scene.arm(f"seat{number % 300}"))
                except (AssertionError, httpx2.HTTPError):
                    errors += 1

        await asyncio.gather(*(one(number) for number in range(300 * rounds)))
    seconds = time.monotonic() - started
    await asyncio.sleep(1)
    after = scene.counted()
    counted = {name: after[name] - before[name] for name in after}
    totals = [t for t in ledger.totals(scene.directory / "data" / ledger.FILE) if t.seat != "seat0"]
    ours = (sum(t.input_tokens for t in totals), sum(t.output_tokens for t in totals))
    # seat0 also took part in the first measurement, so its share is known only from the rest.
    theirs = (counted["input"] - 7 * rounds, counted["output"] - 20 * rounds)
    print(
        f"streams: {300 * rounds} by 300 keys, 100 at once, in {seconds:.1f} s: {errors} errors; tokens in the "
        f"ledger {ours}, by the upstream {theirs}; {scene.memory():.0f} MB"
    )


async def measure_budget(scene: Scene, rounds: int) -> None:
    """Print the largest overrun of a budget, in reservations."""
    limit, most_answer = 10 * ANSWER + 1, 100
    names = [f"edge{n}" for n in range(rounds)]
    scene.configure(seats=(*(seat(name, Budget(tokens=limit)) for name in names),))
    request = body("small", stream=False, max_tokens=most_answer)
    reservation = len(json.dumps(request)) // 2 + 16 + most_answer
    worst = 0.0
    async with httpx2.AsyncClient(
        trust_env=False, timeout=60, limits=httpx2.Limits(max_connections=100)
    ) as client:
        for name in names:
            arm = scene.arm(name)
            sent = (
                client.post(f"{arm.url}/chat/completions", json=request, headers=arm.headers)
                for _ in range(100)
            )
            codes = [answer.status_code for answer in await asyncio.gather(*sent)]
            assert set(codes) == {200, 429}, set(codes)
            # Fill it to the brim one by one: the edge is where the overrun would be.
            while (
                await client.post(f"{arm.url}/chat/completions", json=request, headers=arm.headers)
            ).status_code == 200:
                codes.append(200)
            worst = max(worst, (codes.count(200) * ANSWER - limit) / reservation)
    print(
        f"budget: {rounds} rounds of 100 parallel requests: largest overrun {worst:.2f} of one reservation"
    )


@dataclass
class Waits:
    """What the 29 waited, in seconds: for the first byte, and for the whole answer."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    async def ask(self, client: httpx2.AsyncClient, arm: Arm) -> None:
        """Ask once."""
        began = time.perf_counter()
        self.first.append(await first_byte(client, arm))
        self.whole.append(time.perf_counter() - began)


async def class_of(scene: Scene, seconds: float, waits: Waits, *, looping: bool) -> int:
    """Let 29 seats ask now and then, and one in a loop of 8; return the answers of the loop."""
    end = time.monotonic() + seconds
    chance = random.Random(1)
    loops = 0
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:

        async def now_and_then(number: int) -> None:
            await asyncio.sleep(chance.uniform(0, 6))
            while time.monotonic() < end:
                await waits.ask(client, scene.arm(f"seat{number}"))
                await asyncio.sleep(chance.uniform(3, 9))

        async def loop() -> None:
            nonlocal loops
            while time.monotonic() < end:
                await first_byte(client, scene.arm("seat0"))
                loops += 1

        work = [now_and_then(n) for n in range(1, 30)]
        await asyncio.gather(*work, *(loop() for _ in range(8) if looping))
    return loops


async def measure_fairness(scene: Scene, seconds: float) -> None:
    """Print how much longer the others wait because of one seat in a loop.

    The upstream answers like a real one, 200 ms to the first byte and 200 ms more to the end, and
    takes four requests at a time, so that the loop alone could keep it busy.
    """
    pace = replace(PACE, concurrency=4)
    models = {"small": Model("slow")}
    scene.configure(
        seats=tuple(seat(f"seat{n}", pace=pace) for n in range(30)),
        upstreams=(replace(scene.config.upstreams[0], concurrency=4, models=models),),
    )
    calm, loud, loops = Waits(), Waits(), 0
    for _ in range(2):
        await class_of(scene, seconds, calm, looping=False)
        loops += await class_of(scene, seconds, loud, looping=True)
    for name, without, beside in (
        ("first byte", calm.first, loud.first),
        ("answer", calm.whole, loud.whole),
    ):
        middle, floor = statistics.median(beside), statistics.median(without)
        print(
            f"fairness: 29 seats wait for the {name} {1000 * middle:.0f} ms at the median beside a loop of 8, "
            f"{1000 * floor:.0f} ms without it: {middle / floor:.2f} times ({len(beside)} and {len(without)} answers)"
        )
    print(f"fairness: the loop itself got {loops} answers")


async def measure(scene: Scene, options: argparse.Namespace) -> None:
    """Take every figure."""
    await measure_first_byte(scene, options.pairs, options.litellm)
    await measure_streams(scene, options.rounds)
    await measure_budget(scene, options.budget_rounds)
    await measure_fairness(scene, options.seconds)


def main() -> None:
    """Start the scene, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="streams per key")
    parser.add_argument("--budget-rounds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=12, help="of each of four classes")
    parser.add_argument("--litellm", metavar="PYTHON", help="of an environment with litellm[proxy]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        asyncio.run(measure(Scene.open(stack, Path(directory)), options))


if __name__ == "__main__":
    main()
