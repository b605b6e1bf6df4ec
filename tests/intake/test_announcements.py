"""What the registry announces, and what of it becomes an order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.intake.lab import DIGEST, Lab
from tests.small_disk import fill, make_room, small_disk
from workshop.intake.orders import What

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def event(repository: str = "ada/app", **changes: Any) -> dict[str, Any]:
    """Describe a push as the registry does."""
    target = {
        "mediaType": MANIFEST,
        "digest": DIGEST,
        "size": 1574,
        "length": 1574,
        "repository": repository,
        "url": f"http://localhost/v2/{repository}/manifests/{DIGEST}",
        "tag": "latest",
    }
    target.update(changes.pop("target", {}))
    plain = {
        "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
        "timestamp": "2026-11-21T14:44:26.402973972-08:00",
        "action": "push",
        "target": {key: value for key, value in target.items() if value is not None},
        "request": {"id": "6df24a34", "method": "PUT"},
        "actor": {"name": repository.partition("/")[0]},
        "source": {"addr": "127.0.0.1:5000"},
    }
    return {**plain, **changes}


def test_push_becomes_an_order_by_digest(lab: Lab) -> None:
    """Seat, actor, repository and digest stand in it; the tag does not."""
    answer = lab.events(event())

    (order,) = lab.orders()
    assert answer.status_code == 200
    assert (order.what, order.seat, order.actor) == (What.PUSH, "ada", "ada")
    assert (order.repository, order.digest) == ("ada/app", DIGEST)
    assert answer.json() == {"orders": [order.id]}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_announcement_that_finds_no_room_is_asked_for_again(tmp_path: Path) -> None:
    """F40: the registry says it until it is thanked, so no push is lost to a full disk."""
    (tmp_path / "inbox").mkdir()
    with small_disk(tmp_path / "inbox", 1 << 20, 100) as disk:
        lab = Lab(tmp_path).start()
        try:
            fill(disk)
            refused = lab.events(event())
            lost = lab.orders()
            make_room(disk)
            answer = lab.events(event())
            (order,) = lab.orders()
        finally:
            lab.stop()

    assert (refused.status_code, lost) == (500, [])
    assert (answer.status_code, order.seat, order.digest) == (200, "ada", DIGEST)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "pull"},
        {"action": "mount"},
        {"action": "delete"},
        {"target": {"tag": None}},
        {"target": {"mediaType": "application/octet-stream"}},
        {"target": {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}},
        {"target": {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}},
        {"target": {"tag": "sha256-" + "a" * 64 + ".sig"}},
        {"target": {"digest": "sha256:short"}},
        {"target": {"digest": None}},
        {"target": {"repository": "zed/app"}},
        {"target": {"repository": "app"}},
        {"target": {"repository": "../bob/app"}},
        {"target": {"repository": "ada/../bob"}},
        {"target": {"repository": 7}},
        {"target": {"repository": "ada/" + "x" * 300}},
        {"target": []},
    ],
)
def test_everything_else_is_thanked_for_and_ignored(lab: Lab, changes: dict[str, Any]) -> None:
    """A refusal would make the registry repeat it for ever."""
    made = event(**changes) if changes.get("target") != [] else {**event(), "target": []}
    assert lab.events(made).status_code == 200
    assert lab.orders() == []


def test_index_is_an_image_and_its_parts_are_not_tagged(lab: Lab) -> None:
    """A push for several architectures is one deploy."""
    part = event(id="1", target={"tag": None, "digest": "sha256:" + "b" * 64})
    lab.events(part, event(id="2", target={"mediaType": INDEX}))
    assert [order.digest for order in lab.orders()] == [DIGEST]


def test_two_tags_of_one_image_are_one_order(lab: Lab) -> None:
    """Repository and digest count."""
    lab.events(event(id="1"), event(id="2", target={"tag": "v2"}), event("bob/app", id="3"))
    assert sorted(order.seat for order in lab.orders()) == ["ada", "bob"]


def test_repeated_event_is_ignored_and_a_new_push_of_the_same_is_not(lab: Lab) -> None:
    """The registry repeats what it was not thanked for; a person who pushes again means it."""
    lab.events(event(id="1"))
    lab.events(event(id="1"))
    assert len(lab.orders()) == 1
    lab.events(event(id="2"))
    assert len(lab.orders()) == 2


@pytest.mark.parametrize("secret", ["x", "wrong", "events-CANARY-012345678", "é"])
def test_anybody_else_is_refused(lab: Lab, secret: str) -> None:
    """Only the registry knows the word."""
    headers = {"authorization": b"Bearer " + secret.encode()}
    answer = lab.ask("POST", "/events", json={"events": [event()]}, headers=headers)
    assert answer.status_code == 401
    assert lab.orders() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": 1}', b"\xff", b"[" * 100_000])
def test_garbled_envelope_is_refused(lab: Lab, body: bytes) -> None:
    """It is no fault of ours and no order."""
    headers = {"authorization": "Bearer events-CANARY-0123456789"}
    assert lab.ask("POST", "/events", content=body, headers=headers).status_code == 400


def test_odd_members_of_an_envelope_do_not_stop_the_others(lab: Lab) -> None:
    """One event is dealt with at a time."""
    headers = {"authorization": "Bearer events-CANARY-0123456789"}
    body = {"events": [None, 7, {}, {"action": "push"}, {**event(), "actor": None}]}
    assert lab.ask("POST", "/events", json=body, headers=headers).status_code == 200
    assert [order.actor for order in lab.orders()] == ["ada"]


def test_unwritable_inbox_makes_the_registry_try_again(lab: Lab, tmp_path: Path) -> None:
    """The event is not remembered as dealt with, and nothing is half written."""
    lab.inbox.rename(tmp_path / "away")
    assert lab.events(event()).status_code == 500
    (tmp_path / "away").rename(lab.inbox)
    assert lab.events(event()).status_code == 200
    assert len(lab.orders()) == 1


def test_ignored_push_is_logged_with_its_reason(lab: Lab) -> None:
    """Whoever wonders why nothing happened finds a line."""
    lab.events(event("zed/app"))
    (line,) = (line for line in lab.logged() if line["event"] == "push ignored")
    assert (line["repository"], line["reason"]) == ("zed/app", "nobody's")
    assert "CANARY" not in lab.log.getvalue()
