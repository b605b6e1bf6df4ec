"""The board as a process: how it starts, what it costs, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import person
from tests.waiting import until
from workshop.board import config

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = Path(__file__).parents[2] / "platform"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Make the board's three directories, told of a class of two."""
    found = {name: tmp_path / name for name in ("told", "shown", "kept")}
    for path in found.values():
        path.mkdir()
    told = config.Config(
        "class", "Class", "", ("http://127.0.0.1:1",), (person("ada"), person("bob"))
    )
    (found["told"] / config.FILE).write_text(config.dump(told), "utf-8")
    return found


class Board:
    """One process."""

    def __init__(self, places: dict[str, Path], listen: str) -> None:
        arguments = [part for name, path in places.items() for part in (f"--{name}", str(path))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workshop.board", *arguments, "--listen", listen],
            cwd=PLATFORM,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> dict[str, Any]:
        """Read the next line of the log."""
        assert self.process.stdout
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; give the exit code and what was written."""
        try:
            out, err = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@pytest.fixture
def port() -> Iterator[int]:
    """Take a port and hold it, so that nobody else gets it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_process_that_is_told_to_stop_ends_at_once_and_well(
    places: dict[str, Path], port: int
) -> None:
    """Docker's SIGTERM is no failure, and nothing is written to standard error."""
    board = Board(places, f"127.0.0.1:{port}")
    said = board.line()
    assert said["event"] == "listening"
    until(lambda: answers(port))
    status = Path(f"/proc/{board.process.pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    assert int(found[1]) < 70 * 1024
    board.process.send_signal(signal.SIGTERM)
    code, out, err = board.end()
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"


def answers(port: int) -> bool:
    """Whether the board answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except OSError:
        return False


@pytest.mark.parametrize("text", [None, "", "{", '{"schema": 99}'])
def test_process_without_a_usable_configuration_ends_with_2(
    places: dict[str, Path], text: str | None
) -> None:
    """The log says where it looked."""
    path = places["told"] / config.FILE
    path.unlink()
    if text is not None:
        path.write_text(text, "utf-8")
    code, out, _ = Board(places, "127.0.0.1:0").end()
    assert code == 2
    assert json.loads(out)["event"] == "no usable configuration"


@pytest.mark.parametrize("listen", ["192.0.2.1:1", "nonsense"])
def test_process_that_cannot_listen_ends_with_1(places: dict[str, Path], listen: str) -> None:
    """The log says where."""
    code, out, _ = Board(places, listen).end()
    assert code == 1
    assert json.loads(out)["event"] == "cannot listen"


def test_files_are_made_for_the_control_process_whatever_the_mask(
    places: dict[str, Path],
) -> None:
    """It runs as another user, and takes wishes out of the board's directories."""
    before = os.umask(0o077)
    try:
        board = Board(places, "127.0.0.1:0")
        assert board.line()["event"] == "listening"
    finally:
        os.umask(before)
        board.process.terminate()
        board.end()
    modes = {path.name: path.stat().st_mode & 0o777 for path in places["kept"].iterdir()}
    assert modes == {"wishes": 0o777, "wanted": 0o777}
