"""How a program died, read from the last lines it wrote: Python, Node, shells and the start itself.

Whoever reads a traceback for the first time needs two of its lines: the last one, and the place in
their own code. Libraries' frames are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s+File "([^"]{1,400})", line (\d{1,7})(?:, in (.{1,200}))?\s*$')
_EXCEPTION = re.compile(
    r"(?!(?:DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|FATAL|TRACE):?\s)"
    r"([A-Za-z_][\w.]{0,200})(?:: (.*))?$"
)
_MOST_STRAY = 3
"""Lines of standard output that may stand in the middle of a traceback, which is on the other."""
_GROUP = re.compile(r"^ *(?:\+ |\| |\+-[-+ 0-9.]*)")
_DIRECT_CAUSE = "The above exception was the direct cause of the following exception:"
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3|/node_modules/|^<|^node:")
_MARKER = re.compile(r"[\s^~]*")

_NODE_ERROR = re.compile(r"(?:Uncaught )?((?:[A-Z]\w*)?Error)(?: \[(\w+)\])?(?:: (.*))?$")
_NODE_FRAME = re.compile(
    r"\s+at (?:.{0,300}\()?(?:file://)?(/[^():]{1,400}):(\d{1,7}):\d+\)?(?: \{)?$"
)
_NODE_PLACE = re.compile(r"(?:file://)?(/[^():\s]{1,400}\.[cm]?[jt]sx?):(\d{1,7})$")


@dataclass(frozen=True)
class Place:
    """A line of code."""

    path: str
    line: int
    code: str = ""

    @property
    def own(self) -> bool:
        """Whether it is the participant's own code rather than a library's."""
        return not _LIBRARY.search(self.path)

    def within(self, directory: str) -> str:
        """Write it the way its author knows it: relative to where the app starts."""
        root = f"{directory.rstrip('/')}/"
        return f"{self.path.removeprefix(root) if root != '/' else self.path}:{self.line}"


@dataclass(frozen=True)
class Crash:
    """One error that ended a program."""

    kind: str
    """The exception's name without its module."""
    message: str
    places: tuple[Place, ...] = ()
    """From the outermost call to the innermost."""
    last: str = ""
    """The line that names it, as it was written."""
    details: tuple[str, ...] = ()
    """What follows that line and belongs to it."""
    causes: tuple[Crash, ...] = field(default=())
    """Errors it was raised from, the nearest first."""

    @property
    def place(self) -> Place | None:
        """The innermost place in the participant's own code."""
        return next((place for place in reversed(self.places) if place.own), None)

    @property
    def chain(self) -> tuple[Crash, ...]:
        """Itself, then what it was raised from."""
        return (self, *self.causes)


def find(lines: Sequence[str]) -> Crash | None:
    """Find the last crash in a log; ``None`` where there is none."""
    return _python(lines) or _node(lines)


# -- Python -----------------------------------------------------------------------------------


@dataclass
class _Block:
    places: list[Place] = field(default_factory=list)
    follows: bool = False
    """Whether the block before it is its direct cause."""
    stray: int = 0


def _python(lines: Sequence[str]) -> Crash | None:
    chain: tuple[Crash, ...] = ()
    last = None
    for last in _blocks([_GROUP.sub("", line) for line in lines]):
        crash, follows = last
        before = chain if follows else ()
        chain = (crash, *before)
    if not chain:
        return None
    first, *causes = chain
    return Crash(first.kind, first.message, first.places, first.last, first.details, tuple(causes))


def _blocks(lines: Sequence[str]) -> Iterator[tuple[Crash, bool]]:
    """Yield every traceback, and whether the one before it is its direct cause."""
    block: _Block | None = None
    follows = False
    for number, line in enumerate(lines):
        frame = _FRAME.match(line)
        if line.endswith(_HEAD):
            block, follows = _Block(follows=follows), False
        elif frame and (block is not None or frame[3] is None):
            # A file that cannot be parsed as the main program has no head of its own.
            block = block or _Block()
            block.places.append(Place(frame[1], int(frame[2]), _code(lines, number + 1)))
        elif line.strip() == _DIRECT_CAUSE:
            follows = True
        elif block is not None and block.places and line and not line[0].isspace():
            match = _EXCEPTION.match(line)
            if match:
                yield _crash(match, block, line, lines[number + 1 : number + 5]), block.follows
            block.stray += 1
            if match or block.stray > _MOST_STRAY:
                block = None


def _crash(match: re.Match[str], block: _Block, line: str, after: Sequence[str]) -> Crash:
    kind = match[1].rpartition(".")[2]
    details = []
    for text in after:
        if (
            not text.strip()
            or _HEAD in text
            or re.match(r"[\[{]|[A-Z]+:|\d{4}-|[\w.]+Error:", text)
        ):
            break
        details.append(text)
    return Crash(kind, match[2] or "", tuple(block.places), line, tuple(details))


def _code(lines: Sequence[str], number: int) -> str:
    """Take the line of code that stands under a frame."""
    if number < len(lines) and lines[number].startswith("    "):
        text = lines[number].strip()
        return "" if _MARKER.fullmatch(text) else text
    return ""


# -- Node -------------------------------------------------------------------------------------


def _node(lines: Sequence[str]) -> Crash | None:
    """Read the error Node ends with: its name, then indented calls, the innermost first."""
    for number in range(len(lines) - 1, -1, -1):
        match = _NODE_ERROR.match(lines[number])
        if match:
            after = lines[number + 1 : number + 30]
            places = [Place(m[1], int(m[2])) for m in map(_NODE_FRAME.match, after) if m]
            if not places and not any("node:" in line for line in (*after, *lines[:number])):
                continue
            places.reverse()
            places += _node_head(lines[max(0, number - 6) : number])
            kind = match[2] or match[1]
            return Crash(kind, match[3] or "", tuple(places), lines[number])
    return None


def _node_head(before: Sequence[str]) -> list[Place]:
    """Take the place Node prints above the error, with its line of code: syntax errors have it."""
    for number, line in enumerate(before):
        match = _NODE_PLACE.match(line)
        if match:
            code = before[number + 1].strip() if number + 1 < len(before) else ""
            return [Place(match[1], int(match[2]), code)]
    return []
