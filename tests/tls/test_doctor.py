"""What the doctor says about certificates: before the class, and before one ends in the middle of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import host, operations
from workshop.doctor import Verdict
from workshop.tls import certificates, store, supply

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.doctor import Check
    from workshop.workspace import Workspace

HOST = "class.example.org"
OWN = "{certificate: cert.pem, key: key.pem}"
NAMES = [HOST]


@pytest.fixture
def said(work: Workspace, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a class that may say anything about TLS."""
    monkeypatch.setattr(host, "resolves", lambda _: ())
    (directory / "key.pem").touch(0o600)
    (directory / "cert.pem").touch()
    return work


def checks(work: Workspace, tls: str) -> list[tuple[Verdict, str]]:
    """Make the checks of a class that says ``tls`` about its certificate."""
    text = f"workshop: {{name: class, url: 'https://{HOST}', llm: false, tls: {tls}}}\n"
    work.roster_path.write_text(f"{text}participants: [ada]\n", "utf-8")
    return [(check.verdict, check.found) for check in found(again(work))]


def found(work: Workspace) -> list[Check]:
    """Make the checks about certificates."""
    return [check for check in operations.examine(work) if check.name == "certificate"]


def lay(work: Workspace, begins: datetime) -> None:
    """Lay a certificate of the instructor's own that was issued then."""
    signer = certificates.make_authority("Somebody", NAMES, begins)
    pair = certificates.make_leaf(signer, NAMES, begins)
    folder = work.roster_path.parent
    (folder / "cert.pem").write_text(pair.chain, "ascii")
    (folder / "key.pem").write_text(pair.key, "ascii")


def test_self_made_certificate_is_named_with_its_days(said: Workspace) -> None:
    """Looking makes none: the class's own is made by provision."""
    issuer = "Workshop class (made on this server)"

    assert checks(said, "self-made") == [(Verdict.OK, f"{HOST}: by {issuer}, good for 89 days")]
    assert not said.certificates.exists()


def test_class_without_tls_is_not_checked_for_it(work: Workspace) -> None:
    """Nothing is said of what is not there."""
    assert found(work) == []


def test_certificate_that_ends_in_the_middle_of_a_class_is_a_warning(said: Workspace) -> None:
    """Ten days before, with the page that says what to do."""
    lay(said, datetime.now(UTC) - certificates.LEAF_LIFE + timedelta(days=10, hours=2))
    ending = [text for verdict, text in checks(said, OWN) if verdict is Verdict.WARNING]

    assert any(f"the certificate for {HOST} ends in" in text for text in ending), ending
    assert {check.mend for check in found(again(said))} == {"docs/tls.md says what to do"}


def test_certificate_that_has_ended_is_a_failure(said: Workspace) -> None:
    """Visitors would be turned away; the line says which file, and what to do meanwhile."""
    lay(said, datetime.now(UTC) - certificates.LEAF_LIFE - timedelta(days=1))

    ((verdict, text),) = checks(said, OWN)
    (check,) = found(again(said))

    assert verdict is Verdict.FAILED
    assert text.startswith("cert.pem cannot be used: ")
    assert check.mend == "mend cert.pem, or rehearse with `tls: self-made`"


def test_certificate_of_another_name_or_key_is_a_failure(said: Workspace) -> None:
    """What the edge would show to everybody is looked at before it does."""
    now = datetime.now(UTC)
    signer = certificates.make_authority("Somebody", ["other.example.org"], now)
    pair = certificates.make_leaf(signer, ["other.example.org"], now)
    folder = said.roster_path.parent
    (folder / "cert.pem").write_text(pair.chain, "ascii")
    (folder / "key.pem").write_text(pair.key, "ascii")
    ((other_name, text),) = checks(said, OWN)
    lay(said, now)
    (folder / "key.pem").write_text(pair.key, "ascii")
    ((other_key, words),) = checks(said, OWN)

    assert other_name is other_key is Verdict.FAILED
    assert HOST in text
    assert "key" in words


def test_certificate_that_was_not_issued_yet_is_a_warning(said: Workspace) -> None:
    """A self-made one stands in for it; once issued, nothing is said but its days."""
    before = checks(said, "{acme: you@example.org}")
    now = datetime.now(UTC)
    signer = certificates.make_authority("Somebody", NAMES, now)
    store.keep(said.certificates, {supply.ISSUED: certificates.make_leaf(signer, NAMES, now).text})
    after = checks(said, "{acme: you@example.org}")

    assert before == [
        (
            Verdict.WARNING,
            "the authority has not issued a certificate yet; `workshop tls renew` asks it",
        )
    ]
    assert [verdict for verdict, _ in after] == [Verdict.OK]
