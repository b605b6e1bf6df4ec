"""`workshop tls` and `workshop install-service`, typed as an instructor types them."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from tests.cli.test_cli import workshop
from tests.conftest import TruthfulProbe
from tests.ports import free_port
from workshop import operations, service, workspace
from workshop.cli.main import app
from workshop.engines.memory import MemoryEngine
from workshop.events import ignore
from workshop.tls import supply
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.events import Emit

    Type = Callable[..., tuple[int, str, str]]

ROSTER = """\
workshop: {name: class, url: 'https://localhost:%d', llm: false, deploys: false, tls: self-made}
participants: [ada, bob]
"""
PLAIN = "workshop: {name: class, url: 'http://localhost:18998'}\nparticipants: [ada]\n"
NAMES = service.unit_names("class")


@pytest.fixture
def place(directory: Path) -> Path:
    """Make a class that rehearses with a certificate of its own."""
    (directory / "participants.yaml").write_text(ROSTER % free_port())
    return directory


@pytest.fixture
def work(place: Path) -> Workspace:
    """Give the class a memory engine."""
    engine = MemoryEngine()
    roster = place / "participants.yaml"
    return Workspace(roster, lambda: engine, TruthfulProbe(engine, "class"))


@pytest.fixture
def typed(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Type]:
    """Type commands that reach the memory engine: exit code, standard output, standard error."""

    def begin(roster: Path, emit: Emit = ignore) -> Workspace:
        return Workspace(roster, lambda: work.engine, work.probe, emit)

    def type_in(*words: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(
            app, [*words, "--roster", str(work.roster_path)], catch_exceptions=False
        )
        return done.exit_code, done.stdout, done.stderr

    monkeypatch.setattr(workspace, "Workspace", begin)
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
    yield type_in
    for number, handler in handlers:
        signal.signal(number, handler)


@pytest.fixture
def edge(work: Workspace) -> Iterator[None]:
    """Provision, and show the certificate where the edge would: the memory engine has no nginx."""
    report = operations.provision(work)
    assert report.ok, report.failed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work.certificates / "self-made/pair.pem")
    with socket.create_server(("127.0.0.1", work.roster.port)) as listener:

        def serve() -> None:
            while True:
                visitor = listener.accept()[0]
                if over.is_set():
                    visitor.close()
                    return
                with context.wrap_socket(visitor, server_side=True) as connection:
                    connection.recv(1)

        over = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        over.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


# -- tls ------------------------------------------------------------------------------------------


def test_certificate_is_shown_before_there_is_an_edge(place: Path, typed: Type) -> None:
    """Nobody's, from when to when, for which names, and that visitors do not see it yet."""
    code, out, err = typed("tls")
    document = json.loads(typed("tls", "--json")[1])

    assert (code, err) == (0, "")
    assert "certificate:   self-made\n" in out
    assert "names:         localhost, 127.0.0.1\n" in out
    assert "edge:          does not show it; `workshop provision`\n" in out
    assert "in 89 days" in out
    assert document["names"] == ["localhost", "127.0.0.1"]
    assert (document["live"], document["placeholder"], document["failed"]) == (False, False, "")
    assert not (place / ".workshop").exists(), "looking makes nothing"


@pytest.mark.usefixtures("edge")
def test_certificate_that_visitors_see_is_shown_and_not_renewed(
    typed: Type, work: Workspace
) -> None:
    """With the file that programs are told of; nothing is due for two months."""
    code, out, _ = typed("tls")
    renewed, _, why = typed("tls", "renew")
    document = json.loads(typed("tls", "renew", "--json")[1])

    assert code == renewed == 0
    assert "edge:          shows it\n" in out
    assert str(work.certificates / supply.AUTHORITY_FILE) in out.replace("\n", "")
    assert why == "not renewed: live, good for 89 days\n"
    assert (document["changed"], document["live"], document["source"]) == (False, True, "self-made")


