"""A class with models: what runs, what the gateway is told, and what becomes of keys."""

from __future__ import annotations

import json
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import keyring, operations, state
from workshop.errors import EngineError, InputError, WorkshopError
from workshop.gateway import config
from workshop.gateway.ledger import FILE, Ledger, Row
from workshop.health import Answer
from workshop.llm import keys
from workshop.observed import State
from workshop.status import status
from workshop.teardown import teardown
from workshop.usage import usage
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.engines.memory import MemoryEngine
    from workshop.workspace import Workspace

    Next = Callable[[Workspace], Workspace]


def memory(work: Workspace) -> MemoryEngine:
    """Reach the fake behind a workspace."""
    engine: MemoryEngine = work.engine  # type: ignore[assignment]
    return engine


def told(work: Workspace) -> config.Config:
    """Read what the gateway was told."""
    return config.load((work.directories.gateway / config.FILE).read_text("utf-8"))


def seat(work: Workspace, name: str) -> config.Seat:
    """Find one participant in what the gateway was told."""
    return next(item for item in told(work).seats if item.name == name)


def test_plan_from_nothing_starts_gateway_and_model_before_the_seats(
    models: Workspace, golden: Callable[[str, str], None]
) -> None:
    """The whole text, so that a change of order is seen in review."""
    plan = str(operations.plan(models))
    for image in survey(models).desired.images:
        plan = plan.replace(image.tag.rpartition(":")[2], "HASH")

    golden("plan/with-models.txt", plan + "\n")


def test_second_provision_changes_nothing(running: Workspace) -> None:
    """The gateway answers with the fingerprint of what it should know."""
    assert operations.plan(running).is_empty


def test_every_seat_has_its_own_key_and_the_gateways_address(running: Workspace) -> None:
    """The provider's key is in none of them."""
    seen = survey(running)
    environments = [spec.env for spec in seen.desired.seats]
    secret = seen.choices.secret

    assert [env["OPENAI_API_KEY"] for env in environments] == [
        keys.derive(secret, name, 0) for name in ("ada", "bob")
    ]
    assert {env["OPENAI_BASE_URL"] for env in environments} == {
        f"http://{seen.desired.networks[0].gateway}:8011/llm/v1"
    }
    assert {env["OPENAI_MODEL"] for env in environments} == {"gpt-5-mini"}
    assert "sk-canary" not in str(seen)


def test_gateway_is_told_hashes_and_no_key(running: Workspace) -> None:
    """What lies on the disk opens nothing."""
    text = (running.directories.gateway / config.FILE).read_text("utf-8")

    assert "wk-" not in text
    assert "sk-canary" not in text
    assert seat(running, "ada").key_hash == keys.hashed(
        keys.derive(survey(running).choices.secret, "ada", 0)
    )


def test_providers_key_is_in_one_file_that_only_the_gateway_gets(running: Workspace) -> None:
    """The state directory is closed to everybody else, and no other part has it mounted."""
    found = [
        path
        for path in running.state_directory.rglob("*")
        if path.is_file() and b"sk-canary" in path.read_bytes()
    ]
    mounted = {
        spec.key
        for spec in survey(running).desired.containers
        for source, _ in (*spec.mounts, *spec.data)
        if any(str(path).startswith(source) for path in found)
    }

    assert [path.parent.name for path in found] == [config.SECRETS]
    assert mounted == {"gateway"}
    assert stat.S_IMODE(running.state_directory.stat().st_mode) == 0o700


