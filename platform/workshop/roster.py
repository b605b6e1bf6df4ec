"""The roster: one file is the truth about who takes part and how.

``load`` reads ``participants.yaml`` into frozen data or raises one error with every fault in it,
each with line, column, path and what was expected. It touches nothing. What the file may hold is
described in ``docs/roster.md``; the fields below are its index.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workshop import board_options as board
from workshop import environment, limits, names, yamltree
from workshop.address import Address, parse_address
from workshop.deploys import options as deploys
from workshop.errors import Fault, InputError
from workshop.limits import Limits
from workshop.llm.options import Allowance, Llm, read, read_allowance
from workshop.reading import Reader, parse_bool, parse_text
from workshop.routing import Place, Routing, place
from workshop.tls import options as tls
from workshop.wall import options as wall
from workshop.yamltree import Mapping, Node, Scalar, Sequence, describe

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

MAX_PARTICIPANTS = yamltree.MAX_ITEMS
_KIB = 1024
_IMAGE = re.compile(
    r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_LONGEST_IMAGE = 255 + 1 + 128 + len("@sha256:") + 64
"""A name, a tag and a digest (https://github.com/distribution/reference)."""
_LONGEST_NETWORK = len("255.255.255.255/32")
_SECRET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DOCKERFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EMAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\"]+")

GATEWAY_VARIABLES = frozenset({"OPENAI_API_KEY", "OPENAI_BASE_URL"})
"""What every seat is given so that it finds the class's gateway."""


@dataclass(frozen=True)
class EdgeOptions:
    """What visitors see and how much of it, per seat.

    ``requests_per_second`` with a burst of four seconds' worth lets a page with many assets load
    at once; ``connections`` bounds open streams; ``body`` is in bytes.
    """

    landing: bool = True
    requests_per_second: int = 50
    connections: int = 100
    body: int = 2 * limits.MIB


@dataclass(frozen=True)
class Participant:
    """One person: what to call them and what their seat runs."""

    name: str
    display_name: str = ""
    email: str = ""
    env: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    source: Path | None = None
    dockerfile: str = "Dockerfile"
    image: str | None = None
    llm: Allowance = field(default_factory=Allowance)
    egress: wall.Mode = wall.Mode.OPEN
    spare: bool = False
    """Whether it is nobody's yet: the file does not name it, ``workshop.spares`` asks for it."""


@dataclass(frozen=True)
class Roster:
    """Everything the file says. ``warnings`` are worth showing but stop nothing."""

    path: Path
    name: str
    title: str
    url: Address
    port: int
    """TCP port the edge listens on, on the server itself."""
    template: Path
    network: str | None
    edge: EdgeOptions
    llm: Llm | None
    """``None`` where the class does without language models."""
    deploys: deploys.DeployOptions | None
    """``None`` where nobody deploys a version of their own."""
    participants: tuple[Participant, ...]
    warnings: tuple[Fault, ...] = ()
    build_secrets: tuple[tuple[str, Path], ...] = ()
    """Files that the instructor's own builds may read, by id."""
    hosts: tuple[str, ...] = ()
    """Names that seats may reach whose egress is approved."""
    tls: tls.TlsOptions | None = None
    """``None`` where the edge speaks plain HTTP."""

    routing: Routing = Routing.PATH
    """Whether seats live below paths of the host, on hosts of their own, or on both."""
    board: board.BoardOptions | None = None
    """``None`` where there is no board."""
    spares: int = 0
    """How many seats are kept for latecomers, claimed ones included."""

    def place(self, name: str) -> Place:
        """Say where visitors find the app of ``name``."""
        return place(str(self.url), self.routing, name)

    def seat_url(self, name: str) -> str:
        """Give the URL of one participant's app. Nothing else makes one."""
        return self.place(name).url

    @property
    def edge_ports(self) -> tuple[int, ...]:
        """The TCP ports the edge listens on for visitors."""
        http_port = self.tls.http_port if self.tls is not None else 0
        return (self.port, http_port) if http_port else (self.port,)

    @property
    def has_approved(self) -> bool:
        """Whether any seat reaches approved names alone."""
        return any(person.egress is wall.Mode.APPROVED for person in self.participants)

    def participant(self, name: str) -> Participant:
        """Find one person by name.

        Raises:
            InputError: nobody is called that; the message offers the nearest name.

        """
        for person in self.participants:
            if person.name == name:
                return person
        near = difflib.get_close_matches(name, [person.name for person in self.participants], 1)
        hint = f"did you mean {near[0]}?" if near else f"`workshop add {name}` adds somebody"
        raise InputError(f"nobody in {self.path.name} is called {names.shown(name)}", hint=hint)


