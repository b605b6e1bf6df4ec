"""What the roster says about deploys: defaults, every key, and every fault with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop.deploys import config
from workshop.deploys.options import BuildLimits, DeployOptions
from workshop.errors import InputError
from workshop.labels import Role
from workshop.limits import MIB, Limits
from workshop.routing import Place
from workshop.specs import ContainerSpec, Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.roster import Roster


def options(parse: Callable[[str], Roster], lines: str) -> DeployOptions | None:
    """Parse a roster that says ``lines`` about deploys."""
    return parse(f"workshop:\n  name: class\n  deploys: {lines}\nparticipants: [ada]\n").deploys


def test_everybody_may_deploy_where_nothing_is_said(parse: Callable[[str], Roster]) -> None:
    """The deploy loop is what the class came for."""
    assert parse("workshop: {name: class}\nparticipants: [ada]\n").deploys == DeployOptions()


@pytest.mark.parametrize(("word", "found"), [("false", None), ("true", DeployOptions())])
def test_one_word_switches_deploys(
    parse: Callable[[str], Roster], word: str, found: DeployOptions | None
) -> None:
    """Off, or on with all defaults."""
    assert options(parse, word) == found


def test_every_key_is_read(parse: Callable[[str], Roster]) -> None:
    """None is taken for another."""
    found = options(
        parse,
        "{keep: 5, drain_seconds: 60, image_size: 3g, upload_size: 50m, repository_size: 8g,"
        " per_minute: 12, build: {limits: {memory: 2g, cpus: 2, pids: 512}, seconds: 600,"
        " disk: 2g, hosts: [files.example.org, .example.com], images: ['node:22']}}",
    )

    assert found == DeployOptions(
        keep=5,
        drain_seconds=60,
        image_bytes=3 * 1024 * MIB,
        upload_bytes=50 * MIB,
        repository_bytes=8 * 1024 * MIB,
        per_minute=12,
        build=BuildLimits(
            limits=Limits(2048 * MIB, 2.0, 512),
            seconds=600,
            disk=2048 * MIB,
            hosts=("files.example.org", ".example.com"),
            images=("node:22",),
        ),
    )


@pytest.mark.parametrize(
    ("lines", "where", "words"),
    [
        ("perhaps", "workshop.deploys", "expected true or false"),
        ("[1]", "workshop.deploys", "expected a mapping"),
        ("{keep: 99}", "workshop.deploys.keep", "0 to 20"),
        ("{kept: 1}", "workshop.deploys", "did you mean 'keep'?"),
        ("{upload_size: 20}", "workshop.deploys.upload_size", "such as 256m"),
        ("{build: {hosts: files.example.org}}", "workshop.deploys.build.hosts", "expected a list"),
        ("{build: {hosts: ['*']}}", "workshop.deploys.build.hosts[0]", "expected a host name"),
        ("{build: {hosts: [localhost]}}", "workshop.deploys.build.hosts[0]", "expected a host"),
        ("{build: {images: ['A B']}}", "workshop.deploys.build.images[0]", "expected an image"),
        ("{build: {limits: {pids: 1}}}", "workshop.deploys.build.limits.pids", "16 to 32768"),
        ("{build: {seconds: 1}}", "workshop.deploys.build.seconds", "10 to 3600"),
    ],
)
def test_fault_names_its_place_and_what_was_expected(
    parse: Callable[[str], Roster], lines: str, where: str, words: str
) -> None:
    """Nobody needs to guess."""
    with pytest.raises(InputError) as raised:
        options(parse, lines)

    assert [fault.where for fault in raised.value.faults] == [where]
    assert words in raised.value.faults[0].message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("build_secrets: [a]", "expected a mapping of ids to files"),
        ("build_secrets: {pip: nothing.conf}", "no file 'nothing.conf'"),
        ("build_secrets: {pip: ../outside}", "below the roster's directory"),
        ("build_secrets: {'a b': secret.conf}", "expected an id"),
    ],
)
def test_build_secret_that_cannot_be_is_a_fault(
    parse: Callable[[str], Roster], directory: Path, text: str, words: str
) -> None:
    """A build must not find out in its tenth minute."""
    secret = directory / "secret.conf"
    secret.write_text("x")
    secret.chmod(0o600)
    with pytest.raises(InputError) as raised:
        parse(f"workshop:\n  name: class\n  {text}\nparticipants: [ada]\n")

    assert words in str(raised.value.faults[0])


def test_build_secret_that_others_can_read_is_a_fault(
    parse: Callable[[str], Roster], directory: Path
) -> None:
    """As with every file that holds one."""
    (directory / "secret.conf").write_text("x")
    with pytest.raises(InputError) as raised:
        parse("workshop:\n  name: class\n  build_secrets: {pip: secret.conf}\nparticipants: [a1]\n")

    assert "chmod 600" in raised.value.faults[0].message


def test_servers_configuration_survives_its_file() -> None:
    """What is written is what is read, to the last field."""
    spec = ContainerSpec(
        role=Role.SEAT,
        key="ada",
        name="class-ada",
        image="class/app:1",
        version="1",
        limits=Limits(),
        env={"A": "b"},
        slot=3,
        network="class-open-0",
        address="10.86.0.5",
        mounts=(("/a", "/b"),),
        groups=("999",),
        volumes=("/data",),
    )
    told = config.Config(
        owner=Owner("class", "r", "/x"),
        url="http://localhost:8080",
        edge_address="127.0.0.1",
        edge_port=8080,
        registry="127.86.0.1:5000",
        base="workshop-base:1",
        base_reference="python:3.12-slim",
        relays=("class-relay-1",),
        ready_seconds=90.0,
        options=DeployOptions(build=BuildLimits(hosts=("a.example.org",))),
        secrets={"pip": "/x/pip.conf"},
        starters=("abc",),
        seats=(config.DeploySeat(spec, "10.86.1.5", "FROM x\n", Place("http", "h", "/ada")),),
    )

    assert config.load(config.dump(told)) == told
    assert config.load(config.dump(told)).seats[0].spec.config_hash == spec.config_hash
