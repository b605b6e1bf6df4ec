"""An engine in trouble, verb by verb: asked again where that is safe, told clearly where not.

Between the client and the real engine stands a proxy that stalls, cuts and lies.
"""

from __future__ import annotations

import contextlib
import gc
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.scene import seat
from tests.faults.fault_proxy import (
    BROKEN,
    IN_PROGRESS,
    MALFORMED,
    TRUNCATED,
    CutAnswer,
    CutRequest,
    Drop,
    FaultProxy,
    Raw,
    Reply,
    Rule,
    Slow,
    Stall,
)
from tests.waiting import SOON
from workshop.engines import connection, execution
from workshop.engines.docker import DockerEngine
from workshop.errors import BuildFailed, EngineError, EngineUnreachable, WorkshopError
from workshop.labels import Role
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.fault_proxy import Fault
    from workshop.specs import NetworkSpec, Owner

pytestmark = pytest.mark.engine

PATIENCE = 2
"""Seconds a call may be silent in these tests, where the product grants thirty."""
CUTS: tuple[Fault, ...] = (Drop(), CutAnswer(0), CutAnswer(40), CutAnswer(160))
LOSSES: tuple[Fault, ...] = (*CUTS, BROKEN, Reply(500, "done, but who knows", done=True))


def names(faults: tuple[Fault, ...]) -> list[str]:
    """Name the cases after what befalls them."""
    return [str(fault).partition(", done")[0] for fault in faults]


@pytest.fixture(scope="module")
def proxy(docker_engine: Any) -> Iterator[FaultProxy]:
    """Stand between the tests and the machine's engine."""
    del docker_engine
    socket = Path("/var/tmp", f"wsproxy-{uuid.uuid4().hex[:8]}")
    with FaultProxy(Path("/var/run/docker.sock"), socket) as standing:
        yield standing
    socket.unlink()


@pytest.fixture
def engine(docker_engine: Any) -> DockerEngine:
    """Prepare and clean up without the proxy."""
    found: DockerEngine = docker_engine
    return found


