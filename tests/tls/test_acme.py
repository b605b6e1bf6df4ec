"""The certificate of a real ACME authority, proved through the real nginx and through DNS."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.proxy.lab import edge_for, running
from tests.tls.authority import Authority, authority
from workshop.errors import CertificateRefused
from workshop.health import fetch
from workshop.proxy.routes import Tls
from workshop.tls import acme, certificates, store
from workshop.tls.options import Acme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "class.example.org"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold authority and edge of this module."""
    return tmp_path_factory.mktemp("acme")


@pytest.fixture(scope="module")
def issuer(home: Path) -> Iterator[tuple[Authority, int]]:
    """Run the authority beside an edge whose HTTP port it asks."""
    port, now = free_port(), datetime.now(UTC)
    pair = certificates.make_leaf(certificates.make_authority("a", [HOST], now), [HOST], now)
    store.stage(home, pair)
    place = home / "tls" / pair.digest
    edge = replace(
        edge_for({}, home),
        url=f"https://{HOST}",
        acme=str(home / "acme"),
        inner=f"127.0.0.1:{free_port()}",
        tls=Tls(str(place / "fullchain.pem"), str(place / "key.pem"), pair.digest, port),
    )
    with running(edge, home), authority(home / "authority", port) as found:
        yield found, port


@pytest.fixture
def order(issuer: tuple[Authority, int], home: Path, tmp_path: Path) -> acme.Order:
    """Ask for one certificate for the class."""
    found, port = issuer

    def served(path: str, text: str) -> bool:
        answer = asyncio.run(fetch("127.0.0.1", port, path, HOST))
        return answer.status == 200 and answer.body.decode() == text

    return acme.Order(
        options=Acme("you@example.org", found.directory),
        names=(HOST,),
        accounts=tmp_path / "accounts",
        webroot=home / "acme",
        served=served,
        bundle=found.bundle,
        say=lambda _: None,
    )


def test_name_proved_through_the_edge_is_certified(order: acme.Order) -> None:
    """The authority fetches the proof from nginx and signs; nothing of the proof stays."""
    pair = acme.obtain(order)

    assert list(certificates.problems(pair, order.names, datetime.now(UTC))) == []
    assert "Pebble" in certificates.facts(pair.chain).issuer
    assert list(order.webroot.iterdir()) == []


def test_account_is_made_once_and_kept_private(order: acme.Order) -> None:
    """A renewal is asked for under the same account; its key is the owner's alone."""
    acme.obtain(order)
    (key,) = order.accounts.iterdir()
    before = key.read_bytes()
    acme.obtain(order)

    assert [path.read_bytes() for path in order.accounts.iterdir()] == [before]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_wildcard_is_proved_by_the_hook(
    order: acme.Order, issuer: tuple[Authority, int], tmp_path: Path
) -> None:
    """Both names stand in one certificate; each record is set, and cleared again."""
    hook = issuer[0].hook(tmp_path / "hook")
    names = (HOST, f"*.{HOST}")
    asked = replace(order, options=replace(order.options, dns_hook=hook), names=names)

    pair = acme.obtain(asked)

    assert set(certificates.facts(pair.chain).names) == set(names)
    said = (tmp_path / "hook.log").read_text("ascii").split("\n")
    assert sorted(said) == sorted(
        ["", *(f"{verb} _acme-challenge.{HOST}" for verb in ("set", "set", "clear", "clear"))]
    )


def test_hook_that_fails_is_quoted(order: acme.Order, tmp_path: Path) -> None:
    """What the instructor's program says is what the instructor reads."""
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho no such zone >&2\nexit 4\n", "ascii")
    hook.chmod(0o755)

    with pytest.raises(CertificateRefused, match=r"hook set .* ended with 4: no such zone"):
        acme.obtain(replace(order, options=replace(order.options, dns_hook=hook)))


def test_refusal_is_told_in_the_authoritys_words(order: acme.Order, tmp_path: Path) -> None:
    """Where the name leads to another server, it says so, and what to do; no proof stays."""
    elsewhere = tmp_path / "elsewhere"
    asked = replace(order, webroot=elsewhere, served=lambda _, __: True)

    with pytest.raises(CertificateRefused) as raised:
        acme.obtain(asked)

    assert f"issued nothing: {HOST}: " in raised.value.message
    assert (
        raised.value.hint
        == f"{HOST} must lead to this server alone, with nothing in front that answers"
    )
    assert list(elsewhere.iterdir()) == []


def test_edge_that_does_not_show_the_proof_is_found_out_before_the_authority(
    order: acme.Order,
) -> None:
    """A failure counts against the class at the authority; one that is sure is not risked."""
    with pytest.raises(CertificateRefused, match="own edge does not answer") as raised:
        acme.obtain(replace(order, served=lambda _, __: False))

    assert "workshop provision" in raised.value.hint
    assert list(order.webroot.iterdir()) == []


def test_authority_that_cannot_be_reached_is_named(order: acme.Order) -> None:
    """A wrong URL, or a server without a way out, is one sentence and no traceback."""
    url = f"https://localhost:{free_port()}/dir"

    with pytest.raises(CertificateRefused, match="cannot be reached"):
        acme.obtain(replace(order, options=replace(order.options, server=url)))


def test_authority_with_a_strange_certificate_is_not_trusted(order: acme.Order) -> None:
    """Its own TLS is verified; who puts himself between is not asked."""
    with pytest.raises(CertificateRefused, match="cannot be reached") as raised:
        acme.obtain(replace(order, bundle=None))

    assert "WORKSHOP_CA_BUNDLE" in raised.value.hint
