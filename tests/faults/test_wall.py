"""The wall around seats, attacked from inside: real seats of every mode, a world made for it.

The table below is what the product promises. The probe is run without the wall as well, where it
reaches almost everything: so it can fail.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.engines.private import require
from tests.faults import town as towns
from tests.faults.town import APPROVED, LAN, METADATA, METADATA_6, OTHER, Town

from workshop import labels, starting
from workshop.labels import Role
from workshop.subnets import bridge_prefix
from workshop.wall.options import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

MODES = tuple(Mode)
PORT = 18944
ROSTER = """
workshop:
  name: {name}
  url: http://localhost:{port}
  limits: {{memory: 128m, cpus: 2, pids: 64}}
  llm: {{upstreams: [{{name: one, url: 'echo:', models: {{echo: }}}}]}}
  deploys: false
  egress: {{mode: none, hosts: [approved.example.org, inside.example.org]}}
participants:
"""
TABLE = """
                                    open      approved  llm       none
approved name                       reached   -         -         -
its address                         reached   -         -         -
another public address              reached   -         -         -
approved name, by the proxy         -         reached   -         -
another name, by the proxy          -         -         -         -
an address, by the proxy            -         -         -         -
name that leads inside, by proxy    -         -         -         -
metadata service                    -         -         -         -
metadata service, IPv6              -         -         -         -
server, bridge's address, port 22   -         -         -         -
server, another address             -         -         -         -
the class's models                  reached   reached   reached   -
neighbour                           -         -         -         -
mail to a public address            -         -         -         -
name looked up by the resolver      reached   -         -         -
name looked up by another one       reached   -         -         -
"""
BARE = """
                                    open      approved  llm       none
approved name                       reached   -         -         -
its address                         reached   reached   reached   reached
another public address              reached   reached   reached   reached
approved name, by the proxy         reached   reached   reached   reached
another name, by the proxy          -         -         -         -
an address, by the proxy            -         -         -         -
name that leads inside, by proxy    -         -         -         -
metadata service                    reached   reached   reached   reached
metadata service, IPv6              -         -         -         -
server, bridge's address, port 22   reached   reached   reached   reached
server, another address             reached   reached   reached   reached
the class's models                  reached   reached   reached   reached
neighbour                           -         -         -         -
mail to a public address            reached   reached   reached   reached
name looked up by the resolver      reached   -         -         -
name looked up by another one       reached   reached   reached   reached
"""
"""The same without the wall: what is refused here too is refused by something else."""

PROBE = """
import json, socket, struct, sys
bridge, neighbour, label = sys.argv[1:]
GET = b"GET / HTTP/1.0\\r\\n\\r\\n"
def talk(host, port, *texts, word=b"REACHED"):
    try:
        with socket.create_connection((host, port), 4) as s:
            s.settimeout(4); said = b""
            for text in texts:
                s.sendall(text)
                while chunk := s.recv(4096):
                    said += chunk
                    if text.startswith(b"CONNECT") and b"\\r\\n\\r\\n" in said: break
            return word in said
    except OSError:
        return False
def proxied(host):
    return talk(bridge, 3129, b"CONNECT %s:443 HTTP/1.0\\r\\n\\r\\n" % host.encode(), GET)
