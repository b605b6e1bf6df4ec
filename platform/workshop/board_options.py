"""What the roster says about the board: ``workshop.board``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.address import parse_host
from workshop.reading import parse_bool
from workshop.tls.options import Acme
from workshop.yamltree import Scalar

if TYPE_CHECKING:
    from workshop.address import Address
    from workshop.reading import Reader
    from workshop.tls.options import TlsOptions
    from workshop.yamltree import Node

WHERE = "workshop.board"
MOST_SPARES = 50
_LOCAL = ".localhost"
"""Browsers trust what ends so without https."""


@dataclass(frozen=True)
class BoardOptions:
    """Where the board is reached."""

    host: str = ""
    """A name of its own on the edge; empty where it answers on this server's loopback alone."""


def read(
    reader: Reader, node: Node | None, url: Address, encryption: TlsOptions | None, *, deploys: bool
) -> BoardOptions | None:
    """Read ``workshop.board``; ``None`` where there is no board.

    Args:
        reader: collects the faults.
        node: the value in the roster.
        url: how people reach the class.
        encryption: what the roster says about TLS.
        deploys: whether the class deploys: the server of deploys is what watches the seats.

    """
    if node is None:
        return BoardOptions() if deploys else None
    options = _options(reader, node, url, encryption)
    if options is not None and not deploys:
        message = (
            "the server of deploys watches the seats for the board; leave `deploys: false` out"
        )
        reader.fault(node, WHERE, f"{message}, or set board: false")
        return None
    return options


def _options(
    reader: Reader, node: Node, url: Address, encryption: TlsOptions | None
) -> BoardOptions | None:
    if isinstance(node, Scalar):
        return BoardOptions() if reader.value(node, WHERE, parse_bool, True) else None
    section = reader.section(node, WHERE, ("host",))
    if section is None or (held := reader.required(section, "host", WHERE)) is None:
        return BoardOptions()

    def host(text: str) -> str:
        return _parse_host(text, url, encryption)

    return BoardOptions(reader.value(held, f"{WHERE}.host", host, ""))


def _parse_host(text: str, url: Address, encryption: TlsOptions | None) -> str:
    expected = "expected a host name of its own, such as board.example.org"
    try:
        host = parse_host(text)
    except ValueError as exc:
        raise ValueError(f"{exc}; {expected}") from None
    if host.replace(".", "").isdigit() or host == _LOCAL[1:]:
        raise ValueError(f"{host!r}; {expected}")
    if host == url.host:
        raise ValueError(f"{host!r} is the class's own host; {expected}")
    if url.scheme == "http" and not host.endswith(_LOCAL):
        message = f"{host}: browsers log in over https alone; begin the url with https://"
        raise ValueError(f"{message}, or rehearse with a host that ends in {_LOCAL}")
    if encryption is not None and isinstance(encryption.source, Acme) and not _is_public(host):
        raise ValueError(f"no authority certifies {host}; use self-made, or a public name")
    return host


def _is_public(host: str) -> bool:
    return "." in host and not host.endswith(_LOCAL)
