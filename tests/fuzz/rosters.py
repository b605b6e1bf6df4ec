"""Rosters nobody would write and rosters somebody might, and the law that holds for all of them.

The grammar is the documentation: every key of ``docs/roster.md`` is used with its own example, so a
new key is tried as soon as it is described. Some of the values are then replaced by hostile ones.

The law: a text ends in an :class:`InputError` whose faults have a place, or in a workshop whose names
are legal for Docker and whose nginx configuration has exactly the tree that a harmless class of the
same size has. Reading does nothing to the machine and takes less than two seconds of processor time.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import crossplane

from tests.fuzz import writing
from tests.fuzz.quiet import deeds
from workshop import names, resources, roster, sources
from workshop.engines.memory import MemoryEngine
from workshop.errors import InputError
from workshop.proxy import render as rendering
from workshop.proxy.render import fingerprint, render
from workshop.proxy.routes import Route
from workshop.workspace import Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.fuzz.writing import Tree
    from workshop.proxy.routes import Edge
    from workshop.workspace import Survey

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "roster.md"
SECONDS = 2.0
FILES = {
    "participant_template/Dockerfile": "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
    "participant_template/Dockerfile.streamlit": "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
    "apps/chat/Dockerfile": "FROM scratch\n",
    "apps/chat/Dockerfile.streamlit": "FROM scratch\n",
    "code/grace/Dockerfile": "FROM scratch\n",
    "code/grace/Dockerfile.streamlit": "FROM scratch\n",
    "class.env": "A=1\nB='two words'\n",
    "secrets/grace.env": 'C="three"\n',
    "secrets/openai.key": "sk-not-a-real-one\n",
    "secrets/pip.conf": "[global]\n",
}
"""What stands beside the roster; the examples of the documentation name these files."""
PEOPLE = (
    *(
        "ada",
        "grace",
        "al",
        "alice",
        "alan",
        "default",
        "include",
        "server",
        "location",
        "no",
        "on",
    ),
    *("null-1", "x0", "e-1", "seat-ada", "upstream", "gateway-2", "a1", "z" * 32, "http", "if"),
)
HOSTILE = (
    *(
        "",
        " ",
        "a",
        "-",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "a;b",
        "x;}\nserver{",
        "{",
        "}",
    ),
    *(
        "$uri",
        "${host}",
        "$(id)",
        "`id`",
        '"',
        "'",
        "#",
        "a#b",
        "%00",
        "%2e%2e",
        "\0",
        "\n",
        "a\nb",
        "\r",
    ),
    *(
        "\u202eada",
        "ｄａ",
        "алиса",
        "é",
        "e\u0301",
        "😀",
        "\ud800",
        "\x85",
        "\u2028",
        "ﬁ",
        "ß",
        "ſ",
        "K",
    ),
    *(
        "0",
        "-1",
        "1e99",
        "nan",
        "inf",
        "0x1f",
        "1_000",
        "٣",
        "٣m",
        "99999999999999999999",
        "1.5",
        "007",
    ),
    *(
        "true",
        "false",
        "yes",
        "null",
        "~",
        "<<",
        "=",
        "&a",
        "*a",
        "!!python/object",
        "|",
        ">",
        "--x",
    ),
    *(
        "http://",
        "http://x;",
        "http://x/y",
        "https://x",
        "http://[::1]",
        "http://a..b",
        "http://x.",
        "file:///",
    ),
    *(
        "http://169.254.169.254/",
        "10.0.0.1",
        "0.0.0.0/0",
        "10.86.0.0/33",
        "::1",
        "127.0.0.1",
        "api",
        "con",
    ),
    *(
        "*",
        "*.com",
        "evil.com:22",
        "x" * 33,
        "x" * 300,
        "A" * 5000,
        "<script>",
        "=cmd|x",
        "@x",
        "1k",
        "9999g",
    ),
)


@cache
def documented() -> dict[str, str]:
    """Read every key of the roster with the example the documentation gives."""
    rows = re.findall(
        r"^\| `([^`]+)` \|(?:[^|`]|`[^`]*`)*\|[^|]*\| ?(?:`([^`]*)`)? *\|$",
        PAGE.read_text("utf-8"),
        re.MULTILINE,
    )
    return dict(rows)


@cache
def below(path: str) -> tuple[str, ...]:
    """List the keys of a mapping that the documentation describes one by one."""
    form = re.compile(re.escape(path) + r"\.([a-z_]+|NAME)(?:\[\])?")
    return tuple(dict.fromkeys(match[1] for key in documented() if (match := form.match(key))))


@dataclass(frozen=True)
class Grower:
    """Grows a tree along the documentation."""

    chance: Random
    hostility: float
    """How often a value is replaced by a hostile one."""

    def roster(self) -> Tree:
        """Grow a roster."""
        tree: dict[str, Tree] = {"workshop": self.mapping("workshop", need=("name",))}
        if self.chance.random() < 0.3:
            tree["defaults"] = self.mapping("defaults")
        count = self.chance.choice((1, 1, 2, 3, 5))
        people = self.chance.sample(PEOPLE, count)
        tree["participants"] = [self.person(name) for name in people]
        return self.spoil(tree)

    def person(self, name: str) -> Tree:
        """Grow one entry."""
        name = self.leaf(name)
        if self.chance.random() < 0.6:
            return name
        found = self.mapping("participants[]")
        assert isinstance(found, dict)
        if self.chance.random() < 0.7:
            found.pop(self.chance.choice(("image", "source")), None)
        return {**found, "name": name}

    def mapping(self, path: str, need: tuple[str, ...] = ()) -> Tree:
        """Grow a mapping with some of its keys."""
        keys = below(path)
        count = min(len(keys), self.chance.choice((1, 1, 2, 3, 6)))
        chosen = dict.fromkeys((*need, *self.chance.sample(keys, count)))
        return {
            ("gpt-5-mini" if key == "NAME" else key): self.value(f"{path}.{key}") for key in chosen
        }

    def value(self, path: str) -> Tree:
        """Grow what stands at a key: its parts, or its example."""
        if below(f"{path}[]"):
            need = ("name", "url", "models")
            return [self.mapping(f"{path}[]", need) for _ in range(self.chance.choice((1, 1, 2)))]
        if below(path) and self.chance.random() < 0.9:
            return self.mapping(path)
        example = documented().get(path) or "x"
        if self.chance.random() < self.hostility:
            return self.chance.choice(HOSTILE)
        return writing.Raw(example)

    def leaf(self, text: str) -> str:
        """Keep a text, or replace it."""
        return self.chance.choice(HOSTILE) if self.chance.random() < self.hostility else text

    def spoil(self, tree: Tree) -> Tree:
        """Now and then, put something of a wrong kind somewhere."""
        if self.chance.random() >= self.hostility:
            return tree
        assert isinstance(tree, dict)
        key = self.chance.choice([*tree, "workshops", "x"])
        return {
            **tree,
            key: self.chance.choice(("x", [], {}, [[]], {"a": {"b": []}}, "", ["ada", "ada"])),
        }


def grown(chance: Random) -> bytes:
    """Write a roster that follows the documentation, with few or many hostile values."""
    hostility = chance.choice((0.0, 0.0, 0.02, 0.2))
    return encoded(writing.write(Grower(chance, hostility).roster(), chance))


def mutated(chance: Random) -> bytes:
    """Break a good roster in a few places."""
    if chance.random() < 0.3:
        text = (ROOT / "participants.yaml").read_text("utf-8")
    else:
        text = writing.write(Grower(chance, 0).roster(), chance)
    return encoded(writing.break_text(text, chance))


def raw(chance: Random) -> bytes:
    """Break the bytes of a good roster, or take any bytes."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(200))
    content = encoded(writing.write(Grower(chance, 0).roster(), chance))
    if chance.random() < 0.1:
        return content.decode().encode(
            chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig"))
        )
    return writing.break_bytes(content, chance)


