"""A class with a board: what the roster says of it, what is planned, told and kept, who is let in."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import claims, host, keyring, operations, state, status
from workshop.board import config as board
from workshop.doctor import Verdict
from workshop.errors import InputError
from workshop.labels import Role
from workshop.llm import keys
from workshop.plan import make_plan
from workshop.subnets import BOARD_PORT, own_loopback
from workshop.teardown import teardown
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.doctor import Check
    from workshop.roster import Roster
    from workshop.specs import ContainerSpec
    from workshop.workspace import Workspace

PEOPLE = "participants: [ada, bob]\n"
HTTPS = "url: 'https://class.example.org', tls: self-made"


@pytest.fixture
def said(parse: Callable[[str], Roster]) -> Callable[..., Roster]:
    """Parse a roster that says ``more`` about the workshop."""
    return lambda more, people=PEOPLE: parse(f"workshop: {{name: class, {more}}}\n{people}")


def fault_of(said: Callable[..., Roster], more: str, people: str = PEOPLE) -> str:
    """Parse what is wrong in one place, and give the fault as people see it."""
    with pytest.raises(InputError) as caught:
        said(more, people)
    assert len(caught.value.faults) == 1, caught.value.faults
    return str(caught.value.faults[0])


def edit(work: Workspace, old: str, new: str) -> None:
    """Change the roster's text."""
    text = work.roster_path.read_text("utf-8")
    assert old in text
    work.roster_path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def running(deploying: Workspace, next_command: Callable[[Workspace], Workspace]) -> Workspace:
    """Provision a class of three with a board and two spare seats."""
    edit(deploying, "  llm: false\n", "  spares: 2\n")
    report = operations.provision(deploying)
    assert report.ok, report.failed
    return next_command(deploying)


def part_of(work: Workspace, role: Role) -> ContainerSpec:
    """Find one of the platform's own containers as it should be."""
    spec = survey(work).desired.part(role)
    assert spec is not None
    return spec


def without_board(work: Workspace) -> None:
    """Remove the board's container, as an accident would."""
    found = work.engine.observe("class").container(Role.BOARD, "board")
    assert found is not None
    work.engine.remove(found.id)


# -- the roster: the board ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ("title: X", ""),
        ("board: true", ""),
        ("board: false", None),
        ("deploys: false", None),
        ("deploys: false, board: false", None),
        (f"{HTTPS}, board: {{host: Board.Example.org}}", "board.example.org"),
        ("board: {host: board.localhost}", "board.localhost"),
    ],
)
def test_class_has_a_board_where_it_deploys_and_nothing_is_said(
    said: Callable[..., Roster], more: str, at: str | None
) -> None:
    """What watches the seats is the server of deploys."""
    found = said(more).board

    assert (found.host if found else None) == at


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("board: maybe", "expected true or false"),
        ("board: {port: 80, host: board.localhost}", "unknown key 'port'"),
        ("board: {}", "the key 'host' is missing"),
        ("board: [host]", "expected a mapping with host"),
        ("deploys: false, board: true", "leave `deploys: false` out, or set board: false"),
        ("deploys: false, board: {host: b.localhost}", "leave `deploys: false` out"),
        (f"{HTTPS}, board: {{host: class.example.org}}", "is the class's own host"),
        (f"{HTTPS}, board: {{host: 192.0.2.7}}", "expected a host name of its own"),
        (f"{HTTPS}, board: {{host: localhost}}", "expected a host name of its own"),
        (f"{HTTPS}, board: {{host: a_b.example.org}}", "not a DNS name"),
        (f"{HTTPS}, board: {{host: 'b.example.org:81'}}", "not a DNS name"),
        ("board: {host: board.example.org}", "browsers log in over https alone"),
        (
            f"{HTTPS.replace('self-made', '{acme: a@example.org}')}, board: {{host: b.localhost}}",
            "no authority certifies b.localhost",
        ),
        (f"{HTTPS}, routing: subdomain, board: {{host: bob.class.example.org}}", "the seat bob"),
        (
            f"{HTTPS}, routing: both, spares: 2, board: {{host: spare-2.class.example.org}}",
            "the seat spare-2",
        ),
    ],
)
def test_board_that_cannot_be_is_a_fault_with_its_line(
    said: Callable[..., Roster], more: str, words: str
) -> None:
    """Nothing is guessed."""
    found = fault_of(said, more)

    assert words in found
    assert found.startswith("participants.yaml:1:"), found