def test_renewal_that_the_edge_does_not_show_is_a_failure(typed: Type, work: Workspace) -> None:
    """Exit code 1: whoever renews by a timer hears of it."""
    assert operations.provision(work).ok
    code, out, err = typed("tls", "renew")
    document = json.loads(typed("tls", "renew", "--json")[1])

    assert (code, out) == (1, "")
    assert "the new certificate is not live: the edge still shows the one before" in err
    assert "next: `workshop provision` publishes it" in err
    assert document["error"]["code"] == "certificate"


@pytest.mark.parametrize(
    ("roster", "words", "code", "said"),
    [
        (PLAIN, ["tls"], 2, "class has no TLS of its own"),
        (PLAIN, ["tls", "renew"], 2, "set workshop.tls, such as `tls: self-made`"),
        (ROSTER % 18998, ["tls", "--force"], 2, "workshop tls renew --force"),
        (ROSTER % 18998, ["tls", "renew"], 3, "no Docker engine answers"),
        (ROSTER % 18998, ["tls", "revoke"], 2, "'revoke' is not one of 'show', 'renew'"),
    ],
)
def test_certificate_that_cannot_be_had_is_told_with_the_next_step(
    directory: Path, roster: str, words: list[str], code: int, said: str
) -> None:
    """One sentence, and nothing is left beside the roster but what a command needs."""
    (directory / "participants.yaml").write_text(roster)
    done = workshop(directory, *words)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# -- install-service ------------------------------------------------------------------------------


def test_units_are_shown_and_not_written(place: Path, typed: Type) -> None:
    """Whoever has another init system copies what he needs."""
    wanted = service.units(service.describe("class", place / "participants.yaml"))
    code, out, err = typed("install-service", "--print")

    assert (code, err) == (0, "")
    assert out == "".join(f"# {name}\n{text}\n" for name, text in wanted.items())
    assert json.loads(typed("install-service", "--print", "--json")[1]) == wanted
    assert not (place / ".workshop").exists()


def test_units_are_written_once_and_taken_away(place: Path, typed: Type) -> None:
    """Each command says what it did, and what systemd is still to be told."""
    units = place / "units"
    units.mkdir()
    there = ("install-service", "--directory", str(units))
    first, second = typed(*there), typed(*there)
    document = json.loads(typed(*there, "--json")[1])
    gone, again = typed(*there, "--remove"), typed(*there, "--remove")

    files = [str(units / name) for name in NAMES]
    assert [first[0], second[0], gone[0], again[0]] == [0] * 4
    assert first[1].split() == [word for file in files for word in ("wrote", file)]
    assert "systemd was not told; on the server: systemctl daemon-reload && " in first[2]
    assert f"systemctl enable --now {NAMES[3]}" in first[2].replace("\n", " ")
    assert second[1].split() == [word for file in files for word in ("unchanged", file)]
    assert document["unchanged"] == files
    assert (document["written"], document["removed"], document["told"]) == ([], [], False)
    assert gone[1].split() == [word for file in files for word in ("removed", file)]
    assert again[1:] == ("", "class has no units here\n")
    assert list(units.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--print", "--remove"], "leave one of them out"),
        (["--directory", "nowhere"], "this machine has no systemd"),
    ],
)
def test_units_that_cannot_be_had_are_told_with_the_next_step(
    place: Path, words: list[str], said: str
) -> None:
    """Exit code 2, and nothing is written."""
    before = sorted(place.iterdir())
    done = workshop(place, "install-service", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert sorted(place.iterdir()) == before


def test_unit_of_a_bad_roster_is_not_written(place: Path) -> None:
    """A boot must not begin with what no command would accept."""
    units = place / "units"
    units.mkdir()
    (place / "participants.yaml").write_text("workshop: {name: class}\nparticipants: [Ada]\n")
    done = workshop(place, "install-service", "--directory", str(units))

    assert done.returncode == 2
    assert "participants[0]" in done.stderr
    assert list(units.iterdir()) == []


@pytest.mark.parametrize("command", ["tls", "install-service"])
def test_help_carries_an_example(tmp_path: Path, command: str) -> None:
    """Nobody needs the manual for the common case."""
    done = workshop(tmp_path, command, "--help")

    assert done.returncode == 0
    assert f"workshop {command}" in done.stdout.partition("Example: ")[2]
    assert "--json" in done.stdout
