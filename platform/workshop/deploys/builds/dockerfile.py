"""Reading a Dockerfile into frozen data. Nothing is looked up and nothing is run.

A library was tried and left out: ``dockerfile-parse`` drops a line it cannot read, and so would
build something else than what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.deploys.builds import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_CHARACTERS = 128 * 1024
MOST_STEPS = 200
MOST_STAGES = 20
SETTINGS = frozenset(
    {"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL"}
    | {"SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
IGNORED = frozenset({"HEALTHCHECK", "MAINTAINER"})
"""The platform asks the app itself whether it is well."""
KNOWN = SETTINGS | IGNORED | {"FROM", "RUN", "COPY", "ADD", "ONBUILD"}
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.*?)\s*$")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_HEREDOC = re.compile(r"(?:^|\s)[0-9]*<<-?[\"']?[A-Za-z_]")
_REMOTE = re.compile(r"(?:[a-z]+://|git@)", re.IGNORECASE)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_SECRET_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MODE = re.compile(r"0?[0-7]{3,4}")
_SECRETS = "/run/secrets"


class Unreadable(Exception):
    """A line that cannot be carried out: which, why, and what to write instead."""

    def __init__(self, line: int, reason: str, way_out: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason
        self.way_out = way_out


@dataclass(frozen=True)
class Secret:
    """A file that one RUN may read."""

    id: str
    target: str


@dataclass(frozen=True)
class Run:
    """A command: one string for the shell, or the words themselves."""

    line: int
    text: str
    command: str | tuple[str, ...]
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class Copy:
    """Files that come from the source, or from another stage."""

    line: int
    text: str
    sources: tuple[str, ...]
    target: str
    owner: str = ""
    mode: str = ""
    origin: str = ""
    """Name or number of a stage, or an image; empty for the source."""
    add: bool = False


@dataclass(frozen=True)
class Setting:
    """A fact for the image or for the steps that follow; variables are not yet put in."""

    line: int
    text: str
    keyword: str
    rest: str


Step = Run | Copy | Setting


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    line: int
    reference: str
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Recipe:
    """A whole Dockerfile."""

    arguments: tuple[Setting, ...]
    """ARG lines before the first FROM."""
    stages: tuple[Stage, ...]
    escape: str = "\\"


@dataclass(frozen=True)
class _Line:
    number: int
    keyword: str
    rest: str

    @property
    def text(self) -> str:
        return f"{self.keyword} {self.rest}"


def parse(text: str) -> Recipe:
    """Read a Dockerfile.

    Raises:
        Unreadable: a line is wrong, or asks for something the platform does not do.

    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(1, f"more than {MOST_CHARACTERS} characters", "shorten the Dockerfile")
    if "\0" in text:
        raise Unreadable(1, "the file is not text", "save it as plain UTF-8 text")
    physical = text.removeprefix("\ufeff").splitlines()
    escape = _directives(physical)
    lines = [_read(number, line) for number, line in _joined(physical, escape)]
    if len(lines) > MOST_STEPS:
        raise Unreadable(
            lines[MOST_STEPS].number,
            f"more than {MOST_STEPS} instructions",
            "put several commands into one RUN with &&",
        )
    return _staged(lines, escape)


# -- lines ------------------------------------------------------------------------------------


def _directives(physical: list[str]) -> str:
    """Read the comments at the top that steer the reading itself; returns the escape character."""
    escape = "\\"
    for number, line in enumerate(physical, 1):
        found = _DIRECTIVE.match(line.strip())
        if found is None:
            break
        if found[1].lower() == "syntax":
            raise Unreadable(
                number,
                "`# syntax=` would fetch a program that reads the Dockerfile",
                "delete this line; the platform reads Dockerfiles itself",
            )
        if found[1].lower() == "escape" and found[2] in {"\\", "`"}:
            escape = found[2]
    return escape


