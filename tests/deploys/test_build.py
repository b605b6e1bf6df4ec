"""Builds of what participants send: what comes out, what is kept, and what ends one."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workshop import labels
from workshop.deploys.builds.build import BuildJob, Built, build, prune, step_repository
from workshop.deploys.builds.failure import step as describe
from workshop.deploys.builds.source import BadSource, Load, Source
from workshop.deploys.builds.steps import End, Ended, Parent, Room
from workshop.deploys.failure import DeployFailed
from workshop.deploys.options import BuildLimits
from workshop.engines.steps import DockerSteps
from workshop.limits import MIB, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from workshop.intake.orders import Finding

LIMITS = BuildLimits(limits=Limits(memory=64 * MIB, cpus=1, pids=32), seconds=60, disk=32 * MIB)
TOP = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
CMD = '\nCMD ["sh"]\n'
CANARY = "canary-7c1f94e0"


def pack(path: Path, files: Mapping[str, str]) -> Path:
    """Pack texts as the intake does; a name that ends with ``*`` may be run."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.rstrip("*"))
            member.size, member.mtime = len(text.encode()), 1_700_000_000
            member.mode = 0o755 if name.endswith("*") else 0o600
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


# -- without an engine ------------------------------------------------------------------------


class NothingStarts:
    """An engine that knows one image and must not be asked for anything else."""

    def parent(self, reference: str) -> Parent | None:
        """Know the base image alone."""
        return Parent("sha256:base", (("PATH", "/bin"),)) if reference == "base:1" else None

    def __getattr__(self, verb: str) -> Any:
        raise AssertionError(f"{verb} was called")


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., Finding]:
    """Build on an engine where nothing may start; returns why it was refused."""

    def attempt(files: Mapping[str, str] | Path, **options: Any) -> Finding:
        path = files if isinstance(files, Path) else pack(tmp_path / "source.tar", files)
        job = BuildJob(path, "x/app:1", {}, {labels.NAME: "x"}, "base:1", **options)
        engine: Any = NothingStarts()
        with pytest.raises(DeployFailed) as failed:
            build(job, engine, lambda _: None, lambda: False)
        return failed.value.finding

    return attempt


