"""Where a seat lives on the web: below a path of the workshop's host, or on a host of its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit


class Routing(StrEnum):
    """How visitors reach seats."""

    PATH = "path"
    """``HOST/ada/``: one name, one certificate, one origin for everybody."""
    SUBDOMAIN = "subdomain"
    """``ada.HOST/``: an origin for each seat."""
    BOTH = "both"
    """The path, and the host of its own beside it; apps believe in the path."""

    @property
    def by_path(self) -> bool:
        """Whether a seat answers below a path, and its app is told so."""
        return self is not Routing.SUBDOMAIN

    @property
    def by_host(self) -> bool:
        """Whether a seat answers on a host of its own."""
        return self is not Routing.PATH


@dataclass(frozen=True)
class Place:
    """A seat's URL, taken apart."""

    scheme: str
    authority: str
    """Host, and a port where it is not the usual one."""
    prefix: str
    """What every path of the app begins with, without a slash at its end; empty on its own host."""

    @property
    def url(self) -> str:
        """The whole address, with a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.prefix}/"

    @property
    def host(self) -> str:
        """The host alone."""
        return urlsplit(f"//{self.authority}").hostname or ""


def place(url: str, routing: Routing, name: str) -> Place:
    """Say where the app of ``name`` is found in a workshop that is reached at ``url``."""
    parts = urlsplit(url)
    if routing.by_path:
        return Place(parts.scheme, parts.netloc, f"/{name}")
    return Place(parts.scheme, f"{name}.{parts.netloc}", "")
