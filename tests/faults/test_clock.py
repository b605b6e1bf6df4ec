"""A clock that jumps by a day, in either direction, and the hour that comes twice.

``faketime`` moves the clock of a process of ours. What is waited for is measured on the clock that
never jumps, so no wait grows or shrinks.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workshop.errors import Locked, NotReady
from workshop.gateway.config import Pace, Seat
from workshop.gateway.errors import GatewayError
from workshop.gateway.pace import Pacer
from workshop.health import HttpProbe
from workshop.lock import apply_lock

ROOT = Path(__file__).parents[2]
DAY = 86_400
DAYS = (-1, 1, 366)
WAIT = 0.4
KEYS = """
import asyncio, datetime as dt, json, sys, time
import jwt
from cryptography import x509
from workshop.intake import tokens

private, public = tokens.make_pair()
certificate = x509.load_pem_x509_certificate(public.encode() if isinstance(public, str) else public)
now = dt.datetime.now(dt.UTC)
begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
print(json.dumps({"clock": time.time(), "valid": begin <= now <= end,
                  "yesterday": begin <= now - dt.timedelta(hours=23)}))
"""


def jumping(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let the clock be elsewhere each time it is looked at."""
    real = time.time
    looks = itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + (next(looks) % 2) * days * DAY)


def faked(jump: str, script: str, *arguments: object, zone: str = "UTC") -> dict[str, float]:
    """Run a script of ours with its clock moved by ``jump``."""
    if not shutil.which("faketime"):
        pytest.fail("faketime is missing; scripts/ensure-test-tools installs it")
    command = ["faketime", "--exclude-monotonic", "-f", jump, sys.executable, "-c", script]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform"), "TZ": zone},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("days", DAYS)
def test_waits_do_not_follow_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    """F34: the clock jumps while somebody waits; half a second of waiting is half a second."""
    jumping(monkeypatch, days)
    begun = time.monotonic()

    with (
        apply_lock(tmp_path / "lock"),
        pytest.raises(Locked),
        apply_lock(tmp_path / "lock", WAIT),
    ):
        pass
    locked = time.monotonic()
    with pytest.raises(NotReady):
        asyncio.run(HttpProbe().ready("127.0.0.1", 1, WAIT))

    assert WAIT * 0.9 < locked - begun < WAIT + 10
    assert WAIT * 0.9 < time.monotonic() - locked < WAIT + 10


@pytest.mark.parametrize("days", DAYS)
def test_pace_of_a_seat_survives_a_jump(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """F34: whoever had used up a minute may go on within a minute, not tomorrow."""
    seat = Seat("ada", "ada-1", "hash", pace=Pace(requests_per_minute=2))
    now = time.time()

    async def scene() -> None:
        pacer = Pacer()
        for _ in range(2):
            await pacer.take(seat, 10)
        with pytest.raises(GatewayError):
            await pacer.take(seat, 10)
        monkeypatch.setattr(time, "time", lambda: now + days * DAY)
        await pacer.take(seat, 10)
        await pacer.take(seat, 10)
        with pytest.raises(GatewayError) as caught:
            await pacer.take(seat, 10)
        assert 1 <= int(caught.value.headers()["retry-after"]) <= 60

    asyncio.run(scene())


@pytest.mark.parametrize("jump", ["-1d", "+1d"])
def test_signing_key_made_on_a_wrong_clock_is_valid_at_once_and_the_day_before(jump: str) -> None:
    """F34: the registry may be a day behind whoever made the certificate."""
    found = faked(jump, KEYS)

    assert found["valid"]
    assert found["yesterday"]


BUDGET = """
import asyncio, json, os, sys, time
from workshop.gateway.budget import start_of
from workshop.gateway.config import Window
now = time.time()
print(json.dumps({str(window.value): now - start_of(window, now) for window in Window}))
"""


@pytest.mark.parametrize(
    "moment", ["2026-03-29 01:59:59", "2026-03-29 03:00:01", "2026-10-25 02:30:00"]
)
def test_budget_windows_survive_the_hours_that_are_missing_or_twice(moment: str) -> None:
    """F34: a window began in the past and is not longer than its name says, summer time or not."""
    found = faked(f"@{moment}", BUDGET, zone="Europe/Berlin")

    assert found
    assert all(passed >= 0 for passed in found.values()), found