@pytest.mark.parametrize(
    ("files", "cause", "said"),
    [
        ({"app.py": ""}, "no-dockerfile", "There is no Dockerfile"),
        ({"dockerfile": ""}, "no-dockerfile", "dockerfile looks like it"),
        ({"app/Dockerfile": ""}, "no-dockerfile", "app/Dockerfile looks like it"),
        (
            {"Dockerfile": f"{TOP}COPY requirements.txt .{CMD}"},
            "missing-requirements",
            "There is no requirements.txt",
        ),
        (
            {"Dockerfile": f"{TOP}COPY requirements.txt .{CMD}", "Requirements.txt": ""},
            "missing-requirements",
            "There is Requirements.txt: did you mean that?",
        ),
        (
            {"Dockerfile": f"{TOP}COPY apps /srv{CMD}", "app/main.py": ""},
            "no-such-file",
            "Line 3 of your Dockerfile copies apps, but there is no such file in what you sent. There is app: did you mean that?",
        ),
        (
            {"Dockerfile": f"{TOP}COPY .env /srv/{CMD}", ".env": ""},
            "no-such-file",
            "which .dockerignore keeps out",
        ),
        (
            {"Dockerfile": f"{TOP}COPY *.py /srv{CMD}", "a.py": "", "b.py": ""},
            "dockerfile",
            "2 things are to be copied into /srv",
        ),
        (
            {"Dockerfile": f"{TOP}COPY ../../etc/passwd /srv/{CMD}"},
            "no-such-file",
            "copies ../../etc/passwd",
        ),
        (
            {"Dockerfile": f"{TOP}ADD a.tgz /srv/{CMD}", "a.tgz": "BZh91AY"},
            "dockerfile",
            "ADD would unpack a.tgz",
        ),
        ({"Dockerfile": f"{TOP}RUN ls"}, "dockerfile", "it has no CMD line"),
        ({"Dockerfile": f"{TOP}USER ${{A{CMD}"}, "dockerfile", "Line 3"),
        ({"Dockerfile": f"{TOP}ENV 1=2{CMD}"}, "dockerfile", "'1' is no name"),
        ({"Dockerfile": f"{TOP}VOLUME data{CMD}"}, "dockerfile", "VOLUME takes paths"),
        ({"Dockerfile": f"{TOP}STOPSIGNAL now{CMD}"}, "dockerfile", "this is no signal"),
        ({"Dockerfile": f"{TOP}EXPOSE 70000{CMD}"}, "dockerfile", "'70000' is no port"),
        ({"Dockerfile": f"{TOP}EXPOSE web{CMD}"}, "dockerfile", "'web' is no port"),
        (
            {"Dockerfile": f"{TOP}COPY --from=0 * /x/{CMD}"},
            "dockerfile",
            "COPY --from takes no * here",
        ),
        (
            {"Dockerfile": f"FROM scratch{CMD}"},
            "base-image",
            "starts from scratch, which is not allowed here",
        ),
        (
            {"Dockerfile": f"FROM x/bob:1{CMD}"},
            "base-image",
            "starts from x/bob:1, which is not allowed here",
        ),
        ({"Dockerfile": f"FROM x/build-step:0{CMD}"}, "base-image", "which is not allowed here"),
        (
            {"Dockerfile": f"FROM a/b/library/python:3.12-slim{CMD}"},
            "base-image",
            "not allowed here",
        ),
        ({"Dockerfile": f"FROM sha256:base{CMD}"}, "base-image", "which is not allowed here"),
        (
            {"Dockerfile": f"{TOP}COPY --from=x/bob:1 /srv /srv{CMD}"},
            "base-image",
            "starts from x/bob:1",
        ),
        ({"Dockerfile": f"FROM other:1{CMD}"}, "base-image", "which this server does not have"),
        (
            {"Dockerfile": f"{TOP}RUN --mount=type=secret,id=key ls{CMD}"},
            "dockerfile",
            "asks for the secret key, which your builds do not get",
        ),
    ],
)
def test_refusal_comes_before_anything_starts(
    refused: Callable[..., Finding], files: dict[str, str], cause: str, said: str
) -> None:
    """What can be known from the files alone is said at once, with what to do next."""
    finding = refused(files, images=("other:1",))

    assert finding.cause == cause
    assert said in finding.message
    assert finding.next


def test_mutated_archive_is_read_or_refused(tmp_path: Path) -> None:
    """Two thousand damaged archives: each is read or refused, and none breaks the reader."""
    good = pack(
        tmp_path / "good.tar", {"Dockerfile": TOP, "app/main.py": "x" * 600, ".dockerignore": "x"}
    )
    packed, rng, refused = good.read_bytes()[:4096], random.Random(4), 0
    for _ in range(2000):
        damaged = bytearray(packed)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.choice(
                (0, 255, 47, 46, 48, 53, rng.randrange(256))
            )
        good.write_bytes(
            bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged)))) + 1])
        )
        try:
            with Source(good) as source:
                names = [source.find("**"), source.find("*"), source.nearest("app")]
                entries = list(source.below("", "/srv"))
                source.digest(entries)
                packed_again = b"".join(source.pack(Load(entry, (0, 0)) for entry in entries))
                assert len(names) == 3
                assert not any(
                    part in {"..", ""} for entry in entries for part in entry.path.split("/")
                )
                assert len(packed_again) % 512 == 0
        except BadSource:
            refused += 1
    assert 200 < refused < 2000


def test_class_recipe_stands_in_for_a_missing_dockerfile(refused: Callable[..., Finding]) -> None:
    """A source of Python files alone is built the class's way; what that needs must be there."""
    finding = refused({"app/main.py": ""}, recipe=f"{TOP}COPY requirements.txt .{CMD}")

    assert finding.cause == "missing-requirements"


