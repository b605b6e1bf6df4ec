"""Where seats live: what the roster says about it, and everybody who must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop import doctor, host, operations, status
from workshop.deploys import config as deploys
from workshop.errors import InputError
from workshop.health import LOCAL, Answer
from workshop.routing import Place, Routing, place
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.health import Probe
    from workshop.roster import Roster

PEOPLE = "participants: [ada, bob]\n"


@pytest.mark.parametrize(
    ("url", "routing", "address"),
    [
        ("http://localhost:8080", "path", "http://localhost:8080/ada/"),
        ("http://localhost:8080", "subdomain", "http://ada.localhost:8080/"),
        ("http://class.example.org", "both", "http://class.example.org/ada/"),
        ("http://class.example.org", "subdomain", "http://ada.class.example.org/"),
    ],
)
def test_roster_makes_every_seats_address(
    parse: Callable[[str], Roster], url: str, routing: str, address: str
) -> None:
    """One place makes it; with both, the path is what people are shown."""
    roster = parse(f"workshop: {{name: class, url: '{url}', routing: {routing}}}\n{PEOPLE}")

    assert roster.seat_url("ada") == address


def test_routing_is_by_path_unless_the_roster_says_otherwise(
    parse: Callable[[str], Roster],
) -> None:
    """One name and one certificate are enough for a class."""
    assert parse(f"workshop: {{name: class}}\n{PEOPLE}").routing is Routing.PATH


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("routing: host", "expected path, subdomain or both"),
        ("routing: subdomain, url: 'http://192.0.2.7'", "which is no name; give url a name"),
        ("routing: both, url: 'http://192.0.2.7'", "which is no name; give url a name"),
    ],
)
def test_routing_that_cannot_be_is_a_fault(
    parse: Callable[[str], Roster], more: str, words: str
) -> None:
    """An address has no names below it, and a misspelt word is not guessed at."""
    with pytest.raises(InputError) as caught:
        parse(f"workshop: {{name: class, {more}}}\n{PEOPLE}")

    assert words in str(caught.value.faults[0])


@pytest.mark.parametrize(
    ("routing", "found"),
    [
        (Routing.PATH, Place("https", "h:1", "/ada")),
        (Routing.BOTH, Place("https", "h:1", "/ada")),
        (Routing.SUBDOMAIN, Place("https", "ada.h:1", "")),
    ],
)
def test_place_is_a_url_taken_apart(routing: Routing, found: Place) -> None:
    """Host and prefix are what a request needs, the URL is what people read."""
    assert place("https://h:1", routing, "ada") == found
    assert found.url == f"https://{found.authority}{found.prefix}/"
    assert found.host == found.authority.partition(":")[0]


def class_of(work: Workspace, workshop: str, probe: Probe | None = None) -> Workspace:
    """Write another roster, and work with it on the same engine."""
    text = f"workshop: {{name: class, llm: false, {workshop}}}\n{PEOPLE}"
    work.roster_path.write_text(text, "utf-8")
    return Workspace(work.roster_path, lambda: work.engine, probe or work.probe)


class Listening:
    """Notes where the edge is asked."""

    def __init__(self, probe: Probe) -> None:
        self.asked: set[tuple[str, int, str, str]] = set()
        self._probe = probe

    async def ready(self, address: str, port: int, seconds: float) -> None:
        """Pass it on."""
        await self._probe.ready(address, port, seconds)

    async def ask(self, address: str, port: int, path: str) -> Answer:
        """Pass it on."""
        return await self._probe.ask(address, port, path)

    async def get(self, port: int, path: str, host: str, address: str = LOCAL) -> Answer:
        """Note it and pass it on."""
        self.asked.add((address, port, host, path))
        return await self._probe.get(port, path, host, address)


@pytest.mark.parametrize(
    ("routing", "prefix", "host_of_ada"),
    [
        ("path", "/ada", "localhost"),
        ("subdomain", "", "ada.localhost"),
        ("both", "/ada", "localhost"),
    ],
)
def test_class_is_provisioned_and_asked_where_its_seats_live(
    work: Workspace, routing: str, prefix: str, host_of_ada: str
) -> None:
    """Apps are told their prefix; identity check and status come the way visitors do."""
    listening = Listening(work.probe)
    work = class_of(work, f"routing: {routing}", listening)
    report = operations.provision(work)
    seen = survey(work)
    ada = next(seat for seat in seen.desired.seats if seat.key == "ada")
    table = {seat.name: seat.url for seat in status.status(work).seats}

    assert report.ok, report.failed
    assert (ada.env["ROOT_PATH"], ada.env["UVICORN_ROOT_PATH"]) == (prefix, prefix)
    assert ("127.0.0.1", 8080, host_of_ada, f"{prefix}/whoami") in listening.asked
    assert ("127.0.0.1", 8080, host_of_ada, f"{prefix}/healthz") in listening.asked
    assert table["ada"] == f"http://{host_of_ada}:8080{prefix}/"
    assert seen.desired.deploys is not None
    assert seen.desired.deploys.place("ada").url == table["ada"]
    assert seen.desired.intake is not None
    assert {seat.name: seat.url for seat in seen.desired.intake.seats} == table


def test_edge_with_a_certificate_is_asked_on_the_workshops_own_loopback(work: Workspace) -> None:
    """In plain HTTP, so that neither a certificate's name nor its age can stand in the way."""
    more = "url: 'https://localhost:8443', tls: self-made, network: 10.86.8.0/21"
    listening = Listening(work.probe)
    work = class_of(work, more, listening)
    report = operations.provision(work)
    told = survey(work).desired.deploys

    assert report.ok, report.failed
    assert {(address, port) for address, port, _, _ in listening.asked} == {("127.86.8.1", 8010)}
    assert told is not None
    assert (told.edge_address, told.edge_port) == ("127.86.8.1", 8010)
    assert told.place("ada").url == "https://localhost:8443/ada/"


def test_server_of_deploys_reads_back_where_seats_live(work: Workspace) -> None:
    """Its file holds every place; a seat that has left is looked for below the path."""
    work = class_of(work, "routing: subdomain")
    told = survey(work).desired.deploys
    assert told is not None
    again = deploys.load(deploys.dump(told))

    assert again == told
    assert again.place("ada").url == "http://ada.localhost:8080/"
    assert again.place("gone").url == "http://localhost:8080/gone/"


@pytest.mark.parametrize(
    ("known", "verdict", "words"),
    [
        (
            {"class.example.org": ["192.0.2.7"], "ada.class.example.org": ["192.0.2.7"]},
            "ok",
            "is 192",
        ),
        ({"class.example.org": ["192.0.2.7"]}, "failed", "nobody knows the name ada."),
        (
            {"class.example.org": ["192.0.2.7"], "ada.class.example.org": ["192.0.2.8"]},
            "failed",
            "ada.class.example.org is 192.0.2.8",
        ),
    ],
)
def test_doctor_looks_for_the_wildcard_record(
    parse: Callable[[str], Roster], monkeypatch: pytest.MonkeyPatch,
    known: dict[str, list[str]], verdict: str, words: str,
) -> None:  # fmt: skip
    """One seat's name stands for all; the mend names the record to add."""
    monkeypatch.setattr(host, "resolves", lambda name: known.get(name, []))
    text = f"workshop: {{name: c1, url: 'http://class.example.org', routing: subdomain}}\n{PEOPLE}"
    (check,) = doctor._hosts(parse(text))

    assert check.verdict == verdict
    assert words in check.found
    assert verdict == "ok" or "*.class.example.org" in check.mend
