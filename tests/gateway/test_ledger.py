"""The books: every request once, read by the command, safe against kills and full disks."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests import small_disk
from tests.gateway.fake import good
from tests.gateway.lab import Lab, key_of, seat, write_config
from tests.ports import free_port
from tests.waiting import PATIENCE, until
from workshop.gateway.config import Budget, Window
from workshop.gateway.ledger import FILE, Ledger, LedgerError, Row, Totals, sums, totals

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open new books."""
    found = Ledger(tmp_path / FILE)
    yield found
    found.close()


def fill(ledger: Ledger) -> None:
    """Write three rows of two seats."""
    ledger.append(Row(10.0, "bob", "bob-1", input_tokens=1, output_tokens=2, money=3))
    ledger.append(Row(20.0, "ada", "ada-1", input_tokens=5, output_tokens=5, money=7))
    ledger.append(Row(30.0, "ada", "ada-1", status=429, error="insufficient_quota"))
    ledger.flush()


def test_totals_add_up_by_seat(ledger: Ledger, tmp_path: Path) -> None:
    """Requests, tokens, money, errors and the last of each, in the order of names."""
    fill(ledger)
    assert totals(tmp_path / FILE) == [
        Totals("ada", 2, 5, 5, 7, 1, "insufficient_quota", 30.0),
        Totals("bob", 1, 1, 2, 3, 0, "", 10.0),
    ]
    assert totals(tmp_path / FILE, since=25.0) == [
        Totals("ada", 1, 0, 0, 0, 1, "insufficient_quota", 30.0)
    ]


def test_sums_are_what_budgets_begin_with(ledger: Ledger, tmp_path: Path) -> None:
    """Tokens and money by seat, since a moment."""
    fill(ledger)
    assert sums(tmp_path / FILE, 0) == {"ada": (10, 7), "bob": (3, 3)}
    assert sums(tmp_path / FILE, 15) == {"ada": (10, 7)}


def test_books_of_a_strange_directory_are_read(tmp_path: Path) -> None:
    """Characters that mean something in an address mean nothing in a path."""
    directory = tmp_path / "a b?c#d%20é"
    directory.mkdir()
    ledger = Ledger(directory / FILE)
    fill(ledger)
    assert [t.seat for t in totals(directory / FILE)] == ["ada", "bob"]
    ledger.close()
    assert [t.seat for t in totals(directory / FILE)] == ["ada", "bob"], "also once nobody writes"


def test_no_books_are_no_totals(tmp_path: Path) -> None:
    """Before the first start there is nothing to show, and nothing is created."""
    assert totals(tmp_path / FILE) == []
    assert not (tmp_path / FILE).exists()


def test_no_database_at_all_is_an_error_in_words(tmp_path: Path) -> None:
    """A reader hears what is wrong, without SQL."""
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        totals(tmp_path / FILE)


def test_locked_books_keep_the_rows_and_write_them_later(ledger: Ledger, tmp_path: Path) -> None:
    """A flush that fails loses nothing and says why."""
    fill(ledger)
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ledger.append(Row(40.0, "bob", "bob-1"))
    with pytest.raises(LedgerError, match="locked"):
        ledger.flush()
    assert (ledger.pending, ledger.fault) == (1, "database is locked")
    holder.execute("ROLLBACK")
    holder.close()
    ledger.flush()
    assert (ledger.pending, ledger.fault) == (0, "")
    assert [t.requests for t in totals(tmp_path / FILE)] == [2, 2]


def test_removed_books_are_begun_anew(ledger: Ledger, tmp_path: Path) -> None:
    """Rows never go into a file that nobody can see."""
    fill(ledger)
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    ledger.append(Row(50.0, "eve", "eve-1"))
    ledger.flush()
    assert [t.seat for t in totals(tmp_path / FILE)] == ["eve"]


def test_locked_books_stop_the_spending_until_they_are_free(lab: Lab) -> None:
    """What cannot be written down is not spent: 503, health says so, and it passes by itself."""
    path = lab.directory / "data" / FILE
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert lab.ask().status_code == 200, "noticed with the next row"
    until(lambda: lab.running.fault)
    refused = lab.ask()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
    health = httpx2.get(f"http://{lab.address}/healthz", trust_env=False)
    assert (health.status_code, health.json()["ledger"]) == (503, "database is locked")
    holder.execute("ROLLBACK")
    holder.close()
    until(lambda: not lab.running.fault)
    assert lab.ask().status_code == 200
    assert [row["status"] for row in lab.rows()] == [200, 503, 200]


