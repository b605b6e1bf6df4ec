"""What only a real engine can show: the wall around a seat, and what happens inside it."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import socket
import subprocess
import tarfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.engines.scene import place, seat
from tests.waiting import PATIENCE
from workshop.engines import seccomp
from workshop.engines.docker import DockerEngine
from workshop.errors import BuildFailed, EngineUnreachable
from workshop.labels import Role
from workshop.parts.wall import setter
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workshop.specs import NetworkSpec, Owner

pytestmark = pytest.mark.engine


@pytest.fixture
def engine(docker_engine: Any) -> DockerEngine:
    """Hand out the real engine."""
    found: DockerEngine = docker_engine
    return found


@pytest.fixture
def running(engine: DockerEngine, owner: Owner, base: str, network: NetworkSpec) -> str:
    """Start one seat and return its id."""
    container = engine.create(seat(owner, base), owner)
    engine.start(container)
    return container


def test_seat_runs_behind_every_flag(engine: DockerEngine, running: str) -> None:
    """The container's settings are those of the design, as the engine reports them."""
    raw = engine._api.inspect_container(running)
    config = raw["HostConfig"]

    assert raw["Config"]["User"] == "10001:10001"
    assert raw["Config"]["StopTimeout"] == 3
    assert raw["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert config["SecurityOpt"][0] == "no-new-privileges:true"
    assert config["SecurityOpt"][1:] == seccomp.option(engine._api.api_version)
    assert config["Sysctls"] == {
        "net.ipv6.conf.all.disable_ipv6": "1",
        "net.ipv6.conf.default.disable_ipv6": "1",
    }
    assert (config["CpuShares"], config["OomScoreAdj"]) == (1024, 500)
    assert config["PidsLimit"] == 32
    assert config["Memory"] == config["MemorySwap"] == 16 << 20
    assert (config["CpuPeriod"], config["CpuQuota"]) == (10_000, 5_000)
    assert config["Init"] is True
    assert config["ShmSize"] == 16 << 20
    assert config["Tmpfs"] == {"/tmp": "rw,noexec,nosuid,nodev,size=32m,nr_inodes=2000"}
    assert config["Ulimits"] == [{"Name": "nofile", "Hard": 1024, "Soft": 1024}]
    assert config["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-file": "2", "max-size": "1m"},
    }
    assert config["RestartPolicy"]["Name"] == "unless-stopped"
    assert config["PortBindings"] in (None, {})
    assert not config["Binds"]
    assert config["Privileged"] is False


def test_seat_is_nobody_inside(engine: DockerEngine, running: str) -> None:
    """No capability, no new privilege, not root, nowhere to write but /tmp."""
    _, status = engine.run(running, ["cat", "/proc/self/status"])
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert (facts["CapEff"], facts["CapBnd"]) == ("0" * 16, "0" * 16)
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert engine.run(running, ["id", "-u"]) == (0, "10001\n")
    assert engine.run(running, ["touch", "/here"])[0] != 0
    assert engine.run(running, ["touch", "/tmp/here"])[0] == 0


def test_env_value_arrives_unchanged(engine: DockerEngine, running: str) -> None:
    """Newlines, dollars and spaces pass through the API as they are."""
    _, raw = engine.run(running, ["cat", "/proc/1/environ"])

    assert "GREETING=a b\n$c\0" in raw


def test_neighbours_cannot_connect_and_the_host_can(
    engine: DockerEngine,
    owner: Owner,
    base: str,
    network: NetworkSpec,
) -> None:
    """ICC is off: seats are alone, the edge on the host reaches each."""
    served = ("httpd", "-f", "-p", "8000", "-h", "/")
    engine.start(engine.create(seat(owner, base, command=served), owner))
    bob = engine.create(seat(owner, base, key="bob", slot=1), owner)
    engine.start(bob)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((place(2), 8000), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
    code, said = engine.run(
        bob, ["busybox", "wget", "-T", "2", "-q", "-O", "-", f"http://{place(2)}:8000/"]
    )
    if code == 127 or "not found" in said:
        pytest.fail("busybox has no wget to try with")

    assert code != 0


def test_removal_of_a_deaf_seat_is_bounded(
    engine: DockerEngine,
    owner: Owner,
    base: str,
    network: NetworkSpec,
) -> None:
    """An app that ignores SIGTERM holds nobody up for longer than three seconds and a bit."""
    deaf = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")
    container = engine.create(seat(owner, base, command=deaf), owner)
    engine.start(container)
    begun = time.monotonic()
    engine.remove(container)

    assert time.monotonic() - begun < 6


def test_logs_are_the_lines_it_wrote(
    engine: DockerEngine,
    owner: Owner,
    base: str,
    network: NetworkSpec,
) -> None:
    """The last lines, in order, without the engine's framing."""
    talk = ("sh", "-c", "echo one; echo two; echo three; sleep 3600")
    container = engine.create(seat(owner, base, command=talk), owner)
    engine.start(container)
    deadline = time.monotonic() + PATIENCE
    while (lines := list(engine.logs(container, tail=2))) != ["two", "three"]:
        assert time.monotonic() < deadline, lines


def test_build_that_fails_shows_its_last_lines(
    engine: DockerEngine,
    owner: Owner,
    base: str,
    tmp_path: Path,
) -> None:
    """The cause stands in the error, and no container is left behind."""
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo the-real-cause && cat /no/such/file\n"
    )
    with pytest.raises(BuildFailed, match="the-real-cause"):
        engine.build(
            ImageSpec(f"{owner.workshop}/app:1", Role.APP, tmp_path, base=base),
            owner.labels(Role.APP),
        )

    assert engine._api.containers(all=True, filters={"ancestor": base}) == []