def looked_up(server):
    question = b"".join(bytes([len(x)]) + x for x in (label + "-direct.tunnel.example.org").encode().split(b"."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(4)
        try:
            s.connect((server, 53))
            s.send(struct.pack("!HHHHHH", 7, 256, 1, 0, 0, 0) + question + b"\\0\\0\\1\\0\\1")
            return bool(s.recv(512))
        except OSError:
            return False
def resolve(name):
    try: socket.getaddrinfo(name, 443, socket.AF_INET)
    except OSError: pass
resolve(label + ".tunnel.example.org")
print(json.dumps([
    talk("approved.example.org", 443, GET),
    talk("APPROVED", 443, GET),
    talk("OTHER", 443, GET),
    proxied("approved.example.org"),
    proxied("other.example.org"),
    proxied("APPROVED"),
    proxied("inside.example.org"),
    talk("METADATA", 80, GET),
    talk("METADATA_6", 80, GET),
    talk(bridge, 22, GET),
    talk("LAN", 9999, GET),
    talk(bridge, 8011, b"GET /healthz HTTP/1.0\\r\\n\\r\\n", word=b"HTTP/1.1 200"),
    talk(neighbour, 8000, b"GET /whoami HTTP/1.0\\r\\n\\r\\n", word=b"participant"),
    talk("OTHER", 25, GET),
    None,
    looked_up("OTHER"),
]))
"""
for word, value in {
    "METADATA_6": METADATA_6,
    "METADATA": METADATA,
    "APPROVED": APPROVED,
    "OTHER": OTHER,
    "LAN": LAN,
}.items():
    PROBE = PROBE.replace(f'"{word}"', f'"{value}"')
_APPROVED, _OTHER, _LOOKED_UP = 3, 4, 14
"""Places of some rows of the table."""
NEIGHBOURS = """
import json, socket, sys
def opens(host):
    try:
        with socket.create_connection((host, 8000), 3): return True
    except OSError: return False
print(json.dumps([host for host in sys.argv[1:] if opens(host)]))
"""


@pytest.fixture(scope="module")
def town(
    request: pytest.FixtureRequest, docker_engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """Provision eight seats, two of each mode, in a town of its own."""
    require(request)
    with towns.town(tmp_path_factory.mktemp("town")) as made:
        made.roster = write_class(tmp_path_factory.mktemp("class"))
        made.engine.take_images(made.roster)
        said = made.workshop("provision")
        assert made.status == 0, said
        yield made


def write_class(directory: Path, size: int = 8) -> Path:
    """Write the roster of a class whose seats take turns in their modes."""
    starting.init(directory, name=None, people=None)
    roster = directory / "participants.yaml"
    text = ROSTER.format(name=f"wall-{uuid.uuid4().hex[:6]}", port=PORT)
    turns = [(MODES[n % len(MODES)], n // len(MODES) + 1) for n in range(size)]
    people = [f"  - {{name: {seat(mode, n)}, egress: {mode}}}\n" for mode, n in turns]
    roster.write_text(text + "".join(people), "utf-8")
    return roster


def seat(mode: Mode, number: int = 1) -> str:
    """Name a seat of one mode; no participant may be called as a word of YAML."""
    return f"{'bare' if mode is Mode.NONE else mode}-{number}"


def places(town: Town) -> dict[str, tuple[str, str]]:
    """Map each participant to its container and its address."""
    with contextlib.closing(town.engine.client()) as api:
        listed = api.containers(filters={"label": f"{labels.ROLE}={Role.SEAT}"})
    return {item["Labels"][labels.PARTICIPANT]: _place(item) for item in listed}


def _place(item: Any) -> tuple[str, str]:
    (network,) = item["NetworkSettings"]["Networks"].values()
    return item["Id"], network["IPAddress"]


def table(town: Town) -> str:
    """Run the probe in a seat of each mode and write down what it reached."""
    rows = [line[:36] for line in TABLE.splitlines()[2:]]
    there = places(town)

    def column(mode: Mode) -> list[bool]:
        container, address = there[seat(mode)]
        bridge = ".".join([*address.split(".")[:3], "1"])
        label = uuid.uuid4().hex[:12]
        reached: list[bool] = json.loads(
            town.inside(container, PROBE, bridge, there[seat(Mode.OPEN, 2)][1], label)
        )
        reached[_LOOKED_UP] = f"{label}.tunnel.example.org" in town.asked
        return reached

    # Most of a probe is waiting for what does not answer.
    with ThreadPoolExecutor(len(MODES)) as pool:
        columns = list(pool.map(column, MODES))
    head = f"\n{'':36}{'open      approved  llm       none'}\n"
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f"{'reached' if found[number] else '-':10}" for found in columns)
        lines.append(f"{row}{cells}".rstrip())
    return head + "\n".join(lines) + "\n"


def check(town: Town) -> tuple[str, str]:
    """Ask the doctor about the wall: verdict and what was found."""
    checks = town.document("doctor")
    (found,) = [item for item in checks if item["name"] == "wall"]
    return found["verdict"], found["found"]


def chains(town: Town) -> str:
    """Name what the workshop's chains begin with."""
    name = next(line for line in town.roster.read_text().splitlines() if "name: wall-" in line)
    return bridge_prefix(name.split()[-1])


def test_seats_reach_what_their_mode_says_and_nothing_else(town: Town) -> None:
    """Four modes, sixteen destinations: the table is the promise."""
    assert table(town) == TABLE


def test_everybody_is_served_behind_the_wall(town: Town) -> None:
    """Visitors reach every seat, whatever the seat may reach."""
    answers = town.engine.who_answers(PORT, places(town))

    assert answers == {name: name for name in places(town)}


def test_no_seat_reaches_another(town: Town) -> None:
    """Eight by eight: none is open, while the server itself reaches them all."""
    there = places(town)
    addresses = {address for _, address in there.values()}
    program = [town.run("python3", "-c", NEIGHBOURS, *sorted(addresses))]
    opened = {
        name: json.loads(town.inside(container, NEIGHBOURS, *sorted(addresses - {address})))
        for name, (container, address) in there.items()
    }

    assert opened == {name: [] for name in there}
    assert json.loads(program[0]) == sorted(addresses)


def test_second_provision_changes_nothing(town: Town) -> None:
    """What stands is recognised, rule by rule."""
    assert town.document("plan")["steps"] == []
    assert check(town)[0] == "ok"


def test_deleted_rule_is_noticed_and_restored(town: Town) -> None:
    """One rule of many is enough to be told, and the next provision puts it back."""
    town.run(
        "iptables",
        "-D",
        f"{chains(town)}-open",
        "-d",
        "169.254.0.0/16",
        "-g",
        f"{chains(town)}-refuse",
    )
    found, planned = check(town), town.workshop("plan")
    town.workshop("provision")

    assert found == ("failed", "firewall rules around seats: 1 rules missing")
    assert "wall firewall: publish, 1 rules missing" in planned
    assert check(town)[0] == "ok"


def test_rule_put_before_the_wall_is_noticed_and_outrun(town: Town) -> None:
    """A wall somebody has put a door in front of does not count as standing."""
    town.run("iptables", "-I", "INPUT", "1", "-j", "ACCEPT")
    found = check(town)
    town.workshop("provision")

    assert found[0] == "failed"
    assert check(town)[0] == "ok"


def test_wall_taken_away_lets_everything_through_and_comes_back(town: Town) -> None:
    """Without it the probe reaches what it is after; with it again, what the table says."""
    script = town.roster.parent / ".workshop/wall/wall"
    town.run("sh", str(script), "remove", chains(town))
    assert table(town) == BARE
    assert check(town) == ("failed", "firewall rules around seats: no rules")

    town.workshop("provision")
    assert table(town) == TABLE


def test_flushed_firewall_is_noticed_and_restored(town: Town) -> None:
    """After `iptables -F` the doctor says so, provision restores, and the table holds again."""
    town.run("iptables", "-F")
    found, planned = check(town), town.workshop("plan")
    town.workshop("provision")

    assert found[0] == "failed"
    assert "wall firewall: publish" in planned
    assert table(town) == TABLE
    assert check(town) == (
        "failed",
        "the engine's own firewall rules are gone: seats reach no internet",
    )


def test_server_without_engine_puts_the_rules_back(town: Town) -> None:
    """What a boot does before the engine starts: the kept script and the kept rules suffice."""
    kept = town.roster.parent / ".workshop/wall"
    with_engine = town.run("iptables-save", "-t", "filter").splitlines()
    enter = (
        "unshare",
        "--net",
        "sh",
        "-c",
        'sh "$0/wall" apply "$0/rules" && iptables-save -t filter',
    )
    booted = town.run(*enter, str(kept)).splitlines()
    prefix = chains(town)

    assert [line for line in booted if line.startswith(f"-A {prefix}-")] == [
        line for line in with_engine if line.startswith(f"-A {prefix}-")
    ]
    assert f"-A DOCKER-USER -i {prefix}+ -j {prefix}-forward" in booted
    assert f"-A INPUT -i {prefix}+ -j {prefix}-input" in booted
    assert "-A FORWARD -j DOCKER-USER" in booted


def test_kernel_that_leads_bridged_packets_past_the_firewall_is_told_by_every_command(
    town: Town,
) -> None:
    """T26: with one setting of the kernel at 0, seats on one bridge do reach each other."""
    there = places(town)
    container, _ = there[seat(Mode.OPEN)]
    neighbour = there[seat(Mode.OPEN, 2)][1]
    setting = "net.bridge.bridge-nf-call-iptables"
    town.run("sysctl", "-w", f"{setting}=0")
    try:
        reached = json.loads(town.inside(container, NEIGHBOURS, neighbour))
        planned, said = town.workshop("plan"), town.workshop("provision")
        kernel = {item["found"] for item in town.document("doctor") if item["verdict"] == "failed"}
    finally:
        town.run("sysctl", "-w", f"{setting}=1")

    assert reached == [neighbour], "if nobody is reached now either, the next line proves nothing"
    assert json.loads(town.inside(container, NEIGHBOURS, neighbour)) == []
    assert f"{setting} is 0: seats can reach each other" in planned
    assert f"{setting} is 0: seats can reach each other" in said
    assert f"{setting} = 0: without it seats can reach each other" in kernel


def test_mode_of_a_seat_changes_without_another_address(town: Town) -> None:
    """From open to none: the rules follow, and the seat stays where it was."""
    before = places(town)[seat(Mode.OPEN)][1]
    text = town.roster.read_text("utf-8")
    closed = text.replace("name: open-1, egress: open", "name: open-1, egress: none")
    town.roster.write_text(closed, "utf-8")
    planned = town.workshop("provision")
    container, after = places(town)[seat(Mode.OPEN)]
    reached = json.loads(town.inside(container, PROBE, LAN, LAN, "x"))
    town.roster.write_text(text, "utf-8")
    town.workshop("provision")

    assert after == before, planned
    assert not any(reached)
    assert table(town) == TABLE


def test_approved_hosts_that_change_hold_at_once(town: Town) -> None:
    """The proxy lets through what the roster says now, and no longer what it said; no seat restarts."""
    before = places(town)
    text = town.roster.read_text("utf-8")
    hosts = "[approved.example.org, inside.example.org]"
    assert hosts in text
    town.roster.write_text(text.replace(hosts, "[other.example.org]"), "utf-8")
    said = town.workshop("provision")
    container, address = places(town)[seat(Mode.APPROVED)]
    bridge = ".".join([*address.split(".")[:3], "1"])
    reached = json.loads(town.inside(container, PROBE, bridge, LAN, "x"))

    assert places(town) == before, said
    assert (reached[_APPROVED], reached[_OTHER]) == (False, True)


def test_teardown_leaves_no_rule(town: Town) -> None:
    """Chains and the ways into them go with the class."""
    said = town.workshop("teardown", "--yes")

    assert town.status == 0, said
    assert chains(town) not in town.run("iptables-save") + town.run("ip6tables-save")
