"""The way in: a link is made, is good at the board's door once, and says nothing to anybody else."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workshop import boarding, operations, state
from workshop.board import config
from workshop.board.sessions import Sessions
from workshop.boarding import LINK_SECONDS, open_way
from workshop.errors import InputError, NotReady, WorkshopError
from workshop.labels import Role
from workshop.subnets import BOARD_PORT, own_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workshop.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = "  url: https://class.example.org\n  port: 18999\n  board: {host: board.example.org}\n"


@pytest.fixture
def provisioned(deploying: Workspace, next_command: Callable[[Workspace], Workspace]) -> Workspace:
    """Provision the workshop of three on a memory engine, board and all.

    Its addresses are this session's own: what runs beside it may listen at its own.
    """
    own = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 32 * 8}.0/21"
    change(deploying, "participants:", f"  network: {own}\nparticipants:")
    operations.provision(deploying)
    return next_command(deploying)


def links(work: Workspace) -> Path:
    """Find the directory of links."""
    return work.directories.board / "told" / config.LINKS


def word(url: str) -> str:
    """Take the word out of a link."""
    return url.partition("/login#")[2]


def change(work: Workspace, before: str, after: str) -> None:
    """Edit the roster."""
    text = work.roster_path.read_text("utf-8")
    assert before in text
    work.roster_path.write_text(text.replace(before, after, 1), "utf-8")
    work.read_again()


def test_link_is_good_at_the_boards_door_once(provisioned: Workspace, tmp_path: Path) -> None:
    """The board's own sessions take the word, and take it no second time."""
    way = open_way(provisioned)
    sessions = Sessions(tmp_path, provisioned.directories.board / "told")

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", word(way.url)), "256 bits"
    assert sessions.spend(word(way.url)[::-1]) is False
    assert sessions.spend(word(way.url)) is True
    assert sessions.spend(word(way.url)) is False


def test_link_that_has_ended_opens_nothing(provisioned: Workspace, tmp_path: Path) -> None:
    """Ten minutes after it was made."""
    way = open_way(provisioned)
    told = provisioned.directories.board / "told"
    in_time = Sessions(tmp_path / "a", told, lambda: way.ends - 1)
    late = Sessions(tmp_path / "b", told, lambda: way.ends + 1)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()

    assert way.ends == pytest.approx(time.time() + LINK_SECONDS, abs=30)
    assert late.spend(word(way.url)) is False
    assert in_time.spend(word(way.url)) is True


def test_word_itself_is_kept_nowhere(provisioned: Workspace) -> None:
    """Only its hash is, in a file that the board's user can read."""
    way = open_way(provisioned)
    before = os.umask(0o077)
    try:
        other = open_way(provisioned)
    finally:
        os.umask(before)
    files = {path.name: path for path in links(provisioned).iterdir()}

    assert set(files) == {config.hashed(word(way.url)), config.hashed(word(other.url))}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o644}
    kept = [path for path in provisioned.state_directory.rglob("*") if path.is_file()]
    assert not [path for path in kept if word(way.url).encode() in path.read_bytes()]


def test_links_that_ended_are_removed_and_others_stay(provisioned: Workspace) -> None:
    """A second link does not spoil the first, which somebody may be about to open."""
    first = open_way(provisioned)
    links(provisioned).joinpath("0" * 64).write_text(f"{time.time() - 1}\n", "utf-8")
    links(provisioned).joinpath("garbled").write_text("\N{SNOWMAN}", "utf-8")
    second = open_way(provisioned)

    assert {path.name for path in links(provisioned).iterdir()} == {
        config.hashed(word(first.url)), config.hashed(word(second.url)), "garbled",
    }  # fmt: skip


