"""Which images may go live, and what the others are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workshop.deploys.failure import DeployFailed
from workshop.deploys.images.policy import Accepted, ImageFacts, check
from workshop.deploys.options import DeployOptions
from workshop.intake.orders import Finding
from workshop.limits import MIB

HERE = ("linux", "amd64")
GOOD = ImageFacts(
    id="sha256:1",
    architecture="amd64",
    os="linux",
    size=100 * MIB,
    layers=5,
    cmd=("uvicorn", "app.main:app"),
    working_dir="/srv",
)


def _finding(facts: ImageFacts, options: DeployOptions | None = None) -> Finding:
    with pytest.raises(DeployFailed) as caught:
        check(facts, HERE, options or DeployOptions(), "class.example.org/ada/app")
    return caught.value.finding


def test_usual_image_is_accepted() -> None:
    """Nothing to add to it."""
    assert check(GOOD, HERE, DeployOptions()) == Accepted()


@pytest.mark.parametrize(
    "facts",
    [
        replace(GOOD, user="0"),
        replace(GOOD, user="root:root"),
        replace(GOOD, labels={"workshop.role": "edge", "workshop.name": "class"}),
        replace(GOOD, env=("LD_PRELOAD", "PATH")),
        replace(GOOD, ports=("22/tcp",)),
        replace(GOOD, stop_signal="SIGKILL"),
        replace(GOOD, entrypoint=("/bin/sh", "-c"), cmd=()),
        replace(GOOD, entrypoint=("",)),
        replace(GOOD, architecture="x86_64"),
        replace(GOOD, variant="v2"),
        replace(GOOD, working_dir=""),
    ],
)
def test_what_the_container_overrides_is_no_reason_to_refuse(facts: ImageFacts) -> None:
    """USER, labels, environment, ports, signals and entrypoints are settled elsewhere."""
    assert check(facts, HERE, DeployOptions()) == Accepted()


def test_image_for_another_machine_is_told_the_command() -> None:
    """The commonest mistake on a laptop with an ARM processor, whole."""
    facts = replace(GOOD, architecture="arm64", variant="v8")

    assert _finding(facts) == Finding(
        cause="wrong-architecture",
        message="The image was built for linux/arm64/v8; this server runs linux/amd64.",
        evidence=("image: linux/arm64/v8", "server: linux/amd64"),
        next="Build it for the server and push it again: docker build --platform linux/amd64"
        " -t class.example.org/ada/app . && docker push class.example.org/ada/app",
    )


@pytest.mark.parametrize(
    "facts",
    [
        replace(GOOD, os="windows"),
        replace(GOOD, architecture=""),
        replace(GOOD, os="", architecture=""),
        replace(GOOD, architecture="unknown", os="unknown"),
        replace(GOOD, architecture="AMD64"),
        replace(GOOD, architecture="386"),
    ],
)
def test_image_that_names_no_fitting_machine_is_refused(facts: ImageFacts) -> None:
    """Saying nothing is not saying the right thing."""
    assert _finding(facts).cause == "wrong-architecture"


def test_size_counts_to_the_byte() -> None:
    """The limit itself may be used."""
    options = DeployOptions(image_bytes=300 * MIB)

    assert check(replace(GOOD, size=300 * MIB), HERE, options) == Accepted()
    found = _finding(replace(GOOD, size=300 * MIB + 1), options)
    assert found.cause == "image-too-large"
    assert found.evidence == ("size: 300 MiB", "limit: 300 MiB")
    assert "docker history" in found.next


def test_layers_are_counted() -> None:
    """A hundred is enough for anybody."""
    assert check(replace(GOOD, layers=100), HERE, DeployOptions()) == Accepted()
    found = _finding(replace(GOOD, layers=101))
    assert found.cause == "too-many-layers"
    assert found.evidence == ("layers: 101", "limit: 100")


@pytest.mark.parametrize(
    ("entrypoint", "cmd"),
    [((), ()), (("",), ()), ((), ("",)), (("", "x"), ()), ((), ("", "app"))],
)
def test_image_that_says_nothing_to_run_is_refused(
    entrypoint: tuple[str, ...], cmd: tuple[str, ...]
) -> None:
    """An empty word is no command either."""
    found = _finding(replace(GOOD, entrypoint=entrypoint, cmd=cmd))

    assert found.cause == "no-command"
    assert "CMD [" in found.next


@pytest.mark.parametrize(
    ("volumes", "wanted"),
    [
        (("/data",), ("/data",)),
        (("/data/", "/data", "//data/../data/."), ("/data",)),
        (("/tmp", "/tmp/cache"), ("/tmp/cache",)),
        (("/b", "/a"), ("/a", "/b")),
        (("/var/lib/app", "/var/run2", "/library"), ("/library", "/var/lib/app", "/var/run2")),
        (("/srv/uploads",), ("/srv/uploads",)),
        (("/1", "/2", "/3", "/4", "/tmp"), ("/1", "/2", "/3", "/4")),
    ],
)
def test_volumes_are_handed_on(volumes: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Each once, cleaned and sorted; /tmp is in memory anyway."""
    assert check(replace(GOOD, volumes=volumes), HERE, DeployOptions()) == Accepted(wanted)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "///",
        "//etc",
        "/.",
        "/data/..",
        "/proc",
        "/proc/self",
        "/sys/fs/cgroup",
        "/dev/shm",
        "/etc",
        "/etc/ssl/",
        "/usr/../usr/lib",
        "/data/../etc",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64/x",
        "/run",
        "/var/run/x",
        "/boot",
        "data",
        "",
        ".",
        "C:\\data",
        "/da\nta",
        "/\x1b[31m",
        "/" + "x" * 300,
        "/srv",
        "/srv/",
    ],
)
def test_volume_in_a_place_of_the_system_or_the_app_is_refused(path: str) -> None:
    """What lies there could not be seen any more, and the app not start."""
    found = _finding(replace(GOOD, volumes=("/data", path)))

    assert found.cause == "volume"
    assert "VOLUME" in found.next
    assert all(line.isprintable() for line in (found.message, *found.evidence))


def test_volume_over_the_program_is_refused() -> None:
    """ENTRYPOINT /opt/app/run below VOLUME /opt/app would not be found."""
    facts = replace(GOOD, entrypoint=("/opt/app/run",), volumes=("/opt/app",))

    assert "it would hide /opt/app/run" in _finding(facts).message


def test_five_volumes_are_too_many() -> None:
    """Each costs memory."""
    found = _finding(replace(GOOD, volumes=("/1", "/2", "/3", "/4", "/5")))

    assert found.cause == "volume"
    assert "at most 4 are possible, and the image has 5" in found.message
