"""People leave, and names change, in the middle of a class: nobody gets what was somebody else's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import operations, safekeeping
from workshop.deploys import current
from workshop.deploys.current import Deployment, SeatDeploys
from workshop.labels import Role
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.workspace import Workspace

ROSTER = """
workshop:
  name: class
  url: http://localhost:18999
  llm: {upstreams: [{name: one, url: 'echo:', models: {echo: }}]}
participants:
  - {name: ada, env: {SAYS: first line}}
  - {name: bob, env: {SAYS: second line}}
  - grace
"""


@dataclass(frozen=True)
class Belongings:
    """What is one participant's own, wherever it is kept."""

    address: str | None
    route: str
    key: str
    known_by: str
    """The hash of the key, as the gateway and the intake know it."""
    secrets: tuple[tuple[str, bytes], ...]
    version: str
    says: str
    """A setting of the roster's line."""
    container: str


def belongings(work: Workspace) -> dict[str, Belongings]:
    """Collect what everybody has, from what runs and from what each part was told."""
    seen = survey(work)
    edge = seen.desired.edge
    assert edge is not None
    known = [
        {item["name"]: item["key_hash"] for item in json.loads(path.read_text("utf-8"))["seats"]}
        for path in work.directories.home.glob("*/config.json")
        if path.parent.name in {"gateway", "intake"}
    ]
    assert len(known) == 2
    assert known[0] == known[1]
    running = {item.key: item for item in seen.observed.containers if item.role is Role.SEAT}
    return {
        seat.key: Belongings(
            running[seat.key].address,
            json.dumps(asdict(next(r for r in edge.routes if r.name == seat.key)), default=str),
            seat.env["OPENAI_API_KEY"],
            known[0][seat.key],
            tuple(sorted((p.name, p.read_bytes()) for p in Path(seat.secrets).iterdir())),
            seat.version,
            seat.env.get("SAYS", ""),
            running[seat.key].id,
        )
        for seat in seen.desired.seats
    }


@pytest.fixture
def standing(
    work: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """Provision a class of three with models, secrets and deploys; ada has deployed."""
    monkeypatch.setenv("WORKSHOP_RUNTIME_DIRECTORY", f"/dev/shm/{tmp_path.name}-edited")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    work.roster_path.write_text(ROSTER, "utf-8")
    for name in ("ada", "bob"):
        safekeeping.put(work, "TOKEN", name.encode(), name)
    safekeeping.put(work, "COMMON", b"all")
    assert operations.provision(again(work)).ok
    app = next(item for item in survey(again(work)).desired.images if item.role is Role.APP)
    deployed = Deployment("1795257007649-2effa15f", 1, "1-abc", app.tag, green=True)
    record = {"ada": SeatDeploys(live=deployed, green=True, count=1)}
    (work.directories.deploys / current.FILE).write_text(current.dump(record), "utf-8")
    # As the server of deploys does, once the route has moved.
    work.engine.remove(
        next(i.id for i in work.engine.observe("class").containers if i.key == "ada")
    )
    assert operations.provision(again(work)).ok
    yield again(work)
    work.secret_files().remove()


def edit(work: Workspace, *changes: tuple[str, str]) -> Workspace:
    """Change the roster by hand."""
    text = work.roster_path.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    work.roster_path.write_text(text, "utf-8")
    return again(work)


def test_swapped_names_take_along_what_belongs_to_the_name_and_nothing_else(
    standing: Workspace,
) -> None:
    """F45: the two lines change their settings; place, key, secrets and deploys stay with the name."""
    before = belongings(standing)
    swapped = edit(standing, ("ada", "nobody"), ("bob", "ada"), ("nobody", "bob"))
    planned = [(step.name, step.action) for step in operations.plan(swapped).steps]

    assert operations.provision(again(standing)).ok
    after = belongings(again(standing))

    assert planned[-3:] == [("bob", "replace"), ("ada", "replace"), ("identity", "verify")]
    assert (after["ada"].says, after["bob"].says) == (before["bob"].says, before["ada"].says)
    assert after["grace"] == before["grace"]
    for name in ("ada", "bob"):
        own = {**asdict(before[name]), "says": "", "container": ""}
        assert {**asdict(after[name]), "says": "", "container": ""} == own
        assert after[name].container != before[name].container


def test_renamed_participant_begins_anew_and_inherits_nothing(standing: Workspace) -> None:
    """F45: a new name is a new person: own slot, own key, no secrets but everybody's, no deploy."""
    before = belongings(standing)
    renamed = edit(standing, ("ada", "eve"))

    report = operations.provision(renamed)
    after = belongings(again(standing))

    assert report.ok
    eve = after.pop("eve")
    assert after == {name: before[name] for name in ("bob", "grace")}
    assert eve.secrets == (("COMMON", b"all"),)
    assert eve.says == before["ada"].says
    for had in before.values():
        mine, theirs = asdict(eve), asdict(had)
        assert [
            key for key in ("address", "route", "key", "known_by") if mine[key] == theirs[key]
        ] == []
    assert eve.version == before["grace"].version
    known = (standing.directories.gateway / "config.json").read_text("utf-8")
    assert before["ada"].known_by not in known


def test_participant_who_left_the_roster_stays_until_pruned_and_is_followed_by_nobody(
    standing: Workspace,
) -> None:
    """F44: the plan tells, an explicit word removes, and the place is kept for the whole run."""
    before = belongings(standing)
    left = edit(standing, ("  - {name: bob, env: {SAYS: second line}}\n", "  - dora\n"))

    plan = operations.plan(left)
    report = operations.provision(again(standing))
    stays = {item.key: item.id for item in standing.engine.observe("class").containers}
    pruned = operations.provision(again(standing), prune=frozenset({"bob"}))
    edit(standing, ("  - dora\n", "  - dora\n  - eve\n  - bob\n"))
    assert operations.provision(again(standing)).ok
    after = belongings(again(standing))

    assert plan.warnings == ("bob is not in the roster but still runs; --prune removes the seat",)
    assert [step.name for step in plan.steps if step.kind == "seat"] == ["dora"]
    assert report.ok
    assert stays["bob"] == before["bob"].container
    assert [step.name for step in pruned.plan.steps if step.kind == "seat"] == ["bob"]
    assert pruned.ok
    assert len({item.address for item in after.values()}) == len(after) == 5
    assert {after["dora"].address, after["eve"].address}.isdisjoint(
        item.address for item in before.values()
    )
    assert after["bob"].container != before["bob"].container
    assert after["bob"].address == before["bob"].address
    assert after["bob"].secrets == before["bob"].secrets
    assert after["ada"] == before["ada"]


def test_secrets_of_who_was_pruned_are_no_longer_handed_out(standing: Workspace) -> None:
    """Their files go with the container; the store keeps what the instructor set."""
    home = standing.secret_files().home
    edit(standing, ("  - {name: bob, env: {SAYS: second line}}\n", ""))
    assert operations.provision(again(standing)).ok
    assert (home / "bob").exists()

    assert operations.provision(again(standing), prune=None).ok

    assert not (home / "bob").exists()
    listed = [(item.participant, item.in_roster) for item in safekeeping.listed(again(standing))]
    assert ("bob", False) in listed
