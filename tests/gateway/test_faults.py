"""Whatever an upstream does, the caller hears it in words, the budget is settled, nothing stays held."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.gateway import fake
from tests.gateway.fake import good
from tests.gateway.lab import Lab, upstream
from tests.ports import free_port
from tests.waiting import until
from workshop.gateway.config import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.fake import Behaviour

    Case = tuple[str, Sequence[Behaviour], str | None, str | None]

LONG = b"data: " + b"x" * 10_000_000
BROKEN = "upstream_broke_off"
DEAD = "upstream_unavailable"
CASES: list[Case] = [
    # name, what the upstream does, the code when streamed, the code when not (None: any)
    ("429", [fake.status(429)] * 3, "upstream_rate_limited", "upstream_rate_limited"),
    (
        "429 for long",
        [fake.status(429, retry_after="60")],
        "upstream_rate_limited",
        "upstream_rate_limited",
    ),
    ("500", [fake.status(500)] * 3, DEAD, DEAD),
    ("503", [fake.status(503, retry_after="0")] * 3, DEAD, DEAD),
    ("refused connections", [fake.refuse] * 3, DEAD, DEAD),
    ("hang", [fake.hang], DEAD, DEAD),
    ("hang after head", [fake.hang_after_head], DEAD, DEAD),
    ("401", [fake.status(401)], "upstream_key_refused", "upstream_key_refused"),
    (
        "400",
        [fake.status(400, "bad sk-provider-CANARY-0123456789abcdef")],
        "upstream_refused",
        "upstream_refused",
    ),
    ("redirect", [fake.status(302, location="http://127.0.0.1:1/")], DEAD, DEAD),
    ("garbage for JSON", [fake.bytes_of(b"<html>", "text/html")], DEAD, DEAD),
    ("JSON of another shape", [fake.bytes_of(b'{"a": 1}', "application/json")], DEAD, DEAD),
    ("garbage for events", [fake.bytes_of(b"\x00\xff garbage\n\nmore\n\n")], DEAD, DEAD),
    ("events that are no JSON", [fake.bytes_of(b"data: {nope\n\n")], DEAD, DEAD),
    ("a 10 MB line", [fake.bytes_of(LONG)], DEAD, DEAD),
    (
        "an error for a stream",
        [fake.bytes_of(b'data: {"error": {"message": "x"}}\n\n')],
        DEAD,
        DEAD,
    ),
    ("an empty stream", [fake.ends_early(0)], DEAD, DEAD),
    ("cut in the middle", [fake.cut(3)], BROKEN, DEAD),
    ("ended in the middle", [fake.ends_early(3)], BROKEN, DEAD),
    ("silent in the middle", [fake.stall(3)], BROKEN, DEAD),
    ("garbage in the middle", [fake.bytes_of(fake.piece("tok ") + b"garbage\n\n")], None, DEAD),
    ("cut in one piece", [fake.cut_whole], DEAD, DEAD),
    ("slow drip", [fake.drip(0.05)], BROKEN, DEAD),
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_fault_is_mapped_and_nothing_stays_held(shared: Lab, case: Case, *, stream: bool) -> None:
    """The official client raises its own exception; places, reservations and requests are free."""
    _, script, streamed, whole = case
    shared.fake.script.clear()
    shared.fake.script.extend(script)
    expected = streamed if stream else whole
    with shared.client() as client, pytest.raises(openai.APIError) as caught:
        _read(client, stream=stream)
    assert expected is None or caught.value.code == expected
    assert "CANARY" not in str(caught.value)
    shared.idle()
    shared.fake.script.clear()
    until(lambda: shared.running.forwarder.breaker.worth("main"))
    assert shared.ask().status_code == 200, "the next request is answered"


def _read(client: openai.OpenAI, *, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    answer: Any = client.chat.completions.create(model="small", messages=messages, stream=stream)
    for _ in answer if stream else ():
        pass


def test_cut_stream_charges_what_came(lab: Lab) -> None:
    """Prompt by its length, answer by its pieces."""
    lab.fake.script.append(fake.cut(3))
    lab.ask("x" * 400, stream=True)
    row = lab.rows()[0]
    assert (row["output_tokens"], row["status"], row["error"]) == (3, 502, BROKEN)
    assert 100 <= row["input_tokens"] <= 130
    assert (
        lab.running.budgets.spent("ada", lab.config.budget.window).tokens == row["input_tokens"] + 3
    )


def test_failed_upstream_costs_nothing(lab: Lab) -> None:
    """An error before any answer is not charged."""
    lab.fake.script.extend([fake.status(500)] * 3)
    lab.ask()
    row = lab.rows()[0]
    assert (row["input_tokens"], row["output_tokens"], row["money"]) == (0, 0, 0)


@pytest.mark.parametrize(
    "behaviour",
    [
        fake.status(408),
        fake.status(409),
        fake.status(429),
        fake.status(500),
        fake.status(529),
        fake.refuse,
    ],
)
def test_passing_fault_is_tried_again(lab: Lab, behaviour: Behaviour) -> None:
    """What often passes is tried again, and the caller notices nothing."""
    lab.fake.script.extend([behaviour, behaviour, good()])
    assert lab.ask(stream=True).status_code == 200
    assert lab.fake.requests == 3


def test_retry_after_is_honoured(lab: Lab) -> None:
    """A provider that says when to come again is asked then and not before."""
    lab.fake.script.append(fake.status(429, retry_after="0.6"))
    began = time.monotonic()
    assert lab.ask().status_code == 200
    assert time.monotonic() - began >= 0.6


@pytest.mark.alone
def test_second_upstream_answers_for_the_first(lab: Lab) -> None:
    """A dead first choice costs one wait; after that it is left alone, then tried again."""
    dead = upstream(f"http://127.0.0.1:{free_port()}/v1", "dead")
    lab.configure(upstreams=(dead, *lab.config.upstreams))
    answers = [lab.ask(), lab.ask()]
    assert [a.headers["x-workshop-upstream"] for a in answers] == ["main", "main"]
    assert lab.running.upstreams() == {"dead": False, "main": True}
    assert lab.log.getvalue().count('"upstream failed"') == 1


def test_upstream_that_comes_back_is_found_by_one_request(lab: Lab) -> None:
    """A moment after a failure the next request tries again."""
    lab.fake.script.extend([fake.status(500)] * 6)
    assert lab.ask().status_code == lab.ask(name="bob").status_code == 503
    refused = lab.ask()
    assert (refused.status_code, lab.fake.requests) == (503, 6), "left alone for a moment"
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: lab.running.forwarder.breaker.worth("main"))
    assert lab.ask().status_code == 200
    assert lab.running.upstreams() == {"main": True}


def test_prompt_that_breaks_the_upstream_takes_it_from_nobody_else(lab: Lab) -> None:
    """One seat's poison, asked again and again, is that seat's own trouble."""
    for _ in range(3):
        lab.fake.script.extend([fake.status(500)] * 3)
        assert lab.ask().status_code == 503

    assert lab.ask(name="bob").status_code == 200


def test_toy_answers_while_all_others_are_silent(lab: Lab) -> None:
    """The embedded model stands in for any chat model, and says that it is a toy."""
    toy = replace(
        upstream(lab.fake.url, "toy", toy=True),
        models={"tiny": Model("up-tiny")},
    )
    dead = upstream(f"http://127.0.0.1:{free_port()}/v1", "dead")
    lab.configure(upstreams=(dead, toy))
    answer = lab.ask(stream=True)
    assert answer.headers["x-workshop-upstream"] == "toy"
    assert answer.headers["x-workshop-toy"] == "1"
    assert lab.fake.seen[-1].body["model"] == "up-tiny"
    assert lab.post({"model": "vectors", "input": "a"}, path="/embeddings").status_code == 503


def test_other_key_header_and_answer_limit_are_used(lab: Lab) -> None:
    """Azure's way: the key in a header of its own, the bound under the newer name, a query."""
    azure = upstream(
        lab.fake.url + "?api-version=1", key_header="api-key", answer_limit="max_completion_tokens"
    )
    lab.configure(upstreams=(azure,))
    assert lab.ask(max_tokens=4).status_code == 200
    seen = lab.fake.seen[0]
    assert seen.path == "/v1/chat/completions?api-version=1"
    assert seen.headers["api-key"].startswith("sk-provider")
    assert "authorization" not in seen.headers
    assert (seen.body["max_completion_tokens"], "max_tokens" in seen.body) == (4, False)


def test_client_that_leaves_ends_the_upstreams_work(lab: Lab) -> None:
    """A closed connection closes the one behind it, and what came is charged."""
    lab.fake.script.append(fake.drip(0.02))
    with lab.client() as client:
        stream = client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "x"}], stream=True
        )
        next(iter(stream))
        stream.close()
    until(lambda: lab.fake.closed == 1)
    row = lab.rows()[0]
    assert (row["status"], row["error"]) == (499, "client_left")
    assert row["output_tokens"] >= 1
