"""Which certificate the edge is given: the instructor's, the workshop's own, an authority's."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from workshop.errors import InputError
from workshop.tls import certificates, store, supply
from workshop.tls.options import Acme, SelfMade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.roster import Roster
    from workshop.tls.supply import Supply

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOST = "class.example.org"
OWN = "{certificate: cert.pem, key: key.pem}"
ACME = "{acme: you@example.org}"


@pytest.fixture
def said(parse: Callable[[str], Roster]) -> Callable[..., Roster]:
    """Parse a roster that says something about TLS."""

    def read(
        tls: str, url: str = f"https://{HOST}", routing: str = "path", board: str = "true"
    ) -> Roster:
        return parse(
            f"workshop:\n  name: class\n  url: {url}\n  routing: {routing}\n  tls: {tls}\n"
            f"  board: {board}\nparticipants: [ada, bob]\n"
        )

    return read


def look(roster: Roster, folder: Path, now: datetime = NOW, bundle: Path | None = None) -> Supply:
    """Find the certificate and keep what was made, as a command that changes something does."""
    found = supply.find(roster, folder, bundle, now)
    assert found is not None
    store.keep(folder, found.fresh)
    return found


def lay(directory: Path, chain: str, key: str) -> None:
    """Lay the instructor's own files."""
    (directory / "cert.pem").write_text(chain, "latin-1")
    (directory / "key.pem").write_text(key, "latin-1")
    (directory / "key.pem").chmod(0o600)


# -- self-made ------------------------------------------------------------------------------------


def test_looking_makes_nothing(said: Callable[..., Roster], tmp_path: Path) -> None:
    """``plan`` may look: what was made comes along, and is written by who changes something."""
    found = supply.find(said("self-made"), tmp_path / "tls", None, NOW)

    assert found is not None
    assert set(found.fresh) == {
        "self-made/authority.pem",
        "self-made/authority-pair.pem",
        "self-made/pair.pem",
    }
    assert not (tmp_path / "tls").exists()


