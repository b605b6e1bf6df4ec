"""A class on an engine in trouble, command by command: bounded, told clearly, mended by the next.

The engine is a private one, and between it and the commands stands a proxy that stalls, cuts and
lies. What each verb does about that is shown in ``tests/engines/test_troubled.py``.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engines.private import PrivateEngine, private_engine, require, write_class
from tests.faults.fault_proxy import (
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
from tests.faults.odd_apps import CRASHES, DEAF, SILENT, UNWELL, instead

from workshop import roster as rosters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.fault_proxy import Fault

    from workshop.engines.docker import DockerEngine

# Building the images on a machine that has none of them takes a minute.
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 18477
NAMES = ("ada", "bob", "carol", "dan")
OWN = dict(zip(NAMES, NAMES, strict=True))
LISTEN = f"""
import socket, sys
held = socket.create_server(("0.0.0.0", {PORT}))
print("here", flush=True)
sys.stdin.read()
"""
DOWN = ("teardown", "--yes", "--keep-images")


@dataclass
class Class:
    """A workshop of four behind the proxy."""

    engine: PrivateEngine
    proxy: FaultProxy
    roster: Path

    @property
    def name(self) -> str:
        """The workshop's name, which begins the names of all its objects."""
        return rosters.load(self.roster).name

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command that must not end in a traceback, through the proxy."""
        with self.begin(*words) as command:
            output, _ = command.communicate(timeout=240)
        assert "Traceback" not in output, output
        return command.returncode, output

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that reaches the engine through the proxy."""
        return self.engine.begin(self.roster, *words, endpoint=self.proxy.endpoint)

    def must(self, *words: str) -> str:
        """Run a command that must succeed."""
        code, output = self.run(*words)
        assert code == 0, output
        return output

    def said(self) -> dict[str, str]:
        """Ask every seat through the edge who it is."""
        return self.engine.who_answers(PORT, NAMES)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[PrivateEngine]:
    """Run a private engine; ``docker_engine`` is where its images are built."""
    del docker_engine
    require(request)
    with private_engine() as started:
        yield started


