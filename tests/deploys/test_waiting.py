"""How quickly the wait for a candidate says yes or no, with an engine that does as it is told."""

# ruff: noqa: ARG002 - the protocol names its parameters
from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port
from workshop.deploys.diagnosis.candidate import Superseded, await_ready, start_refused
from workshop.deploys.diagnosis.evidence import ContainerState, Listening
from workshop.deploys.failure import DeployFailed
from workshop.errors import EngineError, EngineUnreachable, NotFound
from workshop.labels import Role
from workshop.limits import Limits
from workshop.specs import ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = ContainerState(running=True, directory="/srv")
ENDED = ContainerState(running=False, exit_code=3, restarts=1, directory="/srv")
AT_ONCE = 1.5
"""Seconds: a third of one where nothing else runs; the next look would end after three."""


@dataclass
class ScriptedRemains:
    """An engine whose answers are written down; the last of each is repeated."""

    states: deque[ContainerState | Exception] = field(default_factory=lambda: deque([RUNS]))
    sockets: deque[list[Listening] | Exception] = field(default_factory=lambda: deque([[]]))
    lines: list[str] = field(default_factory=list)
    sockets_take: float = 0.0
    looks: int = 0

    def state(self, container_id: str) -> ContainerState:
        """Take the next state."""
        return _next(self.states)

    def log(self, container_id: str, tail: int) -> list[str]:
        """Return the lines."""
        return self.lines[-tail:]

    def listening(self, container_id: str) -> list[Listening]:
        """Take the next sockets."""
        self.looks += 1
        time.sleep(self.sockets_take)
        return _next(self.sockets)

    def files(self, container_id: str, directory: str) -> list[str]:
        """There are none."""
        return []

    def text(self, container_id: str, path: str) -> str | None:
        """There is none."""
        return None


def _next(answers: deque[Any]) -> Any:
    answer = answers.popleft() if len(answers) > 1 else answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


class App:
    """A little app that listens from when it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.whoami: dict[str, str] = {"participant": "ada", "version": "v7"}
        self.status = 200
        self.began = 0.0
        self._server: ThreadingHTTPServer | None = None

    def listen(self) -> None:
        """Begin to answer."""
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(app.whoami).encode()
                self.send_response(app.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.began = time.monotonic()
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def close(self) -> None:
        """End."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture
def app() -> Iterator[App]:
    """Make an app that does not listen yet."""
    made = App()
    yield made
    made.close()


def spec(app: App) -> ContainerSpec:
    """Specify ada's seat at the app's port."""
    return ContainerSpec(
        role=Role.SEAT,
        key="ada",
        name="class-ada",
        image="class/app:1",
        version="v7",
        limits=Limits(),
        env={"WORKSHOP_VERSION": "v7"},
        address="127.0.0.1",
        port=app.port,
    )


def wait(app: App, remains: ScriptedRemains, seconds: float = 20, **more: Any) -> float:
    """Wait for the app; returns how long it took."""
    started = time.monotonic()
    stop = more.get("stop", lambda: False)
    await_ready(spec(app), "abc", remains, seconds=seconds, stop=stop)
    return time.monotonic() - started


def refuse(app: App, remains: ScriptedRemains, seconds: float = 20) -> tuple[str, float]:
    """Wait for an app that will not become ready; returns the cause and how long it took."""
    started = time.monotonic()
    with pytest.raises(DeployFailed) as failed:
        wait(app, remains, seconds)
    return failed.value.finding.cause, time.monotonic() - started


@pytest.mark.parametrize("after", [0.3, 1.5, 4.0])
def test_success_is_noticed_at_once(app: App, after: float) -> None:
    """However long an app takes to start, its first answer is seen within 50 milliseconds."""
    timer = threading.Timer(after, app.listen)
    timer.start()
    wait(app, ScriptedRemains())
    noticed = time.monotonic() - app.began

    # Beyond the pause between two questions: three short talks and the machine's other work.
    assert noticed < 0.05 + 0.3


def test_slow_look_at_the_sockets_does_not_hold_success_up(app: App) -> None:
    """The helper's container may take its time; nobody waits for it any more."""
    timer = threading.Timer(3.3, app.listen)
    timer.start()
    wait(app, ScriptedRemains(sockets_take=2.0))

    assert time.monotonic() - app.began < AT_ONCE


def test_end_is_noticed_at_once(app: App) -> None:
    """An app that has ended is given up long before those that are silent."""
    cause, took = refuse(app, ScriptedRemains(states=deque([RUNS, ENDED])))

    assert cause == "exits-at-once"
    assert took < AT_ONCE


def test_end_that_is_seen_while_it_runs_again_keeps_its_status(app: App) -> None:
    """Between two ends the engine says "running": the status is what was seen before."""
    again = ContainerState(running=True, restarts=1, directory="/srv")
    remains = ScriptedRemains(states=deque([again, again, ENDED, again]))
    with pytest.raises(DeployFailed) as failed:
        wait(app, remains)

    assert "exit status 3" in failed.value.finding.message


def test_start_that_flickers_is_not_an_end(app: App) -> None:
    """The engine may say "not running" once, of a container that has not quite started."""
    starting = ContainerState(running=False, exit_code=0)
    timer = threading.Timer(0.6, app.listen)
    timer.start()

    assert wait(app, ScriptedRemains(states=deque([starting, RUNS]))) < 2


def test_memory_that_ran_out_is_told_at_once(app: App) -> None:
    """The kernel's word is enough."""
    killed = ContainerState(running=False, exit_code=137, out_of_memory=True, restarts=1)
    cause, took = refuse(app, ScriptedRemains(states=deque([killed])))

    assert cause == "out-of-memory"
    assert took < AT_ONCE


