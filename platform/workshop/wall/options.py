"""What the roster says about where seats may connect to: ``egress``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workshop.yamltree import Mapping, Scalar, Sequence, describe

if TYPE_CHECKING:
    from workshop.reading import Reader
    from workshop.yamltree import Node

WHERE = "workshop.egress"
MOST_HOSTS = 200
_LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_FEWEST_LABELS = 2


class Mode(StrEnum):
    """Where a seat may connect to, from most to least."""

    OPEN = "open"
    """The internet, without private addresses and without sending mail."""
    APPROVED = "approved"
    """Listed names through a proxy, and the class's models."""
    LLM = "llm"
    """The class's models alone."""
    NONE = "none"


@dataclass(frozen=True)
class Egress:
    """What holds for the class: everybody's mode, and the names approved seats may reach."""

    mode: Mode = Mode.OPEN
    hosts: tuple[str, ...] = ()


def read(reader: Reader, node: Node | None) -> Egress:
    """Read ``workshop.egress``: a mode, or a mapping with the hosts that are approved."""
    if node is None:
        return Egress()
    if not isinstance(node, Mapping):
        return Egress(read_mode(reader, node, WHERE, Egress()))
    section = reader.section(node, WHERE, ("mode", "hosts"))
    get = (section or node).entries.get
    hosts = _hosts(reader, get("hosts"))
    base = Egress(hosts=hosts)
    return Egress(read_mode(reader, get("mode"), f"{WHERE}.mode", base), hosts)


def read_mode(reader: Reader, node: Node | None, where: str, base: Egress) -> Mode:
    """Read the mode of a seat, or of everybody, on top of ``base``."""
    mode = reader.value(node, where, _parse_mode, base.mode)
    if node is not None and mode is Mode.APPROVED and not base.hosts:
        message = "approved, but no host is; list them under workshop:"
        reader.fault(node, where, f"{message} egress: {{mode: approved, hosts: [pkg.example.org]}}")
    return mode


def _parse_mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r}; expected {', '.join(Mode)}") from None


def _hosts(reader: Reader, node: Node | None) -> tuple[str, ...]:
    where = f"{WHERE}.hosts"
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        reader.fault(node, where, f"expected a list of names, found {describe(node)}")
        return ()
    if len(node.items) > MOST_HOSTS:
        count = f"{len(node.items)} hosts; at most {MOST_HOSTS}"
        reader.fault(node, where, f"{count}: a name with a leading dot covers all below it")
        return ()
    found = []
    for index, item in enumerate(node.items):
        place = f"{where}[{index}]"
        if not isinstance(item, Scalar) or item.is_null:
            reader.fault(item, place, f"expected a name, found {describe(item)}")
        elif trouble := host_problem(item.text):
            reader.fault(item, place, f"{item.text[:60]!a}; {trouble}")
        else:
            found.append(item.text)
    return tuple(dict.fromkeys(found))


def host_problem(text: str) -> str:  # noqa: PLR0911 - one answer for each way to be wrong
    """Say what is wrong with an entry of the list, and what to write instead; empty if nothing."""
    if "://" in text or "/" in text:
        return "expected a name alone, without http:// or a path"
    if "*" in text:
        return "expected a name; .example.org means every name below example.org as well"
    if _is_address(text):
        return "expected a name, not an address: approved names lead where they say themselves"
    if ":" in text or "@" in text:
        return "expected a name without a port; 443 and 80 are approved"
    if not text.isascii():
        return "expected the name's ASCII form, which begins with xn--"
    if text != text.lower():
        return "expected lower case"
    labels = text.removeprefix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)) or len(text) > _LONGEST_NAME:
        return "expected a name such as pkg.example.org, or .example.org for all names below it"
    if len(labels) < _FEWEST_LABELS:
        return "too wide; expected a name with at least two parts, such as .example.org"
    if labels[-1].isdecimal():
        return "expected a name, not an address"
    return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix(".").strip("[]"))
    except ValueError:
        return False
    return True


def shortest(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out names that stand below a listed one with a leading dot: squid wants each once."""
    wide = {host for host in hosts if host.startswith(".")}

    def covered(host: str) -> bool:
        labels = host.removeprefix(".").split(".")
        above = {"." + ".".join(labels[start:]) for start in range(len(labels))}
        return bool(above & (wide - {host}))

    return tuple(sorted(host for host in set(hosts) if not covered(host)))
