"""The store at rest: sealed, bound to its place, and honest about what is wrong with it."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop import safekeeping
from workshop.errors import InputError
from workshop.vault import keyfile, store
from workshop.vault.cipher import Key, WrongSeal, read_key
from workshop.vault.store import MAX_COUNT, MAX_VALUE, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.workspace import Workspace

KEY = Key(b"k" * 32)
OTHER = Key(b"o" * 32)


def filled(*secrets: tuple[str, str, bytes]) -> Store:
    """Seal some values."""
    kept = Store("class")
    for name, scope, value in secrets:
        kept = kept.put(name, scope, value, KEY, 1.0)
    return kept


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=4096))
def test_any_value_comes_back_as_it_was(value: bytes) -> None:
    """Binary values as well, and empty ones."""
    kept = filled(("A", "", value))

    assert kept.value(kept.entries[0], KEY) == value


def test_value_of_the_largest_size_is_kept_and_one_byte_more_is_not() -> None:
    """The bound stands where the page says."""
    assert filled(("A", "", b"x" * MAX_VALUE)).entries
    with pytest.raises(InputError, match=f"has {MAX_VALUE + 1} bytes; at most {MAX_VALUE}"):
        filled(("A", "", b"x" * (MAX_VALUE + 1)))


def test_scope_is_bounded() -> None:
    """A loop that sets names for ever ends in a sentence."""
    with pytest.raises(InputError, match="100 secrets are there already"):
        filled(*[(f"A{number}", "", b"") for number in range(MAX_COUNT + 1)])


@pytest.mark.parametrize("name", ["", "a", "1A", "A-B", "A B", "../A", "A\n", "É", "A" * 101])
def test_name_that_is_none_is_refused(name: str) -> None:
    """A name becomes that of a file, so it is checked before anything else."""
    with pytest.raises(InputError, match="cannot name a secret"):
        filled((name, "", b"x"))


@pytest.mark.parametrize("change", [{"name": "B"}, {"scope": "bob"}, {"scope": ""}])
def test_sealed_value_moved_elsewhere_is_refused(change: dict[str, str]) -> None:
    """Whoever can write the file cannot hand Ada's secret to Bob, nor roll a name to another."""
    kept = filled(("A", "ada", b"ada's"))
    moved = replace(kept.entries[0], **change)

    with pytest.raises(InputError, match="was altered or moved; it is not used") as raised:
        replace(kept, entries=(moved,)).value(moved, KEY)
    assert f"workshop secrets set {moved.name}" in raised.value.hint


def test_sealed_value_of_another_workshop_is_refused() -> None:
    """One operator's key serves several workshops, and keeps them apart."""
    kept = replace(filled(("A", "", b"x")), workshop="other")

    with pytest.raises(InputError, match="altered or moved"):
        kept.value(kept.entries[0], KEY)


def test_every_flipped_byte_is_noticed() -> None:
    """Nonce, ciphertext and tag are all proved."""
    sealed = base64.b64decode(KEY.seal(b"value", "about"))
    for place in range(len(sealed)):
        broken = bytearray(sealed)
        broken[place] ^= 1
        with pytest.raises(WrongSeal):
            KEY.open(base64.b64encode(broken).decode(), "about")


def test_same_value_is_sealed_differently_and_known_by_its_fingerprint() -> None:
    """Setting a value again restarts nobody, and the file does not show that two are equal."""
    once, twice = filled(("A", "", b"x")).entries[0], filled(("A", "", b"x")).entries[0]
    elsewhere = filled(("B", "", b"x")).entries[0]

    assert once.sealed != twice.sealed
    assert once.fingerprint == twice.fingerprint
    assert elsewhere.fingerprint != once.fingerprint
    assert OTHER.fingerprint(b"x", "about") != KEY.fingerprint(b"x", "about")


def test_own_secret_of_a_seat_wins() -> None:
    """Everybody's holds for whoever has none of the name."""
    kept = filled(("A", "", b"all"), ("A", "ada", b"own"), ("B", "bob", b"b"), ("C", "", b"c"))

    def seen(name: str) -> dict[str, bytes]:
        return {key: kept.value(item, KEY) for key, item in kept.for_seat(name).items()}

    assert seen("ada") == {"A": b"own", "C": b"c"}
    assert seen("bob") == {"A": b"all", "B": b"b", "C": b"c"}


def test_key_is_read_in_either_alphabet_and_never_quoted() -> None:
    """`openssl rand -base64 32` and Python's urlsafe form are the same key."""
    raw = bytes(range(224, 256))
    plain, urlsafe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()

    assert read_key(plain, "x").id == read_key(urlsafe.rstrip("="), "x").id
    for wrong in ("hunter2", "", plain[:-5], plain + "AAAA", "ü" * 44):
        with pytest.raises(InputError, match="WORKSHOP_SECRETS_KEY is not a key") as raised:
            read_key(wrong, "WORKSHOP_SECRETS_KEY")
        assert not wrong or wrong not in str(raised.value) + raised.value.hint


