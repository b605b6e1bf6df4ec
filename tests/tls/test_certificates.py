"""Certificates judged and made; openssl, which visitors' programs use, is the second opinion."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from workshop.tls import certificates
from workshop.tls.certificates import Facts, Pair, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = ["class.example.org", "*.class.example.org"]


@pytest.fixture(scope="module")
def authority() -> Pair:
    """Make an authority."""
    return certificates.make_authority("Workshop class", NAMES, NOW)


@pytest.fixture(scope="module")
def pair(authority: Pair) -> Pair:
    """Make a good certificate."""
    return certificates.make_leaf(authority, NAMES, NOW)


def openssl(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run openssl."""
    return subprocess.run(
        ["openssl", *words], input=text, capture_output=True, text=True, check=False
    )


def said(pair: Pair, *names: str, now: datetime = NOW) -> str:
    """Say what is wrong with a pair."""
    return "; ".join(certificates.problems(pair, names or NAMES, now))


@pytest.mark.parametrize(
    "names",
    [NAMES, ["localhost", "127.0.0.1"], ["192.0.2.9"], ["localhost", "ada.localhost"]],
    ids=lambda names: names[-1],
)
def test_made_certificate_is_accepted_by_others(tmp_path: Path, names: list[str]) -> None:
    """Strict verification, each name included, accepts what is made here."""
    now = datetime.now(UTC)
    authority = certificates.make_authority("Workshop class", names, now)
    made = certificates.make_leaf(authority, names, now)
    (tmp_path / "ca.pem").write_text(authority.chain, "ascii")
    (tmp_path / "leaf.pem").write_text(certificates.leaf(made.chain), "ascii")
    for name in names:
        kind = "-verify_ip" if name[0].isdecimal() else "-verify_hostname"
        told = ["-CAfile", str(tmp_path / "ca.pem"), kind, name.replace("*", "ada")]

        done = openssl("verify", "-x509_strict", *told, str(tmp_path / "leaf.pem"))

        assert done.returncode == 0, done.stderr
    assert said(made, *names, now=now) == ""


def test_authority_cannot_sign_for_anybody_else(tmp_path: Path, authority: Pair) -> None:
    """Who trusts the workshop's authority trusts it for the workshop's names and no others."""
    made = certificates.make_leaf(authority, ["bank.example.com"], datetime.now(UTC))
    (tmp_path / "ca.pem").write_text(authority.chain, "ascii")
    (tmp_path / "leaf.pem").write_text(certificates.leaf(made.chain), "ascii")

    done = openssl("verify", "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem"))

    assert "permitted subtree violation" in done.stderr
    assert certificates.may_sign(authority, NAMES)
    assert not certificates.may_sign(authority, ["other.example.org"])


def test_key_of_another_certificate_is_noticed(authority: Pair, pair: Pair) -> None:
    """The commonest mistake of all."""
    other = certificates.make_leaf(authority, NAMES, NOW)

    assert "belongs to another certificate" in said(Pair(pair.chain, other.key))


def test_missing_name_is_named(authority: Pair) -> None:
    """A wildcard covers one label, and not the name above it."""
    made = certificates.make_leaf(authority, ["*.class.example.org"], NOW)

    assert "does not cover class.example.org, only *.class.example.org" in said(made)
    assert said(made, "ada.class.example.org") == ""
    assert "does not cover a.b.class.example.org" in said(made, "a.b.class.example.org")


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1, "is this server's clock right?"), (0, ""), (89, ""), (90, "it ended on 2027-02-19")],
)
def test_time_is_looked_at(pair: Pair, days: int, words: str) -> None:
    """Before it begins, and after it has ended, it is refused."""
    found = said(pair, now=NOW + timedelta(days=days))

    assert words in found
    assert bool(words) == bool(found)


def test_chain_out_of_order_is_told_from_a_broken_one(authority: Pair, pair: Pair) -> None:
    """What must change is different: the order of the file, or what is in it."""
    leaf = certificates.leaf(pair.chain)
    stranger = certificates.make_authority("Stranger", NAMES, NOW)

    wrong = Pair(leaf + stranger.chain + authority.chain, pair.key)
    assert "out of order" in said(wrong)
    broken = said(Pair(leaf + stranger.chain, pair.key))
    assert "is signed by Workshop class, and Stranger follows" in broken


def test_chain_must_lead_to_somebody_known(authority: Pair, pair: Pair) -> None:
    """A lone certificate is incomplete, unless this server knows who signed it."""
    leaf = certificates.leaf(pair.chain)

    fatal, words = certificates.end_problem(leaf, "")
    assert fatal
    assert "signed by Workshop class, which is not in it; append" in words
    assert certificates.end_problem(leaf, authority.chain) == (False, "")
    fatal, words = certificates.end_problem(pair.chain, "")
    assert not fatal
    assert "visitors must be told of Workshop class" in words


def test_authority_that_cannot_be_read_hides_no_other(authority: Pair, pair: Pair) -> None:
    """Bundles of real servers hold certificates that a library refuses, or will one day."""
    leaf = certificates.leaf(pair.chain)
    garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    assert certificates.end_problem(leaf, garbled + authority.chain) == (False, "")
    assert certificates.end_problem(leaf, garbled)[0]


def test_encrypted_key_is_told_how_to_be_opened(pair: Pair) -> None:
    """Nobody is there to type a password when the edge starts."""
    locked = openssl("pkcs8", "-topk8", "-passout", "pass:x", text=pair.key).stdout

    with pytest.raises(Unreadable, match="it asks for a password") as raised:
        certificates.read_key(locked)
    assert "openssl pkey -in FILE" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0\x82\x03", "it is not PEM; openssl x509 -inform der"),
        ("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n", "no certificate that"),
        ("-----BEGIN RUBBISH-----", "no certificate that can be read"),
    ],
)
def test_unreadable_certificate_is_told_what_to_do(text: str, words: str) -> None:
    """DER, and what is nothing at all."""
    with pytest.raises(Unreadable, match=words):
        certificates.read_chain(text)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (("RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "RSA key of 1024 bits is refused"),
        (("ED25519",), "its kind of key is not for browsers"),
    ],
)
def test_key_that_browsers_refuse_is_refused(
    tmp_path: Path, kind: tuple[str, ...], words: str
) -> None:
    """The edge would start, and nobody could come in."""
    key = tmp_path / "key.pem"
    assert openssl("genpkey", "-out", str(key), "-algorithm", *kind).returncode == 0
    made = openssl("req", "-x509", "-key", str(key), "-subj", "/CN=x", "-days", "9").stdout

    try:
        found = said(certificates.read_pair(made, key.read_text("ascii")), now=datetime.now(UTC))
    except Unreadable as exc:
        found = str(exc)

    assert words in found


def test_days_left_are_whole_ones() -> None:
    """The last day counts as 0, the one after as -1."""
    facts = Facts((), "", NOW, NOW + timedelta(days=14, hours=1))

    assert facts.days_left(NOW) == 14
    assert facts.days_left(NOW + timedelta(days=14)) == 0
    assert facts.days_left(NOW + timedelta(days=15)) == -1


def test_key_never_shows_in_a_representation(pair: Pair) -> None:
    """A traceback or a log with a pair in it gives nothing away."""
    assert "PRIVATE" not in repr(pair)
