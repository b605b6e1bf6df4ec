"""What the roster says about TLS: ``workshop.tls``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop.limits import parse_whole
from workshop.reading import parse_bool
from workshop.yamltree import Mapping, Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.address import Address
    from workshop.reading import Reader
    from workshop.yamltree import Node

AUTHORITY = "https://acme-v02.api.letsencrypt.org/directory"
REHEARSAL_AUTHORITY = "https://acme-staging-v02.api.letsencrypt.org/directory"
"""The same authority's rehearsal: generous limits, and certificates nobody trusts."""
HTTPS_PORT = 443
HTTP_PORT = 80
_WHERE = "workshop.tls"
_SELF_MADE = "self-made"
_KNOWN = (
    "self_made",
    "certificate",
    "key",
    "acme",
    "server",
    "staging",
    "dns_hook",
    "http_port",
)
_EMAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\"]+")
_WAYS = ("self_made", "certificate", "acme")
_ONLY_WITH = {"key": "certificate", "server": "acme", "staging": "acme", "dns_hook": "acme"}


@dataclass(frozen=True)
class SelfMade:
    """An authority of the workshop's own signs; browsers warn until they are told of it."""


@dataclass(frozen=True)
class Own:
    """The instructor brings certificate and key, as PEM files."""

    certificate: Path
    """The certificate, followed by those of the authorities between it and the root."""
    key: Path


@dataclass(frozen=True)
class Acme:
    """An authority issues the certificate over the network, and renews it."""

    email: str
    """Whom the authority may write to."""
    server: str = AUTHORITY
    """The authority's directory."""
    dns_hook: Path | None = None
    """Program that writes a TXT record; without one the authority asks over HTTP."""


@dataclass(frozen=True)
class TlsOptions:
    """How the edge speaks TLS."""

    source: SelfMade | Own | Acme
    http_port: int = 0
    """TCP port that sends everybody to https; 0 means none."""


def read(reader: Reader, node: Node | None, url: Address, port: int) -> TlsOptions | None:
    """Read ``workshop.tls``; ``None`` where something else ends TLS, or nothing does.

    Args:
        reader: collects the faults.
        node: the value in the roster.
        url: how people reach the class.
        port: where the edge listens.

    """
    if node is None:
        return None
    if url.scheme != "https":
        reader.fault(node, _WHERE, f"the url is {url}; with tls it begins with https://")
    if isinstance(node, Scalar) and node.text == _SELF_MADE:
        return TlsOptions(SelfMade(), _usual(port))
    section = reader.section(node, _WHERE, _KNOWN) if isinstance(node, Mapping) else None
    if section is None:
        if not isinstance(node, Mapping):
            message = "expected self-made, or a mapping with certificate and key, or with acme"
            reader.fault(node, _WHERE, message)
        return None
    http_port = reader.value(
        section.entries.get("http_port"),
        f"{_WHERE}.http_port",
        lambda text: parse_whole(text, 0, 65_535),
        _usual(port),
    )
    if http_port == port:
        message = f"{port} is the port for https already; give http another one, or 0"
        reader.fault(section.entries.get("http_port"), f"{_WHERE}.http_port", message)
    source = _source(reader, section, url, http_port)
    return TlsOptions(source, http_port) if source is not None else None


def check_wildcard(reader: Reader, node: Node | None, options: TlsOptions | None) -> None:
    """Note a fault where seats have host names of their own and nothing could certify them."""
    source = options.source if options is not None else None
    if isinstance(source, Acme) and source.dns_hook is None:
        message = "seats have names of their own; a wildcard certificate needs a dns_hook"
        reader.fault(node, f"{_WHERE}.dns_hook", message)


def _usual(port: int) -> int:
    """Take port 80 where https has its usual port; elsewhere nobody would ask there."""
    return HTTP_PORT if port == HTTPS_PORT else 0


def _source(
    reader: Reader, section: Mapping, url: Address, http_port: int
) -> SelfMade | Own | Acme | None:
    given = [way for way in _WAYS if way in section.entries]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        message = f"expected one of self_made, certificate, acme; found {found}"
        reader.fault(section, _WHERE, message)
        return None
    for key, way in _ONLY_WITH.items():
        if key in section.entries and way not in section.entries:
            reader.fault(section.keys[key], f"{_WHERE}.{key}", f"goes with {way} alone")
    if given == ["certificate"]:
        return _own(reader, section)
    if given == ["acme"]:
        return _acme(reader, section, url, http_port)
    node = section.entries["self_made"]
    if not reader.value(node, f"{_WHERE}.self_made", parse_bool, True):
        reader.fault(node, f"{_WHERE}.self_made", "false; leave tls out instead")
    return SelfMade()


def _own(reader: Reader, section: Mapping) -> Own | None:
    node, where = section.entries["certificate"], f"{_WHERE}.certificate"
    certificate = _existing(reader, node, where, reader.inside(node, where))
    key_node = reader.required(section, "key", _WHERE)
    if key_node is None:
        return None
    where = f"{_WHERE}.key"
    key = _existing(reader, key_node, where, reader.private(key_node, where))
    return Own(certificate, key) if certificate and key else None


def _existing(reader: Reader, node: Node, where: str, path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        reader.fault(node, where, f"no file {path.name!r}")
        return None
    return path


def _acme(reader: Reader, section: Mapping, url: Address, http_port: int) -> Acme:
    get = section.entries.get
    if url.is_loopback or url.host.replace(".", "").isdigit() or "." not in url.host:
        message = f"no authority certifies {url.host}; use self-made, or a public name in url"
        reader.fault(section, f"{_WHERE}.acme", message)
    if get("server") is not None and get("staging") is not None:
        reader.fault(get("staging"), f"{_WHERE}.staging", "either server or staging, not both")
    staging = reader.value(get("staging"), f"{_WHERE}.staging", parse_bool, False)
    hook = _hook(reader, get("dns_hook"))
    if get("dns_hook") is None and not http_port:
        message = "the authority asks over http, and there is no port for it; set http_port: 80"
        reader.fault(section, f"{_WHERE}.http_port", message)
    return Acme(
        email=reader.value(get("acme"), f"{_WHERE}.acme", _parse_email, ""),
        server=reader.value(
            get("server"),
            f"{_WHERE}.server",
            _parse_server,
            REHEARSAL_AUTHORITY if staging else AUTHORITY,
        ),
        dns_hook=hook,
    )


def _hook(reader: Reader, node: Node | None) -> Path | None:
    if node is None:
        return None
    where = f"{_WHERE}.dns_hook"
    path = _existing(reader, node, where, reader.inside(node, where))
    if path is None:
        return None
    if not os.access(path, os.X_OK):
        reader.fault(node, where, f"{path.name} cannot be run; chmod +x {path.name}")
    if path.stat().st_mode & 0o022:
        message = f"{path.name} can be changed by others on this machine; chmod go-w {path.name}"
        reader.fault(node, where, message)
    return path


def _parse_email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{text[:60]!a}; expected an address such as you@example.org")
    return text


def _parse_server(text: str) -> str:
    parts = urlsplit(text) if text.isprintable() and " " not in text else urlsplit("")
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError(f"{text[:80]!a}; expected the https URL of an authority's directory")
    return text