def test_host_below_the_class_is_the_boards_where_nobody_sits_there(
    said: Callable[..., Roster],
) -> None:
    """``board`` is a name that nobody may have."""
    more = f"{HTTPS}, routing: subdomain, board: {{host: board.class.example.org}}"
    found = said(more).board

    assert found is not None
    assert found.host == "board.class.example.org"
    by_path = said(f"{HTTPS}, board: {{host: bob.class.example.org}}").board
    assert by_path is not None
    assert by_path.host == "bob.class.example.org"


# -- the roster: spare seats ----------------------------------------------------------------------


def test_spare_seats_follow_everybody_with_the_classs_defaults(
    said: Callable[..., Roster],
) -> None:
    """A latecomer gets what everybody has."""
    people = f"defaults: {{env: {{GREETING: Hello}}, limits: {{memory: 64m}}}}\n{PEOPLE}"
    found = said("spares: 2", people)

    assert [person.name for person in found.participants] == ["ada", "bob", "spare-1", "spare-2"]
    assert [person.spare for person in found.participants] == [False, False, True, True]
    spare = found.participant("spare-2")
    assert replace(spare, name="bob", display_name="bob", spare=False) == found.participant("bob")
    assert spare.display_name == "Spare seat 2"


def test_claimed_spare_seat_is_not_added_again(said: Callable[..., Roster]) -> None:
    """It has the latecomer's own name; the number and the order of the seats stay."""
    people = "participants: [{name: spare-2, display_name: Zoe}, ada]\n"
    found = said("spares: 3", people)

    assert [(person.name, person.spare) for person in found.participants] == [
        ("ada", False),
        ("spare-1", True),
        ("spare-2", False),
        ("spare-3", True),
    ]
    assert found.participant("spare-2").display_name == "Zoe"


@pytest.mark.parametrize(
    ("more", "people", "words"),
    [
        ("spares: 51", PEOPLE, "0 to 50"),
        ("spares: -1", PEOPLE, "0 to 50"),
        ("spares: some", PEOPLE, "0 to 50"),
        (
            "spares: 3",
            f"participants: [{', '.join(f's{n}' for n in range(498))}]\n",
            "498 participants and 3 spare seats; at most 500 together",
        ),
    ],
)
def test_number_of_spare_seats_that_cannot_be_is_a_fault(
    said: Callable[..., Roster], more: str, people: str, words: str
) -> None:
    """Each takes a slot."""
    assert words in fault_of(said, more, people)