@pytest.mark.parametrize(
    "kind",
    [
        "link",
        "hardlink",
        "fifo",
        "absolute",
        "above",
        "below a file",
        "sparse",
        "short",
        "no tar",
        "missing",
    ],
)
def test_hostile_archive_is_refused_unread(
    refused: Callable[..., Finding], tmp_path: Path, kind: str
) -> None:
    """Whoever packed it, and whatever was checked before."""
    path = tmp_path / "hostile.tar"
    member = tarfile.TarInfo({"absolute": "/etc/x", "above": "a/../../x"}.get(kind, "x"))
    types = {
        "link": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
        "fifo": tarfile.FIFOTYPE,
        "sparse": tarfile.GNUTYPE_SPARSE,
    }
    member.type = types.get(kind, tarfile.REGTYPE)
    member.linkname = "/etc/passwd"
    with tarfile.open(path, "w") as tar:
        tar.addfile(member)
        if kind == "below a file":
            tar.addfile(tarfile.TarInfo("x/y"))
        if kind == "short":
            cut = tarfile.TarInfo("z")
            cut.size = 1 << 40
            tar.addfile(cut, None)
    if kind == "no tar":
        path.write_text("x" * 2000, "ascii")
    if kind == "missing":
        path.unlink()

    assert refused(path).cause == "bad-source"


@pytest.mark.parametrize(
    ("tail", "cause", "said"),
    [
        (
            "ERROR: No matching distribution found for fastapy",
            "build-step",
            "There is no package fastapy.",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement fastapi==99 (from versions: 0.1, 0.115.2)\nERROR: No matching distribution found for fastapi==99",
            "build-step",
            "The package fastapi==99 is there, but not in the version you ask for.",
        ),
        ("E: Unable to locate package ngnix", "build-step", "There is no Debian package ngnix."),
        (
            "ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Forbidden'))",
            "build-network",
            "may not reach",
        ),
        ("curl: (6) Could not resolve host: example.org", "build-network", "(example.org)"),
        (
            "dd: error writing '/big': File too large",
            "build-disk",
            "writes more than 32 MiB in line 7",
        ),
        (
            "OSError: [Errno 28] No space left on device",
            "build-disk",
            "more than fits where it writes",
        ),
        (
            "BlockingIOError: [Errno 11] Resource temporarily unavailable",
            "build-processes",
            "more than 32 processes",
        ),
        ("MemoryError", "build-memory", "more than 64 MiB of memory"),
        (
            "Cannot connect to proxy. Connection refused",
            "build-network",
            "The server's way to the package sources does not answer.",
        ),
        ("SyntaxError: invalid syntax", "build-step", "the command ended with status 1"),
    ],
)
def test_last_lines_of_a_step_name_the_cause(tail: str, cause: str, said: str) -> None:
    """What the tools say is turned into words for a beginner, with the lines as evidence."""
    ended = Ended(End.EXIT, 1, tuple(tail.splitlines()))

    finding = describe(7, "RUN pip install", ended, LIMITS).finding

    assert finding.cause == cause
    assert said in finding.message
    assert set(tail.splitlines()) <= set(finding.evidence)
    assert finding.next


# -- on the real engine -----------------------------------------------------------------------


@dataclass
class Yard:
    """A workshop of one's own to build in."""

    steps: DockerSteps
    api: Any
    base: str
    name: str
    directory: Path
    said: list[str] = field(default_factory=list)

    @property
    def marks(self) -> dict[str, str]:
        """Label what is on the way."""
        return {labels.NAME: self.name, labels.RUN: "r1", labels.ROLE: "build"}

    def job(
        self, dockerfile: str, files: Mapping[str, str] | None = None, **options: Any
    ) -> BuildJob:
        """Describe a build of ``dockerfile``."""
        files = {"Dockerfile": TOP + dockerfile + CMD, **(files or {})}
        return BuildJob(
            source=pack(self.directory / "source.tar", files),
            tag=options.pop("tag", f"{self.name}/app:1"),
            labels={labels.NAME: self.name, labels.ROLE: "app", labels.RUN: "r1"},
            marks=self.marks,
            base=self.base,
            **{"limits": LIMITS, **options},
        )

    def build(
        self, dockerfile: str, files: Mapping[str, str] | None = None, **options: Any
    ) -> Built:
        """Build it."""
        self.said.clear()
        return build(
            self.job(dockerfile, files, **options), self.steps, self.said.append, lambda: False
        )

    def fail(self, dockerfile: str, **options: Any) -> Finding:
        """Build what must fail, and leave nothing."""
        with pytest.raises(DeployFailed) as failed:
            self.build(dockerfile, **options)
        assert self.containers() == []
        return failed.value.finding

    def read(self, image: str, command: str) -> str:
        """Run a shell line in an image."""
        container = self.api.create_container(
            image,
            entrypoint=["sh", "-c", command],
            labels=self.marks,
            host_config=self.api.create_host_config(network_mode="none"),
        )["Id"]
        self.api.start(container)
        self.api.wait(container)
        text = self.api.logs(container).decode()
        self.api.remove_container(container, v=True)
        return str(text)

    def containers(self) -> list[Any]:
        """List what stands of this workshop."""
        found: list[Any] = self.api.containers(
            all=True, filters={"label": f"{labels.NAME}={self.name}"}
        )
        return found

    def images(self) -> list[Any]:
        """List its images."""
        found: list[Any] = self.api.images(filters={"label": f"{labels.NAME}={self.name}"})
        return found

    def saved(self, tag: str) -> bytes:
        """Export an image: all layers, configurations and histories."""
        done = subprocess.run(["docker", "save", tag], capture_output=True, check=True)
        return done.stdout