def test_self_made_one_stays_the_same(said: Callable[..., Roster], tmp_path: Path) -> None:
    """A second provision changes nothing; the files are their owner's alone."""
    first = look(said("self-made"), tmp_path / "tls")
    second = look(said("self-made"), tmp_path / "tls", NOW + timedelta(days=50))

    assert second.pair == first.pair
    assert not second.fresh
    files = [path for path in (tmp_path / "tls").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_self_made_one_is_renewed_under_the_same_authority(
    said: Callable[..., Roster], tmp_path: Path
) -> None:
    """Who was told of the authority need not be told again."""
    first = look(said("self-made"), tmp_path / "tls")
    authority = (tmp_path / "tls" / supply.AUTHORITY_FILE).read_text("ascii")
    later = look(said("self-made"), tmp_path / "tls", NOW + timedelta(days=61))

    assert later.pair != first.pair
    assert later.facts.ends > first.facts.ends
    assert (tmp_path / "tls" / supply.AUTHORITY_FILE).read_text("ascii") == authority


def test_authority_is_renewed_before_what_it_signs_outlives_it(
    said: Callable[..., Roster], tmp_path: Path
) -> None:
    """At no day of two years does a certificate end after its authority."""
    roster = said("self-made")
    for day in range(0, 1500, 29):
        now = NOW + timedelta(days=day)
        found = look(roster, tmp_path / "tls", now)
        signer = certificates.read_chain(found.pair.chain)[1]

        assert list(certificates.problems(found.pair, [HOST], now)) == []
        assert found.facts.ends <= signer.not_valid_after_utc


def test_other_names_make_another_one(said: Callable[..., Roster], tmp_path: Path) -> None:
    """Another host takes another authority; hosts of seats below it do not."""
    folder = tmp_path / "tls"
    first = look(said("self-made"), folder)
    below = look(said("self-made", routing="subdomain"), folder)
    other = look(said("self-made", url="https://other.example.org"), folder)

    assert below.facts.names == (HOST, f"*.{HOST}")
    assert (
        certificates.read_chain(below.pair.chain)[1]
        == (certificates.read_chain(first.pair.chain)[1])
    )
    assert other.facts.names == ("other.example.org",)
    assert other.facts.issuer == first.facts.issuer
    assert "self-made/authority.pem" in other.fresh


def test_loopback_is_good_for_all_its_names(said: Callable[..., Roster], tmp_path: Path) -> None:
    """A rehearsal on one's own machine; programs take no wildcard right below the root."""
    roster = said("self-made", url="https://localhost:8443", routing="both")

    assert look(roster, tmp_path).facts.names == (
        "localhost",
        "ada.localhost",
        "bob.localhost",
        "127.0.0.1",
    )


def test_garbled_files_are_made_anew(said: Callable[..., Roster], tmp_path: Path) -> None:
    """A lost or broken file costs a new certificate, never a command."""
    look(said("self-made"), tmp_path)
    (tmp_path / "self-made" / "pair.pem").write_bytes(b"\xff\x00")

    assert list(certificates.problems(look(said("self-made"), tmp_path).pair, [HOST], NOW)) == []


@pytest.mark.parametrize("board", ["board.example.net", f"board.{HOST}"])
def test_self_made_one_is_good_for_the_boards_host(
    said: Callable[..., Roster], tmp_path: Path, board: str
) -> None:
    """Below the class's name or anywhere else: the authority signs for both."""
    look(said("self-made"), tmp_path)
    found = look(said("self-made", board=f"{{host: {board}}}"), tmp_path)

    assert found.facts.names == (HOST, board)
    assert look(said("self-made", board=f"{{host: {board}}}"), tmp_path).pair == found.pair


# -- the instructor's own -------------------------------------------------------------------------


@pytest.fixture
def signer(tmp_path: Path) -> certificates.Pair:
    """Make an authority that this server knows by a bundle."""
    made = certificates.make_authority("Campus", [HOST], NOW)
    (tmp_path / "bundle.pem").write_text(made.chain, "ascii")
    return made


def test_own_one_is_taken_as_it_is(
    said: Callable[..., Roster], directory: Path, tmp_path: Path, signer: certificates.Pair
) -> None:
    """Signed by somebody known, it raises no eyebrow."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    lay(directory, certificates.leaf(made.chain), made.key)
    found = look(said(OWN), tmp_path, bundle=tmp_path / "bundle.pem")

    assert found.pair.key == made.key
    assert (found.warnings, found.fresh) == ((), {})


def test_own_one_that_ends_soon_warns(
    said: Callable[..., Roster], directory: Path, tmp_path: Path, signer: certificates.Pair
) -> None:
    """From two weeks before the end, every command says so."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    lay(directory, made.chain, made.key)
    bundle = tmp_path / "bundle.pem"
    calm = look(said(OWN), tmp_path, NOW + timedelta(days=75), bundle)
    late = look(said(OWN), tmp_path, NOW + timedelta(days=80), bundle)

    assert calm.warnings == ()
    assert late.warnings == (f"the certificate for {HOST} ends in 10 days; renew it",)


def test_own_one_without_the_boards_host_serves_the_class_and_warns(
    said: Callable[..., Roster], directory: Path, tmp_path: Path, signer: certificates.Pair
) -> None:
    """Everybody's app goes on; only the board is behind a browser's warning."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    lay(directory, made.chain, made.key)
    board = f"board.{HOST}"
    found = look(said(OWN, board=f"{{host: {board}}}"), tmp_path, bundle=tmp_path / "bundle.pem")

    assert found.pair.key == made.key
    assert found.warnings == (
        f"cert.pem does not cover {board}: browsers refuse the board there; order one for both",
    )


def test_own_one_for_all_names_below_is_enough_for_the_board(
    said: Callable[..., Roster], directory: Path, tmp_path: Path, signer: certificates.Pair
) -> None:
    """Nobody needs to order the name once more."""
    made = certificates.make_leaf(signer, [HOST, f"*.{HOST}"], NOW)
    lay(directory, made.chain, made.key)
    roster = said(OWN, board=f"{{host: board.{HOST}}}")

    assert look(roster, tmp_path, bundle=tmp_path / "bundle.pem").warnings == ()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("key", "cert.pem cannot be used: the key belongs to another certificate"),
        ("name", f"cert.pem cannot be used: it does not cover {HOST}, only x.{HOST}"),
        ("time", "cert.pem cannot be used: it ended on"),
        ("chain", "cert.pem cannot be used: its chain ends with a certificate signed by Campus"),
        ("certificate-der", "cert.pem cannot be used: it is not PEM; openssl x509"),
        ("key-der", "key.pem cannot be used: it is not PEM; openssl pkey"),
    ],
)
def test_own_one_that_visitors_would_refuse_is_refused(  # noqa: PLR0913, PLR0917 - fixtures
    said: Callable[..., Roster],
    directory: Path,
    tmp_path: Path,
    signer: certificates.Pair,
    damage: str,
    words: str,
) -> None:
    """It is found out before anything is touched, and the message says what to do."""
    names = [f"x.{HOST}" if damage == "name" else HOST]
    made = certificates.make_leaf(signer, names, NOW)
    other = certificates.make_leaf(signer, names, NOW)
    chain = certificates.leaf(made.chain)
    lay(
        directory,
        "\x30\x82" if damage == "certificate-der" else chain,
        {"key": other.key, "key-der": "\x30\x82"}.get(damage, made.key),
    )
    bundle = None if damage == "chain" else tmp_path / "bundle.pem"
    now = NOW + timedelta(days=100 if damage == "time" else 0)

    with pytest.raises(InputError) as raised:
        look(said(OWN), tmp_path, now, bundle)

    assert words in raised.value.message
    assert "rehearse with `tls: self-made`" in raised.value.hint


def test_wildcard_is_asked_for_where_seats_have_hosts(
    said: Callable[..., Roster], directory: Path, tmp_path: Path, signer: certificates.Pair
) -> None:
    """One certificate for everybody: the host, and everything right below it."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    lay(directory, made.chain, made.key)

    with pytest.raises(InputError, match=r"does not cover \*\.class\.example\.org"):
        look(said(OWN, routing="subdomain"), tmp_path, bundle=tmp_path / "bundle.pem")


# -- an authority's -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routing", "board", "names"),
    [
        ("path", f"board.{HOST}", (HOST, f"board.{HOST}")),
        ("subdomain", "board.example.net", (HOST, f"*.{HOST}", "board.example.net")),
        # An authority refuses an order that names one thing twice.
        ("subdomain", f"board.{HOST}", (HOST, f"*.{HOST}")),
    ],
)
def test_boards_host_is_asked_for_where_no_wildcard_covers_it(
    said: Callable[..., Roster], routing: str, board: str, names: tuple[str, ...]
) -> None:
    """One certificate for everything the edge answers to."""
    found = said("self-made", routing=routing, board=f"{{host: {board}}}")

    assert supply.wanted_names(found) == names