def encoded(text: str) -> bytes:
    """Encode a text, halves of characters included: an editor would not, a fuzzer must."""
    return text.encode("utf-8", "surrogatepass")


CORPORA = {"grown": grown, "mutated": mutated, "raw": raw}


# -- the law --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A directory a roster can stand in."""

    directory: Path

    @property
    def path(self) -> Path:
        """The roster's file."""
        return self.directory / "participants.yaml"

    def prepare(self) -> Place:
        """Write the files a roster may name."""
        for name, text in FILES.items():
            file = self.directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            file.chmod(0o600)
        # Libraries that are imported on first use may look around while they are.
        self.path.write_text("workshop: {name: class}\nparticipants: [ada]\n", "utf-8")
        survey(Workspace(self.path, MemoryEngine))
        return self


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Read templates and hash sources once, not for each of thousands of rosters."""
    environments: dict[str, Any] = {}
    real, content = rendering.Environment, sources._content

    def environment(**options: Any) -> Any:
        key = str(options["loader"].searchpath)
        return environments.setdefault(key, environments.get(key) or real(**options))

    @cache
    def contents(*recipe: Any) -> tuple[str | bytes, ...]:
        return tuple(content(*recipe))

    with (
        mock.patch.object(rendering, "Environment", environment),
        mock.patch.object(sources, "_content", contents),
    ):
        yield


def judge(content: bytes, place: Place) -> bool:
    """Hold one roster to the law; return whether it is accepted."""
    try:
        return _judged(content, place)
    except Exception as exc:
        exc.add_note(f"the roster: {content[:2000]!r}")
        raise


def _judged(content: bytes, place: Place) -> bool:
    place.path.write_bytes(content)
    begun = time.process_time()
    with deeds() as done:
        seen = _read(place, content)
    spent = time.process_time() - begun
    assert done == [], f"reading it did something: {done}"
    assert spent < SECONDS, f"{spent:.1f} s of processor time"
    if seen is None:
        return False
    _judge_names(seen)
    edge = seen.desired.edge
    assert edge is not None
    assert tree_of(edge, place.directory) == _as_expected(edge, place.directory)
    return True


def _read(place: Place, content: bytes) -> Survey | None:
    try:
        found = roster.load(place.path)
    except InputError as exc:
        _judge_refusal(exc, content)
        return None
    for person in found.participants:
        assert names.problem(person.name) is None, person.name
    engine = MemoryEngine()
    try:
        return survey(Workspace(place.path, lambda: engine))
    except InputError as exc:
        # What only this machine can tell, such as a provider's key that is not there.
        assert exc.message
        return None


def _judge_refusal(error: InputError, content: bytes) -> None:
    assert error.exit_code == 2
    lines = len(re.split(rb"\r\n|\n|\r|\xc2\x85|\xe2\x80[\xa8\xa9]", content))
    if not error.faults:
        # The file is no text; then the message names the byte, the line or the size.
        assert re.search(r"byte \d+|line \d+|UTF-16|larger than", error.message), error.message
    for fault in error.faults:
        assert 1 <= fault.line <= lines, fault
        assert fault.column >= 1, fault
        assert fault.message, fault
        assert "\n" not in str(fault), fault
        assert len(str(fault)) < 1000, fault


_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[a-z0-9.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}(?:@sha256:[0-9a-f]{{64}})?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _judge_names(seen: Survey) -> None:
    """Hold every name to what Docker and the kernel accept."""
    for item in seen.desired.containers:
        assert _CONTAINER.fullmatch(item.name), item.name
        assert _IMAGE.fullmatch(item.image), item.image
        for key, value in item.env.items():
            assert _VARIABLE.fullmatch(key), key
            assert "\0" not in value
    for image in seen.desired.images:
        assert _IMAGE.fullmatch(image.tag), image.tag
    for network in seen.desired.networks:
        assert _CONTAINER.fullmatch(network.name), network.name
        assert len(network.bridge) <= 15, network.bridge


def tree_of(edge: Edge, directory: Path) -> Any:
    """Render an edge and parse what nginx would read."""
    path = directory / "candidate.conf"
    path.write_text(_render(edge)["nginx.conf"], "utf-8")
    parsed = crossplane.parse(str(path), single=True, strict=False)
    assert parsed["status"] == "ok", parsed["errors"]
    return _plain(parsed["config"][0]["parsed"])


def _plain(block: list[dict[str, Any]]) -> list[Any]:
    """Keep directives, arguments and blocks; the fingerprint is hidden."""
    return [
        (
            item["directive"],
            [re.sub(r'"config":"[0-9a-f]+"', '"config":"?"', arg) for arg in item["args"]],
            _plain(item.get("block", [])),
        )
        for item in block
    ]


def _as_expected(edge: Edge, directory: Path) -> Any:
    """Take the tree of a harmless class of this shape and put the real names into it."""
    real = dict(zip(_twin_names(len(edge.routes)), (r.name for r in edge.routes), strict=True))
    host = edge.hosts[0]
    twin = _twin(edge)
    text = _twin_tree(twin, str(directory), fingerprint(twin, resources.nginx_templates()))
    text = re.sub(r"twin\d{4}", lambda match: real[match[0]], text)
    return _tuples(json.loads(text.replace("twin.example", host)))


def _twin_names(count: int) -> list[str]:
    return [f"twin{number:04d}" for number in range(count)]


def _twin(edge: Edge) -> Edge:
    """Make an edge of the same shape with nothing of the roster's words in it."""
    routes = tuple(
        Route(name, route.address, route.port, "", route.green)
        for name, route in zip(_twin_names(len(edge.routes)), edge.routes, strict=True)
    )
    port = re.search(r":\d+$", edge.url)
    local = edge.hosts[0] in {"localhost", "127.0.0.1"}
    host = edge.hosts[0] if local else "twin.example"
    url = f"{edge.scheme}://{host}{port[0] if port else ''}"
    return replace(edge, title="Twin", url=url, routes=routes)


@lru_cache(maxsize=512)
def _twin_tree(twin: Edge, directory: str, of: str) -> str:
    del of
    return json.dumps(tree_of(twin, Path(directory)))


def _tuples(block: list[Any]) -> list[Any]:
    return [(name, args, _tuples(inner)) for name, args, inner in block]


def _render(edge: Edge) -> Any:
    return render(edge, resources.nginx_templates())