def test_image_settings_cannot_loosen_the_wall(
    engine: DockerEngine,
    owner: Owner,
    base: str,
    network: NetworkSpec,
    tmp_path: Path,
) -> None:
    """USER, HEALTHCHECK and VOLUME of an image are overruled: what it wants kept is in memory."""
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nUSER 0\nVOLUME /data\n"
        "HEALTHCHECK --interval=1s CMD true\n"
    )
    spec = ImageSpec(f"{owner.workshop}/app:1", Role.APP, tmp_path, base=base)
    engine.build(spec, owner.labels(Role.APP))
    container = engine.create(seat(owner, spec.tag), owner)
    engine.start(container)
    volumes = engine.observe(owner.workshop).volumes

    assert engine.run(container, ["id", "-u"]) == (0, "10001\n")
    assert engine._api.inspect_container(container)["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert volumes == ()
    assert engine.run(container, ["touch", "/data/here"]) == (0, "")
    assert "tmpfs /data tmpfs" in engine.run(container, ["cat", "/proc/mounts"])[1]


def test_container_run_by_hand_from_our_image_is_not_ours(
    engine: DockerEngine, owner: Owner, base: str, network: NetworkSpec
) -> None:
    """Labels of an image are inherited; only what was created as a seat is a seat."""
    made = engine._api.create_container(base, command=["sleep", "1"])["Id"]
    try:
        assert engine.observe(owner.workshop).containers == ()
    finally:
        engine._api.remove_container(made)


def test_image_built_on_ours_is_not_ours(
    engine: DockerEngine, owner: Owner, base: str, tmp_path: Path
) -> None:
    """A teardown must not take an image somebody else made and only started from ours."""
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nENV B=2\n")
    theirs = ImageSpec(f"somebody/{owner.workshop}:1", Role.APP, tmp_path, base=base)
    engine.build(theirs, {})
    try:
        assert theirs.tag not in [image.tag for image in engine.observe(owner.workshop).images]
    finally:
        engine.remove_image(theirs.tag)


def test_images_that_lost_their_names_are_leftovers_and_can_be_removed(
    engine: DockerEngine, owner: Owner, base: str
) -> None:
    """What a container still uses stays, and is nobody's leftover: it is a stranger's by then."""
    marks = {"Labels": owner.labels(Role.APP)}
    made = engine._api.create_container(base, command="x")["Id"]
    free, used = (
        engine._api.commit(made, conf={**marks, "Env": [f"N={number}"]})["Id"]
        for number in range(2)
    )
    engine._api.remove_container(made)
    stranger = engine._api.create_container(used, command="x")["Id"]
    try:
        before = engine.leftovers(owner.workshop)
        engine.remove_nameless(owner.workshop)
        after = engine.leftovers(owner.workshop)
        assert set(before) - set(after) == {f"image {free} (without a name)"}
        assert not any("without a name" in item for item in after)
        assert engine._api.inspect_image(used)
    finally:
        engine._api.remove_container(stranger)
    engine.remove_nameless(owner.workshop)
    assert used not in {item["Id"] for item in engine._api.images(all=True)}


def test_names_of_one_image_removed_at_once_leave_nothing(
    engine: DockerEngine, owner: Owner, base: str
) -> None:
    """Teardown lets many go at the same time; the engine by itself loses its way over that."""
    for number in range(10):
        tags = [f"{owner.workshop}/{name}:{number}" for name in ("one", "two", "three", "child")]
        made = engine._api.create_container(base, command="x")["Id"]
        image = engine._api.commit(made, *tags[0].split(":"), conf={"Env": [f"N={number}"]})["Id"]
        engine._api.remove_container(made)
        for tag in tags[1:3]:
            engine._api.tag(image, *tag.split(":"))
        made = engine._api.create_container(tags[0], command="x")["Id"]
        child = engine._api.commit(made, *tags[3].split(":"))["Id"]
        engine._api.remove_container(made)
        with ThreadPoolExecutor(len(tags)) as pool:
            list(pool.map(engine.remove_image, tags))

        there = {item["Id"] for item in engine._api.images(all=True)}
        assert not there & {image, child}


def test_what_runs_once_tells_why_it_failed_and_leaves_nothing(
    engine: DockerEngine, owner: Owner, base: str
) -> None:
    """What went wrong stands in what it wrote; a success is its output alone."""
    says = "echo said; echo went wrong >&2; exit "
    spec = replace(setter(owner.workshop, base), command=("sh", "-c", f"{says}3"))

    status, output = engine.once(spec, owner)
    # The two streams arrive in any order.
    assert (status, set(output.splitlines())) == (3, {"said", "went wrong"})
    assert engine.once(replace(spec, command=("sh", "-c", f"{says}0")), owner) == (0, "said\n")
    assert engine.observe(owner.workshop).containers == ()


def test_secrets_are_not_in_any_process_list(engine: DockerEngine, running: str) -> None:
    """Values travel over the socket, never as arguments."""
    listed = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout

    assert "a b\n$c" not in listed
    assert "GREETING=" not in listed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_absent_engine_is_named_with_the_next_step() -> None:
    """Exit 3, and what to start."""
    with pytest.raises(EngineUnreachable) as caught:
        DockerEngine(base_url="unix:///run/no-such-engine.sock").info()

    assert caught.value.exit_code == 3
    assert "ensure-engine" in caught.value.hint
    del caught
    # The SDK leaves the socket of a failed first call open; let it go while its warning is muted.
    gc.collect()


def test_labels_of_an_image_are_the_owners(
    engine: DockerEngine,
    owner: Owner,
    base: str,
) -> None:
    """A bootstrapped image carries its labels too."""
    marks = engine._api.inspect_image(base)["Config"]["Labels"]

    assert json.dumps(marks, sort_keys=True) == json.dumps(owner.labels(Role.APP), sort_keys=True)


def cache_records(engine: DockerEngine) -> set[str]:
    """List what BuildKit keeps for the next build."""
    return {item["ID"] for item in engine._api.df().get("BuildCache") or ()}


def test_build_secret_is_read_and_in_no_layer(
    engine: DockerEngine, owner: Owner, base: str, tmp_path: Path
) -> None:
    """A private index's password reaches the step that needs it, and nobody who gets the image."""
    canary = uuid.uuid4().hex
    secret = tmp_path / "pip.conf"
    secret.write_text(canary)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
        "RUN --mount=type=secret,id=pip_conf sha256sum /run/secrets/pip_conf > /seen\n"
        'CMD ["cat", "/seen"]\n'
    )
    tag = f"{owner.workshop}/secret:1"
    spec = ImageSpec(tag, Role.APP, context, base=base, secrets=(("pip_conf", secret),))
    engine.build(spec, owner.labels(Role.APP))

    saved = b"".join(engine._api.get_image(tag))
    history = json.dumps(engine._api.history(tag))
    layers = [content.read() for name, content in _unpacked(saved) if name.endswith("layer.tar")]
    assert any(hashlib.sha256(canary.encode()).hexdigest().encode() in layer for layer in layers)
    assert canary.encode() not in saved
    assert canary not in history


def _unpacked(saved: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content


def test_dockerfile_that_needs_buildkit_is_built_with_it(
    engine: DockerEngine, owner: Owner, base: str, tmp_path: Path
) -> None:
    """The engine's own builder refuses --mount; a client that can do it is found and used."""
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
        "RUN --mount=type=tmpfs,target=/scratch touch /scratch/x && echo built > /built\n"
    )
    spec = ImageSpec(f"{owner.workshop}/app:1", Role.APP, tmp_path, base=base)
    before = cache_records(engine)
    engine.build(spec, owner.labels(Role.APP))
    assert cache_records(engine) == before
    found = [
        image.workshop for image in engine.observe(owner.workshop).images if image.tag == spec.tag
    ]

    assert found == [owner.workshop]
