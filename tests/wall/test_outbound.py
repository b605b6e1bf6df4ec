"""The way out of approved seats follows the roster: names come and go, and no seat restarts for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import operations
from workshop.labels import Role

if TYPE_CHECKING:
    from workshop.workspace import Workspace

ROSTER = """
workshop:
  name: class
  url: http://localhost:18999
  llm: false
  deploys: false
  egress: {mode: approved, hosts: [one.example.org]}
participants: [ada, {name: bob, egress: open}]
"""


@pytest.fixture
def standing(work: Workspace) -> Workspace:
    """Provision a class with one approved seat."""
    work.roster_path.write_text(ROSTER, "utf-8")
    assert operations.provision(work).ok
    return again(work)


def edit(work: Workspace, old: str, new: str) -> Workspace:
    """Change the roster."""
    text = work.roster_path.read_text("utf-8")
    assert old in text
    work.roster_path.write_text(text.replace(old, new), "utf-8")
    return again(work)


def ids(work: Workspace) -> dict[str, str]:
    """Map everything that runs to its container."""
    return {item.key: item.id for item in work.engine.observe("class").containers}


def test_hosts_that_change_replace_the_proxy_alone(standing: Workspace) -> None:
    """The proxy reads its list once, so it starts anew with the new one; seats run on."""
    before = ids(standing)
    wider = edit(standing, "[one.example.org]", "[two.example.org, .three.example.org]")
    plan = operations.plan(wider)

    assert operations.provision(again(standing)).ok
    after = ids(standing)

    steps = [(step.kind, step.name, step.action) for step in plan.steps]
    assert ("outbound", "outbound", "replace") in steps
    assert [kind for kind, _, _ in steps if kind == "seat"] == []
    assert {key for key in before if before[key] != after[key]} == {"outbound"}
    hosts = (standing.directories.wall / "hosts").read_text("utf-8").splitlines()
    assert sorted(hosts) == [".three.example.org", "two.example.org"]
    assert operations.plan(again(standing)).is_empty


def test_proxy_goes_with_the_last_approved_seat_and_comes_with_the_first(
    standing: Workspace,
) -> None:
    """Nobody keeps a way out that the roster no longer has."""
    closed = edit(standing, "mode: approved", "mode: none")
    assert operations.provision(closed).ok
    without = {item.role for item in standing.engine.observe("class").containers}
    again_open = edit(standing, "mode: none", "mode: approved")
    assert operations.provision(again_open).ok

    assert Role.OUTBOUND not in without
    assert "outbound" in ids(standing)