@pytest.fixture
def troubled(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    """Reach the engine through the proxy, with short pauses between tries."""
    proxy.befall()
    monkeypatch.setattr(connection, "_PAUSES", (0.01, 0.02, 0.05, 0.1))
    with contextlib.closing(DockerEngine(base_url=proxy.endpoint)) as found:
        proxy.befall()
        yield found


@pytest.fixture
def hasty(troubled: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    """Leave the engine little time, once everything stands."""
    troubled._api.timeout = troubled._slow.timeout = PATIENCE
    monkeypatch.setattr(execution, "CALL_SECONDS", PATIENCE)
    return troubled


@pytest.fixture
def running(engine: DockerEngine, owner: Owner, base: str, network: NetworkSpec) -> str:
    """Start one seat and return its id."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    return container


@pytest.fixture
def recipe(owner: Owner, base: str, tmp_path: Path) -> ImageSpec:
    """Write a source that takes more than one packet to upload."""
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY big /big\n")
    (tmp_path / "big").write_bytes(bytes(200_000))
    return ImageSpec(f"{owner.workshop}/app:1", Role.APP, base=base, context=tmp_path)


# -- done once, whatever happens on the way ---------------------------------------------------


@pytest.mark.parametrize("fault", LOSSES, ids=names(LOSSES))
@pytest.mark.usefixtures("network")
def test_container_is_created_once_and_found_again(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, base: str, fault: Fault
) -> None:
    """Whether the engine had done it or not, there is one, and its id is known."""
    proxy.befall(Rule(fault, "POST", "/containers/create"))

    container = troubled.create(seat(owner, base), owner)

    assert len(proxy.befallen) == 1
    assert [item.id for item in troubled.observe(owner.workshop).containers] == [container]


@pytest.mark.parametrize("fault", LOSSES, ids=names(LOSSES))
def test_network_is_created_once(
    troubled: DockerEngine,
    proxy: FaultProxy,
    owner: Owner,
    network: NetworkSpec,
    fault: Fault,
) -> None:
    """The engine would create a second one of the same name; it must not be asked to."""
    for item in troubled.observe(owner.workshop).networks:
        troubled.remove_network(item.id)
    proxy.befall(Rule(fault, "POST", "/networks/create"))

    troubled.create_network(network, owner)

    assert len(proxy.befallen) == 1
    assert [item.name for item in troubled.observe(owner.workshop).networks] == [network.name]
    for item in troubled.observe(owner.workshop).networks:
        troubled.remove_network(item.id)


@pytest.mark.parametrize("fault", LOSSES, ids=names(LOSSES))
def test_looking_starting_and_removing_go_on(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, running: str, fault: Fault
) -> None:
    """Each of them meets the fault once, and the caller notices nothing."""
    proxy.befall(
        Rule(fault, "POST", "/start"),
        Rule(fault, "GET", "/containers/json"),
        Rule(fault, "GET", "/images/json"),
        Rule(fault, "GET", "/networks"),
        Rule(fault, "POST", "/stop"),
        Rule(fault, "DELETE", "/containers/"),
    )

    troubled.start(running)
    seen = troubled.observe(owner.workshop)
    troubled.remove(running)

    assert len(proxy.befallen) == 6
    assert [item.id for item in seen.containers] == [running]
    assert troubled.observe(owner.workshop).containers == ()


def test_removal_under_way_is_waited_for(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, running: str
) -> None:
    """Somebody else is removing it: that is no failure once it is gone."""
    proxy.befall(Rule(IN_PROGRESS, "DELETE", "/containers/", times=3))

    troubled.remove(running)

    assert len(proxy.befallen) == 3
    assert troubled.observe(owner.workshop).containers == ()


def test_name_freed_late_is_waited_for(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """The engine gives a name back a moment after the container has gone (moby #37698)."""
    taken = Reply(409, "Conflict. The container name is already in use by container abc")
    proxy.befall(Rule(taken, "POST", "/containers/create", times=2))

    container = troubled.create(seat(owner, base), owner)

    assert [item.id for item in troubled.observe(owner.workshop).containers] == [container]


def test_network_whose_members_leave_is_removed_after_a_while(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, network: NetworkSpec
) -> None:
    """The count of endpoints lags behind; the engine is asked again."""
    busy = Reply(403, "error while removing network: network n id i has active endpoints")
    proxy.befall(Rule(busy, "DELETE", "/networks/", times=2))

    troubled.remove_network(troubled.observe(owner.workshop).networks[0].id)

    assert len(proxy.befallen) == 2
    assert troubled.observe(owner.workshop).networks == ()


@pytest.mark.parametrize("fault", [CutRequest(0), CutRequest(3000), Drop(), BROKEN], ids=repr)
def test_build_cut_in_its_upload_is_built_once_more(
    troubled: DockerEngine,
    proxy: FaultProxy,
    owner: Owner,
    recipe: ImageSpec,
    fault: Fault,
) -> None:
    """The second build ends in one image and leaves nothing of the first."""
    spec = recipe
    proxy.befall(Rule(fault, "POST", "/build"))

    troubled.build(spec, {"workshop.name": owner.workshop, "workshop.role": "app"})

    assert len(proxy.befallen) == 1
    assert spec.tag in {image.tag for image in troubled.observe(owner.workshop).images}


def test_image_loaded_twice_is_there_once(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, base: str, rootfs: Path
) -> None:
    """The import was done before the answer was lost; it is not done again."""
    del base
    tag = f"{owner.workshop}/rootfs:1"
    marks = {"workshop.name": owner.workshop, "workshop.role": "app"}
    proxy.befall(Rule(CutAnswer(0), "POST", "/images/create"))

    troubled.load_rootfs(rootfs, tag, marks, {})

    uploads = [request for request in proxy.requests if "/images/create" in request]
    assert len(uploads) == 1
    assert tag in {image.tag for image in troubled.observe(owner.workshop).images}


@pytest.mark.parametrize("fault", [*CUTS, CutAnswer(220)], ids=repr)
def test_command_in_a_container_runs_once_and_tells_how_it_ended(
    troubled: DockerEngine, proxy: FaultProxy, running: str, fault: Fault
) -> None:
    """A lost connection is no exit code: the engine is asked for the real one."""
    proxy.befall(Rule(fault, "POST", "/exec/[0-9a-f]+/start"))

    code, _ = troubled.run(running, ["sh", "-c", "echo once >> /tmp/runs; exit 7"])
    _, runs = troubled.run(running, ["cat", "/tmp/runs"])

    assert len(proxy.befallen) == 1
    assert code == 7
    assert runs == "once\n"


# -- what cannot be mended is told, in bounded time -------------------------------------------


def verbs(engine: DockerEngine, owner: Owner, container: str) -> dict[str, Any]:
    """Every verb, as a call that meets the engine at least once."""
    return {
        "info": engine.info,
        "observe": lambda: engine.observe(owner.workshop),
        "leftovers": lambda: engine.leftovers(owner.workshop),
        "create": lambda: engine.create(seat(owner, f"{owner.workshop}/base:1", "bob", 1), owner),
        "start": lambda: engine.start(container),
        "restart": lambda: engine.restart(container),
        "run": lambda: engine.run(container, ["true"]),
        "logs": lambda: list(engine.logs(container, tail=1)),
        "remove_image": lambda: engine.remove_image(f"{owner.workshop}/none:1"),
        "remove": lambda: engine.remove(container),
    }


@pytest.mark.parametrize(
    "fault", [Drop(), CutAnswer(0), BROKEN, MALFORMED, TRUNCATED, Raw(b"\x00\x01\r\n\r\n")], ids=str
)
def test_fault_that_stays_ends_every_verb_in_an_error_of_ours(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, running: str, fault: Fault
) -> None:
    """No foreign exception passes the seam, and nobody waits."""
    for name, call in verbs(troubled, owner, running).items():
        proxy.befall(Rule(fault, times=None))
        begun = time.monotonic()
        try:
            call()
        except WorkshopError as exc:
            assert exc.message, name
            assert time.monotonic() - begun < SOON, name
        else:
            # Who asks for no body believes the status.
            believed = fault is MALFORMED and name in {"start", "restart", "remove"}
            assert believed, f"{name} said nothing about {fault}"
    proxy.befall()


def test_silent_engine_ends_every_verb_in_time(
    hasty: DockerEngine, proxy: FaultProxy, owner: Owner, running: str
) -> None:
    """A hung engine is asked once: an engine that hangs would hang again."""
    slow = {"restart"}  # the engine is granted the time it grants the app
    for name, call in verbs(hasty, owner, running).items():
        if name in {"logs", "remove"}:
            continue  # a quiet log is no silent engine; remove begins as restart does
        proxy.befall(Rule(Stall(), times=None))
        begun = time.monotonic()
        with pytest.raises(EngineUnreachable, match="did not answer within"):
            call()
        assert time.monotonic() - begun < (8 if name in slow else 4), name
    proxy.befall()


def test_silent_command_in_a_container_is_given_up(
    hasty: DockerEngine, proxy: FaultProxy, running: str
) -> None:
    """The engine took the command and says nothing more: the SDK alone would wait for ever."""
    proxy.befall(Rule(Stall(), "POST", "/exec/[0-9a-f]+/start"))

    with pytest.raises(EngineUnreachable, match="did not answer within"):
        hasty.run(running, ["true"])


def test_slow_engine_is_merely_slow(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, running: str
) -> None:
    """Slower than usual and faster than silent is no fault."""
    proxy.befall(Rule(Slow(0.3), times=None))

    assert [item.id for item in troubled.observe(owner.workshop).containers] == [running]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_at_the_socket_is_told_at_once(proxy: FaultProxy) -> None:
    """Who has never heard the engine does not wait for it."""
    proxy.refuse()
    try:
        begun = time.monotonic()
        with pytest.raises(EngineUnreachable, match="no Docker engine answers"):
            DockerEngine(base_url=proxy.endpoint)
        assert time.monotonic() - begun < PATIENCE
    finally:
        proxy.listen()
        gc.collect()  # the SDK leaves a socket open when nobody listens


def test_failed_build_is_told_once(
    troubled: DockerEngine, proxy: FaultProxy, owner: Owner, base: str, tmp_path: Path
) -> None:
    """A Dockerfile that is wrong is not built again and again."""
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN false\n")
    spec = ImageSpec(f"{owner.workshop}/app:1", Role.APP, base=base, context=tmp_path)
    proxy.befall()

    with pytest.raises(BuildFailed):
        troubled.build(spec, {"workshop.name": owner.workshop})

    assert sum("/build" in request for request in proxy.requests) == 1


def test_foreign_container_of_the_name_is_not_taken_over(
    troubled: DockerEngine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """What bears other marks is somebody else's, whatever its name."""
    troubled.create(seat(owner, base, version="v0"), owner)

    with pytest.raises(EngineError):
        troubled.create(seat(owner, base), owner)