def test_broken_books_stop_the_spending_until_they_are_replaced(lab: Lab) -> None:
    """A file that is no database is left for the instructor to look at."""
    lab.ask()
    lab.rows()
    path = lab.directory / "data" / FILE
    broken = path.with_name("broken")
    broken.write_bytes(b"garbage" * 1000)
    for extra in path.parent.glob(f"{FILE}-*"):
        extra.unlink()
    broken.rename(path)
    lab.ask()
    until(lambda: lab.running.fault)
    assert lab.ask().status_code == 503
    path.unlink()
    until(lambda: not lab.running.fault)
    assert lab.ask().status_code == 200


ROOT_MOUNTS = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
FULL = {"database or disk is full", "disk I/O error", "No space left on device"}
"""How SQLite and the kernel say it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Have the books lie on a disk of one mebibyte."""
    (tmp_path / "data").mkdir()
    with small_disk.small_disk(tmp_path / "data", 1 << 20, 100) as found:
        yield found


@pytest.fixture
def full(disk: Path) -> Path:
    """Fill it before the gateway starts."""
    small_disk.fill(disk)
    return disk


def _health(lab: Lab) -> httpx2.Response:
    return httpx2.get(f"http://{lab.address}/healthz", trust_env=False)


@ROOT_MOUNTS
def test_full_disk_stops_the_spending_until_there_is_room(disk: Path, lab: Lab) -> None:
    """F40: 503 in words, health says so; what was spent until it was noticed is in the books."""
    assert lab.ask().status_code == 200
    assert len(lab.rows()) == 1
    small_disk.fill(disk)

    answered = 1
    while (refused := lab.ask()).status_code == 200:
        answered += 1
    upstream, health = lab.fake.requests, _health(lab)
    more = [lab.ask().status_code for _ in range(10)]

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "ledger_unavailable")
    assert "once the disk is right again" in error["message"]
    assert (health.status_code, health.json()["status"]) == (503, "failing")
    assert health.json()["ledger"] in FULL
    assert set(more) == {503}
    assert (lab.fake.requests, upstream) == (answered, answered), "refused before anybody is asked"
    small_disk.make_room(disk)
    until(lambda: not lab.running.fault)
    assert _health(lab).status_code == 200
    assert lab.ask().status_code == 200
    rows = lab.rows()
    assert sum(row["status"] == 200 for row in rows) == answered + 1
    spent = sum(row["input_tokens"] + row["output_tokens"] for row in rows)
    assert lab.running.budgets.spent("ada", Window.WORKSHOP).tokens == spent


@ROOT_MOUNTS
def test_gateway_that_starts_on_a_full_disk_waits_for_room(full: Path, lab: Lab) -> None:
    """F40: without books nobody knows what is used up; it comes up, says why, and goes on."""
    assert lab.ask().status_code == 503
    health = _health(lab).json()
    assert health["ledger"] in FULL
    assert lab.fake.requests == 0
    (line,) = (line for line in lab.log.getvalue().splitlines() if "cannot be written" in line)
    assert json.loads(line)["error"] == health["ledger"]

    small_disk.make_room(full)
    until(lambda: not lab.running.fault)
    assert lab.ask().status_code == 200


@pytest.mark.alone
def test_refusals_of_a_loop_are_few_rows(lab: Lab) -> None:
    """A loop against an empty budget does not fill the disk; the metrics count all of it."""
    lab.configure(seats=(seat("ada", budget=Budget(tokens=1)), seat("bob")))
    lab.ask()
    began = time.monotonic()
    for _ in range(30):
        assert lab.ask().status_code == 429
    seconds = time.monotonic() - began
    rows = [row for row in lab.rows() if row["error"] == "insufficient_quota"]
    # One a second; a slow machine takes more of them for its questions.
    assert 1 <= len(rows) <= 2 + seconds
    text = httpx2.get(f"http://{lab.address}/metrics", trust_env=False).text
    assert 'gateway_requests_total{seat="ada",status="4xx"} 30.0' in text


