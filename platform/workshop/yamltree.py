"""A YAML document as a tree that knows where every value stands.

The stock loaders turn ``no`` into ``False`` and ``012`` into ``10``, keep the last of two equal
keys, and follow aliases into bombs. A roster holds names, so here every scalar stays the text
that was written, and what a roster never needs (aliases, tags, a second document) is refused
with its place. The parser underneath is ruamel.yaml's event stream, which is iterative: depth
is bounded here, not by the interpreter's stack.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workshop.errors import Fault, InputError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1_000_000
"""Bytes of a file; 500 participants with their environment stay far below."""
MAX_DEPTH = 20
MAX_ITEMS = 500
"""Items of one list. It stops the parse, so a file of 10,000 entries costs no more than 500."""
_PRINTABLE_CONTROLS = {0x09, 0x0A, 0x0D, 0x85}
_FIRST_PRINTABLE = 0x20
_C1 = range(0x7F, 0xA0)
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Scalar:
    """A leaf: the text as written, and whether it was plain (not quoted)."""

    text: str
    line: int
    column: int
    end_line: int
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """Whether the value was left out or spelled as YAML's null."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass
class Sequence:
    """A list of nodes; ``flow`` when written with brackets."""

    line: int
    column: int
    flow: bool
    items: list[Node] = field(default_factory=list)
    end_line: int = 0


@dataclass
class Mapping:
    """Keys with their nodes, in the order of the file; keys are unique."""

    line: int
    column: int
    flow: bool
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)
    end_line: int = 0
    pending: Scalar | None = None


Node = Scalar | Sequence | Mapping


def describe(node: Node) -> str:
    """Name a node's kind in the words of an error message."""
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else "text"
    return "a list" if isinstance(node, Sequence) else "a mapping"


def read_text(path: Path) -> str:
    """Read a small UTF-8 file, refusing what is not one.

    Raises:
        InputError: missing, not a regular file, too large, unreadable or not UTF-8 text.

    """
    name = str(path)
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(
            f"{name}: no such file",
            hint="`workshop init` writes a sample roster; --roster FILE names another one",
        ) from None
    except OSError as exc:
        raise InputError(f"{name}: {exc.strerror or exc}") from exc
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(f"{name}: expected a regular file")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            raw = stream.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(raw) > MAX_BYTES:
        raise InputError(f"{name}: larger than {MAX_BYTES // 1_000_000} MB")
    return _decode(raw, name)


def _decode(raw: bytes, name: str) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: byte 0: UTF-16; save the file as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"{name}: byte {exc.start}: not UTF-8 text") from None
    for offset, char in enumerate(text):
        code = ord(char)
        if (code < _FIRST_PRINTABLE or code in _C1) and code not in _PRINTABLE_CONTROLS:
            line = text.count("\n", 0, offset) + 1
            raise InputError(f"{name}: line {line}: control character U+{code:04X}")
    return text


def parse(text: str, name: str) -> Node | None:
    """Build the tree of the one document in ``text``; ``None`` when there is none.

    Raises:
        InputError: with every fault found up to the first that stops the parser.

    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - only commands that read a roster pay for it
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    builder = _Builder(name)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.feed(event)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        builder.fault(line, column, f"not valid YAML: {exc.problem or exc.context}")
    except YAMLError as exc:
        builder.fault(0, 0, f"not valid YAML: {exc}")
    except (ValueError, IndexError, AssertionError, TypeError, AttributeError) as exc:
        # The scanner lets a few of Python's own errors through on malformed escapes and directives.
        builder.fault(0, 0, f"not valid YAML ({exc})")
    if builder.faults:
        raise InputError.of(builder.faults)
    return builder.root


class _Builder:
    """Turns the event stream into a tree and collects the faults on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[Sequence | Mapping] = []
        self._documents = 0

    def fault(self, line: int, column: int, message: str) -> None:
        self.faults.append(Fault(self.name, line, column, "", message))

    def feed(self, event: Any) -> None:  # noqa: ANN401 - ruamel's events share no typed base
        handler = getattr(self, "_on_" + type(event).__name__, None)
        if handler is not None:
            handler(event, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, line: int, column: int, message: str) -> None:
        self.fault(line, column, message)
        raise InputError.of(self.faults)

    def _on_DocumentStartEvent(self, _event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        self._documents += 1
        if self._documents > 1:
            self._stop(line, column, "expected one YAML document, found a second")

    def _on_AliasEvent(self, _event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        self._stop(line, column, "aliases (*name) are not allowed; write the value out")

    def _on_ScalarEvent(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        self._refuse_decoration(event, line, column)
        if any(char in _SURROGATES for char in map(ord, event.value)):
            self._stop(line, column, "half a character (U+D800 to U+DFFF) is no text")
        # A block scalar ends at the start of the line after it.
        beyond = event.style in {"|", ">"} and event.end_mark.column == 0
        end = event.end_mark.line + (0 if beyond else 1)
        self._add(Scalar(event.value, line, column, end, plain=event.style is None))

    def _on_SequenceStartEvent(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        self._refuse_decoration(event, line, column)
        self._open(Sequence(line, column, bool(event.flow_style), end_line=line))

    def _on_MappingStartEvent(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        self._refuse_decoration(event, line, column)
        self._open(Mapping(line, column, bool(event.flow_style), end_line=line))

    def _on_SequenceEndEvent(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401, N802
        del event, column
        self._close(line)

    _on_MappingEndEvent = _on_SequenceEndEvent  # noqa: N815 - named after ruamel's event

    def _refuse_decoration(self, event: Any, line: int, column: int) -> None:  # noqa: ANN401
        if event.anchor is not None:
            self._stop(line, column, "anchors (&name) are not allowed; write the value out")
        if event.tag is not None:
            self._stop(line, column, f"tag {str(event.tag)[:60]} is not allowed")

    def _open(self, node: Sequence | Mapping) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._stop(node.line, node.column, f"nesting deeper than {MAX_DEPTH}")
        self._add(node)
        self._stack.append(node)

    def _close(self, line: int) -> None:
        node = self._stack.pop()
        if node.flow:
            node.end_line = line
        if self._stack:
            self._stack[-1].end_line = max(self._stack[-1].end_line, node.end_line)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.end_line = max(parent.end_line, node.end_line)
        if isinstance(parent, Sequence):
            if len(parent.items) >= MAX_ITEMS:
                self._stop(node.line, node.column, f"at most {MAX_ITEMS} participants")
            parent.items.append(node)
        elif parent.pending is None:
            self._key(parent, node)
        else:
            self._value(parent, parent.pending, node)

    def _key(self, parent: Mapping, node: Node) -> None:
        if not isinstance(node, Scalar):
            self._stop(node.line, node.column, f"a key must be text, not {describe(node)}")
            return
        if node.plain and node.text == "<<":
            self._stop(node.line, node.column, "merge keys (<<) are not allowed")
        parent.pending = node

    def _value(self, parent: Mapping, key: Scalar, node: Node) -> None:
        parent.pending = None
        first = parent.keys.get(key.text)
        if first is not None:
            self.fault(
                key.line,
                key.column,
                f"key {key.text[:60]!r} stands twice (first on line {first.line})",
            )
            return
        parent.keys[key.text] = key
        parent.entries[key.text] = node
