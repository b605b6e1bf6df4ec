"""Reading a YAML tree into values: every fault is collected with its place, none is raised."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from workshop import limits
from workshop.errors import Fault
from workshop.limits import Limits
from workshop.yamltree import Mapping, Node, Scalar, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

_LONGEST_TEXT = 200


class Reader:
    """Walks a tree once. ``where`` is the path of a node as messages show it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []

    def section(self, node: Node | None, where: str, known: tuple[str, ...]) -> Mapping | None:
        """Take ``node`` as a mapping with ``known`` keys; others are faults."""
        if not isinstance(node, Mapping):
            found = "nothing" if node is None else describe(node)
            self.fault(node, where, f"expected a mapping with {', '.join(known)}; found {found}")
            return None
        for key, mark in node.keys.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                advice = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}"
                self.fault(mark, where, f"unknown key {key[:40]!a}; {advice}")
        return node

    def required(self, section: Mapping, key: str, where: str) -> Node | None:
        """Take the value of ``key``; its absence is a fault."""
        node = section.entries.get(key)
        if node is None:
            self.fault(section, where, f"the key {key!r} is missing")
        return node

    def value(self, node: Node | None, where: str, read: Callable[[str], T], default: T) -> T:
        """Turn a leaf into a value; the words of ``read``'s ``ValueError`` become the fault."""
        if node is None:
            return default
        if not isinstance(node, Scalar) or node.is_null:
            self.fault(node, where, f"expected a value, found {describe(node)}")
            return default
        try:
            return read(node.text)
        except ValueError as exc:
            self.fault(node, where, str(exc))
            return default

    def text(self, node: Node | None, where: str) -> str:
        """Take a line of text; empty when there is none."""
        return self.value(node, where, parse_text, "")

    def limits(self, node: Node | None, where: str, base: Limits) -> Limits:
        """Take a container's ceilings; what is left out stays as in ``base``."""
        section = self.section(node, where, ("memory", "cpus", "pids")) if node else None
        if section is None:
            return base
        get = section.entries.get
        return Limits(
            memory=self.value(get("memory"), f"{where}.memory", limits.parse_memory, base.memory),
            cpus=self.value(get("cpus"), f"{where}.cpus", limits.parse_cpus, base.cpus),
            pids=self.value(get("pids"), f"{where}.pids", limits.parse_pids, base.pids),
        )

    def inside(self, node: Node, where: str) -> Path | None:
        """Resolve a relative path that must not leave the roster's directory."""
        text = self.text(node, where)
        home = self.path.parent.resolve()
        path = (home / text).resolve()
        if not text or text.startswith("/") or not path.is_relative_to(home):
            self.fault(node, where, f"{text[:60]!r}; expected a path below the roster's directory")
            return None
        return path

    def private(self, node: Node, where: str) -> Path | None:
        """Resolve a path below the roster's directory; a file there only its owner may read."""
        path = self.inside(node, where)
        if path is not None and path.is_file() and path.stat().st_mode & 0o077:
            message = f"{path.name} can be read by others on this machine; chmod 600 {path.name}"
            self.fault(node, where, message)
        return path

    def fault(self, node: Node | None, where: str, message: str) -> None:
        """Note that something is wrong at ``node``."""
        self.faults.append(self._at(node, where, message))

    def warn(self, node: Node | None, where: str, message: str) -> None:
        """Note something worth showing that stops nothing."""
        self.warnings.append(self._at(node, where, message))

    def _at(self, node: Node | None, where: str, message: str) -> Fault:
        line, column = (node.line, node.column) if node is not None else (0, 0)
        return Fault(self.path.name, line, column, where, message)


def parse_text(text: str) -> str:
    """Accept one printable line; raise ``ValueError`` with what was expected."""
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters; at most {_LONGEST_TEXT}")
    if not text.isprintable():
        raise ValueError(f"{text[:60]!a}; expected one line of printable text")
    return text


def parse_bool(text: str) -> bool:
    """Read ``true`` or ``false``; raise ``ValueError`` with what was expected."""
    if text not in {"true", "false"}:
        raise ValueError(f"{text[:40]!r}; expected true or false")
    return text == "true"