def test_server_whose_worker_is_killed_again_and_again_is_told(app: App) -> None:
    """A server that outlives its workers never ends, and never answers."""
    starved = ContainerState(running=True, out_of_memory=True)
    cause, took = refuse(app, ScriptedRemains(states=deque([starved])))

    assert cause == "out-of-memory"
    assert 2.5 < took < 15


def test_app_that_breaks_down_after_its_first_answer_is_not_ready(app: App) -> None:
    """The container is looked at once more when the app has answered."""
    app.listen()

    assert refuse(app, ScriptedRemains(states=deque([ENDED])))[0] == "exits-at-once"


def test_wrong_port_is_told_after_two_looks(app: App) -> None:
    """Three seconds of silence, a look, two more seconds, a second look."""
    remains = ScriptedRemains(sockets=deque([[Listening("0.0.0.0", 5000)]]))
    cause, took = refuse(app, remains)

    assert cause == "listens-on-another-port"
    assert remains.looks == 2
    assert 4.9 < took < 15


def test_port_that_changes_between_two_looks_is_waited_for(app: App) -> None:
    """What was wrong once and is gone the second time proves nothing."""
    wrong = [Listening("127.0.0.1", app.port)]
    remains = ScriptedRemains(sockets=deque([wrong, []]))
    timer = threading.Timer(6, app.listen)
    timer.start()

    assert wait(app, remains) > 5.9


def test_app_that_listens_nowhere_is_given_its_whole_time(app: App) -> None:
    """Silence alone is no reason to stop early."""
    cause, took = refuse(app, ScriptedRemains(), seconds=6.5)

    assert cause == "silent"
    assert 6.4 < took < 15


def test_app_that_is_not_ready_yet_may_become_so(app: App) -> None:
    """A 503 while it warms up is an answer, and no reason to look further."""
    app.status = 503
    app.listen()
    remains = ScriptedRemains()

    def warm() -> None:
        app.status = 200

    threading.Timer(4, warm).start()

    assert 3.9 < wait(app, remains) < 5
    assert remains.looks == 0


def test_app_that_never_is_ready_is_told_what_it_answers(app: App) -> None:
    """The status and the body's first line are the evidence."""
    app.status = 503
    app.listen()
    with pytest.raises(DeployFailed) as failed:
        wait(app, ScriptedRemains(), seconds=1)

    assert failed.value.finding.cause == "not-ready"
    assert failed.value.finding.evidence[0] == "GET /healthz: 503"


@pytest.mark.parametrize(
    "said", [{"participant": "bob", "version": "v7"}, {"participant": "ada", "version": "v6"}]
)
def test_wrong_identity_is_told(app: App, said: dict[str, str]) -> None:
    """A name or version that is written into the code is another app's."""
    app.whoami = said
    app.listen()

    assert refuse(app, ScriptedRemains())[0] == "wrong-identity"


def test_app_without_whoami_passes(app: App) -> None:
    """Somebody's own app need not say who it is, nor have /healthz."""
    app.status = 404
    app.listen()

    assert wait(app, ScriptedRemains()) < 1


@pytest.mark.parametrize("after", [0.0, 0.5, 3.2])
def test_wish_to_stop_is_heard_at_once(app: App, after: float) -> None:
    """Even in the middle of a look at the sockets, giving up takes a fifth of a second."""
    wished = threading.Event()
    threading.Timer(after, wished.set).start()
    started = time.monotonic()
    with pytest.raises(Superseded):
        wait(app, ScriptedRemains(sockets_take=2.0), stop=wished.is_set)

    assert time.monotonic() - started < after + 0.2 + 0.1


@pytest.mark.parametrize("error", [EngineError("busy"), NotFound("no such image: base")])
def test_engine_that_stumbles_is_asked_again(app: App, error: Exception) -> None:
    """One call that fails is nobody's fault."""
    states: deque[ContainerState | Exception] = deque([EngineUnreachable("busy"), RUNS])
    remains = ScriptedRemains(states, deque([error, []]))
    threading.Timer(3.5, app.listen).start()

    assert wait(app, remains) > 3


@pytest.mark.parametrize("error", [NotFound("gone"), EngineUnreachable("gone")])
def test_engine_that_cannot_say_is_an_engine_error(app: App, error: Exception) -> None:
    """No app is blamed for what the engine does not know."""
    with pytest.raises(type(error)):
        wait(app, ScriptedRemains(states=deque([error])), seconds=1)


def test_refusal_is_explained_in_the_engines_words(app: App) -> None:
    """A container that was never started has a finding as well."""
    words = 'exec: "start.sh": executable file not found in $PATH'

    assert start_refused(spec(app), words).finding.cause == "no-such-file"
    assert start_refused(spec(app), "no space left on device").finding.cause == "start-refused"


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-hello\r\n\r\n", b"\x00" * 100_000, b"", b"HTTP/1.1 200 OK\r\n"]
)
def test_anything_that_is_not_http_is_not_ready(app: App, answer: bytes) -> None:
    """Whatever comes out of the port, it is an answer or it is not."""
    with socket.create_server(("127.0.0.1", app.port)) as door:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = door.accept()
                    with contextlib.suppress(OSError), visitor:
                        visitor.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        remains = ScriptedRemains(sockets=deque([[Listening("0.0.0.0", app.port)]]))
        cause, _ = refuse(app, remains, seconds=1)
        door.shutdown(socket.SHUT_RDWR)
    thread.join()

    assert cause == "not-ready"
