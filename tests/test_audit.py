"""The audit as far as it needs no engine, the table of known holes, and the doctor's lines."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.scene import seat
from workshop import advisories, audit, doctor, labels
from workshop.advisories import matches
from workshop.audit import Facts
from workshop.doctor import Verdict
from workshop.engines import seccomp, walls
from workshop.labels import Role
from workshop.specs import HARDENING, Owner

if TYPE_CHECKING:
    from workshop.workspace import Workspace

OWNER = Owner("class", "run1", "/somewhere")
FLAGS = {3: "41703949"}
"""What :mod:`workshop.engines.walls` sets, by the number it stands for in every container's hash."""


def test_flags_changed_need_a_new_number() -> None:
    """Else a seat made with the older flags would be kept for ever: its hash would be the same."""
    spec = seat(OWNER, "image")
    told = {**walls.flags(spec, "1.41"), **walls.process(spec)}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    assert FLAGS[HARDENING] == digest[:8]


def test_number_is_part_of_every_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made with other flags is another container."""
    spec = seat(OWNER, "image")
    before = spec.config_hash
    monkeypatch.setattr("workshop.specs.HARDENING", HARDENING + 1)

    assert spec.config_hash != before


def test_own_profile_is_the_engines_without_io_uring() -> None:
    """Three calls fewer, and nothing else is different."""
    (option,) = seccomp.option("1.41")
    ours = json.loads(option.removeprefix("seccomp="))
    theirs = json.loads(seccomp._DEFAULT.read_text("utf-8"))
    before = [set(rule["names"]) for rule in theirs["syscalls"]]
    after = [set(rule["names"]) for rule in ours["syscalls"]]

    assert set().union(*before) - set().union(*after) == seccomp.FORBIDDEN
    assert [names - seccomp.FORBIDDEN for names in before] == after
    assert ours["defaultAction"] == "SCMP_ACT_ERRNO"


def test_engine_that_refuses_io_uring_keeps_its_own_profile() -> None:
    """Later engines know newer calls than the file does."""
    assert seccomp.option("1.44") == seccomp.option("1.51") == []


@pytest.mark.parametrize(
    ("component", "version", "found"),
    [
        ("runc", "1.1.11", ["CVE-2024-21626", "CVE-2025-31133"]),
        ("runc", "1.1.12", ["CVE-2025-31133"]),
        ("runc", "1.2.7", ["CVE-2025-31133"]),
        ("runc", "1.2.8", []),
        ("runc", "1.3.2", ["CVE-2025-31133"]),
        ("runc", "1.3.3", []),
        ("runc", "1.4.0-rc.2", ["CVE-2025-31133"]),
        ("runc", "1.4.0", []),
        ("runc", "1.1.5+ds1", ["CVE-2024-21626", "CVE-2025-31133"]),
        ("containerd", "v1.7.29", []),
        ("containerd", "2.0.6", ["CVE-2024-25621"]),
        ("containerd", "2.3.0", []),
        ("Engine", "20.10.24+dfsg1", ["CVE-2024-23651", "CVE-2024-29018"]),
        ("Engine", "24.0.9", ["CVE-2024-29018"]),
        ("Engine", "25.0.5", []),
        ("Engine", "29.1.0", []),
        ("Engine", "dev", []),
        ("something", "0.1", []),
    ],
)
def test_version_is_held_against_the_line_it_belongs_to(
    component: str, version: str, found: list[str]
) -> None:
    """A line that was mended late does not make an earlier one's number good."""
    names = [match.names.split(",")[0] for match in matches({component: version})]

    assert names == found


def test_table_says_how_old_it_is() -> None:
    """A table without a date is believed for too long."""
    year, month = map(int, advisories.AS_OF.split("-"))

    assert year >= 2026
    assert 1 <= month <= 12


def raw(role: Role, **host: Any) -> dict[str, Any]:
    """Say of a container what an engine would, if somebody had made it by hand."""
    marks = {**OWNER.labels(role), labels.PARTICIPANT: "ada"}
    return {
        "Name": "/class-ada",
        "Config": {"Labels": marks, "User": "10001:10001"},
        "HostConfig": {"NetworkMode": "class-open-0", **host},
        "NetworkSettings": {"Networks": {}},
        "State": {"Running": True},
        "Mounts": [],
    }


def test_bare_container_offends_nearly_everything() -> None:
    """A container of `docker run` without a flag is what the rules are against."""
    found = {finding.id for finding in audit.audit(Facts((raw(Role.SEAT),), security=("seccomp",)))}

    assert {"5.4", "5.11", "5.12", "5.13", "5.26", "5.27", "5.29", "W.2", "W.8", "W.15"} <= found


def test_excuse_of_one_role_is_no_other_roles() -> None:
    """The edge may stand on the server's network; a seat that does is a finding."""
    for role, found in ((Role.EDGE, False), (Role.SEAT, True), (Role.EMBEDDED, True)):
        facts = Facts((raw(role, NetworkMode="host"),))
        assert ("5.10" in {item.id for item in audit.audit(facts)}) is found


def test_label_of_a_mandatory_access_control_is_wanted_where_there_is_one() -> None:
    """5.2 and 5.3 apply to engines that have AppArmor or SELinux, once a container runs."""
    for part, rule in (("name=apparmor", "5.2"), ("name=selinux", "5.3")):
        with_it = Facts((raw(Role.SEAT),), security=("name=seccomp,profile=default", part))
        without = replace(with_it, security=("name=seccomp,profile=default",))
        assert rule in {item.id for item in audit.audit(with_it)}
        assert rule not in {item.id for item in audit.audit(without)}


def test_engine_without_seccomp_is_a_finding() -> None:
    """Without it every system call is open, whatever a container was told."""
    found = audit.audit(Facts((raw(Role.SEAT),), security=("name=apparmor",)))

    assert "the engine has no seccomp" in [it.found for it in found if it.id == "5.22"]


def test_doctor_names_container_rule_and_mend(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is, what should be, and the one command that mends it."""
    engine: Any = work.engine
    monkeypatch.setattr(engine, "facts", lambda _: Facts((raw(Role.SEAT),)))
    checks = doctor.examine(work.roster, work.settings, lambda: engine)
    found = {check.found: check for check in checks if check.name == "hardening"}
    line = "class-ada: 5.13 root file system: writable; expected read-only"

    assert found[line].verdict is Verdict.FAILED
    assert found[line].mend == "workshop reset ada"


def test_doctor_says_in_one_line_that_all_is_well(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty seats are not thirty lines."""
    engine: Any = work.engine
    monkeypatch.setattr(engine, "facts", lambda _: Facts(({}, {}, {})))
    monkeypatch.setattr(audit, "audit", lambda *_: [])
    checks = doctor.examine(work.roster, work.settings, lambda: engine)

    assert [it.found for it in checks if it.name == "hardening"] == [
        f"{audit.COUNT} checks on 3 containers"
    ]


def test_doctor_warns_of_known_holes_and_of_distributions(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution's number says little: a warning, never a failure."""
    engine: Any = work.engine
    facts = Facts(components={"runc": "1.1.5+ds1"})
    monkeypatch.setattr(engine, "facts", lambda _: facts)
    checks = doctor.examine(work.roster, work.settings, lambda: engine)
    (check, _) = [it for it in checks if it.found.startswith("runc")]

    assert check.verdict is Verdict.WARNING
    assert "CVE-2024-21626" in check.found
    assert "may have mended it" in check.mend
