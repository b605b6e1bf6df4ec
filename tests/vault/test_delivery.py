"""What becomes of secrets when a class runs: handed over, changed, taken away, written again."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workshop import doctor, operations, safekeeping, state
from workshop.errors import InputError
from workshop.teardown import teardown
from workshop.vault import delivery, keyfile, store
from workshop.workspace import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.workspace import Workspace

    Next = Callable[[Workspace], Workspace]


def seen(work: Workspace) -> dict[str, dict[str, bytes]]:
    """Read what each seat of the desired class would find in /run/secrets."""
    return {
        seat.key: {path.name: path.read_bytes() for path in Path(seat.secrets).iterdir()}
        for seat in survey(work).desired.seats
        if seat.secrets
    }


def steps(work: Workspace) -> list[str]:
    """Say what a provision would do to seats."""
    found = operations.plan(work).steps
    return [f"{step.name}: {step.action}, {step.cause}" for step in found if step.kind == "seat"]


def test_secrets_are_handed_to_the_seats_they_are_for(safe: Workspace, next_command: Next) -> None:
    """Everybody's and one's own, as files of exactly the bytes that were set."""
    safekeeping.put(safe, "COMMON", b"all\n")
    safekeeping.put(safe, "OWN", bytes(range(256)), "ada")
    assert operations.provision(safe).ok

    found = seen(next_command(safe))
    assert found["ada"] == {"COMMON": b"all\n", "OWN": bytes(range(256))}
    assert found["bob"] == found["grace"] == {"COMMON": b"all\n"}


def test_class_without_secrets_has_no_directory(safe: Workspace, memory: Path) -> None:
    """Who uses none pays nothing."""
    assert operations.provision(safe).ok
    assert not memory.exists()
    assert all(not seat.secrets for seat in survey(safe).desired.seats)


def test_files_are_the_seat_users_alone(safe: Workspace, next_command: Next) -> None:
    """Mode 0400 of uid 10001 where the operator is root; else a closed directory above."""
    safekeeping.put(safe, "A", b"x")
    operations.provision(safe)
    [seat, *_] = survey(next_command(safe)).desired.seats
    directory, file = Path(seat.secrets).stat(), Path(seat.secrets, "A").stat()
    home = safe.secret_files().home

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        assert (file.st_uid, stat.S_IMODE(file.st_mode)) == (10001, 0o400)
        assert (directory.st_uid, stat.S_IMODE(directory.st_mode)) == (10001, 0o500)


def test_files_of_an_operator_who_is_not_root_can_be_read_by_the_seat(
    safe: Workspace, next_command: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else gets past the closed directory above."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    safekeeping.put(safe, "A", b"x")
    operations.provision(safe)
    [seat, *_] = survey(next_command(safe)).desired.seats

    assert stat.S_IMODE(Path(seat.secrets, "A").stat().st_mode) == 0o444
    assert stat.S_IMODE(Path(seat.secrets).stat().st_mode) == 0o555
    assert stat.S_IMODE(safe.secret_files().home.stat().st_mode) == 0o700


def test_changed_secret_replaces_exactly_the_seats_concerned(
    safe: Workspace, next_command: Next
) -> None:
    """And the same value set once more replaces nobody."""
    safekeeping.put(safe, "COMMON", b"all")
    safekeeping.put(safe, "OWN", b"1", "ada")
    operations.provision(safe)
    safekeeping.put(safe, "COMMON", b"all")
    assert steps(next_command(safe)) == []

    safekeeping.put(safe, "OWN", b"2", "ada")
    assert steps(next_command(safe)) == ["ada: replace, settings changed"]
    operations.provision(next_command(safe))
    assert seen(next_command(safe))["ada"]["OWN"] == b"2"

    safekeeping.put(safe, "COMMON", b"new", "bob")
    assert steps(next_command(safe)) == ["bob: replace, settings changed"]


def test_old_files_go_with_the_old_container(
    safe: Workspace, memory: Path, next_command: Next
) -> None:
    """Of each seat, the files it has now are the only ones."""
    safekeeping.put(safe, "A", b"1", "ada")
    operations.provision(safe)
    safekeeping.put(safe, "A", b"2", "ada")
    operations.provision(next_command(safe))

    assert [path.read_bytes() for path in memory.rglob("A")] == [b"2"]


def test_restart_of_one_seat_leaves_the_others_files(
    safe: Workspace, memory: Path, next_command: Next
) -> None:
    """Bob's container still has the old directory mounted."""
    safekeeping.put(safe, "A", b"1", "bob")
    operations.provision(safe)
    safekeeping.put(safe, "A", b"2", "bob")
    operations.restart(next_command(safe), ["ada"])

    assert sorted(path.read_bytes() for path in memory.rglob("A")) == [b"1", b"2"]
    operations.provision(next_command(safe))
    assert [path.read_bytes() for path in memory.rglob("A")] == [b"2"]


def test_removed_secret_and_removed_seat_leave_no_file(
    safe: Workspace, memory: Path, next_command: Next
) -> None:
    """Nothing stays in memory that nobody is handed."""
    safekeeping.put(safe, "A", b"1", "ada")
    safekeeping.put(safe, "A", b"2", "bob")
    operations.provision(safe)
    safekeeping.remove(safe, "A", "ada")
    operations.provision(next_command(safe))
    assert [path.read_bytes() for path in memory.rglob("A")] == [b"2"]

    operations.remove(next_command(safe), "bob")
    assert not memory.exists() or not list(memory.iterdir())


