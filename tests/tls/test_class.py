"""A class behind TLS on the real engine: rehearsed, issued by a real authority, renewed, refused."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests import layers
from tests.ports import free_port
from tests.tls.authority import authority
from workshop import operations, starting, teardown
from workshop.errors import CertificateRefused
from workshop.labels import Role
from workshop.proxy import publish
from workshop.tls import acme, certificates, renewal, store, supply
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tls.authority import Authority
    from workshop.engines.base import Engine
    from workshop.engines.docker import DockerEngine
    from workshop.events import Event

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

HOST = "class.example.org"


class Class:
    """A class of one on the machine's engine; every command is a new one."""

    def __init__(self, roster: Path, engine: DockerEngine, issuer: Authority, ports: str) -> None:
        self.roster, self.engine, self.issuer = roster, engine, issuer
        self.ports, self.said = ports, list[str]()

    def write(self, tls: str) -> None:
        """Say something about TLS in the roster."""
        port, http_port = self.ports.split(":")
        lines = [
            "workshop:",
            f"  name: {self.roster.parent.name}",
            f"  url: https://{HOST}:{port}",
            "  limits: {memory: 128m, cpus: 2, pids: 64}",
            "  llm: false",
            "  deploys: false",
            f"  tls: {{{tls}, http_port: {http_port}}}",
            "participants: [ada]",
        ]
        self.roster.write_text("\n".join(lines) + "\n", "utf-8")

    def acme(self, server: str = "") -> None:
        """Let the authority of this machine issue the certificate."""
        self.write(f"acme: you@example.org, server: '{server or self.issuer.directory}'")

    def command(self) -> Workspace:
        """Begin a command."""

        def note(event: Event) -> None:
            self.said.append(getattr(event, "message", ""))

        return Workspace(self.roster, lambda: self.engine, emit=note)

    def in_edge(self, script: str) -> str:
        """Run a script beside nginx; what it says, in one line."""
        seen = self.engine.observe(self.roster.parent.name)
        edge = seen.container(Role.EDGE, "edge")
        assert edge is not None
        status, output = self.engine.run(edge.id, ["sh", "-c", script])
        assert status == 0, output
        return " ".join(output.split())

    def shown(self, trusted: str = "") -> str:
        """Ask the edge for its certificate as a visitor does, and verify it where told whom."""
        context = ssl.create_default_context(cadata=trusted or None)
        if not trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        place = ("127.0.0.1", int(self.ports.split(":")[0]))
        with (
            socket.create_connection(place, 10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            assert connection.version() == "TLSv1.3"
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


@pytest.fixture(scope="module")
def stage(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Run an authority, and a class that rehearses with a self-made certificate."""
    home = tmp_path_factory.mktemp("tls-class")
    port, http_port = free_port(), free_port()
    directory = home / f"tls-{port}"
    starting.init(directory, name=None, people=None)
    layers.base(docker_engine)
    with pytest.MonkeyPatch.context() as patch, authority(home / "pebble", http_port) as issuer:
        # As WORKSHOP_CA_BUNDLE it would go into a base image of its own, which takes minutes.
        obtain = acme.obtain
        known = lambda order: obtain(replace(order, bundle=issuer.bundle))  # noqa: E731
        patch.setattr(acme, "obtain", known)
        found = Class(directory / "participants.yaml", docker_engine, issuer, f"{port}:{http_port}")
        found.write("self_made: true")
        report = operations.provision(found.command())
        assert report.ok, report.failed
        yield found
        receipt = teardown.teardown(found.command())
        assert receipt.left == ()


def test_rehearsal_needs_nobody_and_a_second_provision_changes_nothing(stage: Class) -> None:
    """Programs that are told of the workshop's authority accept the edge."""
    work = stage.command()
    trusted = (work.certificates / supply.AUTHORITY_FILE).read_text("ascii")
    before = stage.shown(trusted)

    assert operations.provision(work).plan.is_empty
    assert stage.shown(trusted) == before
    assert renewal.show(stage.command()).live
    assert not renewal.renew(stage.command()).changed


def test_class_is_certified_and_renewed_while_it_runs(stage: Class) -> None:
    """Provision asks the authority once the edge is up; a renewal moves the edge alone."""
    stage.acme()
    report = renewal.provision(stage.command())
    first = stage.shown()
    status = renewal.show(stage.command())

    assert report.ok, report.failed
    assert (status.source, status.placeholder, status.live) == ("acme", False, True)
    assert status.names == (HOST,)
    assert "Pebble" in status.issuer
    assert renewal.provision(stage.command()).plan.is_empty
    idle = renewal.renew(stage.command())
    assert (idle.changed, stage.shown()) == (False, first)
    assert "renewed when fewer than 30 are left" in idle.reason

    forced = renewal.renew(stage.command(), force=True)

    assert forced.changed
    assert stage.shown() != first
    assert list((stage.command().directories.edge / "acme").iterdir()) == []


def test_renewal_ends_when_no_worker_shows_the_old_one_any_more(
    stage: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy server a worker of before may be slow to leave, and take connections until then."""
    stage.acme()
    assert renewal.provision(stage.command()).ok
    before, gone, reload = stage.shown(), threading.Event(), publish._reload
    workers = "$(grep -lsz 'worker process$' /proc/[0-9]*/cmdline | tr -dc '0-9\\n')"

    def slowly(engine: Engine, edge: str) -> None:
        held = stage.in_edge(f"echo {workers}; kill -STOP {workers}")

        def let_go() -> None:
            gone.set()
            stage.in_edge(f"kill -CONT {held}")

        late = threading.Timer(1.0, let_go)
        late.start()
        reload(engine, edge)
        assert gone.is_set()
        late.join()

    monkeypatch.setattr(publish, "_reload", slowly)

    assert renewal.renew(stage.command(), force=True).changed
    assert gone.is_set()
    assert before not in {stage.shown() for _ in range(20)}


def test_refusal_takes_nothing_down_and_the_authority_is_left_alone(stage: Class) -> None:
    """The old certificate stays; the next try waits, and says until when."""
    stage.acme()
    assert renewal.provision(stage.command()).ok
    before = stage.shown()
    stage.acme(f"https://localhost:{free_port()}/dir")
    operations.provision(stage.command())

    with pytest.raises(CertificateRefused, match="cannot be reached"):
        renewal.renew(stage.command(), force=True)

    assert stage.shown() == before
    status = renewal.show(stage.command())
    assert status.live
    assert "cannot be reached" in status.failed
    stage.said.clear()
    assert renewal.provision(stage.command(), repair=True).ok
    assert stage.said == []


def test_refused_first_one_fails_the_command_and_not_the_class(stage: Class) -> None:
    """Everybody is reached over a self-made one; the next provision does not ask at once."""
    stage.acme(f"https://localhost:{free_port()}/dir")
    work = stage.command()
    for name in (supply.ISSUED, "acme/failed.json"):
        (work.certificates / name).unlink(missing_ok=True)
    first = renewal.provision(work)
    trusted = (work.certificates / supply.AUTHORITY_FILE).read_text("ascii")
    stage.said.clear()
    second = renewal.provision(stage.command())

    assert "cannot be reached" in first.failed["certificate"]
    assert stage.shown(trusted)
    assert second.ok
    assert any("asked again after" in text for text in stage.said)


def test_edited_roster_is_not_applied_by_a_renewal(stage: Class) -> None:
    """The timer renews; what the instructor is still writing waits for the instructor."""
    stage.acme()
    (stage.command().certificates / "acme/failed.json").unlink(missing_ok=True)
    assert renewal.provision(stage.command()).ok
    text = stage.roster.read_text("utf-8")
    stage.roster.write_text(text.replace("[ada]", "[ada, bob]"), "utf-8")
    stage.said.clear()

    with pytest.raises(CertificateRefused, match="not live"):
        renewal.renew(stage.command(), force=True)

    assert any("nothing is repaired until `workshop provision`" in text for text in stage.said)
    names = {item.key for item in stage.engine.observe(stage.roster.parent.name).containers}
    assert "bob" not in names


def test_clock_that_was_ahead_holds_nothing_back(stage: Class) -> None:
    """A refusal dated in the future, from before the clock was put right, counts for nothing."""
    stage.acme()
    work = stage.command()
    kept = store.read(work.certificates / supply.ISSUED)
    told = {"when": "2999-01-01T00:00:00+00:00", "message": "no"}
    store.keep(work.certificates, {"acme/failed.json": json.dumps(told)})
    (work.certificates / supply.ISSUED).unlink(missing_ok=True)

    report = renewal.provision(work)

    assert report.ok, report.failed
    issued = store.read(work.certificates / supply.ISSUED)
    assert issued is not None
    assert issued != kept
    assert stage.shown() == certificates.leaf(issued.chain)
