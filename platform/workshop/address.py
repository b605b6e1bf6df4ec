"""How people reach the server: the roster's ``url``, taken apart and checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_HOST = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A public URL: ``scheme`` http or https, ``host`` in ASCII, ``port`` as people type it."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return f"{self.scheme}://{self.host}"
        return f"{self.scheme}://{self.host}:{self.port}"

    def at(self, host: str) -> Address:
        """Give the same with another host."""
        return replace(self, host=host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine itself can use the address."""
        return self.host == "localhost" or self.host.startswith("127.")


def parse_address(text: str) -> Address:
    """Read a URL such as ``https://class.example.org``.

    Raises:
        ValueError: with what was found and what was expected.

    """
    expected = "expected http://HOST or https://HOST, with :PORT if it is not the usual one"
    if not text.isprintable() or " " in text:
        raise ValueError(f"{text[:60]!a}; {expected}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{text[:60]!r}: {exc}; {expected}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{text[:60]!r}; {expected}")
    _refuse_extras(text, parts, expected)
    if port == 0:
        raise ValueError(f"{text[:60]!r}: port 0; expected 1 to 65535")
    return Address(parts.scheme, parse_host(parts.hostname), port or _DEFAULT_PORTS[parts.scheme])


def _refuse_extras(text: str, parts: SplitResult, expected: str) -> None:
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"a URL with a user or password; {expected}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError(f"{text[:60]!r}: nothing may follow the host; {expected}")


def parse_host(host: str) -> str:
    """Normalise a DNS name or IPv4 address; international names become their ASCII form.

    Raises:
        ValueError: the name could not be looked up by anybody.

    """
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{host[:60]!r}: not an IPv4 address") from None
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError(f"{host[:60]!a}: not a DNS name") from None
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError(f"{host[:60]!a}: not a DNS name")
    return name