def test_key_that_cannot_be_found_stops_provision_with_its_name(
    models: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better before the class than in it; looking is still possible."""
    monkeypatch.delenv("CLASS_KEY")

    assert not operations.plan(models).is_empty
    with pytest.raises(InputError) as caught:
        operations.provision(models)
    assert "CLASS_KEY is not set" in caught.value.message


def test_key_once_handed_over_need_not_be_there_again(
    running: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`provision` from another shell changes nothing."""
    monkeypatch.delenv("CLASS_KEY")

    assert operations.plan(running).is_empty


def test_changed_key_of_the_provider_is_handed_over_and_the_old_one_forgotten(
    running: Workspace, next_command: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key can be swapped in class, and no participant's app notices."""
    monkeypatch.setenv("CLASS_KEY", "sk-other")
    report = operations.provision(running)
    held = [path.read_text("utf-8") for path in (running.directories.gateway / "secrets").iterdir()]

    assert [str(step.kind) for step in report.plan.steps] == ["keys"]
    assert held == ["sk-other\n"]


def test_key_in_a_dotenv_beside_the_roster_is_found(
    models: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place the course teaches."""
    monkeypatch.delenv("CLASS_KEY")
    file = models.roster_path.with_name(".env")
    file.write_text("CLASS_KEY=sk-from-file\n")
    file.chmod(0o600)

    assert operations.provision(models).ok


def test_gateway_that_fails_takes_no_seat_down(models: Workspace) -> None:
    """Apps that need no model go on."""
    memory(models).broken["start", "class-gateway"] = EngineError("no such device")
    report = operations.provision(models)

    assert set(report.failed) == {"gateway"}
    assert "2 created" in report.summary


def test_killed_gateway_is_started_again(running: Workspace, next_command: Next) -> None:
    """A system part converges like a seat."""
    engine = memory(running)
    engine.kill(
        next(item.id for item in engine.observe("class").containers if item.key == "gateway")
    )
    report = operations.provision(next_command(running))

    assert ("gateway", "start") in {(step.kind, step.action) for step in report.plan.steps}
    assert report.ok


def test_newcomer_is_known_to_the_gateway_without_its_restart(
    running: Workspace, next_command: Next
) -> None:
    """Nobody's stream is cut by a latecomer."""
    from workshop.roster import Participant

    engine = memory(running)
    before = [item.id for item in engine.observe("class").containers if item.key == "gateway"]
    assert operations.add(running, Participant("joan")).ok

    assert seat(running, "joan").key_id == "joan-1"
    assert [
        item.id for item in engine.observe("class").containers if item.key == "gateway"
    ] == before


def test_roster_without_models_removes_gateway_and_model(
    running: Workspace, next_command: Next
) -> None:
    """`llm: false` in the middle of a class leaves nothing behind."""
    text = running.roster_path.read_text("utf-8")
    start, end = text.index("  llm:"), text.index("participants:")
    running.roster_path.write_text(text[:start] + "  llm: false\n" + text[end:], "utf-8")
    assert operations.provision(running).ok

    found = {item.key for item in memory(running).observe("class").containers}
    assert found == {"edge", "ada", "bob"}


def test_teardown_leaves_nothing_of_the_models(running: Workspace) -> None:
    """Keys, books and containers are gone."""
    running.directories.usage.mkdir(exist_ok=True)
    ledger = Ledger(running.directories.usage / FILE)
    ledger.append(
        Row(time.time(), "ada", "ada-1", "openai", "gpt-5-mini", 1000, 200, 2_650_000_000)
    )
    ledger.close()
    receipt = teardown(running)

    assert receipt.left == ()
    assert receipt.used == "1 requests, 1,200 tokens, 2.65 USD"
    assert receipt.removed["gateway"] == receipt.removed["embedded"] == 1
    assert not running.state_directory.exists()


# -- keys -----------------------------------------------------------------------------------------


def test_key_shown_is_the_one_the_seat_has(running: Workspace) -> None:
    """With all that is needed to use it from a laptop."""
    [shown] = keyring.show(running, ["ada"])
    [spec] = [spec for spec in survey(running).desired.seats if spec.key == "ada"]

    assert shown.key == spec.env["OPENAI_API_KEY"]
    assert shown.state == "active"
    assert shown.dotenv == (
        f"OPENAI_API_KEY={shown.key}",
        "OPENAI_BASE_URL=http://localhost:18999/llm/v1",
        "OPENAI_MODEL=gpt-5-mini",
        "OPENAI_EMBEDDING_MODEL=text-embedding-3-small",
    )


def test_key_before_the_first_provision_is_no_key(models: Workspace) -> None:
    """A key shown now would not be the one handed out later."""
    with pytest.raises(WorkshopError) as caught:
        keyring.show(models, ["ada"])

    assert "provision" in caught.value.hint


def test_rotation_gives_a_new_key_to_gateway_and_seat(
    running: Workspace, next_command: Next
) -> None:
    """The old one opens nothing any more; nobody else's app restarts."""
    [before] = keyring.show(running, ["ada"])
    report = keyring.rotate(running, ["ada"])
    [after] = keyring.show(next_command(running), ["ada"])

    assert after.key != before.key
    assert after.key_id == "ada-2"
    assert seat(running, "ada").key_hash == keys.hashed(after.key)
    assert report.summary == "1 replaced, 1 unchanged"


def test_revoked_key_holds_no_longer_and_comes_back_unchanged(
    running: Workspace, next_command: Next
) -> None:
    """No container restarts for it."""
    [before] = keyring.show(running, ["ada"])
    assert "2 unchanged" in keyring.revoke(running, ["ada"]).summary
    assert seat(running, "ada").key_hash == ""
    assert keyring.show(next_command(running), ["ada"])[0].state == "revoked"
    keyring.restore(next_command(running), ["ada"])

    assert seat(running, "ada").key_hash == keys.hashed(before.key)


def test_rotation_of_a_revoked_key_gives_one_that_holds(
    running: Workspace, next_command: Next
) -> None:
    """What was published by mistake is replaced in one step."""
    keyring.revoke(running, ["ada"])
    keyring.rotate(next_command(running), ["ada"])

    assert keyring.show(next_command(running), ["ada"])[0].state == "active"


def test_pause_of_one_and_of_all_are_two_things(running: Workspace, next_command: Next) -> None:
    """Resuming the class does not resume who was paused alone."""
    keyring.pause(running, ["ada"], paused=True)
    keyring.pause_class(next_command(running), paused=True)
    assert told(running).paused
    keyring.pause_class(next_command(running), paused=False)

    assert not told(running).paused
    assert (seat(running, "ada").paused, seat(running, "bob").paused) == (True, False)


def test_lost_state_means_new_keys_and_nobody_keeps_an_old_one(
    running: Workspace, next_command: Next
) -> None:
    """Secret and numbers are lost together, so a rotated key cannot come back."""
    [before] = keyring.show(running, ["ada"])
    (running.state_directory / "state.json").unlink()
    assert operations.provision(next_command(running)).ok

    assert keyring.show(next_command(running), ["ada"])[0].key != before.key


def test_state_of_an_earlier_version_gets_a_secret(running: Workspace, next_command: Next) -> None:
    """An upgrade in the middle of a run keeps network and slots."""
    path = running.state_directory / "state.json"
    raw = json.loads(path.read_text("utf-8"))
    slots = raw["slots"]
    path.write_text(
        json.dumps(
            {key: raw[key] for key in ("workshop", "run", "network", "slots")} | {"schema": 1}
        )
    )
    assert operations.provision(next_command(running)).ok
    known = state.load(running.state_directory)

    assert known is not None
    assert known.slots == slots
    assert len(known.secret) == 64


def test_secret_of_the_run_is_readable_by_its_owner_alone(running: Workspace) -> None:
    """Whoever has it has every key."""
    path = running.state_directory / "state.json"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- status and usage -----------------------------------------------------------------------------


def test_status_names_gateway_and_model(running: Workspace, next_command: Next) -> None:
    """The instructor sees at a glance whether the models can be asked."""
    assert (status(running).gateway, status(running).embedded) == ("live", "live")
    engine = memory(running)
    engine.kill(
        next(item.id for item in engine.observe("class").containers if item.key == "gateway")
    )

    found = status(next_command(running))
    assert found.gateway == "not answering"
    assert not found.ok


def test_status_says_why_the_gateway_answers_nobody(
    running: Workspace, next_command: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: a disk that is full below its books is the instructor's to mend."""

    async def ask(address: str, port: int, path: str) -> Answer:
        del address, port, path
        said = b'{"status": "failing", "config": "", "ledger": "database or disk is full"}'
        return Answer(503, {}, said)

    monkeypatch.setattr(running.probe, "ask", ask)
    found = status(next_command(running))

    assert found.gateway == "failing: database or disk is full"
    assert not found.ok


def test_usage_before_any_question_is_all_zeros(running: Workspace) -> None:
    """The table is there from the start."""
    found = usage(running)

    assert [use.name for use in found.seats] == ["ada", "bob"]
    assert found.total.requests == 0
    assert found.seats[0].left == 200_000


def test_usage_adds_up_what_the_books_hold(running: Workspace) -> None:
    """Somebody who has left the class was paid for too."""
    running.directories.usage.mkdir(exist_ok=True)
    ledger = Ledger(running.directories.usage / FILE)
    row = Row(time.time(), "ada", "ada-1", "openai", "gpt-5-mini", 100, 20, 65_000)
    for item in (
        row,
        replace(row, error="rate_limit_exceeded", status=429),
        replace(row, seat="zoe"),
    ):
        ledger.append(item)
    ledger.close()
    found = usage(running)

    assert (found.seats[0].requests, found.seats[0].errors) == (2, 1)
    assert found.seats[0].left == 200_000 - 240
    assert found.seats[0].last_error == "rate_limit_exceeded"
    assert (found.total.requests, found.total.money) == (3, 195_000)


def test_class_without_models_has_no_usage(work: Workspace) -> None:
    """The message says why."""
    with pytest.raises(InputError, match="llm: false"):
        usage(work)


def test_gateways_container_reaches_nothing_it_need_not(running: Workspace) -> None:
    """No capability, a user of its own, one directory to read and one to write."""
    spec = next(spec for spec in survey(running).desired.parts if spec.key == "gateway")

    assert spec.user == "10003:10003"
    assert spec.capabilities == ()
    assert [place for _, place in spec.mounts] == ["/gateway"]
    assert [place for _, place in spec.data] == ["/data"]
    assert spec.env == {}


def test_model_that_sits_at_another_address_is_put_right(
    running: Workspace, next_command: Next
) -> None:
    """The gateway asks an address, not a name."""
    seen = survey(running)
    moved = tuple(
        replace(item, address="10.0.0.9") if item.key == "embedded" else item
        for item in seen.observed.containers
    )
    from workshop.plan import make_plan

    plan = make_plan(seen.desired, replace(seen.observed, containers=moved))

    assert any(item.state is State.RUNNING for item in moved)
    assert [(str(step.kind), str(step.action)) for step in plan.steps][:2] == [
        ("embedded", "remove"),
        ("embedded", "create"),
    ]