@pytest.fixture
def yard(docker_engine: Any, unique_name: str, tmp_path: Path) -> Iterator[Yard]:
    """Make a base image of one static program, and remove whatever was built on it."""
    import docker

    binary = shutil.which("busybox", path="/bin:/usr/bin")
    if binary is None:
        pytest.fail("busybox is missing; scripts/ensure-test-tools installs it")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(
        "root:x:0:0::/:/bin/sh\nada:x:10001:10002::/:/bin/sh\n", "ascii"
    )
    (root / "etc/group").write_text("root:x:0:\nclass:x:10009:\n", "ascii")
    shutil.copy(binary, root / "bin/busybox")
    for name in [
        "sh",
        "sleep",
        "echo",
        "cat",
        "id",
        "ls",
        "env",
        "dd",
        "tail",
        "mkdir",
        "stat",
        "test",
        "cp",
        "yes",
        "true",
        "touch",
        "head",
        "find",
    ]:
        (root / "bin" / name).symlink_to("busybox")
    archive = tmp_path / "root.tar"
    subprocess.run(
        ["tar", "-C", str(root), "--owner=0", "--group=0", "-cf", str(archive), "."], check=True
    )
    base = f"{unique_name}/base:1"
    marks = {labels.NAME: unique_name, labels.ROLE: "app"}
    docker_engine.load_rootfs(archive, base, marks, {"PATH": "/bin"})
    steps = DockerSteps()
    with contextlib.closing(docker.APIClient(version="auto", timeout=60)) as api:
        made = Yard(steps, api, base, unique_name, tmp_path)
        yield made
        left = made.containers()
        for item in left:
            api.remove_container(item["Id"], force=True, v=True)
        for image in sorted(made.images(), key=lambda image: -image["Created"]):
            for name in image["RepoTags"] or [image["Id"]]:
                if name != base:
                    api.remove_image(image["Id"] if "<none>" in name else name, force=True)
        api.remove_image(base)
        steps.close()
        assert left == []
        assert made.images() == []