def test_claim_written_into_the_roster_leaves_a_repair_to_do(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """A latecomer is nothing that the instructor would have to provision first."""
    entry = "  - name: spare-2\n    display_name: Zoe\n    email: zoe@example.org\n"
    work = next_command(running)
    work.roster_path.write_text(work.roster_path.read_text("utf-8") + entry, "utf-8")
    before = survey(running).desired.asked
    without_board(running)

    assert survey(next_command(work)).desired.asked == before
    assert operations.provision(next_command(work), repair=True).ok
    seen = survey(next_command(work))
    assert seen.observed.container(Role.BOARD, "board") is not None
    assert seen.desired.board is not None
    zoe = seen.desired.board.seats[-1]
    assert (zoe.name, zoe.display_name, zoe.spare) == ("spare-2", "Zoe", False)


def test_claim_of_the_first_spare_seat_changes_what_no_other_part_is_told(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The board knows already, and the list of seats gets the name at the next ``provision``."""
    before = survey(running).desired
    entry = "  - name: spare-1\n    display_name: Zoe\n"
    work = next_command(running)
    work.roster_path.write_text(work.roster_path.read_text("utf-8") + entry, "utf-8")
    after = survey(next_command(work)).desired

    assert (after.gateway, after.intake, after.deploys) == (
        before.gateway,
        before.intake,
        before.deploys,
    )
    assert after.containers == before.containers


def test_more_spare_seats_are_nothing_for_a_repair(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """They are asked for by the instructor, and made by ``provision``."""
    before = survey(running).desired.asked
    edit(running, "spares: 2", "spares: 3")

    assert survey(next_command(running)).desired.asked != before


# -- what is told ---------------------------------------------------------------------------------


def test_second_provision_changes_nothing(running: Workspace) -> None:
    """The board answers with what it should know."""
    assert operations.plan(running).is_empty


def test_board_is_told_hashes_and_no_key(running: Workspace) -> None:
    """Whoever reads the file can compare a key, and use none."""
    told = (running.directories.board / "told" / board.FILE).read_text("utf-8")
    config = board.load(told)
    known = state.load(running.state_directory)
    assert known is not None
    loopback = own_loopback(known.network)
    key = keys.derive(known.secret, "ada", 0)
    code = claims.code(known.secret, "spare-1")
    ada, spare = config.seat("ada"), config.seat("spare-1")

    assert config == survey(running).desired.board
    assert ada is not None
    assert (ada.key_id, ada.key_hash) == ("ada-1", board.hashed(key))
    assert ada.url == "http://localhost:18999/ada/"
    assert spare is not None
    assert spare.claim_hash == board.hashed(claims.normal(code.lower()))
    assert (spare.spare, spare.display_name) == (True, "Spare seat 1")
    assert config.origins == (
        f"http://{loopback}:{BOARD_PORT}",
        "http://127.0.0.1:8013",
    )
    assert (config.base_url, config.registry) == (
        "http://localhost:18999/llm/v1",
        "localhost:18999",
    )
    for secret in (known.secret, key, code, code.replace("-", "")):
        assert secret not in told


def test_revoked_key_opens_no_page(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The board is told with everybody else."""
    assert keyring.revoke(running, ["ada"]).ok
    told = board.load((running.directories.board / "told" / board.FILE).read_text("utf-8"))
    ada = told.seat("ada")

    assert ada is not None
    assert ada.key_hash == ""
    assert operations.plan(next_command(running)).is_empty


def test_token_of_metrics_lies_beside_the_secrets_and_stays(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Prometheus' configuration is written once; only the owner may read the token."""
    path = running.state_directory / board.METRICS_TOKEN
    token = path.read_text("utf-8").strip()
    told = survey(running).desired.board

    assert len(bytes.fromhex(token)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told is not None
    assert told.metrics_hash == board.hashed(token)
    edit(running, "spares: 2", "spares: 1")
    assert operations.provision(next_command(running), prune=None).ok
    assert path.read_text("utf-8").strip() == token


def test_desired_shows_no_token(running: Workspace) -> None:
    """What is printed while somebody looks for a fault holds no secret."""
    desired = survey(running).desired

    assert desired.metrics_token
    assert desired.metrics_token not in repr(desired)


def test_board_sees_three_directories_and_writes_one(running: Workspace) -> None:
    """No socket, no key, no environment of a seat; and a user of its own."""
    spec, home = part_of(running, Role.BOARD), running.directories.board

    assert spec.mounts == ((f"{home}/told", "/told"), (f"{home}/shown", "/shown"))
    assert spec.data == ((f"{home}/kept", "/kept"),)
    assert spec.user == "10008:10008"
    assert (spec.network, spec.groups, spec.capabilities, spec.env) == (None, (), (), {})
    assert "--listen" in spec.command
    modes = {
        path.relative_to(home).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (home, *home.rglob("*"))
    }
    assert modes == {
        ".": 0o755,
        "told": 0o755,
        "told/config.json": 0o644,
        "told/links": 0o755,
        "shown": 0o755,
        "shown/logs": 0o755,
        "shown/answers": 0o755,
        "kept": 0o777,
        "kept/wishes": 0o777,
        "kept/wanted": 0o777,
        "kept/used": 0o777,
    }


def test_link_in_a_directorys_place_is_not_followed(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The board writes beside its directories; what it put there must open nothing else."""
    other = running.state_directory / "closed"
    other.mkdir(mode=0o700)
    place = running.directories.board / "kept" / "wishes"
    place.rmdir()
    place.symlink_to(other)
    edit(running, "spares: 2", "spares: 3")

    assert operations.provision(next_command(running)).ok
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert not place.is_symlink()
    assert stat.S_IMODE(place.stat().st_mode) == 0o777


def test_server_watches_and_may_write_the_roster_only_with_a_board(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """A claimed spare seat goes into the roster; what seats use is read from the kernel's files."""
    with_board = part_of(running, Role.SERVE)
    edit(running, "  spares: 2\n", "  spares: 2\n  board: false\n")
    without = part_of(next_command(running), Role.SERVE)
    home = str(running.state_directory)
    here = str(running.roster_path.parent.resolve())

    assert ("/sys/fs/cgroup", "/cgroup") in with_board.mounts
    assert with_board.data == ((here, here),)
    assert "/cgroup" not in [place for _, place in without.mounts]
    assert without.data == ((home, home),)


def test_board_that_is_switched_off_leaves_nothing(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Its container goes, and with it what it was told and kept."""
    edit(running, "  spares: 2\n", "  spares: 2\n  board: false\n")
    plan = operations.plan(next_command(running))
    assert "board board: remove, not in the roster" in str(plan)

    assert operations.provision(next_command(running)).ok
    assert not list(running.state_directory.glob("board*"))
    assert not (running.state_directory / board.METRICS_TOKEN).exists()
    assert operations.plan(next_command(running)).is_empty


def test_file_changed_by_hand_is_written_anew(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The board still works with what it once read."""
    path = running.directories.board / "told" / board.FILE
    right = path.read_text("utf-8")
    path.write_text(json.dumps(json.loads(right), indent=2), "utf-8")
    plan = operations.plan(running)

    assert "keys board: publish, its file was changed by hand" in str(plan)
    assert operations.provision(next_command(running)).ok
    assert path.read_text("utf-8") == right


def test_board_that_knows_too_little_is_told(running: Workspace) -> None:
    """The plan says why, and touches no container."""
    seen = survey(running)
    stale = replace(seen.observed, board_config="0123456789abcdef")
    silent = replace(seen.observed, board_config=None)

    assert str(make_plan(seen.desired, stale)).splitlines()[1:] == [
        "  #1 keys board: publish, keys, participants or addresses changed"
    ]
    assert "#1 keys board: publish, the board does not answer" in str(
        make_plan(seen.desired, silent)
    )


# -- the host of its own --------------------------------------------------------------------------


def test_hosts_origin_comes_first_and_the_edge_leads_there(
    deploying: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Same scheme and port as the class; the loopback stays for whoever sits on the server."""
    edit(deploying, "  llm: false\n", "  llm: false\n  board: {host: board.localhost}\n")
    desired = survey(next_command(deploying)).desired
    assert desired.board is not None
    assert desired.edge is not None

    assert desired.board.origins[0] == "http://board.localhost:18999"
    assert desired.board.origins[1].startswith("http://127.")
    assert desired.edge.board_host == "board.localhost"
    assert desired.edge.board == desired.board.origins[1].removeprefix("http://")


def test_edge_knows_nothing_of_a_board_without_a_host(running: Workspace) -> None:
    """It answers on the server's loopback alone."""
    edge = survey(running).desired.edge

    assert edge is not None
    assert (edge.board, edge.board_host) == ("", "")


# -- doctor, status, logs, teardown ---------------------------------------------------------------


def checks(work: Workspace) -> list[Check]:
    """Give what the doctor says of the board."""
    return [check for check in operations.examine(work) if check.name == "board"]


def test_doctor_says_where_the_board_answers(running: Workspace) -> None:
    """On one computer everybody can open it."""
    (found,) = checks(running)
    address = own_loopback(survey(running).choices.network)

    assert found.verdict is Verdict.OK
    assert f"{address} port {BOARD_PORT}" in found.found


def test_doctor_warns_where_participants_cannot_open_the_board(
    deploying: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """The loopback address of a server is nobody else's."""
    edit(deploying, "http://localhost:18999", "http://class.example.org:18999")
    (found,) = checks(next_command(deploying))

    assert found.verdict is Verdict.WARNING
    assert "participants cannot open it" in found.found
    assert found.mend.startswith("set workshop.board.host")


@pytest.mark.parametrize(
    ("addresses", "verdict"), [((), Verdict.FAILED), (("192.0.2.1",), Verdict.OK)]
)
def test_doctor_looks_for_the_boards_name(
    deploying: Workspace,
    next_command: Callable[[Workspace], Workspace],
    monkeypatch: pytest.MonkeyPatch,
    addresses: tuple[str, ...],
    verdict: Verdict,
) -> None:
    """A record that is missing is found before the class, not during it."""
    monkeypatch.setattr(host, "resolves", lambda _: addresses)
    edit(
        deploying,
        "  url: http://localhost:18999\n",
        "  url: https://class.example.org\n  port: 18999\n  board: {host: board.example.org}\n",
    )
    (found,) = checks(next_command(deploying))

    assert found.verdict is verdict
    assert "board.example.org" in found.found


def test_doctor_names_who_holds_the_boards_port(
    deploying: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program on all addresses takes the loopback's too."""
    monkeypatch.setattr(host, "loopback_is_free", lambda port: port != BOARD_PORT)
    (found,) = checks(deploying)

    assert found.verdict is Verdict.FAILED
    assert f"port {BOARD_PORT} is taken on all addresses" in found.found


def test_class_without_a_board_is_not_asked_about_it(work: Workspace) -> None:
    """The doctor has no opinion on what is not wanted."""
    assert checks(work) == []
    assert status.status(work).board == "off"


def test_status_has_the_board_among_the_parts(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Without it the class goes on, but not everything can be reached."""
    assert status.status(next_command(running)).board == "live"
    without_board(running)
    found = status.status(next_command(running))

    assert found.board == "missing"
    assert not found.ok


def test_log_of_the_board_is_shown_like_any_parts(running: Workspace) -> None:
    """``workshop logs board``."""
    assert list(operations.logs(running, "board", tail=5, follow=False)) == ["board says hello"]


def test_teardown_leaves_nothing_of_the_board(
    running: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Container, image, directory and token."""
    receipt = teardown(next_command(running))

    assert receipt.left == ()
    assert receipt.removed["board"] == 1
    assert not running.state_directory.exists()