@contextmanager
def _started(lab: Lab, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "workshop.gateway", "--config", str(lab.directory / "config")]
    command += ["--data", str(lab.directory / "data2"), "--listen", f"127.0.0.1:{port}", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)

    def answers() -> bool:
        try:
            return (
                httpx2.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
            )
        except httpx2.HTTPError:
            return False

    try:
        until(answers)
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask(port: int, host: str = "127.0.0.1", **options: Any) -> httpx2.Response:
    body = {
        "model": "small",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}],
        **options,
    }
    headers = {"authorization": f"Bearer {key_of('ada')}"}
    url = f"http://{host}:{port}/llm/v1/chat/completions"
    return httpx2.post(url, json=body, headers=headers, trust_env=False)


def test_killed_gateway_remembers_what_was_spent(lab: Lab) -> None:
    """After kill -9 and a restart the budget is as used up as before; then it stops within 2 s."""
    (lab.directory / "data2").mkdir()
    ada = replace(seat("ada"), budget=Budget(tokens=24))
    write_config(lab.directory / "config", replace(lab.config, seats=(ada,)))
    port = free_port()
    with _started(lab, port) as process:
        assert [_ask(port).status_code for _ in range(3)] == [200, 200, 429]
        until(lambda: [t.requests for t in totals(lab.directory / "data2" / FILE)] == [3])
        process.kill()
    with _started(lab, port) as process:
        assert _ask(port).json()["error"]["code"] == "insufficient_quota"
        assert (lab.directory / "data2" / FILE).stat().st_mode & 0o666 == 0o666
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    events = {json.loads(line)["event"] for line in out.splitlines()}
    assert events == {"listening", "request", "stopped"}


def test_gateway_on_two_bridges_keeps_one_set_of_books(lab: Lab) -> None:
    """More than 250 seats stand on two bridges; their class has one budget."""
    (lab.directory / "data2").mkdir()
    port = free_port()
    with _started(lab, port, "--listen", f"127.0.0.2:{port}"):
        assert _ask(port).status_code == 200
        assert _ask(port, host="127.0.0.2").status_code == 200
        until(lambda: [t.requests for t in totals(lab.directory / "data2" / FILE)] == [2])


def test_stop_tells_callers_and_takes_less_than_two_seconds(lab: Lab) -> None:
    """An answer under way ends with an error event, and its usage is written."""
    (lab.directory / "data2").mkdir()
    lab.fake.script.append(good(tokens=500, pause=0.02))
    port = free_port()
    url = f"http://127.0.0.1:{port}/llm/v1/chat/completions"
    body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    headers = {"authorization": f"Bearer {key_of('ada')}"}
    with (
        _started(lab, port) as process,
        httpx2.Client(trust_env=False) as client,
        client.stream("POST", url, json=body, headers=headers) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        *_, last = [line for line in lines if line]
        process.communicate(timeout=PATIENCE)
        # The whole answer would take ten.
        assert time.monotonic() - began < 8
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "restarting"
    used = totals(lab.directory / "data2" / FILE)[0]
    assert (used.last_error, used.output_tokens > 0) == ("restarting", True)


def test_start_without_configuration_or_address_says_so() -> None:
    """Exit code 2 for the configuration, 1 for an address that is not ours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    command = [
        sys.executable,
        "-m",
        "workshop.gateway",
        "--config",
        "/nowhere",
        "--data",
        "/nowhere",
        "--listen",
        "127.0.0.1:0",
    ]
    found = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert found.returncode == 2
    assert json.loads(found.stdout)["event"] == "no usable configuration"


def test_rows_added_while_others_are_written_are_all_in_the_books(tmp_path: Path) -> None:
    """Two threads at work on one list must lose no spend."""
    ledger = Ledger(tmp_path / FILE)
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            ledger.flush()

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(20_000):
        ledger.append(Row(float(number), "ada", "ada-1", input_tokens=1))
    until(lambda: ledger.pending == 0)
    ended.set()
    writer.join()
    ledger.close()

    assert totals(tmp_path / FILE)[0].input_tokens == 20_000
