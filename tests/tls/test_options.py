"""What the roster says about TLS: every form, and every fault with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop.errors import InputError
from workshop.tls.options import AUTHORITY, REHEARSAL_AUTHORITY, Acme, Own, SelfMade, TlsOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.roster import Roster

SERVER = "https://ca.example.org/directory"


def said(
    parse: Callable[[str], Roster], tls: str, url: str = "https://class.example.org", more: str = ""
) -> Roster:
    """Parse a roster that says ``tls``."""
    return parse(
        f"workshop:\n  name: class\n  url: {url}\n  tls: {tls}\n{more}participants: [ada]\n"
    )


def faults(parse: Callable[[str], Roster], *words: str, **rest: str) -> str:
    """Parse a wrong one and return its faults."""
    with pytest.raises(InputError) as caught:
        said(parse, *words, **rest)
    return "\n".join(map(str, caught.value.faults))


@pytest.fixture
def files(directory: Path) -> Path:
    """Lay the instructor's files beside the roster."""
    for name, mode in (("cert.pem", 0o644), ("key.pem", 0o600), ("hook", 0o755)):
        (directory / name).write_text("#!/bin/sh\n", "ascii")
        (directory / name).chmod(mode)
    return directory


def test_https_without_tls_keeps_asking_for_a_port(parse: Callable[[str], Roster]) -> None:
    """Whoever has a TLS proxy in front says where the edge listens; the other way is offered."""
    with pytest.raises(InputError) as caught:
        parse("workshop: {name: class, url: 'https://class.example.org'}\nparticipants: [ada]\n")

    assert "workshop.port" in str(caught.value.faults[0])
    assert "or let the edge do it with tls" in str(caught.value.faults[0])


def test_self_made_needs_no_port(parse: Callable[[str], Roster]) -> None:
    """The edge has the url's port, and the usual one for plain HTTP beside it."""
    found = said(parse, "self-made")

    assert found.tls == TlsOptions(SelfMade(), 80)
    assert found.edge_ports == (443, 80)


def test_unusual_port_has_no_plain_one_beside_it(parse: Callable[[str], Roster]) -> None:
    """Nobody types http://HOST:8443; a port for it can be named all the same."""
    url = "https://class.example.org:8443"

    assert said(parse, "self-made", url).edge_ports == (8443,)
    found = said(parse, "{self_made: true, http_port: 8080}", url)
    assert found.edge_ports == (8443, 8080)


def test_own_certificate_is_read(parse: Callable[[str], Roster], files: Path) -> None:
    """Both files are found beside the roster."""
    found = said(parse, "{certificate: cert.pem, key: key.pem, http_port: 0}").tls

    assert found == TlsOptions(Own(files / "cert.pem", files / "key.pem"), 0)


def test_authority_is_read(parse: Callable[[str], Roster], files: Path) -> None:
    """The usual one, its rehearsal, or one's own."""
    mail = "you@example.org"
    hook = files / "hook"

    assert said(parse, f"{{acme: {mail}}}").tls == TlsOptions(Acme(mail, AUTHORITY), 80)
    found = said(parse, f"{{acme: {mail}, staging: true, dns_hook: hook}}").tls
    assert found == TlsOptions(Acme(mail, REHEARSAL_AUTHORITY, hook), 80)
    found = said(parse, f"{{acme: {mail}, server: '{SERVER}'}}").tls
    assert found == TlsOptions(Acme(mail, SERVER), 80)


def test_wildcard_of_an_authority_takes_a_hook(parse: Callable[[str], Roster], files: Path) -> None:
    """No authority proves a wildcard over HTTP."""
    more = "  routing: subdomain\n"

    assert "a wildcard certificate needs a dns_hook" in faults(
        parse, "{acme: you@example.org}", more=more
    )
    assert said(parse, "{acme: you@example.org, dns_hook: hook}", more=more).tls is not None


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ("yes", "workshop.tls: expected self-made, or a mapping with certificate and key"),
        ("[]", "workshop.tls: expected self-made, or a mapping"),
        ("{}", "expected one of self_made, certificate, acme; found none of them"),
        ("{self_made: false}", "false; leave tls out instead"),
        ("{self_made: true, acme: you@example.org}", "found self_made and acme"),
        ("{certificate: cert.pem}", "the key 'key' is missing"),
        ("{certificate: nope.pem, key: key.pem}", "workshop.tls.certificate: no file 'nope.pem'"),
        ("{certificate: ../cert.pem, key: key.pem}", "expected a path below the roster's"),
        ("{certificate: cert.pem, key: open.pem}", "open.pem can be read by others"),
        ("{self_made: true, key: key.pem}", "workshop.tls.key: goes with certificate alone"),
        ("{self_made: true, staging: true}", "workshop.tls.staging: goes with acme alone"),
        ("{self_made: true, http_port: 443}", "443 is the port for https already"),
        ("{self_made: true, http_port: 70000}", "workshop.tls.http_port"),
        ("{acme: nobody}", "expected an address such as you@example.org"),
        ("{acme: you@example.org, server: 'http://ca.example.org'}", "expected the https URL"),
        ("{acme: you@example.org, server: 'https://[', staging: false}", "either server or"),
        ("{acme: you@example.org, http_port: 0}", "set http_port: 80"),
        ("{acme: you@example.org, dns_hook: key.pem}", "key.pem cannot be run; chmod +x"),
        ("{acme: you@example.org, dns_hook: loose}", "loose can be changed by others"),
        ("{acmee: you@example.org}", "did you mean 'acme'?"),
    ],
)
def test_fault_is_named_with_its_place(
    parse: Callable[[str], Roster], files: Path, tls: str, words: str
) -> None:
    """Each mistake is one line that says what was expected."""
    (files / "open.pem").write_text("", "ascii")
    (files / "open.pem").chmod(0o644)
    (files / "loose").write_text("", "ascii")
    (files / "loose").chmod(0o777)

    assert words in faults(parse, tls)


@pytest.mark.parametrize(
    ("url", "tls", "words"),
    [
        ("http://class.example.org", "self-made", "with tls it begins with https://"),
        ("https://localhost", "{acme: you@example.org}", "no authority certifies localhost"),
        ("https://192.0.2.7", "{acme: you@example.org}", "no authority certifies 192.0.2.7"),
        ("https://classroom", "{acme: you@example.org}", "no authority certifies classroom"),
    ],
)
def test_url_and_tls_must_fit(
    parse: Callable[[str], Roster], url: str, tls: str, words: str
) -> None:
    """What cannot work is said before the class, not in it."""
    assert words in faults(parse, tls, url)
