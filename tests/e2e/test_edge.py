"""A class over https with seats on hosts of their own: the real engine, a certificate it made."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.room import Class, initialise, provisioned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

PEOPLE = ("ada", "bob")
ROSTER = """\
workshop:
  name: {name}
  url: https://localhost:{port}
  tls: self-made
  routing: ROUTING
  llm: false
  board: {{host: board.localhost}}
participants: [ada, bob]
"""


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision a class whose seats have hosts of their own."""
    directory = tmp_path_factory.mktemp("hosts")
    text = ROSTER.replace("ROUTING", "subdomain")
    with provisioned(docker_engine, directory, "e2e-hosts", text, initialise) as started:
        yield started


def curl(room: Class, host: str, path: str, *more: str) -> tuple[str, str]:
    """Ask as a visitor does who trusts the workshop's authority; body, and a line of facts."""
    authority = room.directory / ".workshop" / "tls" / "self-made" / "authority.pem"
    facts = "\n%{http_code} %{http_version} %{redirect_url}"
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--cacert", str(authority), "-w", facts]
        + ["--resolve", f"{host}:{room.port}:127.0.0.1", *more]
        + [f"https://{host}:{room.port}{path}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    body, _, line = done.rpartition("\n")
    return body, line.strip()


def test_every_host_leads_to_its_own_app_over_http2(room: Class) -> None:
    """The certificate is good for each name, and HTTP/2 is what a client gets who asks for it."""
    for name in PEOPLE:
        body, line = curl(room, f"{name}.localhost", "/whoami")

        assert json.loads(body)["participant"] == name
        assert line == "200 2"
        assert curl(room, f"{name}.localhost", "/whoami", "--http1.1")[1] == "200 1.1"


def test_path_leads_to_the_host(room: Class) -> None:
    """What people wrote down before goes on working."""
    assert (
        curl(room, "localhost", "/ada/x?y=1")[1] == f"308 2 https://ada.localhost:{room.port}/x?y=1"
    )


def test_status_finds_everybody_live_at_their_own_host(room: Class) -> None:
    """The platform asks on its own loopback, in plain HTTP, under the visitor's name."""
    status = room.json("status")

    assert (status["ok"], status["edge"]) == (True, "live")
    assert [seat["url"] for seat in status["seats"]] == [
        f"https://{name}.localhost:{room.port}/" for name in PEOPLE
    ]


def test_second_provision_touches_nothing(room: Class) -> None:
    """A certificate that was made is kept, so nothing differs."""
    assert room.json("provision")["changed"] is False


def test_board_answers_on_its_own_host_alone(room: Class) -> None:
    """The certificate is good for it too, and no seat's host leads there."""
    body, line = curl(room, "board.localhost", "/healthz")

    assert json.loads(body)["status"] == "ok"
    assert line == "200 2"
    assert room.json("status")["board"] == "live"
    assert "config" not in curl(room, "ada.localhost", "/healthz")[0]


def test_platforms_way_in_is_not_reachable_from_a_seat(room: Class) -> None:
    """It is on the server's loopback; a seat's own is another one."""
    state = json.loads((room.directory / ".workshop" / "state.json").read_text("utf-8"))
    second, third = state["network"].split(".")[1:3]
    inside = f"127.{second}.{third}.1"
    script = "import socket, sys; socket.create_connection((sys.argv[1], 8010), 3)"
    done = subprocess.run(
        ["docker", "exec", f"{room.name}-ada", "python", "-c", script, inside],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert re.search("ConnectionRefused|TimeoutError|unreachable", done.stderr)


def test_deploy_goes_live_at_the_seats_own_host(room: Class) -> None:
    """The whole loop over https: the candidate, the switch, the look at the public address."""
    before = json.loads(curl(room, "ada.localhost", "/whoami")[0])["version"]
    image = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", f"{room.name}-bob"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    document = room.json("deploy", "ada", "--image", image)
    after = json.loads(curl(room, "ada.localhost", "/whoami")[0])
    (deploy,) = (item for item in room.json("deploys", "ada") if item["stage"] == "live")

    assert document["ok"], document
    assert after["participant"] == "ada"
    assert after["version"] != before
    assert deploy["proof"]["escapes"] == []
    assert deploy["proof"]["pages"] > 0
    assert not deploy["proof"]["problem"]
    assert json.loads(curl(room, "bob.localhost", "/whoami")[0])["version"] == before