# -- with a directory ------------------------------------------------------------------------------


def test_first_secret_makes_the_key_outside_the_workshop(safe: Workspace) -> None:
    """Store and key do not lie together, and both are closed to others."""
    safekeeping.put(safe, "API_TOKEN", b"CANARY-value")
    file = safe.state_directory / store.FILE

    assert safe.state_directory not in keyfile.path().parents
    assert stat.S_IMODE(keyfile.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "CANARY" not in file.read_text()


def test_key_in_the_settings_makes_no_file(
    safe: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a key of their own keeps it where they like."""
    monkeypatch.setenv("WORKSHOP_SECRETS_KEY", base64.b64encode(b"s" * 32).decode())
    safekeeping.put(safe, "A", b"x")

    assert not keyfile.path().exists()


def test_key_file_others_can_read_is_refused(safe: Workspace) -> None:
    """It would be no key any more."""
    safekeeping.put(safe, "A", b"x")
    keyfile.path().chmod(0o640)

    with pytest.raises(InputError, match="can be read by others") as raised:
        safekeeping.put(safe, "B", b"x")
    assert raised.value.hint.startswith("chmod 600 ")


def test_lost_key_is_told_and_a_new_one_is_not_made_over_it(
    safe: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """What is sealed can still come back when the key does."""
    safekeeping.put(safe, "A", b"x")
    keyfile.path().unlink()

    with pytest.raises(
        InputError, match=r"the key [0-9a-f]{8} of the secrets .* is gone"
    ) as raised:
        safekeeping.put(next_command(safe), "B", b"x")
    assert "workshop secrets rm --all" in raised.value.hint
    assert not keyfile.path().exists()
    assert [item.name for item in safekeeping.listed(safe)] == ["A"]


def test_wrong_key_is_told_apart_from_a_garbled_store(
    safe: Workspace, next_command: Callable[[Workspace], Workspace]
) -> None:
    """Two troubles, two ways out."""
    safekeeping.put(safe, "A", b"x")
    keyfile.path().unlink()
    keyfile.make()

    with pytest.raises(InputError, match=r"sealed with the key \w{8}, and the one here is \w{8}"):
        safekeeping.put(next_command(safe), "B", b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": 1}',
        '{"schema": 1, "workshop": "class", "key_id": "x", "entries": [1]}',
        '{"schema": "1", "workshop": "class", "key_id": "x", "entries": []}',
        json.dumps(
            {
                "schema": 1,
                "workshop": "class",
                "key_id": "x",
                "entries": [
                    {"name": "../A", "scope": "", "set_at": 1, "fingerprint": "", "sealed": ""}
                ],
            }
        ),
        "\ud800".encode("utf-16", "surrogatepass").decode("latin-1"),
    ],
)
def test_garbled_store_stops_the_command_and_is_left_alone(safe: Workspace, text: str) -> None:
    """Nothing is overwritten that a backup might still mend."""
    safekeeping.put(safe, "A", b"x")
    file = safe.state_directory / store.FILE
    file.write_text(text, "latin-1")

    with pytest.raises(InputError, match=r"secrets\.json cannot be read") as raised:
        safekeeping.put(safe, "B", b"x")
    assert "secrets rm --all" in raised.value.hint
    assert file.read_text("latin-1") == text
    assert safekeeping.remove_all(safe)
    assert safekeeping.put(safe, "B", b"x").name == "B"


def test_store_of_another_name_is_not_used(safe: Workspace) -> None:
    """A renamed workshop says so."""
    safekeeping.put(safe, "A", b"x")

    with pytest.raises(InputError, match="holds the secrets of the workshop 'class', not 'other'"):
        store.load(safe.state_directory, "other")


def test_secret_for_nobody_is_refused(safe: Workspace) -> None:
    """A slip in a name is noticed, with the nearest one."""
    with pytest.raises(
        InputError, match=r"nobody in participants\.yaml is called 'adda'"
    ) as raised:
        safekeeping.put(safe, "A", b"x", "adda")
    assert "did you mean ada?" in raised.value.hint


def test_removal_of_what_is_not_there_is_told(safe: Workspace) -> None:
    """Ada's own and everybody's are two things."""
    safekeeping.put(safe, "A", b"x")

    with pytest.raises(InputError, match="no secret A that ada has"):
        safekeeping.remove(safe, "A", "ada")
    safekeeping.remove(safe, "A")
    assert safekeeping.listed(safe) == []


def test_list_shows_names_and_never_a_value(safe: Workspace, tmp_path: Path) -> None:
    """Fingerprints are keyed: they follow from the key as well."""
    safekeeping.put(safe, "B", b"CANARY", "bob")
    safekeeping.put(safe, "A", b"CANARY")
    found = safekeeping.listed(safe)

    assert [(item.name, item.participant, item.in_roster) for item in found] == [
        ("A", "", True),
        ("B", "bob", True),
    ]
    assert "CANARY" not in str(found)
    assert all(len(item.fingerprint) == safekeeping.SHOWN for item in found)
