"""What every test may ask for: golden files, small workshops, and the real engine."""

from __future__ import annotations

import os
import random
import signal
import textwrap
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from workshop import roster as rosters
from workshop.board import config as board
from workshop.engines.memory import MemoryEngine
from workshop.gateway import config
from workshop.health import LOCAL, Answer
from workshop.intake import config as intake
from workshop.labels import Role
from workshop.subnets import BOARD_PORT, INTAKE_PORT
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from workshop.roster import Roster

GOLDEN = Path(__file__).parent / "golden"
SEED = "1"
"""What every run begins with that is not told otherwise."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this suite."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")
    parser.addoption(
        "--require-docker",
        action="store_true",
        help="a missing engine, nginx or browser is a failure",
    )
    parser.addoption(
        "--seed",
        default=SEED,
        metavar="WORD",
        help="what random draws begin with: every run draws alike unless another word is given",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let generated cases be the same in every run, as :func:`dice` does for drawn ones.

    A run that is red by chance tells nothing about the change it is for. New cases are looked for
    by ``--seed`` with another word and by ``make torture``.
    """
    settings.register_profile("fixed", derandomize=True)
    if config.getoption("--seed") == SEED:
        settings.load_profile("fixed")


def pytest_sessionstart() -> None:
    """Let programs that tests start heed Ctrl+C: what a shell runs in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their place: sessions side by side must call a test the same."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes long begin first, so that no session is left alone with it at the end."""
    items.sort(key=lambda item: [item.get_closest_marker(m) is None for m in ("slow", "engine")])


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with ``tests/golden/<name>``, or write it under ``--update-golden``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        assert path.is_file(), f"no golden file {name}; run make golden and read it"
        assert text == path.read_text("utf-8")

    return compare


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Draw at random, alike in every run with the same ``--seed``."""
    return random.Random(f"{request.config.getoption('--seed')} {request.node.name}")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make a directory a roster can stand in: it has the template app's outline."""
    template = tmp_path / "participant_template"
    template.mkdir()
    (template / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n", "utf-8")
    return tmp_path


@pytest.fixture
def parse(directory: Path) -> Callable[[str], Roster]:
    """Parse a roster text as if it stood in ``directory``."""
    return lambda text: rosters.parse(textwrap.dedent(text), directory / "participants.yaml")


_TOLD = {INTAKE_PORT: ("intake", "intake"), BOARD_PORT: ("board", "board/told")}
"""The part at a port, and the directory of what it is told."""
_LOAD: dict[str, Callable[[str], Any]] = {
    "gateway": config.load,
    "intake": intake.load,
    "board": board.load,
}


class TruthfulProbe:
    """A probe that answers from what a memory engine holds.

    ``silent`` are seats that never answer; ``lies`` maps a seat to the name it gives instead.
    """

    def __init__(self, engine: MemoryEngine, workshop: str) -> None:
        self.engine = engine
        self.workshop = workshop
        self.silent: set[str] = set()
        self.lies: dict[str, str] = {}
        self.edge_config: str | None = None

    def _running(self) -> dict[str, Any]:
        seen = self.engine.observe(self.workshop)
        return {item.key: item for item in seen.containers if item.state == "running"}

    async def ready(self, address: str, port: int, seconds: float) -> None:
        """Answer at once, or not at all."""
        del port, seconds
        for item in self._running().values():
            own = item.role in {Role.GATEWAY, Role.REGISTRY, Role.INTAKE, Role.BOARD}
            if item.key not in self.silent and (item.address == address or own):
                return
        from workshop.errors import NotReady

        raise NotReady("does not answer")

    async def get(self, port: int, path: str, host: str, address: str = LOCAL) -> Answer:
        """Answer as the edge in front of the engine would."""
        del port, address
        running = self._running()
        if path == "/healthz":
            return self._edge(running)
        label = host.partition(".")[0]
        name = label if path == "/whoami" and label in running else path.split("/")[1]
        if name not in running or name in self.silent:
            return Answer(503, {}, b"")
        said = self.lies.get(name, name)
        body = f'{{"participant": "{said}", "version": "{running[name].version}"}}'
        return Answer(200, {}, body.encode())

    async def ask(self, address: str, port: int, path: str) -> Answer:
        """Answer as the gateway, the intake or the board would, from the file it was given."""
        del address, path
        part, file = _TOLD.get(port, ("gateway", "gateway"))
        if part not in self._running():
            raise ConnectionRefusedError
        directory = Path(running_directory(self.engine, self.workshop))
        text = (directory / ".workshop" / file / "config.json").read_text("utf-8")
        told = _LOAD[part](text)
        return Answer(200, {}, f'{{"config": "{told.fingerprint}"}}'.encode())

    def _edge(self, running: dict[str, Any]) -> Answer:
        if "edge" not in running:
            raise ConnectionRefusedError
        return Answer(200, {}, f'{{"config": "{self._loaded()}"}}'.encode())

    def _loaded(self) -> str:
        directory = Path(running_directory(self.engine, self.workshop))
        return (directory / ".workshop/edge/current").readlink().name


def running_directory(engine: MemoryEngine, workshop: str) -> str:
    """Find the directory a workshop runs from."""
    return engine.observe(workshop).containers[0].directory


CLASS = """
workshop:
  name: class
  url: http://localhost:18999
  llm: false
  deploys: false
participants:
  - ada        # front row
  - bob
  # the back row
  - name: grace
    display_name: Grace Hopper
"""


@pytest.fixture
def work(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workshop of three on a memory engine."""
    for name in list(os.environ):
        if name.startswith("WORKSHOP_"):
            monkeypatch.delenv(name)
    path = directory / "participants.yaml"
    path.write_text(CLASS, "utf-8")
    engine = MemoryEngine()
    return Workspace(path, lambda: engine, TruthfulProbe(engine, "class"))


@pytest.fixture
def deploying(work: Workspace) -> Workspace:
    """Let the workshop of three deploy."""
    text = work.roster_path.read_text("utf-8").replace("  deploys: false\n", "")
    work.roster_path.write_text(text, "utf-8")
    return again(work)


def again(work: Workspace) -> Workspace:
    """Start the next command in the same place: nothing is cached, the engine is the same."""
    return Workspace(work.roster_path, lambda: work.engine, work.probe, work.emit)


@pytest.fixture
def next_command() -> Callable[[Workspace], Workspace]:
    """Hand out :func:`again`."""
    return again


@pytest.fixture(scope="session")
def docker_engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Reach the real engine; without one, skip with the reason, or fail under --require-docker."""
    from workshop.errors import EngineUnreachable
    from workshop.workspace import connect_docker

    try:
        engine = connect_docker()
        engine.info()
    except EngineUnreachable as exc:
        if request.config.getoption("--require-docker"):
            pytest.fail(f"--require-docker: {exc.message}")
        pytest.skip(exc.message)
    yield engine
    engine.close()
    from tests import layers

    layers.forget()


@pytest.fixture
def unique_name() -> str:
    """Make a workshop name nobody else uses."""
    return f"t{uuid.uuid4().hex[:10]}"


_BROWSERS = pytest.StashKey[list[Any]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a failure say what the test's browsers showed."""
    report = yield
    if report.failed and report.when != "teardown":
        for page in item.stash.get(_BROWSERS, []):
            report.sections.append(("browser", _seen(page)))
    return report


def _seen(page: Any) -> str:
    """Describe where a browser is, what its page reads and what its console says."""
    from selenium.common.exceptions import WebDriverException

    look = (
        "return [location.href, document.readyState, document.body?.innerText.slice(0, 500),"
        "...performance.getEntriesByType('resource').map((one) => one.responseStatus + ' '"
        " + Math.round(one.responseEnd) + ' ms ' + one.name)]"
    )
    try:
        lines = [*page.execute_script(look), *map(str, page.get_log("browser"))]
    except WebDriverException as exc:
        return f"it does not answer: {exc.msg}"
    return "\n".join(map(str, lines))


@pytest.fixture
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Start a headless Chromium on demand; without one, fail under --require-docker."""
    import shutil

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        if request.config.getoption("--require-docker"):
            pytest.fail(
                "chromium or chromedriver is missing; scripts/ensure-test-tools installs them"
            )
        pytest.skip("no chromium")
    started: list[Any] = []
    request.node.stash[_BROWSERS] = started

    def start() -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (
            *(
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'chromium'}"),
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        started.append(webdriver.Chrome(options=options, service=Service(driver)))
        return started[-1]

    yield start
    for page in started:
        page.quit()