def test_seats_start_again_when_the_files_are_gone(
    safe: Workspace, memory: Path, next_command: Next
) -> None:
    """After a reboot the memory is empty; one provision puts everything right."""
    safekeeping.put(safe, "A", b"1", "ada")
    operations.provision(safe)
    delivery.Delivery(memory / "class").remove()

    assert steps(next_command(safe)) == ["ada: restart, the files of its secrets are gone"]
    report = operations.provision(next_command(safe))
    assert report.summary == "1 restarted, 2 unchanged"
    assert seen(next_command(safe)) == {"ada": {"A": b"1"}}


def test_plan_needs_no_key(safe: Workspace, next_command: Next) -> None:
    """Only handing over does; a lost key stops no status and no plan."""
    safekeeping.put(safe, "A", b"1")
    operations.provision(safe)
    keyfile.path().unlink()

    assert steps(next_command(safe)) == []
    assert operations.provision(next_command(safe)).ok


def test_lost_key_stops_before_anything_is_touched(safe: Workspace, next_command: Next) -> None:
    """No seat starts without what it should have."""
    safekeeping.put(safe, "A", b"1")
    keyfile.path().unlink()

    with pytest.raises(InputError, match="and no key is here"):
        operations.provision(safe)
    assert safe.engine.observe("class").containers == ()
    assert not (safe.state_directory / "state.json").exists()


def test_place_on_a_disk_is_refused(
    safe: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets are written to memory or not at all."""
    monkeypatch.setenv("WORKSHOP_RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr("workshop.host.is_in_memory", lambda path: "/dev/shm" in str(path))
    safekeeping.put(safe, "A", b"1")

    with pytest.raises(InputError, match="is on a disk; secrets are written to memory alone"):
        operations.provision(safe)
    assert not (tmp_path / "run").exists()


def test_place_of_somebody_else_is_refused(
    safe: Workspace, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the directory first could read what is put there."""
    safekeeping.put(safe, "A", b"1")
    (memory / "class").mkdir(parents=True)
    os.chown(memory / "class", 12345, 12345)

    with pytest.raises(InputError, match="belongs to somebody else"):
        operations.provision(safe)


def test_state_and_configurations_hold_the_path_alone(
    deploying: Workspace, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `serve` is told says where the files are, and neither value nor fingerprint."""
    monkeypatch.setenv("WORKSHOP_RUNTIME_DIRECTORY", str(memory))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    put = safekeeping.put(deploying, "API_TOKEN", b"CANARY-value", "ada")
    operations.provision(deploying)
    told = json.loads((deploying.directories.deploys / "config.json").read_text())
    spec = next(seat["spec"] for seat in told["seats"] if seat["spec"]["key"] == "ada")

    assert spec["secrets"].startswith(str(memory / "class" / "ada"))
    for path in deploying.state_directory.rglob("*"):
        if path.is_file() and path.name != store.FILE:
            text = path.read_bytes()
            assert b"CANARY" not in text, path
            assert put.fingerprint.encode() not in text, path


def test_label_follows_the_runs_secret(safe: Workspace, next_command: Next) -> None:
    """The name of the directory, which stands in labels' hashes and inspects, cannot be guessed."""
    safekeeping.put(safe, "A", b"1")
    operations.provision(safe)
    known = state.load(safe.state_directory)
    assert known is not None
    before = survey(next_command(safe)).desired.seats[0].secrets
    state.save(safe.state_directory, state.replace(known, secret="00" * 32))
    after = survey(next_command(safe)).desired.seats[0].secrets

    assert before != after


def test_teardown_removes_store_and_files_and_names_the_key(
    safe: Workspace, memory: Path, next_command: Next
) -> None:
    """The key is the operator's, for the next workshop as well."""
    safekeeping.put(safe, "A", b"1")
    operations.provision(safe)
    receipt = teardown(next_command(safe))

    assert receipt.left == ()
    assert not safe.state_directory.exists()
    assert not memory.exists() or not list(memory.iterdir())
    assert receipt.kept[-1] == f"key of secrets {keyfile.path()} (yours, for the next workshop)"


def test_teardown_without_secrets_says_nothing_of_a_key(safe: Workspace) -> None:
    """Nobody is told of what they never used."""
    operations.provision(safe)

    assert not any("key" in item for item in teardown(safe).kept)


def test_doctor_opens_every_secret(safe: Workspace, next_command: Next) -> None:
    """A lost key is found before the class, not in it."""

    def verdicts() -> list[tuple[str, str]]:
        checks = doctor.examine(safe.roster, next_command(safe).settings, lambda: safe.engine)
        return [(item.verdict, item.found) for item in checks if item.name == "secrets"]

    assert verdicts() == []
    safekeeping.put(safe, "A", b"1")
    [(verdict, found)] = verdicts()
    assert (verdict, found.split(";")[0]) == ("ok", "1 can be opened")
    keyfile.path().unlink()
    [(verdict, found)] = verdicts()
    assert verdict == "failed"
    assert found.endswith("and no key is here")
