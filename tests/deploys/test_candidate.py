"""Broken apps in real containers are named correctly; slow ones are waited for."""

from __future__ import annotations

import dataclasses
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploys.broken.apps import APPS, WORKING, App, main
from tests.deploys.broken.stage import SECRET, Stage, stage
from workshop.deploys.diagnosis.candidate import Ready, await_ready, start_refused
from workshop.deploys.failure import DeployFailed
from workshop.errors import EngineError, NotFound
from workshop.intake.orders import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

SECONDS = 9.0
"""Long enough for the two looks that prove a wrong port."""


@pytest.fixture(scope="module")
def scene(docker_engine: Any) -> Iterator[Stage]:
    """Set the stage."""
    with stage(docker_engine, f"t{uuid.uuid4().hex[:10]}") as found:
        yield found


def never() -> bool:
    """Let it take its time."""
    return False


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor said, and when."""

    finding: Finding
    seconds: float


def diagnose(scene: Stage, app: App) -> Diagnosis:
    """Run an app until the doctor speaks."""
    spec = scene.specify(app.name, scene.build(app), command=app.command, **app.spec)
    try:
        container = scene.create(spec, app.sysctls)
        started = time.monotonic()
        scene.engine.start(container)
        await_ready(spec, container, scene.remains, seconds=SECONDS, stop=never)
    except DeployFailed as failed:
        return Diagnosis(failed.finding, time.monotonic() - started)
    except EngineError as refused:
        return Diagnosis(start_refused(spec, refused.message).finding, 0.0)
    finally:
        scene.remove(container)
    return Diagnosis(Finding("ready", "", (), ""), time.monotonic() - started)


@pytest.fixture(scope="module")
def diagnoses(scene: Stage) -> dict[str, Diagnosis]:
    """Run all broken apps, some at a time."""
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda app: diagnose(scene, app), APPS)
        return {app.name: item for app, item in zip(APPS, found, strict=True)}


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_broken_app_is_named_correctly(app: App, diagnoses: dict[str, Diagnosis]) -> None:
    """The cause is the right one, and the words name what was seen."""
    found = diagnoses[app.name].finding

    assert found.cause == app.cause, found
    text = "\n".join((found.message, *found.evidence, found.next))
    for words in app.words:
        assert words in text, found
    assert found.next
    assert SECRET not in text


def test_every_cause_has_a_broken_app() -> None:
    """No cause the rules can give is without a real app that has it."""
    import re
    from pathlib import Path

    from workshop.deploys.diagnosis import words

    rules = Path(words.__file__).parent
    text = "".join(
        (rules / f"{name}.py").read_text("utf-8")
        for name in ("causes", "files", "findings", "imports")
    )
    known = set(re.findall(r'evidence,\s+"([a-z0-9-]+)",', text))

    assert {app.cause for app in APPS} == known
    assert len(known) == 17


def test_nothing_is_left_of_the_helpers(scene: Stage, diagnoses: dict[str, Diagnosis]) -> None:
    """The containers that looked at sockets are gone."""
    label = f"workshop.helper={scene.owner.workshop}"

    assert scene.engine._api.containers(all=True, filters={"label": label}) == []


def test_working_app_is_ready_soon(scene: Stage) -> None:
    """Success comes with the first answer; nothing is looked at that would cost time."""
    app = App("works", "", WORKING)
    spec = scene.specify(app.name, scene.build(app))
    with scene.running(spec) as container:
        ready = await_ready(spec, container, scene.remains, seconds=30, stop=never)

    assert isinstance(ready, Ready)
    assert ready.seconds < 15


def test_slow_starter_passes(scene: Stage) -> None:
    """An app that listens nowhere for longer than the doctor is patient is still waited for."""
    app = App("slow", "", main("import time, server\ntime.sleep(4)\nserver.serve()\n"))
    spec = scene.specify(app.name, scene.build(app))
    with scene.running(spec) as container:
        ready = await_ready(spec, container, scene.remains, seconds=30, stop=never)

    assert 3 < ready.seconds < 20


def test_app_that_warms_up_on_localhost_passes(scene: Stage) -> None:
    """Where it listens wrongly at the first look and rightly at the second, it was no mistake."""
    text = """
        import threading, time, server
        from http.server import ThreadingHTTPServer
        early = ThreadingHTTPServer(("127.0.0.1", 9000), server.Handler)
        threading.Thread(target=early.serve_forever, daemon=True).start()
        time.sleep(4)
        server.serve()
    """
    app = App("warms-up", "", main(text))
    spec = scene.specify(app.name, scene.build(app))
    with scene.running(spec) as container:
        ready = await_ready(spec, container, scene.remains, seconds=30, stop=never)

    assert ready.seconds > 3


def test_container_that_is_gone_is_an_engine_error(scene: Stage) -> None:
    """Nobody's app is blamed for a container somebody removed."""
    spec = scene.specify("gone", "nothing")

    with pytest.raises(NotFound):
        await_ready(spec, "0" * 64, scene.remains, seconds=5, stop=never)


def test_files_are_read_without_running_anything(scene: Stage) -> None:
    """The participant's files are listed, requirements are read, what is missing is none."""
    app = App("files", "", main("import time; time.sleep(60)\n", requirements__txt="flask\n"))
    spec = scene.specify(app.name, scene.build(app))
    with scene.running(spec) as container:
        files = scene.remains.files(container, "/srv")
        text = scene.remains.text(container, "/srv/requirements.txt")
        missing = scene.remains.text(container, "/srv/nothing.txt")
        root = scene.remains.files(container, "/")

    assert files == ["Dockerfile", "main.py", "requirements.txt", "server.py"]
    assert (text, missing, root) == ("flask\n", None, [])


def test_sockets_are_found_in_an_image_without_a_shell(scene: Stage) -> None:
    """What listens is seen from outside; the engine's own name server is left out."""
    app = next(app for app in APPS if app.name == "localhost")
    spec = dataclasses.replace(scene.specify("sockets", scene.build(app)))
    with scene.running(spec) as container:
        deadline = time.monotonic() + 20
        while not (found := scene.remains.listening(container)):
            assert time.monotonic() < deadline

    assert [str(item) for item in found] == ["127.0.0.1:8000"]