@pytest.fixture(scope="module")
def shared(engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Write a roster of four around the shipped template, and bring its images."""
    roster = write_class(tmp_path_factory.mktemp("troubled"), PORT, NAMES)
    engine.take_images(roster)
    own = Path(engine.endpoint.removeprefix("unix://"))
    with FaultProxy(own, engine.directory / "proxy") as proxy:
        yield Class(engine, proxy, roster)


@pytest.fixture
def room(shared: Class) -> Class:
    """Hand out a class that stands, whatever the test before has left."""
    shared.proxy.befall()
    shared.must("provision")
    assert shared.said() == OWN
    return shared


def test_hung_engine_ends_every_command_in_time(room: Class) -> None:
    """F11: it takes connections and says nothing. All commands at once: exit 3, at most 30 s."""
    room.proxy.befall(Rule(Stall(), times=None))
    commands = (("status",), ("plan",), ("restart", "ada"), ("logs", "ada"))
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(room.begin(*words)) for words in commands]
        ended = [(command.communicate(timeout=90)[0], command.returncode) for command in running]

    for output, code in ended:
        assert code == 3, output
        assert "did not answer within 30 s" in output
    # Nobody asked a second time.
    assert len(room.proxy.requests) == len(commands)
    room.proxy.befall()
    assert room.said() == OWN


def test_engine_is_asked_for_its_version_with_the_short_patience_alone(room: Class) -> None:
    """F11: a client that waits ten minutes for builds would wait as long for this question."""
    room.proxy.befall(Rule(Stall(), "GET", "/version", skip=1, times=None))

    room.must("status")

    assert room.proxy.befallen == []


def test_engine_that_hangs_on_the_way_is_given_up_once(room: Class) -> None:
    """F11: four seats are under way; nobody waits thirty seconds for each."""
    room.must(*DOWN)
    room.proxy.befall(Rule(Stall(), "POST", "/start", times=None))

    code, output = room.run("provision")

    assert code == 3, output
    assert "did not answer within 30 s" in output
    assert len(room.proxy.befallen) <= len(NAMES) + 1
    room.proxy.befall()
    room.must("provision")
    assert room.said() == OWN


def test_slow_engine_gets_everybody_up_with_progress(room: Class) -> None:
    """F14: every call takes half a second longer; `make torture` has thirty seats and two."""
    room.must(*DOWN)
    room.proxy.befall(Rule(Slow(0.5), times=None))

    begun = time.monotonic()
    output = room.must("provision")

    assert time.monotonic() - begun < 60
    assert all(name in output for name in NAMES)
    assert room.said() == OWN


ONCE: tuple[tuple[str, str, Fault], ...] = (
    ("POST", "/containers/create", CutAnswer(0)),
    ("POST", "/containers/create", CutAnswer(70)),
    ("POST", "/containers/create", CutRequest(100)),
    ("POST", "/containers/create", BROKEN),
    ("POST", "/containers/.*/start", Drop()),
    ("POST", "/containers/.*/start", Reply(500, "done all the same", done=True)),
    ("POST", "/networks/create", CutAnswer(0)),
    ("POST", "/networks/create", BROKEN),
    ("GET", "/containers/json", CutAnswer(300)),
    ("GET", "/images/json", BROKEN),
    ("POST", "/exec/.*/start", Drop()),
    ("POST", "/exec/.*/start", CutAnswer(0)),
)


def test_provision_does_not_notice_what_passes(room: Class) -> None:
    """F12, F13: each fault once, all in one provision; it succeeds, and nothing is there twice."""
    room.must(*DOWN)
    room.proxy.befall(*(Rule(fault, method, path) for method, path, fault in ONCE))

    room.must("provision")

    assert len(room.proxy.befallen) >= len(ONCE) - 2, room.proxy.befallen
    assert room.said() == OWN
    with contextlib.closing(room.engine.client()) as client:
        assert len(client.networks(names=[f"{room.name}-open-0"])) == 1
        assert len(client.containers(all=True)) == len(NAMES) + 1


def test_teardown_does_not_notice_what_passes(room: Class) -> None:
    """F12: removals under way, members that leave late, answers that are lost."""
    room.proxy.befall(
        Rule(IN_PROGRESS, "DELETE", "/containers/", times=3),
        Rule(CutAnswer(0), "DELETE", "/containers/", times=2),
        Rule(Drop(), "POST", "/stop", times=2),
        Rule(BUSY_NETWORK, "DELETE", "/networks/", times=2),
        Rule(CutAnswer(0), "DELETE", "/networks/"),
    )

    receipt = room.must(*DOWN)

    assert len(room.proxy.befallen) == 10, room.proxy.befallen
    assert "leftovers: 0" in receipt


def test_engine_that_keeps_failing_is_told_and_mended_by_the_next(room: Class) -> None:
    """F12: one seat's start fails every time; it is named, the others stand."""
    room.must(*DOWN)
    with contextlib.closing(room.engine.client()) as client:
        assert client.containers(all=True) == []
    bad = Reply(500, "driver failed programming external connectivity")
    room.proxy.befall(Rule(bad, "POST", "/start", times=3))

    code, output = room.run("provision")
    room.proxy.befall()
    room.must("provision")

    assert code in {0, 1}
    assert code == 0 or "driver failed programming" in output
    assert room.said() == OWN


# -- the engine and its parts die -------------------------------------------------------------


def containerd_of(engine: PrivateEngine) -> int:
    """Find the one containerd that this very engine started."""
    return int((engine.directory / "exec/containerd/containerd.pid").read_text("ascii"))


def test_containerd_killed_comes_back_and_so_does_everybody(room: Class) -> None:
    """F10: the engine starts its containerd again; provision finds every seat on its own."""
    before = room.engine.containers()

    subprocess.run(
        ["kill", f"-{signal.SIGKILL.value}", str(containerd_of(room.engine))], check=True
    )
    output = ""
    for _ in range(3):
        code, output = room.run("provision")
        if code == 0:
            break

    assert code == 0, output
    assert room.said() == OWN
    assert room.engine.containers() == before


def test_teardown_killed_while_an_app_is_deaf_to_its_end_is_made_up_for_by_one_provision(
    room: Class,
) -> None:
    """F48: the engine goes on to kill what the dead command named; the next one does not wait to see.

    For three seconds more the app answers as if nothing were to happen to it.
    """
    with instead(room.engine, room.roster, {"dan": DEAF}):
        room.must("provision")
        before = ids(room)
        room.proxy.befall()
        with room.begin(*DOWN) as command:
            while not any(f"{before['dan']}/stop" in request for request in room.proxy.requests):
                assert command.poll() is None
                time.sleep(0.005)
            command.kill()

        output = room.must("provision")
        after = ids(room)
        said = room.said()

    assert "an interrupted command had begun to remove" in output
    assert before["dan"] not in after.values()
    assert said == OWN


def ids(room: Class) -> dict[str, str]:
    """Map everybody to the id of the container."""
    with contextlib.closing(room.engine.client()) as client:
        listed = client.containers(all=True)
    return {item["Names"][0].rpartition("-")[2]: item["Id"] for item in listed}


def test_provision_asks_no_nameserver(room: Class, tmp_path: Path) -> None:
    """F35: the only nameserver never answers; whose images are here gets a class all the same."""
    room.must(*DOWN)
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.9\noptions timeout:1 attempts:1\n", "ascii")
    bind = f'mount --bind {resolver} /etc/resolv.conf && exec "$0" "$@"'
    ahead = ("unshare", "--mount", "sh", "-c", bind)
    silent = room.engine.inside(_never_answering, "127.0.0.9")
    assert isinstance(silent, socket.socket)
    with contextlib.closing(silent):
        with room.engine.begin(room.roster, "provision", ahead=ahead) as command:
            output, _ = command.communicate(timeout=120)
        asked = _heard(silent)
        # The control: in these surroundings a name is asked for there, and nowhere else.
        word = [
            *("nsenter", f"--net={room.engine.namespace}"),
            *ahead,
            "getent",
            "hosts",
            "example.org",
        ]
        unknown = subprocess.run(word, check=False, capture_output=True)

        assert command.returncode == 0, output
        assert asked == 0
        assert unknown.returncode != 0
        assert _heard(silent) > 0
    assert room.said() == OWN


def _never_answering(address: str) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind((address, 53))
    found.setblocking(False)
    return found


def _heard(silent: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while silent.recv(512):
            count += 1
    return count


# -- the edge ---------------------------------------------------------------------------------


def test_edge_removed_by_hand_comes_back(room: Class) -> None:
    """F18: the container is gone, another process has its place; provision makes a new one."""
    with contextlib.closing(room.engine.client()) as client:
        client.remove_container(f"{room.name}-edge", force=True)

    assert set(room.said().values()) == {""}
    room.must("provision")
    assert room.said() == OWN


@pytest.mark.parametrize(
    "damage", ["removed", "garbled", "link removed", "all removed", "file removed"]
)
def test_edge_files_damaged_by_hand_are_put_right(room: Class, damage: str) -> None:
    """F19: nginx serves on from memory; provision lays the files anew before anybody restarts it."""
    edge = room.roster.parent / ".workshop/edge"
    current = edge / "current"
    release = current.resolve()
    if damage == "removed":
        subprocess.run(["rm", "-r", release], check=True)
    elif damage == "garbled":
        (release / "nginx.conf").write_text("this { is not nginx", "utf-8")
    elif damage == "link removed":
        current.unlink()
    elif damage == "file removed":
        (release / "nginx.conf").unlink()
    else:
        subprocess.run(["rm", "-r", edge / "releases", current], check=True)
    assert room.said() == OWN

    room.must("provision")
    with contextlib.closing(room.engine.client()) as client:
        client.restart(f"{room.name}-edge", timeout=3)
    deadline = time.monotonic() + 60
    while room.said() != OWN and time.monotonic() < deadline:
        time.sleep(0.1)

    assert room.said() == OWN


def test_refused_candidate_leaves_the_old_files_and_the_old_edge(room: Class) -> None:
    """F19: nginx says no; not a byte of what serves has changed, and the exit code says so."""
    edge = room.roster.parent / ".workshop/edge"
    before = tree(edge)
    room.proxy.befall(Rule(Reply(500, "no room to run nginx -t"), "POST", "/exec", times=None))
    text = room.roster.read_text("utf-8")
    room.roster.write_text(text.replace("  llm: false", "  title: Other\n  llm: false"), "utf-8")

    code, output = room.run("provision")
    after = tree(edge)
    room.proxy.befall()
    room.roster.write_text(text, "utf-8")

    assert code == 1, output
    assert "no room to run nginx -t" in output
    assert before.items() <= after.items()
    assert room.said() == OWN
    room.must("provision")


def tree(directory: Path) -> dict[str, bytes]:
    """Read every file and every link below ``directory``."""
    return {
        str(path.relative_to(directory)): (
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        )
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_taken_port_is_told_with_its_holder_before_anything_is_made(room: Class) -> None:
    """F22: who holds it is named, and the engine has nothing of ours."""
    room.must(*DOWN)
    holder = subprocess.Popen(
        [
            *("nsenter", f"--net={room.engine.namespace}", "python3", "-c"),
            LISTEN,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        code, output = room.run("provision")
    finally:
        holder.communicate()

    assert code == 1, output
    assert re.search(rf"port {PORT} is taken by .*python3.*nothing was created", output), output
    assert room.engine.containers() == {}
    with contextlib.closing(room.engine.client()) as client:
        assert client.networks(names=[f"{room.name}-open-0"]) == []


# -- one of the class -------------------------------------------------------------------------


def test_one_bad_image_is_named_and_takes_nothing_from_anybody(room: Class) -> None:
    """F15: an image that cannot be had is one seat's trouble, and what ran there runs on."""
    own = room.roster.parent
    text = room.roster.read_text("utf-8")
    lines = text.replace("  - carol\n", "  - {name: carol, image: 'nobody.example.org/none:1'}\n")
    room.roster.write_text(lines, "utf-8")
    (own / ".env").write_text("WORKSHOP_READY_SECONDS=6\n", "utf-8")
    (own / ".env").chmod(0o600)
    try:
        code, output = room.run("provision")
        again, _ = room.run("provision")
        status, table = room.run("status")
        pages = {name: page(room, name) for name in NAMES}
        said = room.said()
    finally:
        room.roster.write_text(text, "utf-8")
        (own / ".env").unlink()

    assert code == again == 1, output
    assert re.search(r"carol.*(fail|cannot)", output)
    assert status == 0, table
    assert said == OWN
    assert pages["carol"][0] == 200
    room.must("provision")
    assert room.said() == OWN


def test_broken_apps_are_named_each_with_its_fault_and_take_nothing_from_anybody(
    room: Class,
) -> None:
    """F15, F16: one crashes again and again, one never listens, one is never well; Ada is served."""
    before = room.engine.containers()
    settings = room.roster.parent / ".env"
    settings.write_text("WORKSHOP_READY_SECONDS=4\n", "utf-8")
    settings.chmod(0o600)
    ada = ids(room)["ada"]
    with instead(room.engine, room.roster, {"bob": CRASHES, "carol": SILENT, "dan": UNWELL}):
        code, output = room.run("provision")
        status, table = room.run("status")
        pages = {name: page(room, name) for name in NAMES}
        still = ids(room)["ada"]
        settings.unlink()

    assert code == 1, output
    assert re.search(r"bob.*exits at once: the database is not where I was told", output), output
    assert re.search(r"carol.*does not answer on port 8000 after 4 s: nothing listens", output), (
        output
    )
    assert re.search(r"dan.*after 4 s: /healthz answers 503", output), output
    assert status == 1
    assert re.search(r"bob +crashing", table), table
    assert "1 of 4 live" in table
    assert still == ada
    assert [pages[name][0] for name in NAMES] == [200, 503, 503, 503]
    assert all("This app is not answering" in pages[name][1] for name in ("bob", "carol"))
    assert room.said() == OWN
    assert room.engine.containers() == before, "everybody keeps the slot"


def page(room: Class, name: str) -> tuple[int, str]:
    """Get a seat's page through the edge, as a browser would."""
    command = ["curl", "-s", "-w", "%{http_code}", f"http://localhost:{PORT}/{name}/"]
    done = subprocess.run(
        ["nsenter", f"--net={room.engine.namespace}", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout[-3:]), done.stdout[:-3]


def test_teardown_of_a_troubled_class_leaves_nothing(room: Class) -> None:
    """After all of this the inventory is empty."""
    assert "leftovers: 0" in room.must("teardown", "--yes")
    with contextlib.closing(room.engine.client()) as client:
        assert client.containers(all=True) == []
        assert client.images() == []
        own = {"bridge", "host", "none"}
        assert [net["Name"] for net in client.networks() if net["Name"] not in own] == []
    assert room.engine.bridges() == []