def load(path: Path) -> Roster:
    """Read and check the roster at ``path``.

    Raises:
        InputError: with all faults at once; nothing was touched.

    """
    return parse(yamltree.read_text(path), path)


def parse(text: str, path: Path) -> Roster:
    """Check ``text`` as the content of ``path``; relative paths in it start beside that file."""
    return _Reader(path).roster(yamltree.parse(text, path.name))


class _Reader(Reader):
    """Reads a roster; what the language models need has a reader of its own in ``llm.options``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._taken: frozenset[str] = frozenset()
        self._template = path.parent
        self._locked: frozenset[str] = frozenset()
        self._egress = wall.Egress()

    # -- the file, from the top ---------------------------------------------------------------

    def roster(self, root: Node | None) -> Roster:
        # An empty file has a place too: its beginning.
        node = Scalar("", 1, 1, 1) if root is None else root
        top = self.section(node, "", ("workshop", "defaults", "participants"))
        if top is None:
            raise InputError.of(self.faults)
        roster = self._workshop(top)
        self._template = roster.template
        self._locked = GATEWAY_VARIABLES if roster.llm is not None else frozenset()
        everyone = self._seat(
            top.entries.get("defaults"), "defaults", self._anyone(top), named=False
        )
        people = self._participants(top, everyone)
        self._check_board(top, roster, people)
        people = self._with_spares(top, roster.spares, everyone, people)
        if self.faults:
            raise InputError.of(self.faults)
        return replace(roster, participants=people, warnings=tuple(self.warnings))

    def _workshop(self, top: Mapping) -> Roster:
        known = (
            "name",
            "title",
            "url",
            "port",
            "template",
            "limits",
            "network",
            "edge",
            "llm",
            "deploys",
            "build_secrets",
            "egress",
            "tls",
            "routing",
            "board",
            "spares",
        )
        node = self.required(top, "workshop", "")
        section = self.section(node, "workshop", known) if node else None
        get = (section or Mapping(0, 0, flow=False)).entries.get
        name = "workshop"
        if section is not None:
            name = self._name(self.required(section, "name", "workshop"), "workshop.name") or name
        url = self.value(
            get("url"), "workshop.url", parse_address, parse_address("http://localhost:8080")
        )
        port = self._port(section, url)
        encryption = tls.read(self, get("tls"), url, port)
        self._egress = wall.read(self, get("egress"))
        deploying = deploys.read(self, get("deploys"))
        return Roster(
            path=self.path,
            name=name,
            title=self.text(get("title"), "workshop.title") or name,
            url=url,
            port=port,
            template=self._directory(get("template"), "workshop.template", "participant_template"),
            network=self.value(get("network"), "workshop.network", _parse_network, None),
            edge=self._edge(get("edge")),
            llm=read(self, get("llm")),
            deploys=deploying,
            participants=(),
            build_secrets=self._build_secrets(get("build_secrets")),
            hosts=self._egress.hosts,
            tls=encryption,
            routing=self._routing(section, url, encryption),
            board=board.read(self, get("board"), url, encryption, deploys=deploying is not None),
            spares=self.value(get("spares"), "workshop.spares", _parse_spares, 0),
        )

    def _build_secrets(self, node: Node | None) -> tuple[tuple[str, Path], ...]:
        where = "workshop.build_secrets"
        if node is None:
            return ()
        if not isinstance(node, Mapping):
            self.fault(node, where, f"expected a mapping of ids to files, found {describe(node)}")
            return ()
        found = []
        for key, value in node.entries.items():
            path = self.private(value, f"{where}.{key[:40]}")
            if not _SECRET_ID.fullmatch(key):
                self.fault(node.keys[key], where, f"{key[:40]!a}; expected an id such as pip_conf")
            elif path is not None and not path.is_file():
                self.fault(value, f"{where}.{key}", f"no file {path.name!r}")
            elif path is not None:
                found.append((key, path))
        return tuple(found)

    def _port(self, section: Mapping | None, url: Address) -> int:
        get = (section or Mapping(0, 0, flow=False)).entries.get
        node = get("port")
        if node is None and url.scheme == "https" and get("tls") is None:
            message = "https is answered by your own TLS proxy; say which port the edge listens on"
            message = f"{message}, such as port: 8080, or let the edge do it with tls"
            self.fault(get("url"), "workshop.port", message)
        return self.value(
            node, "workshop.port", lambda text: limits.parse_whole(text, 1, 65_535), url.port
        )

    def _routing(
        self, section: Mapping | None, url: Address, encryption: tls.TlsOptions | None
    ) -> Routing:
        get = (section or Mapping(0, 0, flow=False)).entries.get
        node = get("routing")
        routing = self.value(node, "workshop.routing", _parse_routing, Routing.PATH)
        if routing.by_host:
            tls.check_wildcard(self, get("tls"), encryption)
        if routing.by_host and re.fullmatch(r"[0-9.]+", url.host):
            message = f"seats have hosts below {url.host}, which is no name; give url a name"
            self.fault(node, "workshop.routing", message)
        return routing

    def _edge(self, node: Node | None) -> EdgeOptions:
        known = ("landing", "requests_per_second", "connections", "body")
        section = self.section(node, "workshop.edge", known) if node else None
        if section is None:
            return EdgeOptions()
        get, base = section.entries.get, EdgeOptions()

        def whole(key: str, default: int) -> int:
            where = f"workshop.edge.{key}"
            return self.value(
                get(key), where, lambda text: limits.parse_whole(text, 1, 1_000_000), default
            )

        return EdgeOptions(
            landing=self.value(get("landing"), "workshop.edge.landing", parse_bool, base.landing),
            requests_per_second=whole("requests_per_second", base.requests_per_second),
            connections=whole("connections", base.connections),
            body=self.value(get("body"), "workshop.edge.body", _parse_body, base.body),
        )

    # -- people -------------------------------------------------------------------------------

    def _anyone(self, top: Mapping) -> Participant:
        """Read what holds for everybody before ``defaults`` and an own entry narrow it down."""
        limits = self.limits(_setting(top, "limits"), "workshop.limits", Limits())
        return Participant("", limits=limits, egress=self._egress.mode)

    def _check_board(self, top: Mapping, roster: Roster, people: tuple[Participant, ...]) -> None:
        """Note a fault where the board would stand in a seat's place."""
        host = roster.board.host if roster.board else ""
        name, _, below = host.partition(".")
        seats = {person.name for person in people} | set(map(_spare, range(1, roster.spares + 1)))
        if roster.routing.by_host and below == roster.url.host and name in seats:
            node = _setting(top, "board")
            self.fault(node, "workshop.board.host", f"{host} is the host of the seat {name}")

    def _with_spares(
        self, top: Mapping, count: int, everyone: Participant, people: tuple[Participant, ...]
    ) -> tuple[Participant, ...]:
        """Add the seats for latecomers, each in its place whether it has been claimed or not.

        The order goes into what every part is told: a claim shall change nothing there.
        """
        free = [
            replace(everyone, name=_spare(n), display_name=f"Spare seat {n}", spare=True)
            for n in range(1, count + 1)
        ]
        places = {person.name: person for person in free}
        others = [person for person in people if person.name not in places]
        places.update({person.name: person for person in people if person.name in places})
        unclaimed = sum(person.spare for person in places.values())
        if unclaimed and len(others) + len(places) > MAX_PARTICIPANTS:
            message = f"{len(people)} participants and {unclaimed} spare seats"
            message = f"{message}; at most {MAX_PARTICIPANTS} together"
            self.fault(_setting(top, "spares"), "workshop.spares", message)
        return (*others, *places.values())

    def _participants(self, top: Mapping, everyone: Participant) -> tuple[Participant, ...]:
        node = self.required(top, "participants", "")
        if node is None:
            return ()
        if not isinstance(node, Sequence):
            self.fault(node, "participants", f"expected a list of names, found {describe(node)}")
            return ()
        self._taken = frozenset(filter(None, map(_written_name, node.items)))
        seen: dict[str, Node] = {}
        people = [
            self._participant(item, f"participants[{index}]", everyone, seen)
            for index, item in enumerate(node.items)
        ]
        return tuple(person for person in people if person is not None)

    def _participant(
        self, node: Node, where: str, everyone: Participant, seen: dict[str, Node]
    ) -> Participant | None:
        if isinstance(node, Scalar):
            name_node: Node | None = node
            person: Participant = everyone
            name = self._name(node, where)
        elif isinstance(node, Mapping):
            person = self._seat(node, where, everyone, named=True)
            name_node = self.required(node, "name", where)
            name = self._name(name_node, f"{where}.name")
        else:
            self.fault(node, where, f"expected a name or a mapping, found {describe(node)}")
            return None
        if name is None or name_node is None:
            return None
        if name in seen:
            self.fault(name_node, where, f"{name!r} stands twice (first on line {seen[name].line})")
            return None
        seen[name] = name_node
        return replace(person, name=name, display_name=person.display_name or name)

    def _seat(
        self, node: Node | None, where: str, base: Participant, *, named: bool
    ) -> Participant:
        """Read what a seat runs: the ``defaults``, or one participant on top of them."""
        known: tuple[str, ...] = (
            "env",
            "env_file",
            "limits",
            "source",
            "dockerfile",
            "image",
            "llm",
            "egress",
        )
        if named:
            known = ("name", "display_name", "email", *known)
        section = self.section(node, where, known) if node else None
        if section is None:
            return base
        get = section.entries.get
        source, image = get("source"), get("image")
        if source is not None and image is not None:
            self.fault(image, f"{where}.image", "either source or image, not both")
        person = replace(
            base,
            display_name=self.text(get("display_name"), f"{where}.display_name"),
            email=self.value(get("email"), f"{where}.email", _parse_email, ""),
            env=self._environment(section, where, base.env),
            limits=self.limits(get("limits"), f"{where}.limits", base.limits),
            llm=read_allowance(self, get("llm"), f"{where}.llm", base.llm),
            egress=self._mode(get("egress"), f"{where}.egress", base),
        )
        if source is not None or get("dockerfile") is not None:
            return self._recipe(section, where, person)
        if image is not None:
            return replace(
                person, source=None, image=self.value(image, f"{where}.image", _parse_image, "")
            )
        return person

    def _mode(self, node: Node | None, where: str, base: Participant) -> wall.Mode:
        return wall.read_mode(self, node, where, replace(self._egress, mode=base.egress))

    def _environment(self, section: Mapping, where: str, base: dict[str, str]) -> dict[str, str]:
        env = dict(base)
        env.update(self._env_file(section.entries.get("env_file"), f"{where}.env_file"))
        node = section.entries.get("env")
        if node is not None and not isinstance(node, Mapping):
            self.fault(node, f"{where}.env", f"expected a mapping, found {describe(node)}")
        elif node is not None:
            for key, value in node.entries.items():
                text = self._variable(node.keys[key], value, f"{where}.env.{key[:40]}")
                if text is not None:
                    env[key] = text
        for key in sorted(self._locked & (env.keys() - base.keys())):
            message = f"{key} is set by the platform; `llm: false` under workshop leaves it to you"
            self.fault(node or section, f"{where}.env", message)
        trouble = environment.total_problem(env)
        if trouble:
            self.fault(node or section, f"{where}.env", trouble)
        return env

    def _variable(self, key: Scalar, node: Node, where: str) -> str | None:
        if not isinstance(node, Scalar):
            self.fault(node, where, f"expected text, found {describe(node)}")
            return None
        if node.is_null:
            self.fault(node, where, 'no value; write "" for an empty one')
            return None
        trouble = environment.key_problem(key.text) or environment.value_problem(node.text)
        if trouble:
            self.fault(key, where, trouble)
            return None
        if environment.looks_secret(key.text, node.text):
            message = "looks like a secret; keep it in an env_file instead of the roster"
            self.warn(key, where, message)
        return node.text

    def _env_file(self, node: Node | None, where: str) -> dict[str, str]:
        if node is None:
            return {}
        path = self.private(node, where)
        if path is None:
            return {}
        try:
            found, faults = environment.parse_env_file(yamltree.read_text(path), path.name)
        except InputError as exc:
            self.fault(node, where, exc.message)
            return {}
        self.faults.extend(faults)
        return found

    # -- values -------------------------------------------------------------------------------

    def _name(self, node: Node | None, where: str) -> str | None:
        if node is None:
            return None
        if not isinstance(node, Scalar) or node.is_null:
            self.fault(node, where, f"expected a name, found {describe(node)}")
            return None
        trouble = names.problem(node.text, self._taken)
        if trouble:
            self.fault(node, where, trouble)
            return None
        return node.text

    def _recipe(self, section: Mapping, where: str, person: Participant) -> Participant:
        """Read what an own image is made from: a directory, the name of a Dockerfile, or both."""
        source, node = section.entries.get("source"), section.entries.get("dockerfile")
        name = self.value(node, f"{where}.dockerfile", _parse_dockerfile, person.dockerfile)
        if source is not None:
            path = self._directory(source, f"{where}.source", "", name)
            return replace(person, source=path, dockerfile=name, image=None)
        directory = person.source or self._template
        if not (directory / name).is_file():
            self.fault(node, f"{where}.dockerfile", f"{directory.name} has no {name}")
        return replace(person, dockerfile=name)

    def _directory(
        self, node: Node | None, where: str, default: str, recipe: str = "Dockerfile"
    ) -> Path:
        """Find a directory with a Dockerfile, inside the roster's own directory."""
        path = self.path.parent / default if node is None else self.inside(node, where)
        if path is None:
            return self.path.parent
        dockerfile = path / recipe
        if not path.is_dir():
            self.fault(
                node, where, f"no directory {path.name!r}; `workshop init` copies the template"
            )
        elif not dockerfile.is_file():
            self.fault(node, where, f"{path.name} has no {recipe}")
        elif re.match(r"(?i)\s*#\s*syntax\s*=", dockerfile.read_text("utf-8", "replace")):
            message = (
                "its Dockerfile has a `# syntax=` line, which fetches a builder; remove the line"
            )
            self.fault(node, where, message)
        return path


