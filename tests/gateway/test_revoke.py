"""What the instructor changes holds within a second, also for answers under way."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.gateway.fake import drip, good
from tests.gateway.lab import key_of, seat
from tests.waiting import PATIENCE, SOON, until
from workshop.gateway.config import FILE

if TYPE_CHECKING:
    from tests.gateway.lab import Lab

HELLO: Any = [{"role": "user", "content": "hello"}]
OTHER = "0" * 64


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"seats": (seat("ada", key_hash=OTHER), seat("bob"))}, "invalid_api_key"),
        ({"seats": (seat("ada", key_hash=""), seat("bob"))}, "invalid_api_key"),
        ({"seats": (seat("bob"),)}, "invalid_api_key"),
        ({"seats": (seat("ada", paused=True), seat("bob"))}, "paused"),
        ({"seats": (seat("ada", address="10.1.1.1"), seat("bob"))}, "key_bound"),
        ({"paused": True}, "paused"),
    ],
    ids=["rotated", "revoked", "removed", "paused", "bound", "all paused"],
)
def test_change_ends_the_answer_under_way(lab: Lab, change: Any, code: str) -> None:
    """The stream ends with an error, the upstream's connection closes, what came is charged."""
    lab.fake.script.append(drip(0.02))
    with lab.client() as client:
        stream = client.chat.completions.create(model="small", messages=HELLO, stream=True)
        next(iter(stream))
        began = time.monotonic()
        lab.configure(**change)
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == code
    assert time.monotonic() - began < SOON
    until(lambda: lab.fake.closed == 1)
    rows = lab.rows()
    assert rows[0]["error"] == code
    assert rows[0]["output_tokens"] >= 1
    assert lab.ask().status_code in (401, 403)


def test_change_leaves_the_others_alone(lab: Lab) -> None:
    """Bob's answer goes on while Ada's key is taken away."""
    lab.fake.script.append(good(tokens=40, pause=0.02))
    with lab.client("bob") as client:
        stream = client.chat.completions.create(model="small", messages=HELLO, stream=True)
        next(iter(stream))
        lab.configure(seats=(seat("ada", key_hash=""), seat("bob")))
        assert len(list(stream)) == 40


def test_change_ends_an_answer_in_one_piece(lab: Lab) -> None:
    """Who waits for a whole answer hears it as a status."""
    import threading

    lab.fake.script.append(good(tokens=10, pause=0.02))
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(lab.ask()))
    lab.fake.script[0] = drip(0.02)
    thread.start()
    until(lambda: lab.fake.requests == 1)
    lab.configure(paused=True)
    thread.join(PATIENCE)
    assert answers[0].status_code == 403


def test_garbled_file_keeps_the_old_configuration(lab: Lab) -> None:
    """Half a file harms nobody; the next good one counts."""
    path = lab.directory / "config" / FILE
    whole = path.read_text("utf-8")
    for garbled in (whole[:-20], "[]", '{"schema": 99}', ""):
        before = lab.log.getvalue().count("configuration refused")
        path.with_name("new").write_text(garbled, "utf-8")
        path.with_name("new").rename(path)
        until(lambda n=before: lab.log.getvalue().count("configuration refused") > n)
        assert lab.ask().status_code == 200
    lab.configure(seats=(seat("bob"),))
    assert lab.ask().status_code == 401


def test_rotated_provider_key_is_used_without_a_restart(lab: Lab) -> None:
    """A secret of its own file counts when it changes."""
    secret = lab.directory / "config" / "secrets" / "main.key"
    secret.write_text("sk-second-key\n", "utf-8")
    until(lambda: lab.running.view.keys["main"] == "sk-second-key")
    lab.ask()
    assert lab.fake.seen[0].headers["authorization"] == "Bearer sk-second-key"


def test_health_names_the_configuration_it_serves(lab: Lab) -> None:
    """The command waits for its own fingerprint here."""
    import httpx2

    lab.configure(seats=(seat("bob"),))
    health = httpx2.get(f"http://{lab.address}/healthz", trust_env=False)
    assert json.loads(health.text) == {
        "status": "ok",
        "config": lab.config.fingerprint,
        "upstreams": {"main": "up"},
    }
    assert key_of("ada") not in health.text