def test_without_a_host_the_link_leads_to_the_loopback(provisioned: Workspace) -> None:
    """And the line for SSH leads there from another computer, by an origin the board accepts."""
    way, told = open_way(provisioned), boarding.told(provisioned)
    known = state.load(provisioned.state_directory)
    assert told is not None
    assert known is not None
    loopback = own_loopback(known.network)

    assert way.urls == (f"http://{loopback}:8013/login#{word(way.url)}",)
    assert way.forward == f"8013:{loopback}:8013"
    assert way.forwarded == f"http://127.0.0.1:8013/login#{word(way.url)}"
    assert {url.partition("/login")[0] for url in (*way.urls, way.forwarded)} <= set(told.origins)


def test_host_of_its_own_comes_first(
    deploying: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The loopback stays, for when the certificate or the name fails."""
    change(deploying, "  url: http://localhost:18999\n", PUBLIC)
    operations.provision(deploying)
    work = next_command(deploying)
    way = open_way(work)

    assert way.url == f"https://board.example.org/login#{word(way.url)}"
    assert [url.partition("//")[2][:4] for url in way.urls] == ["boar", "127."]
    assert boarding.participants_page(work) == "https://board.example.org/me"


def test_class_of_this_machine_finds_the_participants_page(provisioned: Workspace) -> None:
    """Where the class's own address is this machine's, so is the board's."""
    told = boarding.told(provisioned)
    assert told is not None

    assert boarding.participants_page(provisioned) == f"{told.origins[0]}/me"


def test_board_that_is_off_is_an_input_error(deploying: Workspace) -> None:
    """The hint says what to write."""
    change(deploying, "participants:", "  board: false\nparticipants:")
    with pytest.raises(InputError, match="switches the board off") as caught:
        open_way(deploying)

    assert "workshop.board: true" in caught.value.hint
    assert boarding.participants_page(deploying) == ""


def test_before_provision_there_is_no_board(deploying: Workspace) -> None:
    """Not even a state directory is made."""
    with pytest.raises(WorkshopError, match="there is no board yet") as caught:
        open_way(deploying)

    assert "provision" in caught.value.hint
    assert not deploying.state_directory.exists()


def test_board_that_does_not_run_gets_no_link(provisioned: Workspace) -> None:
    """A link would lead to nobody."""
    item = provisioned.engine.observe("class").container(Role.BOARD, "board")
    assert item is not None
    provisioned.engine.remove(item.id)
    with pytest.raises(NotReady, match="does not answer") as caught:
        open_way(provisioned)

    assert "workshop logs board" in caught.value.hint
    assert not list(links(provisioned).glob("*"))


@pytest.fixture
def door(provisioned: Workspace) -> Iterator[list[str]]:
    """Answer where the board would listen; what is asked for is noted."""
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    known = state.load(provisioned.state_directory)
    assert known is not None
    server = HTTPServer((own_loopback(known.network), BOARD_PORT), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_command_prints_the_link_alone_on_standard_output(
    provisioned: Workspace, door: list[str]
) -> None:
    """So that `$(workshop board)` is a link; what helps a person goes to standard error."""
    said = _type(provisioned.roster_path.parent)
    listed = _type(provisioned.roster_path.parent, "--json")
    document = json.loads(listed.stdout)

    assert said.returncode == listed.returncode == 0, said.stderr
    assert door == ["/healthz", "/healthz"]
    assert re.fullmatch(r"http://127\.[0-9.]+:8013/login#[\w-]{43}\n", said.stdout)
    assert "ssh -L 8013:127." in said.stderr
    assert listed.stderr == ""
    assert set(document) == {"url", "urls", "ends"}
    assert document["urls"] == [document["url"]]
    assert document["url"] != said.stdout.strip()


def test_command_without_a_board_says_what_to_do(provisioned: Workspace) -> None:
    """Nobody listens there, for the engine is in memory."""
    said = _type(provisioned.roster_path.parent)

    assert (said.returncode, said.stdout) == (1, "")
    assert "the board does not answer" in said.stderr


def _type(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WORKSHOP_")}
    nobody = {"DOCKER_HOST": "unix:///run/no-such-engine.sock"}
    return subprocess.run(
        [sys.executable, "-m", "workshop", "board", *arguments],
        cwd=directory,
        env={**kept, **nobody, "PYTHONPATH": str(ROOT / "platform"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