@pytest.mark.engine
def test_image_is_what_the_dockerfile_says(yard: Yard) -> None:
    """Files, owners, modes, stages, settings and commands arrive as with Docker's own builder."""
    built = yard.build(
        """
ARG WHO=nobody
WORKDIR /srv
ENV GREETING="hello $WHO" PATH=/opt:$PATH
COPY --chown=ada:class a.txt run.sh dir/
COPY tree /srv/tree
COPY *.md single.md
COPY tmpfiles /tmp
RUN echo "$WHO $GREETING" > /made && ./dir/run.sh && mkdir -p out/deep && echo x > out/deep/x
FROM ${BASE_IMAGE} AS second
LABEL mine=yes workshop.participant=bob
WORKDIR /app
COPY --from=0 --chown=ada /srv/out /made .
COPY --from=0 /made /renamed
RUN ["sh", "-c", "id -u; ls /app"]
EXPOSE 8000 9000/udp
VOLUME /data
STOPSIGNAL SIGINT
USER ada
ENTRYPOINT ["sh", "-c"]""",
        {
            "a.txt": "a",
            "run.sh*": "#!/bin/sh\necho ran > ran",
            "tree/x/y": "y",
            "readme.md": "read",
            "tmpfiles/t": "t",
        },
        arguments={"WHO": "ada"},
    )
    first = yard.api.inspect_image(built.tag)

    assert built.image == first["Id"]
    assert yard.said == [
        "WORKDIR /srv",
        "COPY --chown=ada:class a.txt run.sh dir/",
        "COPY tree /srv/tree",
        "COPY *.md single.md",
        "COPY tmpfiles /tmp",
        'RUN echo "$WHO $GREETING" > /made && ./dir/run.sh && mkdir -p out/deep && echo x > out/deep/x',
        "WORKDIR /app",
        "COPY --from=0 --chown=ada /srv/out /made .",
        "COPY --from=0 /made /renamed",
        'RUN ["sh", "-c", "id -u; ls /app"]',
        "0",
        "deep",
        "made",
    ]
    assert yard.read(
        built.tag, "cat /renamed; stat -c '%n %u:%g %a' /app/deep/x /app/made /renamed"
    ) == (
        "ada hello ada\n/app/deep/x 10001:10002 644\n/app/made 10001:10002 644\n/renamed 0:0 644\n"
    )
    config = first["Config"]
    assert config["Env"] == ["PATH=/bin"]
    assert (config["User"], config["WorkingDir"]) == ("ada", "/app")
    assert (config["Entrypoint"], config["Cmd"]) == (["sh", "-c"], ["sh"])
    assert config["ExposedPorts"] == {"8000/tcp": {}, "9000/udp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert config["Healthcheck"] == {"Test": ["NONE"]}
    assert config["Labels"]["mine"] == "yes"
    assert config["Labels"][labels.ROLE] == "app"
    assert labels.PARTICIPANT not in config["Labels"]


@pytest.mark.engine
def test_copied_files_have_dockers_owners_and_modes(yard: Yard) -> None:
    """Root's, readable by all, unless the line says otherwise; what stands already keeps its own."""
    built = yard.build(
        "WORKDIR /srv\nCOPY --chown=ada:class a.txt run.sh dir/\nCOPY tree tree\nCOPY *.md one.md\n"
        "COPY --chmod=600 a.txt /new/dir/b\nCOPY tmpfiles /tmp\nCOPY a.txt /etc\nCOPY . all/\n"
        "RUN stat -c '%n %u:%g %a' dir dir/a.txt dir/run.sh tree tree/x/y one.md /new/dir/b /tmp /tmp/t /etc/a.txt && find all",
        {
            "a.txt": "a",
            "run.sh*": "",
            "tree/x/y": "",
            "readme.md": "",
            "tmpfiles/t": "",
            ".env": CANARY,
            "notes/secret": CANARY,
            ".dockerignore": "# mine\nnotes\n!.env\n",
        },
    )

    assert built.groups == 1
    assert sorted(line for line in yard.said if line.startswith("all")) == [
        "all",
        "all/.dockerignore",
        "all/Dockerfile",
        "all/a.txt",
        "all/readme.md",
        "all/run.sh",
        "all/tmpfiles",
        "all/tmpfiles/t",
        "all/tree",
        "all/tree/x",
        "all/tree/x/y",
    ]
    assert [
        line for line in yard.said if ":" in line and "stat" not in line and "COPY" not in line
    ] == [
        "dir 10001:10009 755",
        "dir/a.txt 10001:10009 644",
        "dir/run.sh 10001:10009 755",
        "tree 0:0 755",
        "tree/x/y 0:0 644",
        "one.md 0:0 644",
        "/new/dir/b 0:0 600",
        "/tmp 0:0 1777",
        "/tmp/t 0:0 644",
        "/etc/a.txt 0:0 644",
    ]
    assert CANARY.encode() not in yard.saved(built.tag)


@pytest.mark.engine
def test_equal_steps_of_two_people_are_done_once(yard: Yard) -> None:
    """A changed file redoes its own step and those after it, and no other."""
    recipe = "COPY need .\nRUN echo installed > /lib\nCOPY app app\nRUN echo compiled"
    ada = yard.build(recipe, {"need": "x", "app/a": "1"}, tag=f"{yard.name}/ada:1")
    bob = yard.build(recipe, {"need": "x", "app/a": "1"}, tag=f"{yard.name}/bob:1")
    changed = yard.build(recipe, {"need": "x", "app/a": "2"}, tag=f"{yard.name}/bob:2")
    said = list(yard.said)
    other = yard.build(recipe, {"need": "y", "app/a": "2"}, tag=f"{yard.name}/bob:3")
    layers = [
        yard.api.inspect_image(item.tag)["RootFS"]["Layers"] for item in (ada, bob, changed, other)
    ]

    assert [(item.cached, item.groups) for item in (ada, bob, changed, other)] == [
        (0, 2),
        (2, 2),
        (1, 2),
        (0, 2),
    ]
    assert layers[0] == layers[1]
    assert layers[1][:2] == layers[2][:2] != layers[3][:2]
    assert layers[1] != layers[2]
    assert said == [
        "RUN echo installed > /lib (kept from an earlier build)",
        "COPY app app",
        "RUN echo compiled",
        "compiled",
    ]


@pytest.mark.engine
def test_foreign_image_with_the_labels_of_a_step_is_not_taken_for_one(yard: Yard) -> None:
    """A tag of this server finds steps, and no pushed image can bring that along."""
    recipe = "RUN echo good > /made"
    yard.build(recipe)
    (step,) = [
        image
        for image in yard.images()
        if f"{step_repository(yard.name)}:" in str(image["RepoTags"])
    ]
    forged = yard.api.create_container(yard.base, command=["sh"], labels=yard.marks)["Id"]
    yard.api.commit(forged, f"{yard.name}/forged", "1", conf={"Labels": step["Labels"]})
    yard.api.remove_container(forged)
    for tag in step["RepoTags"]:
        yard.api.remove_image(tag)

    built = yard.build(recipe)

    assert built.cached == 0
    assert yard.read(built.tag, "cat /made") == "good\n"


@pytest.mark.engine
def test_step_is_walled_in(yard: Yard) -> None:
    """Six capabilities, no new privileges, every limit set, nothing of the host's network."""
    room = Room(yard.base, "/srv", "", "RUN x", LIMITS.limits, LIMITS.disk, "none", 30, yard.marks)
    container = yard.steps.open(room)
    raw = yard.api.inspect_container(container)
    yard.steps.discard(container)
    config = raw["HostConfig"]

    assert config["CapDrop"] == ["ALL"]
    assert config["CapAdd"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]
    privileges, *calls = config["SecurityOpt"]
    assert privileges == "no-new-privileges:true"
    assert all("io_uring" not in profile for profile in calls)
    assert config["Memory"] == config["MemorySwap"] == 64 * MIB
    assert (config["PidsLimit"], config["NetworkMode"]) == (32, "none")
    assert (config["CpuPeriod"], config["CpuQuota"]) == (5_000, 5_000)
    assert not config["Privileged"]
    assert not config["Devices"]
    assert not config["Binds"]
    assert "/proc/kcore" in config["MaskedPaths"]
    assert {item["Name"]: item["Hard"] for item in config["Ulimits"]} == {
        "nofile": 4096,
        "core": 0,
        "fsize": 32 * MIB,
    }


@pytest.mark.engine
def test_proxy_and_arguments_reach_the_command_and_not_the_image(yard: Yard) -> None:
    """What only a command may know stands neither in configuration, history nor layers."""
    relay = yard.api.create_container(
        yard.base,
        command=["sleep", "60"],
        labels=yard.marks,
        host_config=yard.api.create_host_config(network_mode="none"),
    )["Id"]
    yard.api.start(relay)
    try:
        built = yard.build(
            f"ARG TOKEN={CANARY}\nRUN test $https_proxy = http://127.0.0.1:3128 && test ${{#TOKEN}} = {len(CANARY)} && ls /sys/class/net",
            relay=relay,
        )
    finally:
        yard.api.remove_container(relay, force=True)
    without = yard.build("RUN env")
    saved = yard.saved(built.tag)

    assert yard.said[-6:] != []
    assert not any("proxy" in line for line in yard.said)
    assert without.image != built.image
    assert b"3128" not in saved
    assert CANARY.encode() not in saved


@pytest.mark.engine
def test_steps_network_has_loopback_alone(yard: Yard) -> None:
    """Without a relay there is nothing to reach."""
    yard.build("RUN ls /sys/class/net")

    assert yard.said == ["RUN ls /sys/class/net", "lo"]


@pytest.mark.engine
def test_secret_is_read_and_never_kept(yard: Yard) -> None:
    """An instructor's step reads the file; no layer, configuration or history has it."""
    secret = yard.directory / "key"
    secret.write_text(CANARY, "ascii")
    built = yard.build(
        f"RUN --mount=type=secret,id=key test $(cat /run/secrets/key) = {CANARY[:6]}{'?' * 0}* || test -s /run/secrets/key\n"
        "RUN --mount=type=secret,id=key,target=/etc/key test -s /etc/key\nRUN test ! -s /run/secrets/key",
        secrets={"key": secret},
    )

    assert built.groups == 3
    assert CANARY.encode() not in yard.saved(built.tag)


HOGS = {
    "build-memory": "RUN dd if=/dev/zero of=/dev/null bs=400M count=9",
    "build-processes": "RUN while :; do sleep 60 & done",
    "build-disk": "RUN dd if=/dev/zero of=/big bs=1M",
    "build-time": "RUN sleep 1000",
    "build-step": "RUN yes",
}


@pytest.mark.engine
@pytest.mark.parametrize("cause", HOGS)
def test_hog_ends_with_its_cause_within_seconds(yard: Yard, cause: str) -> None:
    """Whatever a step tries to use up, the build ends, says so, and leaves nothing."""
    began = time.monotonic()
    seconds = 3 if cause == "build-time" else 60

    finding = yard.fail(HOGS[cause], limits=replace(LIMITS, seconds=seconds))

    assert finding.cause == cause
    assert "in line 3 of your Dockerfile" in finding.message
    assert time.monotonic() - began < 20
    assert HOGS[cause] in " ".join(finding.evidence)
    assert {tag for image in yard.images() for tag in image["RepoTags"] or ["<none>"]} == {
        yard.base
    }


@pytest.mark.engine
def test_full_place_in_memory_is_not_taken_for_the_servers_disk(yard: Yard) -> None:
    """The kernel has the same words for both; only one of them is the participant's to mend."""
    finding = yard.fail("RUN dd if=/dev/zero of=/dev/shm/big bs=1M")

    assert finding.cause == "build-disk"
    assert "/dev/shm holds 16 MiB" in finding.next


@pytest.mark.engine
def test_processes_that_only_stay_are_ended_too(yard: Yard) -> None:
    """A bomb whose errors nobody reads would otherwise hold its place until the time is up."""
    finding = yard.fail("RUN (while :; do sleep 60 & done) 2>/dev/null; exec sleep 50")

    assert finding.cause == "build-processes"


@pytest.mark.engine
def test_fork_bomb_is_held_in_its_container(yard: Yard) -> None:
    """Whether it dies by itself or is ended, the engine goes on and nothing is left."""
    with contextlib.suppress(DeployFailed):
        yard.build("RUN f() { f | f & }; f; sleep 3")

    assert yard.containers() == []
    assert yard.build("RUN true").groups == 1


@pytest.mark.engine
def test_many_small_files_fill_the_disk_limit_too(yard: Yard) -> None:
    """The whole container is counted, not one file; so is what is only copied."""
    many = "RUN i=0; while test $i -lt 100; do dd if=/dev/zero of=/f$i bs=1M count=4; i=$((i+1)); done; sleep 30"
    copied = yard.fail("COPY a b c d /x/", files=dict.fromkeys("abcd", "x" * 9 * MIB))

    assert yard.fail(many).cause == "build-disk"
    assert copied.cause == "build-disk"


@pytest.mark.engine
def test_stopped_build_ends_at_once(yard: Yard) -> None:
    """Somebody's newer version takes its place in the middle of a step."""
    begun = threading.Event()

    def say(line: str) -> None:
        if line == "begun":
            begun.set()

    with pytest.raises(DeployFailed) as failed:
        build(yard.job("RUN echo begun; sleep 50"), yard.steps, say, begun.is_set)

    assert failed.value.finding.cause == "build-stopped"
    assert yard.containers() == []


@pytest.mark.engine
def test_failed_command_is_shown_with_its_last_lines(yard: Yard) -> None:
    """The finding carries the command, its status and what it said, bounded and harmless."""
    finding = yard.fail("RUN ls /nowhere; printf '\\033[2J'; exit 7")
    missing = yard.fail("RUN pyton app.py")
    absent = yard.fail('RUN ["/no/such"]')

    assert finding.cause == missing.cause == absent.cause == "build-step"
    assert finding.message == "Line 3 of your Dockerfile failed: the command ended with status 7."
    assert "ls: /nowhere: No such file or directory" in finding.evidence
    assert not any("\033" in line for line in finding.evidence)
    assert "The command pyton is not in the image" in missing.next
    assert "no such file" in " ".join(absent.evidence)


@pytest.mark.engine
def test_long_output_is_cut_and_its_end_is_kept(yard: Yard) -> None:
    """Two thousand lines are passed on, and the last ones stand in the finding."""
    finding = yard.fail(
        "RUN i=0; while test $i -lt 3000; do echo line $i; i=$((i+1)); done; echo "
        + "x" * 5000
        + "; exit 1"
    )

    assert len(yard.said) == 1 + 2000
    assert yard.said[-1] == "(more lines than are shown)"
    assert "line 2999" in finding.evidence
    assert max(map(len, yard.said)) < 6000
    assert len(finding.evidence[-1]) == 403


@pytest.mark.engine
def test_background_process_does_not_outlive_its_step(yard: Yard) -> None:
    """A step is over when its command is."""
    yard.build("RUN sleep 1000 &\nRUN ls /proc | head -3")

    assert yard.containers() == []


@pytest.mark.engine
def test_what_a_killed_server_left_is_cleared(yard: Yard) -> None:
    """Its containers are found by their marks, running or not; nobody else's are touched."""
    room = Room(yard.base, "/", "", "RUN x", LIMITS.limits, LIMITS.disk, "none", 1000, yard.marks)
    running, created = yard.steps.open(room), yard.steps.open(room)
    yard.api.start(running)
    other = yard.steps.open(replace(room, marks={**yard.marks, labels.RUN: "r2"}))

    assert yard.steps.clear(yard.marks) == 2
    assert [item["Id"] for item in yard.containers()] == [other]
    assert created != running
    yard.steps.discard(other)
    yard.steps.discard(other)


@pytest.mark.engine
def test_steps_not_used_for_longest_are_let_go(yard: Yard) -> None:
    """A use counts, not the making; images that stand on a step keep working."""
    for number in range(3):
        yard.build(f"RUN echo {number} > /made", tag=f"{yard.name}/app:{number}")
    yard.build("RUN echo 0 > /made", tag=f"{yard.name}/app:0")

    assert prune(yard.steps, yard.name, keep=1) == 2
    assert prune(yard.steps, yard.name, keep=1) == 0
    assert yard.read(f"{yard.name}/app:1", "cat /made") == "1\n"
    assert yard.build("RUN echo 0 > /made").cached == 1
    assert yard.build("RUN echo 1 > /made").cached == 0


@pytest.mark.engine
def test_copy_onto_a_file_is_explained(yard: Yard) -> None:
    """The engine's refusal is the Dockerfile's fault and says which line."""
    finding = yard.fail("RUN echo x > /srv\nCOPY a b /srv/", files={"a": "", "b": ""})

    assert finding.cause == "dockerfile"
    assert "Line 4" in finding.message


@pytest.mark.engine
def test_lost_relay_is_nobodys_fault(yard: Yard) -> None:
    """The engine's refusal to start a step is told as such, not as the participant's failure."""
    from workshop.errors import EngineError

    with pytest.raises(EngineError):
        yard.build("RUN ls", relay="no-such-relay")

    assert yard.containers() == []