def test_self_made_one_stands_in_until_the_first_is_issued(
    said: Callable[..., Roster], tmp_path: Path
) -> None:
    """The edge is up, so that the authority can ask it."""
    found = look(said(ACME), tmp_path)

    assert found.placeholder
    assert isinstance(found.source, Acme)
    assert "`workshop tls renew` asks it" in found.warnings[0]


def test_issued_one_is_used_to_its_end_and_beyond(
    said: Callable[..., Roster], tmp_path: Path, signer: certificates.Pair
) -> None:
    """A refused renewal takes nothing down: the old one stays, with a warning."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    store.keep(tmp_path, {supply.ISSUED: made.text})
    fresh = look(said(ACME), tmp_path)
    ended = look(said(ACME), tmp_path, NOW + timedelta(days=100))

    assert (fresh.pair, fresh.placeholder, fresh.warnings) == (made, False, ())
    assert (ended.pair, ended.placeholder) == (made, False)
    assert "ended on 2027-02-19; `workshop tls renew`" in ended.warnings[0]


def test_issued_one_without_the_boards_host_goes_on_and_says_so(
    said: Callable[..., Roster], tmp_path: Path, signer: certificates.Pair
) -> None:
    """Whoever adds the board's host takes nobody's trusted certificate away."""
    made = certificates.make_leaf(signer, [HOST], NOW)
    store.keep(tmp_path, {supply.ISSUED: made.text})
    board = f"board.{HOST}"
    found = look(said(ACME, board=f"{{host: {board}}}"), tmp_path)

    assert (found.pair, found.placeholder, found.lacking) == (made, False, (board,))
    (warning,) = found.warnings
    assert f"does not cover {board} yet" in warning
    assert warning.endswith("`workshop tls renew` asks the authority")


def test_issued_one_for_other_names_stands_back(
    said: Callable[..., Roster], tmp_path: Path, signer: certificates.Pair
) -> None:
    """The class has moved to another host: a new one must be issued."""
    made = certificates.make_leaf(signer, ["old.example.org"], NOW)
    store.keep(tmp_path, {supply.ISSUED: made.text})
    found = look(said(ACME), tmp_path)

    assert found.placeholder
    assert isinstance(found.source, Acme)
    assert found.facts.names == (HOST,)
    assert not isinstance(found.source, SelfMade)


# -- where the edge reads it ----------------------------------------------------------------------


def test_staged_one_can_be_read_by_the_edge_and_old_ones_go(
    tmp_path: Path, signer: certificates.Pair
) -> None:
    """What a kept release names stays, so that the edge can go back to it."""
    pairs = [certificates.make_leaf(signer, [HOST], NOW) for _ in range(3)]
    for pair in pairs:
        store.stage(tmp_path, pair)
        store.stage(tmp_path, pair)
    release = tmp_path / "releases" / "abc"
    release.mkdir(parents=True)
    text = f"ssl_certificate /edge/tls/{pairs[1].digest}/fullchain.pem;"
    (release / "nginx.conf").write_text(text, "ascii")
    store.forget(tmp_path, pairs[2].digest)

    left = sorted(path.name for path in (tmp_path / "tls").iterdir())
    assert left == sorted(pair.digest for pair in pairs[1:])
    folder = tmp_path / "tls" / pairs[2].digest
    assert (folder / "key.pem").read_text("ascii") == pairs[2].key
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *sorted(folder.iterdir()))]
    assert modes == [0o755, 0o644, 0o644]
