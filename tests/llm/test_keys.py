"""Virtual keys: made from one secret, told apart by their number."""

from __future__ import annotations

import base64
import hashlib

from workshop.llm import keys

SECRET = "ab" * 32


def test_key_holds_256_bits() -> None:
    """Nobody guesses it."""
    key = keys.derive(SECRET, "ada", 0)

    assert key.startswith("wk-")
    assert len(base64.urlsafe_b64decode(key.removeprefix("wk-") + "=")) == 32


def test_key_can_be_made_again() -> None:
    """The card, the container and the command show the same one, and none of them keeps it."""
    assert keys.derive(SECRET, "ada", 0) == keys.derive(SECRET, "ada", 0)


def test_keys_differ_by_person_number_and_secret() -> None:
    """No two of them may ever be the same."""
    made = {
        keys.derive(secret, name, serial)
        for secret in (SECRET, "cd" * 32)
        for name in ("ada", "al", "alan")
        for serial in range(20)
    }

    assert len(made) == 2 * 3 * 20


def test_gateway_compares_the_plain_hash() -> None:
    """The hash is what a standard tool would print for the key."""
    key = keys.derive(SECRET, "ada", 0)

    assert keys.hashed(key) == hashlib.sha256(key.encode()).hexdigest()


def test_id_of_a_key_counts_from_one() -> None:
    """People do not start at zero."""
    assert [keys.key_id("ada", serial) for serial in (0, 1)] == ["ada-1", "ada-2"]
