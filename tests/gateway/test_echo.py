"""The built-in upstream: the same answer every time, counted in words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from workshop.gateway.config import ECHO, Model, Task, Upstream
from workshop.gateway.echo import vector

if TYPE_CHECKING:
    from tests.gateway.lab import Lab


@pytest.fixture
def echo(lab: Lab) -> Lab:
    """Let the class talk to the echo."""
    models = {"small": Model("echo"), "vectors": Model("echo-vectors", Task.EMBEDDING)}
    lab.configure(upstreams=(Upstream("echo", ECHO, models, toy=True),))
    return lab


MESSAGES: Any = [
    {"role": "user", "content": "one two"},
    {"role": "assistant", "content": "three"},
    {"role": "user", "content": [{"type": "text", "text": "four five"}]},
]
SAID = "You said: four five (I am an echo, not a model; I was sent 3 messages.)"


def test_echo_repeats_the_question_and_counts_words(echo: Lab) -> None:
    """Streamed and whole say the same and count the same."""
    with echo.client() as client:
        whole = client.chat.completions.create(model="small", messages=MESSAGES)
        options: Any = {"include_usage": True}
        pieces = list(
            client.chat.completions.create(
                model="small", messages=MESSAGES, stream=True, stream_options=options
            )
        )
    assert whole.choices[0].message.content == SAID
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == SAID
    assert len(pieces) > len(SAID.split())
    assert whole.usage == pieces[-1].usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (5, len(SAID.split()))


def test_echo_keeps_to_the_bound_of_the_answer(echo: Lab) -> None:
    """A bound of three tokens is three words, and the reason says so."""
    with echo.client() as client:
        answer = client.chat.completions.create(model="small", messages=MESSAGES, max_tokens=3)
    assert answer.choices[0].message.content == "You said: four"
    assert answer.choices[0].finish_reason == "length"


def test_echo_vectors_are_the_same_for_the_same_text(echo: Lab) -> None:
    """384 numbers of length one; the client's compressed form holds the same."""
    with echo.client() as client:
        packed = client.embeddings.create(model="vectors", input=["a", "b", "a"])
        plain = client.embeddings.create(model="vectors", input="a", encoding_format="float")
        short = client.embeddings.create(
            model="vectors", input="a", dimensions=8, encoding_format="float"
        )
    first, second, third = (v.embedding for v in packed.data)
    assert first == third != second
    assert len(first) == 384
    assert math.isclose(math.hypot(*plain.data[0].embedding), 1)
    assert first == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert len(short.data[0].embedding) == 8
    assert vector("a") != vector("b")


def test_echo_is_called_a_toy_and_costs_nothing(echo: Lab) -> None:
    """The label is there; the price is the model's, here none."""
    answer = echo.ask()
    assert answer.headers["x-workshop-toy"] == "1"
    row = echo.rows()[0]
    assert (row["upstream"], row["money"]) == ("echo", 0)
    assert replace(echo.config.upstreams[0]).base_url == ECHO