def _joined(physical: list[str], escape: str) -> Iterator[tuple[int, str]]:
    """Put continued lines together; comments and empty lines between them do not count."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(physical, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        begun = begun if parts else number
        if stripped.endswith(escape):
            parts.append(line.rstrip()[:-1])
            continue
        yield begun, "".join([*parts, line]).strip()
        parts = []
    if parts:
        yield begun, "".join(parts).strip()


def _read(number: int, line: str) -> _Line:
    keyword, _, rest = line.partition(" ") if " " in line else line.partition("\t")
    keyword, rest = keyword.upper(), rest.strip()
    if keyword not in KNOWN:
        raise Unreadable(
            number,
            f"{keyword[:30]!a} is not an instruction",
            "begin each line with one, such as RUN or COPY, and end a line that goes on with \\",
        )
    if not rest:
        raise Unreadable(number, f"{keyword} says nothing", "write what it is for, or delete it")
    if keyword in {"RUN", "COPY", "ADD"} and _HEREDOC.search(rest):
        raise Unreadable(
            number,
            "text between <<EOF and EOF is not supported here",
            "put the text into a file of its own and COPY it, or join commands with &&",
        )
    if keyword == "ONBUILD":
        raise Unreadable(
            number, "ONBUILD is for images that others build on", "write the instruction itself"
        )
    return _Line(number, keyword, rest)


# -- stages -----------------------------------------------------------------------------------


def _staged(lines: list[_Line], escape: str) -> Recipe:
    arguments, stages, steps = list[Setting](), list[Stage](), list[Step]()
    for line in lines:
        if line.keyword in IGNORED:
            continue
        if line.keyword == "FROM":
            if stages:
                stages[-1] = _closed(stages[-1], steps)
            steps = []
            stages.append(_from(line))
        elif stages:
            steps.append(_step(line, escape))
        elif line.keyword == "ARG":
            arguments.append(Setting(line.number, line.text, "ARG", line.rest))
        else:
            raise Unreadable(
                line.number,
                f"{line.keyword} stands before FROM",
                "begin with FROM ${BASE_IMAGE}",
            )
    if not stages:
        raise Unreadable(1, "there is no FROM", "begin with FROM ${BASE_IMAGE}")
    stages[-1] = _closed(stages[-1], steps)
    if len(stages) > MOST_STAGES:
        raise Unreadable(stages[MOST_STAGES].line, f"more than {MOST_STAGES} FROM", "use fewer")
    return Recipe(tuple(arguments), tuple(stages), escape)


def _closed(stage: Stage, steps: list[Step]) -> Stage:
    return Stage(stage.line, stage.reference, stage.name, tuple(steps))


def _from(line: _Line) -> Stage:
    # The image is for this server's kind of processor, whatever --platform says.
    _, rest = _flags(line, {"platform"})
    said = rest.split()
    named = len(said) == 3 and said[1].lower() == "as"  # noqa: PLR2004 - FROM image AS name
    if len(said) != 1 and not named:
        raise Unreadable(line.number, "FROM takes one image", "write FROM ${BASE_IMAGE}")
    name = said[2].lower() if named else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise Unreadable(
            line.number, f"{name[:40]!a} cannot be a name", "use letters, digits and -"
        )
    return Stage(line.number, said[0], name, ())


def _step(line: _Line, escape: str) -> Step:
    readers: dict[str, Callable[[_Line, str], Step]] = {"RUN": _run, "COPY": _copy, "ADD": _copy}
    return readers.get(line.keyword, _setting)(line, escape)


def _setting(line: _Line, escape: str) -> Setting:
    if line.keyword in {"ENV", "LABEL"}:
        try:
            words.pairs(line.rest, escape)
        except ValueError as exc:
            raise Unreadable(line.number, str(exc), f"write {line.keyword} NAME=value") from exc
    if line.keyword == "SHELL" and not words.json_list(line.rest):
        raise Unreadable(line.number, "SHELL takes a list", 'write SHELL ["/bin/bash", "-c"]')
    return Setting(line.number, line.text, line.keyword, line.rest)


def _flags(line: _Line, allowed: set[str]) -> tuple[list[tuple[str, str]], str]:
    found, rest = [], line.rest
    while match := _FLAG.match(rest):
        if match[1] not in allowed:
            raise Unreadable(
                line.number,
                f"{line.keyword} --{match[1]} is not supported here",
                "leave it out",
            )
        found.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    if not rest:
        raise Unreadable(line.number, f"{line.keyword} says nothing", "write what it is for")
    return found, rest


def _run(line: _Line, _escape: str) -> Run:
    flags, rest = _flags(line, {"mount"})
    # A cache mount only makes a build quicker, and the platform keeps whole steps anyway.
    mounts = [_mount(line.number, value) for _, value in flags]
    secrets = tuple(mount for mount in mounts if mount is not None)
    return Run(line.number, line.text, words.json_list(rest) or rest, secrets)


def _mount(number: int, value: str) -> Secret | None:
    options = dict(part.partition("=")[::2] for part in value.split(","))
    kind, name = options.get("type", "bind"), options.get("id", "")
    if kind == "cache":
        return None
    if kind != "secret":
        raise Unreadable(
            number,
            f"RUN --mount=type={kind[:20]} is not supported here",
            "COPY the files first, then RUN",
        )
    target = options.get("target") or options.get("dst") or f"{_SECRETS}/{name}"
    if not _SECRET_ID.fullmatch(name) or not target.startswith("/") or ".." in target:
        raise Unreadable(
            number,
            "the secret has no id, or its target is not a path from the root",
            "write RUN --mount=type=secret,id=NAME",
        )
    if options.get("uid") or options.get("gid") or options.get("mode") or options.get("env"):
        raise Unreadable(
            number, "only id, target and required are read of a secret", "leave the others out"
        )
    return Secret(name, target)


def _copy(line: _Line, escape: str) -> Copy:
    flags, rest = _flags(line, {"chown", "chmod", "from", "link"})
    listed = words.json_list(rest) or tuple(words.split(rest, escape))
    if len(listed) < 2:  # noqa: PLR2004 - from where and to where
        raise Unreadable(
            line.number,
            f"{line.keyword} needs what to copy and where to",
            f"write {line.keyword} app app",
        )
    said = dict(flags)
    if line.keyword == "ADD":
        _refuse_remote(line, listed[:-1])
    if said.get("chmod") and not _MODE.fullmatch(said["chmod"]):
        raise Unreadable(line.number, "--chmod takes digits", "write --chmod=755")
    return Copy(
        line.number,
        line.text,
        listed[:-1],
        listed[-1],
        owner=said.get("chown", ""),
        mode=said.get("chmod", ""),
        origin=said.get("from", ""),
        add=line.keyword == "ADD",
    )


def _refuse_remote(line: _Line, sources: tuple[str, ...]) -> None:
    for source in sources:
        if _REMOTE.match(source.strip("'\"")):
            raise Unreadable(
                line.number,
                "ADD of an address is not possible: builds reach package sources only",
                "download the file into your project and COPY it",
            )
