"""The platform's record: whole lines, bounded, secret-free, and never in a command's way."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_disk import fill, small_disk
from workshop import journal

ROOT = Path(__file__).resolve().parents[1]
KEY = "wk-" + "aZ09_-x" * 6 + "Q"


def test_noted_event_is_one_line_with_time_and_facts(tmp_path: Path) -> None:
    """Other programs read it as JSON lines."""
    before = time.time()

    journal.note(tmp_path, "restart", seats=["ada"], ok=True)

    (line,) = (tmp_path / journal.FILE).read_text().splitlines()
    raw = json.loads(line)
    assert (raw["event"], raw["seats"], raw["ok"]) == ("restart", ["ada"], True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", raw["time"])
    (entry,) = journal.read(tmp_path)
    assert before - 0.01 <= entry.time <= time.time()
    assert entry.facts == {"seats": ["ada"], "ok": True}


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Names of participants stand in it."""
    journal.note(tmp_path, "provision")

    assert stat.S_IMODE((tmp_path / journal.FILE).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_file_made_by_root_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    """``serve`` runs as that user, and has to write on."""
    os.chown(tmp_path, 1234, 1234)

    journal.note(tmp_path, "provision")

    assert (tmp_path / journal.FILE).stat().st_uid == 1234


def test_key_in_a_fact_is_blotted_out(tmp_path: Path) -> None:
    """An instructor may announce one by mistake."""
    journal.note(tmp_path, "announce", text=f"your key is {KEY}, ada", nested=[{"key": KEY}])

    text = (tmp_path / journal.FILE).read_text()
    assert KEY not in text
    assert journal.read(tmp_path)[0].facts["text"] == "your key is wk-…, ada"


def test_large_file_is_put_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files at most, each bounded; reading joins them in order."""
    monkeypatch.setattr(journal, "LARGEST", 500)

    for number in range(100):
        journal.note(tmp_path, "deploy", number=number)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "journal.jsonl.1"]
    assert all(path.stat().st_size < 700 for path in tmp_path.iterdir())
    numbers = [entry.facts["number"] for entry in journal.read(tmp_path)]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 5


def test_many_writers_at_once_lose_no_line(tmp_path: Path) -> None:
    """The command and ``serve`` write at the same time, through a change of files too."""
    code = (
        "import sys, pathlib; from workshop import journal; journal.LARGEST = 20_000\n"
        "for n in range(100): journal.note(pathlib.Path(sys.argv[1]), sys.argv[2], number=n)"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), f"writer-{number}"],
            env={"PYTHONPATH": str(ROOT / "platform")},
        )
        for number in range(4)
    ]

    assert [writer.wait(60) for writer in writers] == [0] * 4
    entries = journal.read(tmp_path)
    assert (tmp_path / f"{journal.FILE}.1").exists()
    for number in range(4):
        own = [entry.facts["number"] for entry in entries if entry.event == f"writer-{number}"]
        assert own == list(range(100))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_disk_costs_a_line_and_nothing_else(tmp_path: Path) -> None:
    """The line before stays whole, and the next one fits again."""
    with small_disk(tmp_path, 65536, 16) as disk:
        journal.note(disk, "first")
        fill(disk)
        for _ in range(200):
            journal.note(disk, "lost", words="x" * 200)
        (disk / "filler").unlink()
        journal.note(disk, "last")

        events = [entry.event for entry in journal.read(disk)]

    assert (events[0], events[-1]) == ("first", "last")
    assert len(events) < 202


def test_missing_directory_is_no_error(tmp_path: Path) -> None:
    """Nothing is raised, and nothing read."""
    journal.note(tmp_path / "none", "restart")

    assert journal.read(tmp_path / "none") == []


def test_endless_event_is_cut_to_its_name(tmp_path: Path) -> None:
    """A line stays one that can be read whole."""
    journal.note(tmp_path, "announce", text="x" * 100_000)

    (entry,) = journal.read(tmp_path)
    assert (entry.event, entry.facts) == ("announce", {"shortened": True})


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "7", "null", '{"event": "no time"}', '{"time": 7}', '{"time": "noon", "event": "x"}',
     '{"time": NaN, "event": "x"}', '{"time": true, "event": 7}', '{"time": [], "event": "x"}', "Traceback (most recent call last):"],
)  # fmt: skip
def test_line_that_is_no_event_is_left_out(line: str) -> None:
    """Tracebacks and half lines stand in logs too."""
    assert journal.parse([line]) == []


def test_seconds_since_1970_are_a_time_as_well() -> None:
    """``serve`` writes them so."""
    (entry,) = journal.parse(['{"time": 12.5, "event": "serving"}'])

    assert entry == journal.Entry(12.5, "serving", {})


def test_follower_goes_on_in_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost between the two."""
    monkeypatch.setattr(journal, "LARGEST", 300)
    journal.note(tmp_path, "before")
    follower = journal.Follower(tmp_path)

    assert follower.new() == []
    for number in range(5):
        journal.note(tmp_path, "after", number=number)

    assert (tmp_path / f"{journal.FILE}.1").exists()
    assert [entry.facts["number"] for entry in follower.new()] == [0, 1, 2, 3, 4]
    assert follower.new() == []


def test_follower_waits_for_the_first_file(tmp_path: Path) -> None:
    """Nothing was ever written when it begins."""
    follower = journal.Follower(tmp_path)
    assert follower.new() == []

    journal.note(tmp_path, "first")

    assert [entry.event for entry in follower.new()] == ["first"]
