"""Telling the gateway: written whole, heard back, and nothing left of what no longer holds."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest

from workshop.errors import InputError, PublishFailed
from workshop.gateway import config
from workshop.health import Answer
from workshop.llm import publish
from workshop.llm.publish import GatewayPublisher
from workshop.llm.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

NAMED = config.Upstream("one", "echo:", secret="one-aaaaaaaaaaaa")  # noqa: S106 - a file's name
CONFIG = config.Config("class", upstreams=(NAMED,))
FOUND = Secrets({"one": "one-aaaaaaaaaaaa"}, {"one": "sk-1"})


class Gateway:
    """A gateway that takes the file over after it was asked ``slow`` times."""

    def __init__(self, directory: Path, slow: int = 0) -> None:
        self.directory = directory
        self.asked = 0
        self.slow = slow

    async def ask(self, address: str, port: int, path: str) -> Answer:
        """Answer with the fingerprint of what lies there, once it has looked."""
        assert (address, port, path) == ("10.0.0.1", 8011, "/healthz")
        await asyncio.sleep(0)
        self.asked += 1
        if self.asked <= self.slow:
            return Answer(200, {}, b'{"config": "old"}')
        text = (self.directory / config.FILE).read_text("utf-8")
        return Answer(200, {}, json.dumps({"config": config.load(text).fingerprint}).encode())


def publisher(tmp_path: Path, secrets: Secrets = FOUND, slow: int = 0) -> GatewayPublisher:
    """Make one with a stand-in for the gateway."""
    directory = tmp_path / "gateway"
    probe = Gateway(directory, slow)
    return GatewayPublisher(directory, tmp_path / "usage", secrets, probe)  # type: ignore[arg-type]


def test_published_configuration_is_heard_back(tmp_path: Path) -> None:
    """Success is what the gateway answers, not that a file was written."""
    made = publisher(tmp_path, slow=3)
    made.publish(CONFIG, "10.0.0.1", 8011)

    assert config.load((tmp_path / "gateway" / config.FILE).read_text("utf-8")) == CONFIG


def test_gateway_that_does_not_take_it_over_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was to be revoked may still hold, so nobody is told it does not."""
    monkeypatch.setattr(publish, "LOAD_SECONDS", 0.05)

    with pytest.raises(PublishFailed, match="does not take its new configuration"):
        publisher(tmp_path, slow=10_000).publish(CONFIG, "10.0.0.1", 8011)


def test_directories_are_open_to_the_gateways_user(tmp_path: Path) -> None:
    """It runs as a user of its own; the directory above keeps everybody else out."""
    publisher(tmp_path).write(CONFIG)

    assert stat.S_IMODE((tmp_path / "usage").stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "gateway/secrets/one-aaaaaaaaaaaa").stat().st_mode) == 0o644


def test_key_that_is_no_longer_named_is_forgotten(tmp_path: Path) -> None:
    """A swapped key does not lie about."""
    publisher(tmp_path).write(CONFIG)
    publisher(tmp_path, Secrets()).write(config.Config("class"))

    assert list((tmp_path / "gateway/secrets").iterdir()) == []


def test_missing_key_writes_nothing(tmp_path: Path) -> None:
    """The class goes on with the configuration it has."""
    missing = Secrets(missing=("the key of upstream one is missing: KEY is not set or empty",))

    with pytest.raises(InputError, match="KEY is not set"):
        publisher(tmp_path, missing).write(CONFIG)
    assert not (tmp_path / "gateway").exists()


def test_secret_is_not_in_the_words_of_an_object() -> None:
    """A traceback or a log line that shows it gives nothing away."""
    assert "sk-1" not in repr(FOUND)


def test_configuration_survives_writing_and_reading() -> None:
    """The command and the service are of one mind."""
    rich = config.Config(
        "class",
        seats=(config.Seat("ada", "ada-1", "00", "10.0.0.2", True, config.Budget(1, 2)),),
        upstreams=(
            config.Upstream("one", "echo:", {"m": config.Model("m", config.Task.EMBEDDING)}),
        ),
        budget=config.Budget(None, 5, config.Window.WORKSHOP),
        outage=(config.Outage.EMBEDDED,),
    )

    assert config.load(config.dump(rich)) == rich


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 99}', "null"])
def test_garbled_configuration_is_an_error_the_service_knows(text: str) -> None:
    """It keeps the old one then."""
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        config.load(text)