def _written_name(item: Node) -> str | None:
    """Read the name of an entry as it stands, before it is checked."""
    if isinstance(item, Mapping):
        item = item.entries.get("name", item)
    return item.text if isinstance(item, Scalar) else None


def _setting(top: Mapping, key: str) -> Node | None:
    """Find what stands below ``workshop``."""
    section = top.entries.get("workshop")
    return section.entries.get(key) if isinstance(section, Mapping) else None


def _spare(number: int) -> str:
    """Name a seat for a latecomer."""
    return f"spare-{number}"


def _parse_spares(text: str) -> int:
    return limits.parse_whole(text, 0, board.MOST_SPARES)


def _parse_routing(text: str) -> Routing:
    if text not in set(Routing):
        raise ValueError(f"{text[:40]!a}; expected path, subdomain or both")
    return Routing(text)


def _parse_dockerfile(text: str) -> str:
    if not _DOCKERFILE.fullmatch(text):
        raise ValueError(f"{text[:60]!a}; expected a file's name, such as Dockerfile.streamlit")
    return text


def _parse_email(text: str) -> str:
    if not _EMAIL.fullmatch(parse_text(text)):
        raise ValueError(f"{text[:60]!a}; expected an address such as ada@example.org")
    return text


def _parse_body(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,4})([km])", text)
    size = int(match[1]) * {"k": _KIB, "m": limits.MIB}[match[2]] if match else 0
    if not _KIB <= size <= _KIB * limits.MIB:
        raise ValueError(f"{text[:40]!r}; expected 1k to 1024m")
    return size


def _parse_image(text: str) -> str:
    if not _IMAGE.fullmatch(text) or len(text) > _LONGEST_IMAGE:
        raise ValueError(f"{text[:80]!a}; expected an image such as registry.example.org/ada:2")
    if ":" not in text.rsplit("/", 1)[-1]:
        raise ValueError(f"{text!r} has no tag; name a version, such as {text}:2")
    return text


def _parse_network(text: str) -> str:
    expected = "expected a private IPv4 network of /21 or larger, such as 10.86.0.0/21"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as exc:
        told = exc if len(text) <= _LONGEST_NETWORK else f"{text[:40]!r}"
        raise ValueError(f"{told}; {expected}") from None
    if not network.is_private or network.prefixlen > 21 or network.prefixlen < 8:  # noqa: PLR2004
        raise ValueError(f"{text!r}; {expected}")
    return text
