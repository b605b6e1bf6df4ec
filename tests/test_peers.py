"""Incidents of comparable projects do not happen here: docs/peers.md names them, one a row.

A row is shown by a test elsewhere, by one below, or says why it does not apply.
"""

from __future__ import annotations

import ast
import re
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.shown import ROOT, is_there
from workshop import names, operations
from workshop.errors import InputError
from workshop.labels import Role
from workshop.proxy.render import render
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.roster import Roster
    from workshop.workspace import Workspace

ROWS = re.findall(
    r"^\| (?!what happened|---)(.+?) \| (.+?) \| (.+?) \|$",
    (ROOT / "docs" / "peers.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_page_names_every_incident() -> None:
    """The research found 39 kinds of incident; a row that vanishes is noticed."""
    assert len(ROWS) >= 39
    assert len({what for what, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("where", "here"), [pytest.param(w, h, id=w.split(",")[0]) for _, w, h in ROWS]
)
def test_incident_of_a_peer_is_shown_not_to_happen(where: str, here: str) -> None:
    """Each row names tests that exist, or says why it does not apply."""
    named = re.findall(r"`(tests/[^`]+)`", here)

    assert where
    assert named or here.startswith("does not apply: ")
    assert [reference for reference in named if not is_there(reference)] == []


def test_different_names_never_make_one_container(
    parse: Callable[[str], Roster], work: Workspace
) -> None:
    """dockerspawner#25, #337, #386: names are compared as written; what looks alike is refused."""
    seats = survey(work).desired.containers

    assert len({seat.name for seat in seats}) == len(seats)
    for pair in ("José, jose", "a.b, a-b", "user--foo, user-foo", "Ada, ada", "ﬁ-x, fi-x"):
        with pytest.raises(InputError):
            parse(f"workshop: {{name: class}}\nparticipants: [{pair}]\n")


def test_seat_is_its_own_workshops_whatever_its_name_begins_with(
    work: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """dockerspawner#25: class + one-ada and class-one + ada would both be class-one-ada."""
    text = work.roster_path.read_text("utf-8")
    work.roster_path.write_text(text.replace("- ada ", "- one-ada "), "utf-8")
    assert operations.provision(next_command(work)).ok

    assert "class-one-ada" in {item.name for item in work.engine.observe("class").containers}
    assert work.engine.observe("class-one").containers == ()


def test_nobody_can_be_called_like_a_part_of_the_platform(deploying: Workspace) -> None:
    """dockerspawner#25: a seat and a part of the platform would fight for one container's name."""
    text = deploying.roster_path.read_text("utf-8").replace("  llm: false\n", "")
    deploying.roster_path.write_text(text, "utf-8")
    keys = {part.key for part in survey(deploying).desired.parts}
    roles = {role.value for role in Role} - {"seat", "base", "app", "network"}

    assert len(keys) > 4
    assert (
        sorted(
            key
            for key in keys | roles
            if names.PATTERN.fullmatch(key) and names.problem(key) is None
        )
        == []
    )


def test_path_beside_the_roster_that_begins_like_its_directory_is_outside(
    parse: Callable[[str], Roster], directory: object
) -> None:
    """CVE-2026-5422: /home/class-old begins like /home/class and is somewhere else."""
    from pathlib import Path

    home = Path(str(directory))
    beside = home.parent / f"{home.name}-old"
    beside.mkdir()
    (beside / "Dockerfile").write_text("FROM scratch\n", "utf-8")

    with pytest.raises(InputError) as caught:
        parse(f"workshop: {{name: class, template: ../{beside.name}}}\nparticipants: [ada]\n")
    assert "below the roster's directory" in str(caught.value.faults)


def test_seat_publishes_no_port(work: Workspace) -> None:
    """moby#45610, #22054: what is not published needs no rule that may fail."""
    for seat in survey(work).desired.seats:
        assert not hasattr(seat, "ports")
        assert seat.network
        assert seat.address
    source = (ROOT / "platform/workshop/engines/docker.py").read_text("utf-8")
    assert "port_bindings" not in source
    assert "PublishAllPorts" not in source


SOURCES = sorted((ROOT / "platform" / "workshop").rglob("*.py"))
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}


def test_platform_never_uses_a_shell() -> None:
    """Dokku, Coolify, Dokploy: a name that reaches a shell is a command, whatever was escaped."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            shell = any(
                k.arg == "shell"
                and not (isinstance(k.value, ast.Constant) and k.value.value is False)
                for k in node.keywords
            )
            owner = getattr(getattr(node.func, "value", None), "id", "")
            if shell or (name in SHELLS and owner in {"os", "subprocess", "asyncio"}):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert found == []


def test_upgrade_meets_the_same_guards_as_a_plain_request(work: Workspace) -> None:
    """GHSA-w3vc-fx9p-wp4v: the way WebSockets take has the limits and headers of the plain one."""
    edge = survey(work).desired.edge
    assert edge is not None
    text = render(edge, ROOT / "nginx_templates")["nginx.conf"]
    careful = re.split(r"location @careful \{", text)[1].split("location")[0]

    assert "limit_req zone=seat_requests" in text
    assert not re.search(r"limit_(req|conn)", careful), "its own limits would replace the server's"
    for line, kind in product(
        ("X-Real-IP $remote_addr", "X-Forwarded-For $remote_addr"), ("plain", "careful")
    ):
        place = careful if kind == "careful" else text.split("location ^~ /ada/ {")[1]
        assert f"proxy_set_header {line};" in place, kind
